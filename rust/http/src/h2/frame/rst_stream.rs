//! RST_STREAM (RFC 9113 section 6.4).

use super::{Head, Kind, on_stream};
use crate::h2::error::{Code, Fault};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RstStream {
    pub stream: u32,
    pub code: Code,
}

impl RstStream {
    /// # Errors
    /// PROTOCOL_ERROR on stream 0, FRAME_SIZE_ERROR for another length than four.
    pub fn load(head: Head, payload: &[u8]) -> Result<Self, Fault> {
        on_stream(head, "RST_STREAM on stream 0")?;
        let Ok(code) = payload.try_into() else {
            return Err(Fault::connection(
                Code::FrameSizeError,
                "RST_STREAM is not of four octets",
            ));
        };
        Ok(Self {
            stream: head.stream,
            code: Code::from_wire(u32::from_be_bytes(code)),
        })
    }

    pub fn encode(self, dst: &mut Vec<u8>) {
        Head::new(Kind::RstStream, 4, 0, self.stream).encode(dst);
        dst.extend_from_slice(&self.code.to_wire().to_be_bytes());
    }
}
