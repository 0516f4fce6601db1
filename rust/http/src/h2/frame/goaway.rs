//! GOAWAY (RFC 9113 section 6.8).

use super::{Head, Kind, MAX_31, on_connection, split_u32};
use crate::h2::error::{Code, Fault};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoAway<'a> {
    pub last_stream: u32,
    pub code: Code,
    pub debug: &'a [u8],
}

impl<'a> GoAway<'a> {
    /// # Errors
    /// PROTOCOL_ERROR on a stream, FRAME_SIZE_ERROR below eight octets.
    pub fn load(head: Head, payload: &'a [u8]) -> Result<Self, Fault> {
        on_connection(head, "GOAWAY on a stream")?;
        let fields = split_u32(payload)
            .and_then(|(last, rest)| split_u32(rest).map(|(code, debug)| (last, code, debug)));
        let Some((last_stream, code, debug)) = fields else {
            return Err(Fault::connection(
                Code::FrameSizeError,
                "GOAWAY of less than eight octets",
            ));
        };
        Ok(Self {
            last_stream: last_stream & MAX_31,
            code: Code::from_wire(code),
            debug,
        })
    }

    pub fn encode(&self, dst: &mut Vec<u8>) {
        Head::new(Kind::GoAway, 8 + self.debug.len(), 0, 0).encode(dst);
        dst.extend_from_slice(&self.last_stream.to_be_bytes());
        dst.extend_from_slice(&self.code.to_wire().to_be_bytes());
        dst.extend_from_slice(self.debug);
    }
}
