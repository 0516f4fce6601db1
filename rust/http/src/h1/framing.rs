//! The smuggling file: where a request body ends is decided here and nowhere else.
//! Knows the version and the two framing fields, nothing of the rest of the head.

use crate::error::{Error, ErrorKind};
use crate::fields::{parse_content_length, trim_ows, valid_name};
use crate::request::{BodyLength, Version};

/// The framing fields of a head. Repetition of Content-Length was refused before.
pub(crate) struct Framing<'a, T> {
    pub(crate) version: Version,
    pub(crate) content_length: Option<&'a [u8]>,
    /// The values of every Transfer-Encoding field line, in order, if there is one.
    pub(crate) transfer_encoding: Option<T>,
}

impl<'a, T: Iterator<Item = &'a [u8]>> Framing<'a, T> {
    /// RFC 9112 section 6.3, without any of its leniencies.
    ///
    /// # Errors
    /// Whatever leaves two readers of the same bytes room to disagree.
    #[inline]
    pub(crate) fn decide(self) -> Result<BodyLength, Error> {
        match (self.version, self.content_length, self.transfer_encoding) {
            // Section 6.3 rule 7: no framing field, no body.
            (_, None, None) => Ok(BodyLength::None),
            // Section 6.2, and RFC 9110 section 8.6: digits only.
            (_, Some(length), None) => Ok(BodyLength::Exact(parse_content_length(length)?)),
            // Section 6.1: HTTP/1.0 does not know the field; its framing must be treated as faulty.
            (Version::Http10, _, Some(_)) => Err(ErrorKind::TransferEncodingInHttp10.into()),
            // Section 6.3 rule 3: "ought to be handled as an error".
            (_, Some(_), Some(_)) => Err(ErrorKind::TransferEncodingAndContentLength.into()),
            // Section 6.3 rule 4, section 7.
            (_, None, Some(codings)) => chunked_alone(codings),
        }
    }
}

/// Section 7: `chunked`, in any case and without parameters, once and last.
fn chunked_alone<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<BodyLength, Error> {
    let (mut chunked, mut last_is_chunked, mut others) = (0u32, false, 0u32);
    for coding in lines
        .flat_map(|line| line.split(|byte| *byte == b','))
        .map(trim_ows)
    {
        last_is_chunked = coding.eq_ignore_ascii_case(b"chunked");
        if last_is_chunked {
            chunked = chunked.saturating_add(1);
        } else if valid_name(coding) {
            others = others.saturating_add(1);
        } else {
            // Empty members, parameters and quoted strings.
            return Err(ErrorKind::BadTransferEncoding.into());
        }
    }
    match (chunked, last_is_chunked, others) {
        (1, true, 0) => Ok(BodyLength::Chunked),
        // Section 6.1: a coding that the server does not understand gets 501.
        (1, true, _) => Err(ErrorKind::UnknownTransferCoding.into()),
        // Section 6.3 rule 4: chunked not last, or (section 6.1) more than once.
        _ => Err(ErrorKind::BadTransferEncoding.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(
        version: Version,
        length: Option<&str>,
        codings: &[&str],
    ) -> Result<BodyLength, ErrorKind> {
        let lines = codings.iter().map(|line| line.as_bytes());
        Framing {
            version,
            content_length: length.map(str::as_bytes),
            transfer_encoding: (!codings.is_empty()).then_some(lines),
        }
        .decide()
        .map_err(|error| error.kind)
    }

    #[test]
    fn the_framing_table() {
        use BodyLength::{Chunked, Exact};
        use ErrorKind::*;
        use Version::{Http10, Http11};
        type Row = (
            Version,
            Option<&'static str>,
            &'static [&'static str],
            Result<BodyLength, ErrorKind>,
        );
        let rows: &[Row] = &[
            (Http11, None, &[], Ok(BodyLength::None)),
            (Http10, None, &[], Ok(BodyLength::None)),
            (Http11, Some("0"), &[], Ok(Exact(0))),
            (Http10, Some("10"), &[], Ok(Exact(10))),
            (Http11, Some("+1"), &[], Err(BadContentLength)),
            (Http11, Some(""), &[], Err(BadContentLength)),
            (Http11, None, &["chunked"], Ok(Chunked)),
            (Http11, None, &["CHUNKED"], Ok(Chunked)),
            (Http10, None, &["chunked"], Err(TransferEncodingInHttp10)),
            (
                Http10,
                Some("1"),
                &["chunked"],
                Err(TransferEncodingInHttp10),
            ),
            (
                Http11,
                Some("0"),
                &["chunked"],
                Err(TransferEncodingAndContentLength),
            ),
            (
                Http11,
                Some("5"),
                &["identity"],
                Err(TransferEncodingAndContentLength),
            ),
            (Http11, None, &["gzip, chunked"], Err(UnknownTransferCoding)),
            (
                Http11,
                None,
                &["identity", "chunked"],
                Err(UnknownTransferCoding),
            ),
            (
                Http11,
                None,
                &["chunked, chunked"],
                Err(BadTransferEncoding),
            ),
            (
                Http11,
                None,
                &["chunked", "chunked"],
                Err(BadTransferEncoding),
            ),
            (
                Http11,
                None,
                &["gzip, chunked, chunked"],
                Err(BadTransferEncoding),
            ),
            (Http11, None, &["chunked, gzip"], Err(BadTransferEncoding)),
            (
                Http11,
                None,
                &["chunked", "identity"],
                Err(BadTransferEncoding),
            ),
            (Http11, None, &["identity"], Err(BadTransferEncoding)),
            (Http11, None, &["xchunked"], Err(BadTransferEncoding)),
            (Http11, None, &["chunked;a=b"], Err(BadTransferEncoding)),
            (Http11, None, &["\"chunked\""], Err(BadTransferEncoding)),
            (Http11, None, &["chunked,"], Err(BadTransferEncoding)),
            (Http11, None, &[", chunked"], Err(BadTransferEncoding)),
            (Http11, None, &[""], Err(BadTransferEncoding)),
            (Http11, None, &["chu nked"], Err(BadTransferEncoding)),
        ];
        for (version, length, codings, expected) in rows {
            assert_eq!(
                decide(*version, *length, codings),
                *expected,
                "{version:?} {length:?} {codings:?}"
            );
        }
    }
}
