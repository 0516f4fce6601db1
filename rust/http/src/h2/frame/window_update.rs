//! WINDOW_UPDATE (RFC 9113 section 6.9).

use super::{Head, Kind, MAX_31};
use crate::h2::error::{Code, Fault};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowUpdate {
    /// 0: the connection.
    pub stream: u32,
    /// 1 to 2^31 - 1.
    pub increment: u32,
}

impl WindowUpdate {
    /// # Errors
    /// FRAME_SIZE_ERROR for another length than four, PROTOCOL_ERROR for an increment of 0, which
    /// on a stream is an error of that stream.
    pub fn load(head: Head, payload: &[u8]) -> Result<Self, Fault> {
        let Ok(increment) = payload.try_into() else {
            return Err(Fault::connection(
                Code::FrameSizeError,
                "WINDOW_UPDATE is not of four octets",
            ));
        };
        let increment = u32::from_be_bytes(increment) & MAX_31;
        if increment == 0 {
            let reason = "WINDOW_UPDATE of 0";
            return Err(match head.stream {
                0 => Fault::connection(Code::ProtocolError, reason),
                stream => Fault::stream(stream, Code::ProtocolError, reason),
            });
        }
        Ok(Self {
            stream: head.stream,
            increment,
        })
    }

    pub fn encode(self, dst: &mut Vec<u8>) {
        Head::new(Kind::WindowUpdate, 4, 0, self.stream).encode(dst);
        dst.extend_from_slice(&self.increment.to_be_bytes());
    }
}
