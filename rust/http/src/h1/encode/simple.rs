//! Messages that the server makes itself: interim responses and short plain-text answers.
//! Knows their form, never why they are sent.

use super::{
    HeadOptions, ResponseError, ResponseHead, append_decimal, append_field, reason_phrase,
};
use crate::fields::{Known, trim_ows, valid_name, valid_value};

/// Appends `100 Continue` (RFC 9110 section 15.2.1).
pub fn encode_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Appends an interim response, such as 103 with its `link` fields (RFC 8297). Never to HTTP/1.0
/// clients, which do not know them.
///
/// # Errors
/// [`ResponseError::BadStatus`] outside 100 to 199 and for 101, [`ResponseError::BadName`] (also
/// for framing and connection fields), [`ResponseError::BadValue`]. Nothing is written then.
pub fn encode_interim(
    out: &mut Vec<u8>,
    status: u16,
    fields: &[(&[u8], &[u8])],
) -> Result<(), ResponseError> {
    if !(100..=199).contains(&status) || status == 101 {
        return Err(ResponseError::BadStatus);
    }
    for (name, value) in fields {
        let frames = matches!(
            Known::lookup(name),
            Known::ContentLength
                | Known::TransferEncoding
                | Known::Connection
                | Known::KeepAlive
                | Known::Upgrade
        );
        if frames || !valid_name(name) {
            return Err(ResponseError::BadName);
        }
        if !valid_value(value) {
            return Err(ResponseError::BadValue);
        }
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    append_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in fields {
        append_field(out, name, trim_ows(value));
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// A complete plain-text answer, for whatever carrier: the head, and the body
/// `400 Bad Request: <detail>`, without the colon if there is no detail. Control bytes in `detail`
/// become `?`, and fields of `extra` that no response may have are left out.
pub fn simple_answer(status: u16, detail: &str, extra: &[(&str, &str)]) -> (ResponseHead, Vec<u8>) {
    let status = if (200..=999).contains(&status) {
        status
    } else {
        500
    };
    let mut body = Vec::with_capacity(64 + detail.len());
    append_decimal(&mut body, u64::from(status));
    if !reason_phrase(status).is_empty() {
        body.push(b' ');
        body.extend_from_slice(reason_phrase(status).as_bytes());
    }
    if !detail.is_empty() {
        body.extend_from_slice(b": ");
        body.extend(
            detail
                .bytes()
                .map(|byte| if byte.is_ascii_control() { b'?' } else { byte }),
        );
    }
    body.push(b'\n');

    let mut head = ResponseHead::new();
    // Status and content type are valid; what is wrong in `extra` is left out, as promised.
    let _ = head.start(status, None);
    let _ = head.push(b"content-type", b"text/plain; charset=utf-8");
    for (name, value) in extra {
        let _ = head.push(name.as_bytes(), value.as_bytes());
    }
    (head, body)
}

/// Appends a [`simple_answer`], head and body. Returns whether the connection may be used again.
pub fn encode_simple(
    out: &mut Vec<u8>,
    status: u16,
    detail: &str,
    extra: &[(&str, &str)],
    how: &HeadOptions<'_>,
) -> bool {
    let (head, body) = simple_answer(status, detail, extra);
    let options = HeadOptions {
        body_length: Some(body.len() as u64),
        ..*how
    };
    let mut writer = head.encode(out, &options);
    let written = writer.data(out, &body);
    written.and_then(|()| writer.finish(out, &[])).is_ok() && writer.keep_alive()
}
