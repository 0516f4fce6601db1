//! CONTINUATION (RFC 9113 section 6.10).

use super::{END_HEADERS, Head, Kind, on_stream};
use crate::h2::error::Fault;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation<'a> {
    pub stream: u32,
    pub fragment: &'a [u8],
    pub end_headers: bool,
}

impl<'a> Continuation<'a> {
    /// # Errors
    /// PROTOCOL_ERROR on stream 0.
    pub fn load(head: Head, payload: &'a [u8]) -> Result<Self, Fault> {
        on_stream(head, "CONTINUATION on stream 0")?;
        Ok(Self {
            stream: head.stream,
            fragment: payload,
            end_headers: head.has(END_HEADERS),
        })
    }

    pub fn encode(&self, dst: &mut Vec<u8>) {
        let flags = if self.end_headers { END_HEADERS } else { 0 };
        Head::new(Kind::Continuation, self.fragment.len(), flags, self.stream).encode(dst);
        dst.extend_from_slice(self.fragment);
    }
}
