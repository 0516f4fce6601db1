//! Response bodies: counted, chunked, until close, or none. Knows the framing that the head
//! announced and holds the application to it.

use super::{ResponseError, append_field};
use crate::fields::{Known, forbidden_in_trailers, valid_name, valid_value};

/// What the head announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// HEAD, 204, 304: whatever the application sends as body is swallowed.
    NoBody,
    Exact {
        remaining: u64,
    },
    Chunked,
    UntilClose,
}

/// Frames the body of one response.
#[derive(Clone, Copy, Debug)]
pub struct BodyWriter {
    framing: Framing,
    keep_alive: bool,
    /// The data of a chunk is on its way and its CRLF not yet written.
    in_chunk: bool,
}

impl BodyWriter {
    pub(super) fn new(framing: Framing, keep_alive: bool) -> Self {
        Self {
            framing,
            keep_alive,
            in_chunk: false,
        }
    }

    /// Whether the connection may be used again after this response. False after any error:
    /// the client must see that the response is not complete.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the body goes out in the chunked coding.
    pub fn is_chunked(&self) -> bool {
        self.framing == Framing::Chunked
    }

    /// Whether the response has no body whatever is sent (HEAD, 204, 304).
    pub fn is_bodiless(&self) -> bool {
        self.framing == Framing::NoBody
    }

    /// Announced bytes still to come; `None` if no length was announced.
    pub fn remaining(&self) -> Option<u64> {
        match self.framing {
            Framing::Exact { remaining } => Some(remaining),
            _ => None,
        }
    }

    /// Appends body bytes in their framing.
    ///
    /// # Errors
    /// [`ResponseError::TooMuchBody`]; nothing of `data` is written then, so that the response
    /// stays short and the client sees a broken one.
    pub fn data(&mut self, out: &mut Vec<u8>, data: &[u8]) -> Result<(), ResponseError> {
        if self.before(out, data.len() as u64)? {
            out.extend_from_slice(data);
            self.after(out);
        }
        Ok(())
    }

    /// For bytes that the caller sends itself (large ones, files): appends what stands before
    /// them. The caller sends exactly `len` bytes next and then calls [`BodyWriter::after`].
    /// `Ok(false)`: this response has no body, the bytes are not to be sent.
    ///
    /// # Errors
    /// As [`BodyWriter::data`].
    pub fn before(&mut self, out: &mut Vec<u8>, len: u64) -> Result<bool, ResponseError> {
        match &mut self.framing {
            Framing::NoBody => return Ok(false),
            Framing::Exact { remaining } => match remaining.checked_sub(len) {
                Some(left) => *remaining = left,
                None => {
                    self.keep_alive = false;
                    return Err(ResponseError::TooMuchBody);
                }
            },
            // An empty chunk would end the body.
            Framing::Chunked if len > 0 => {
                append_chunk_size(out, len);
                self.in_chunk = true;
            }
            Framing::Chunked | Framing::UntilClose => {}
        }
        Ok(true)
    }

    /// Appends what stands after the bytes announced to [`BodyWriter::before`].
    pub fn after(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.in_chunk) {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Ends the body. Trailers go out in the chunked coding only.
    ///
    /// # Errors
    /// [`ResponseError::TooLittleBody`], and for trailers [`ResponseError::BadName`],
    /// [`ResponseError::BadValue`], [`ResponseError::ForbiddenTrailer`]. Nothing is written then.
    pub fn finish(
        &mut self,
        out: &mut Vec<u8>,
        trailers: &[(&[u8], &[u8])],
    ) -> Result<(), ResponseError> {
        let ended = self.check_end(trailers);
        if ended.is_err() {
            self.keep_alive = false;
        } else if self.is_chunked() {
            out.extend_from_slice(b"0\r\n");
            for (name, value) in trailers {
                append_field(out, name, value);
            }
            out.extend_from_slice(b"\r\n");
        }
        ended
    }

    fn check_end(&self, trailers: &[(&[u8], &[u8])]) -> Result<(), ResponseError> {
        if self.remaining().is_some_and(|remaining| remaining > 0) {
            return Err(ResponseError::TooLittleBody);
        }
        for (name, value) in trailers {
            if !valid_name(name) {
                return Err(ResponseError::BadName);
            }
            if !valid_value(value) {
                return Err(ResponseError::BadValue);
            }
            if forbidden_in_trailers(Known::lookup(name), name) {
                return Err(ResponseError::ForbiddenTrailer);
            }
        }
        Ok(())
    }
}

/// Appends `1*HEXDIG CRLF`.
fn append_chunk_size(out: &mut Vec<u8>, len: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (u64::BITS - (len | 1).leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        out.push(DIGITS[(len >> (4 * place) & 0xf) as usize]);
    }
    out.extend_from_slice(b"\r\n");
}
