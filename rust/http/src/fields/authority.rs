//! `uri-host[:port]` (RFC 3986 section 3.2): the Host field, `:authority`, and the authority of a
//! request target. Knows their grammar and when two of them name the same server.

use std::net::Ipv6Addr;

/// Bytes of a registered name (RFC 3986 section 3.2.2): unreserved, and sub-delims but the comma (a
/// list is not a host). Percent-encoding is looked at apart.
const REG_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || contains(b"-._~!$&'()*+;=", byte);
        byte += 1;
    }
    table
};

const fn contains(bytes: &[u8], byte: u8) -> bool {
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == byte {
            return true;
        }
        i += 1;
    }
    false
}

/// Whether `value` may stand in a Host field: `uri-host[:port]`, no userinfo, path or list. The
/// empty host is refused, as no http URI has one (RFC 9110 section 4.2.1).
pub fn check_host(value: &[u8]) -> bool {
    split(value).is_some()
}

/// As [`check_host`], with the port required, as in CONNECT (RFC 9112 section 3.2.3).
pub fn check_authority(value: &[u8]) -> bool {
    split(value).is_some_and(|(_, port)| port.is_some_and(|port| !port.is_empty()))
}

/// Whether two valid authorities name the same server: hosts in any case, and `default_port` the
/// same as no port or an empty one (RFC 9110 section 4.2.3).
pub fn same_authority(a: &[u8], b: &[u8], default_port: u16) -> bool {
    let number = |port: Option<&[u8]>| {
        port.filter(|port| !port.is_empty())
            .and_then(parse_port)
            .unwrap_or(default_port)
    };
    match (split(a), split(b)) {
        (Some((host_a, port_a)), Some((host_b, port_b))) => {
            host_a.eq_ignore_ascii_case(host_b) && number(port_a) == number(port_b)
        }
        _ => false,
    }
}

/// Host and port of a valid authority.
#[inline]
fn split(authority: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let plain = authority
        .iter()
        .position(|byte| !REG_NAME[usize::from(*byte)]);
    let end = match plain {
        None => authority.len(),
        Some(end) if authority.get(end) == Some(&b':') => end,
        Some(_) => unusual_host(authority)?,
    };
    let (host, rest) = authority.split_at_checked(end)?;
    match rest {
        _ if host.is_empty() => None,
        [] => Some((host, None)),
        [b':', port @ ..] if port.is_empty() || parse_port(port).is_some() => {
            Some((host, Some(port)))
        }
        _ => None,
    }
}

/// Where a host ends that is an address in brackets or has percent-encoded bytes.
#[cold]
fn unusual_host(authority: &[u8]) -> Option<usize> {
    if let [b'[', rest @ ..] = authority {
        let end = rest.iter().position(|byte| *byte == b']')?;
        let address = std::str::from_utf8(rest.get(..end)?).ok()?;
        address.parse::<Ipv6Addr>().ok()?;
        return end.checked_add(2);
    }
    let outside = |byte: &u8| !REG_NAME[usize::from(*byte)] && *byte != b'%';
    let end = authority
        .iter()
        .position(outside)
        .unwrap_or(authority.len());
    valid_escapes(authority.get(..end)?).then_some(end)
}

fn parse_port(port: &[u8]) -> Option<u16> {
    // Longer ones could only be zero-padded; nobody writes them but to confuse.
    if port.is_empty() || port.len() > 5 {
        return None;
    }
    port.iter().try_fold(0u16, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        number.checked_mul(10)?.checked_add(u16::from(digit))
    })
}

/// Every `%` is followed by two hexadecimal digits.
fn valid_escapes(host: &[u8]) -> bool {
    host.split(|byte| *byte == b'%')
        .skip(1)
        .all(|part| matches!(part, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_an_optional_port() {
        for host in [
            "a",
            "example.com",
            "EXAMPLE.com:80",
            "example.com:",
            "127.0.0.1:8000",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:1",
            "0.0.0.0=5000",
            "under_score",
            "a%41b",
            "a:65535",
            "a:00080",
        ] {
            assert!(check_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn lists_userinfo_paths_and_broken_addresses_are_no_hosts() {
        for host in [
            "",
            " ",
            ":80",
            "a b",
            "a,b",
            "a, b",
            "user@a",
            "user:pw@a",
            "a/",
            "a/b",
            "http://a",
            "a?b",
            "a#b",
            "a:b",
            "a:80:90",
            "a:65536",
            "a:-1",
            "a:+1",
            "a:000080",
            "a\\b",
            "a\tb",
            "[::1",
            "::1",
            "[]",
            "[::1]x",
            "[::1]:x",
            "[fe80::1%25eth0]",
            "[v1.a]",
            "a%4",
            "a%zz",
            "a%",
            "\u{e9}",
            "a\u{0}",
            "<a>",
            "a\"",
        ] {
            assert!(!check_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn connect_needs_a_port() {
        assert!(check_authority(b"example.com:443"));
        assert!(check_authority(b"[::1]:443"));
        assert!(!check_authority(b"example.com"));
        assert!(!check_authority(b"example.com:"));
        assert!(!check_authority(b"http://example.com:443"));
    }

    #[test]
    fn authorities_are_compared_by_name_and_effective_port() {
        assert!(same_authority(b"Example.com", b"example.COM:80", 80));
        assert!(same_authority(b"example.com:", b"example.com", 80));
        assert!(same_authority(b"[::1]:8080", b"[::1]:8080", 80));
        assert!(!same_authority(b"example.com", b"example.com:443", 80));
        assert!(!same_authority(b"example.com", b"example.org", 80));
        assert!(!same_authority(b"a b", b"a b", 80));
    }
}
