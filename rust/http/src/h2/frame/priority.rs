//! PRIORITY (RFC 9113 section 6.3): deprecated, so loaded for its errors only.

use super::{Head, Kind, MAX_31, on_stream};
use crate::h2::error::{Code, Fault};

/// The stream dependency of RFC 7540, in PRIORITY and in HEADERS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    pub stream: u32,
    pub exclusive: bool,
    /// 1 to 256.
    pub weight: u16,
}

impl Dependency {
    /// Octets on the wire.
    pub const LEN: usize = 5;

    #[must_use]
    pub const fn load(fields: &[u8; Self::LEN]) -> Self {
        let [a, b, c, d, weight] = *fields;
        let stream = u32::from_be_bytes([a, b, c, d]);
        Self {
            stream: stream & MAX_31,
            exclusive: stream > MAX_31,
            weight: weight as u16 + 1,
        }
    }

    pub fn encode(self, dst: &mut Vec<u8>) {
        let exclusive = if self.exclusive { MAX_31 + 1 } else { 0 };
        dst.extend_from_slice(&(self.stream | exclusive).to_be_bytes());
        dst.push(self.weight.saturating_sub(1) as u8);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    pub stream: u32,
    pub dependency: Dependency,
}

impl Priority {
    /// # Errors
    /// PROTOCOL_ERROR on stream 0; on its stream FRAME_SIZE_ERROR for another length than five,
    /// and PROTOCOL_ERROR for a stream that depends on itself (RFC 7540 section 5.3.1).
    pub fn load(head: Head, payload: &[u8]) -> Result<Self, Fault> {
        on_stream(head, "PRIORITY on stream 0")?;
        let Ok(fields) = payload.try_into() else {
            return Err(Fault::stream(
                head.stream,
                Code::FrameSizeError,
                "PRIORITY is not of five octets",
            ));
        };
        let dependency = Dependency::load(fields);
        if dependency.stream == head.stream {
            return Err(Fault::stream(
                head.stream,
                Code::ProtocolError,
                "stream depends on itself",
            ));
        }
        Ok(Self {
            stream: head.stream,
            dependency,
        })
    }

    pub fn encode(self, dst: &mut Vec<u8>) {
        Head::new(Kind::Priority, Dependency::LEN, 0, self.stream).encode(dst);
        self.dependency.encode(dst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_cannot_depend_on_itself() {
        let dependency = Dependency {
            stream: 3,
            exclusive: true,
            weight: 256,
        };
        let mut wire = Vec::new();
        Priority {
            stream: 5,
            dependency,
        }
        .encode(&mut wire);
        let (head, payload) = wire.split_first_chunk().unwrap();
        let head = Head::load(head);
        assert_eq!(
            Priority::load(head, payload),
            Ok(Priority {
                stream: 5,
                dependency
            })
        );
        let itself = Head { stream: 3, ..head };
        assert_eq!(
            Priority::load(itself, payload),
            Err(Fault::stream(
                3,
                Code::ProtocolError,
                "stream depends on itself"
            ))
        );
    }
}
