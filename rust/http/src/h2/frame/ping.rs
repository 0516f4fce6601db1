//! PING (RFC 9113 section 6.7).

use super::{ACK, Head, Kind, on_connection};
use crate::h2::error::{Code, Fault};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    pub ack: bool,
    pub opaque: [u8; 8],
}

impl Ping {
    /// # Errors
    /// PROTOCOL_ERROR on a stream, FRAME_SIZE_ERROR for another length than eight.
    pub fn load(head: Head, payload: &[u8]) -> Result<Self, Fault> {
        on_connection(head, "PING on a stream")?;
        let Ok(opaque) = payload.try_into() else {
            return Err(Fault::connection(
                Code::FrameSizeError,
                "PING is not of eight octets",
            ));
        };
        Ok(Self {
            ack: head.has(ACK),
            opaque,
        })
    }

    pub fn encode(self, dst: &mut Vec<u8>) {
        Head::new(Kind::Ping, 8, if self.ack { ACK } else { 0 }, 0).encode(dst);
        dst.extend_from_slice(&self.opaque);
    }
}
