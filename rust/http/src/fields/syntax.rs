//! What field names and values may be made of (RFC 9110 section 5): the policy that HTTP/1.1
//! heads, trailers, responses and HTTP/2 share. Knows grammar, never framing decisions.

use super::Known;
use crate::error::ErrorKind;
use crate::scan;

/// RFC 9110 section 5.6.2: the bytes of a token.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

#[inline]
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Whether `name` is a token (RFC 9110 section 5.1), in any case.
#[inline]
pub fn valid_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .fold(true, |valid, byte| valid & is_token_byte(*byte))
}

/// Whether `value` has no control byte but HTAB (RFC 9110 section 5.5, control bytes refused
/// rather than replaced). Surrounding white space is not judged.
#[inline]
pub fn valid_value(value: &[u8]) -> bool {
    !scan::has_stop(value)
}

/// `bytes` without leading and trailing OWS (RFC 9110 section 5.6.3).
#[inline]
pub(crate) fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The members of a comma-separated list, trimmed, empty ones left out (RFC 9110 section 5.6.1.2).
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(trim_ows)
        .filter(|token| !token.is_empty())
}

/// Whether a comma-separated list has `token`, in any case.
#[inline]
pub(crate) fn has_token(value: &[u8], token: &[u8]) -> bool {
    tokens(value).any(|member| member.eq_ignore_ascii_case(token))
}

/// A Content-Length: digits only, within 64 bits (RFC 9110 section 8.6; the list form of identical
/// values is refused).
pub fn parse_content_length(value: &[u8]) -> Result<u64, ErrorKind> {
    if value.is_empty() {
        return Err(ErrorKind::BadContentLength);
    }
    value.iter().try_fold(0u64, |length, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(ErrorKind::BadContentLength);
        }
        length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(digit)))
            .ok_or(ErrorKind::BadContentLength)
    })
}

/// Whether `name`, with `_` and `-` set aside, spells a framing or routing field although it is
/// not that field. CGI-style names (`CONTENT_LENGTH`, `HTTP_HOST`) would merge the two.
#[cold]
pub(crate) fn mimics_framing(name: &[u8]) -> bool {
    const MIMICKED: [&[u8]; 3] = [b"contentlength", b"transferencoding", b"host"];
    let letters = || {
        name.iter()
            .filter(|byte| !matches!(byte, b'_' | b'-'))
            .map(u8::to_ascii_lowercase)
    };
    name.contains(&b'_')
        && MIMICKED
            .iter()
            .any(|field| letters().eq(field.iter().copied()))
}

/// Whether a field may not stand in a trailer section, because it frames the message, routes the
/// request, controls the connection or authenticates (RFC 9110 section 6.5.1).
pub fn forbidden_in_trailers(known: Known, name: &[u8]) -> bool {
    use Known::*;
    const FORBIDDEN: [&[u8]; 7] = [
        b"max-forwards",
        b"www-authenticate",
        b"proxy-authenticate",
        b"authentication-info",
        b"proxy-authentication-info",
        b"x-forwarded-ssl",
        b"x-forwarded-prefix",
    ];
    match known {
        // Framing and connection control.
        ContentLength | TransferEncoding | Connection | KeepAlive | ProxyConnection | Te
        | Trailer | Upgrade | Http2Settings | Expect => true,
        // Routing.
        Host | Forwarded | XForwardedFor | XForwardedProto | XForwardedHost | XForwardedPort
        | XRealIp => true,
        // Authentication.
        Authorization | ProxyAuthorization | Cookie | SetCookie => true,
        Other => {
            mimics_framing(name)
                || FORBIDDEN
                    .iter()
                    .any(|field| name.eq_ignore_ascii_case(field))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens() {
        for byte in 0..=255u8 {
            let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(valid_name(&[b'a', byte]), token, "{byte:#x}");
        }
        assert!(!valid_name(b""));
    }

    #[test]
    fn values_have_no_control_byte_but_tab() {
        for byte in 0..=255u8 {
            let fine = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
            assert_eq!(valid_value(&[b'a', byte, b'b']), fine, "{byte:#x}");
            for (length, at) in (1..40).flat_map(|length| (0..length).map(move |at| (length, at))) {
                let mut value = vec![b'v'; length];
                value[at] = byte;
                assert_eq!(valid_value(&value), fine, "{byte:#x} at {at} of {length}");
            }
        }
        assert!(valid_value(b""));
    }

    #[test]
    fn content_length_is_digits_within_64_bits() {
        assert_eq!(parse_content_length(b"0"), Ok(0));
        assert_eq!(parse_content_length(b"0042"), Ok(42));
        assert_eq!(parse_content_length(b"18446744073709551615"), Ok(u64::MAX));
        for bad in [
            "",
            "+1",
            "-1",
            "-0",
            "0x10",
            "1_0",
            "1 1",
            "1,1",
            "5, 5",
            "1.0",
            "1e3",
            "18446744073709551616",
        ] {
            assert_eq!(
                parse_content_length(bad.as_bytes()),
                Err(ErrorKind::BadContentLength),
                "{bad}"
            );
        }
        assert_eq!(
            parse_content_length("\u{0661}".as_bytes()),
            Err(ErrorKind::BadContentLength)
        );
    }

    #[test]
    fn list_members_are_trimmed_and_empty_ones_skipped() {
        let members: Vec<_> = tokens(b" close ,,\tUpgrade\t, ").collect();
        assert_eq!(members, [&b"close"[..], b"Upgrade"]);
        assert!(has_token(b"x, CLOSE", b"close"));
        assert!(!has_token(b"closed, x-close", b"close"));
    }

    #[test]
    fn underscore_spellings_of_framing_and_routing_fields_are_seen() {
        for name in [
            "content_length",
            "Content_Length",
            "TRANSFER_ENCODING",
            "transfer_-encoding",
            "_host",
            "host_",
        ] {
            assert!(mimics_framing(name.as_bytes()), "{name}");
        }
        for name in [
            "content-length",
            "host",
            "x_host",
            "content_type",
            "x_content_length",
        ] {
            assert!(!mimics_framing(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn trailers_never_frame_route_or_authenticate() {
        for name in [
            "Content-Length",
            "transfer-encoding",
            "Host",
            "Connection",
            "Upgrade",
            "TE",
            "Trailer",
            "Expect",
            "X-Forwarded-For",
            "Forwarded",
            "Authorization",
            "Proxy-Authorization",
            "Cookie",
            "Set-Cookie",
            "WWW-Authenticate",
            "Max-Forwards",
            "content_length",
        ] {
            assert!(
                forbidden_in_trailers(Known::lookup(name.as_bytes()), name.as_bytes()),
                "{name}"
            );
        }
        for name in [
            "Vary",
            "Content-Type",
            "Server-Timing",
            "grpc-status",
            "x-checksum",
        ] {
            assert!(
                !forbidden_in_trailers(Known::lookup(name.as_bytes()), name.as_bytes()),
                "{name}"
            );
        }
    }
}
