//! PRIORITY_UPDATE (RFC 9218 section 7.1).

use super::{Head, Kind, MAX_31, on_connection, split_u32};
use crate::h2::error::{Code, Fault};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriorityUpdate<'a> {
    /// The stream that it is about; the frame itself is on the connection.
    pub stream: u32,
    /// A Priority field value (RFC 9218 section 4).
    pub value: &'a [u8],
}

impl<'a> PriorityUpdate<'a> {
    /// # Errors
    /// PROTOCOL_ERROR on a stream or about stream 0, FRAME_SIZE_ERROR below four octets.
    pub fn load(head: Head, payload: &'a [u8]) -> Result<Self, Fault> {
        on_connection(head, "PRIORITY_UPDATE on a stream")?;
        let Some((stream, value)) = split_u32(payload) else {
            return Err(Fault::connection(
                Code::FrameSizeError,
                "PRIORITY_UPDATE of less than four octets",
            ));
        };
        let stream = stream & MAX_31;
        if stream == 0 {
            return Err(Fault::connection(
                Code::ProtocolError,
                "PRIORITY_UPDATE about stream 0",
            ));
        }
        Ok(Self { stream, value })
    }

    pub fn encode(&self, dst: &mut Vec<u8>) {
        Head::new(Kind::PriorityUpdate, 4 + self.value.len(), 0, 0).encode(dst);
        dst.extend_from_slice(&self.stream.to_be_bytes());
        dst.extend_from_slice(self.value);
    }
}
