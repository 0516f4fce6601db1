//! DATA (RFC 9113 section 6.1).

use super::{
    END_STREAM, Head, Kind, PADDED, encode_pad_length, encode_padding, on_stream, padding_len,
    unpad,
};
use crate::h2::error::{Code, Fault};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    pub stream: u32,
    pub data: &'a [u8],
    pub padding: Option<u8>,
    pub end_stream: bool,
}

impl<'a> Data<'a> {
    /// # Errors
    /// PROTOCOL_ERROR on stream 0 and for padding longer than the payload.
    pub fn load(head: Head, payload: &'a [u8]) -> Result<Self, Fault> {
        on_stream(head, "DATA on stream 0")?;
        let (data, padding) = unpad(head, payload)?;
        Ok(Self {
            stream: head.stream,
            data,
            padding,
            end_stream: head.has(END_STREAM),
        })
    }

    pub fn encode(&self, dst: &mut Vec<u8>) {
        let length = self.data.len() + padding_len(self.padding);
        let padded = self.padding.map_or(0, |_| PADDED);
        let flags = padded | if self.end_stream { END_STREAM } else { 0 };
        Head::new(Kind::Data, length, flags, self.stream).encode(dst);
        encode_pad_length(dst, self.padding);
        dst.extend_from_slice(self.data);
        encode_padding(dst, self.padding);
    }

    /// Whether the first payload octet of this DATA frame is a pad length. For a reader that does
    /// not wait for the whole payload.
    #[must_use]
    #[inline]
    pub const fn is_padded(head: Head) -> bool {
        head.has(PADDED)
    }

    #[must_use]
    #[inline]
    pub const fn ends_stream(head: Head) -> bool {
        head.has(END_STREAM)
    }

    /// Splits a payload of `head.length` octets whose pad length is known into octets of data and
    /// of padding, the pad length not counted.
    ///
    /// # Errors
    /// As [`Data::load`].
    pub fn layout(head: Head, padding: u8) -> Result<(u32, u32), Fault> {
        let padding = u32::from(padding);
        let data = head.length.checked_sub(1 + padding);
        let error = Fault::connection(Code::ProtocolError, "more padding than payload");
        data.map(|data| (data, padding)).ok_or(error)
    }
}
