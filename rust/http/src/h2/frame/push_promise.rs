//! PUSH_PROMISE (RFC 9113 section 6.6): no client may send it and this server never does, so it is
//! here for tools and tests that read both directions.

use super::{
    END_HEADERS, Head, Kind, MAX_31, PADDED, encode_pad_length, encode_padding, on_stream,
    padding_len, split_u32, unpad,
};
use crate::h2::error::{Code, Fault};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushPromise<'a> {
    pub stream: u32,
    pub promised: u32,
    pub fragment: &'a [u8],
    pub padding: Option<u8>,
    pub end_headers: bool,
}

impl<'a> PushPromise<'a> {
    /// # Errors
    /// PROTOCOL_ERROR on stream 0, for padding longer than the payload and for a promised stream
    /// that no server can open, FRAME_SIZE_ERROR for a payload without promised stream.
    pub fn load(head: Head, payload: &'a [u8]) -> Result<Self, Fault> {
        on_stream(head, "PUSH_PROMISE on stream 0")?;
        let (payload, padding) = unpad(head, payload)?;
        let Some((promised, fragment)) = split_u32(payload) else {
            return Err(Fault::connection(
                Code::FrameSizeError,
                "PUSH_PROMISE without a promised stream",
            ));
        };
        let promised = promised & MAX_31;
        if promised == 0 || !promised.is_multiple_of(2) {
            return Err(Fault::connection(
                Code::ProtocolError,
                "PUSH_PROMISE of a stream that no server opens",
            ));
        }
        Ok(Self {
            stream: head.stream,
            promised,
            fragment,
            padding,
            end_headers: head.has(END_HEADERS),
        })
    }

    pub fn encode(&self, dst: &mut Vec<u8>) {
        let length = 4 + self.fragment.len() + padding_len(self.padding);
        let padded = self.padding.map_or(0, |_| PADDED);
        let flags = padded | if self.end_headers { END_HEADERS } else { 0 };
        Head::new(Kind::PushPromise, length, flags, self.stream).encode(dst);
        encode_pad_length(dst, self.padding);
        dst.extend_from_slice(&self.promised.to_be_bytes());
        dst.extend_from_slice(self.fragment);
        encode_padding(dst, self.padding);
    }
}
