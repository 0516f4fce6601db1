//! The nine octets before every payload (RFC 9113 section 4.1).

use super::{HEAD_LEN, MAX_31};

/// RFC 9113 section 6 and RFC 9218 section 7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    PriorityUpdate,
    Unknown(u8),
}

impl Kind {
    #[must_use]
    pub const fn from_wire(kind: u8) -> Self {
        match kind {
            0x0 => Self::Data,
            0x1 => Self::Headers,
            0x2 => Self::Priority,
            0x3 => Self::RstStream,
            0x4 => Self::Settings,
            0x5 => Self::PushPromise,
            0x6 => Self::Ping,
            0x7 => Self::GoAway,
            0x8 => Self::WindowUpdate,
            0x9 => Self::Continuation,
            0x10 => Self::PriorityUpdate,
            other => Self::Unknown(other),
        }
    }

    #[must_use]
    pub const fn to_wire(self) -> u8 {
        match self {
            Self::Data => 0x0,
            Self::Headers => 0x1,
            Self::Priority => 0x2,
            Self::RstStream => 0x3,
            Self::Settings => 0x4,
            Self::PushPromise => 0x5,
            Self::Ping => 0x6,
            Self::GoAway => 0x7,
            Self::WindowUpdate => 0x8,
            Self::Continuation => 0x9,
            Self::PriorityUpdate => 0x10,
            Self::Unknown(other) => other,
        }
    }
}

/// A frame head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Octets of the payload; 24 bits.
    pub length: u32,
    pub kind: Kind,
    pub flags: u8,
    /// 31 bits; the reserved bit is ignored.
    pub stream: u32,
}

impl Head {
    /// A head for sending. A length beyond 24 bits cannot be expressed and is cut; no caller has
    /// one, because frame sizes are bounded by SETTINGS_MAX_FRAME_SIZE.
    #[must_use]
    pub const fn new(kind: Kind, length: usize, flags: u8, stream: u32) -> Self {
        Self {
            length: length as u32,
            kind,
            flags,
            stream,
        }
    }

    #[must_use]
    #[inline]
    pub const fn load(octets: &[u8; HEAD_LEN]) -> Self {
        let [a, b, c, kind, flags, d, e, f, g] = *octets;
        Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind: Kind::from_wire(kind),
            flags,
            stream: u32::from_be_bytes([d, e, f, g]) & MAX_31,
        }
    }

    #[must_use]
    #[inline]
    pub const fn to_wire(self) -> [u8; HEAD_LEN] {
        let [_, a, b, c] = self.length.to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        [a, b, c, self.kind.to_wire(), self.flags, d, e, f, g]
    }

    #[inline]
    pub fn encode(self, dst: &mut Vec<u8>) {
        dst.extend_from_slice(&self.to_wire());
    }

    #[must_use]
    #[inline]
    pub const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_survive_the_round_trip_and_the_reserved_bit_is_ignored() {
        let head = Head::new(Kind::Headers, 0x01_02_03, 0x25, 0x7fff_fffe);
        let mut wire = Vec::new();
        head.encode(&mut wire);
        assert_eq!(wire, [1, 2, 3, 1, 0x25, 0x7f, 0xff, 0xff, 0xfe]);
        wire[5] |= 0x80;
        assert_eq!(Head::load(wire.first_chunk().unwrap()), head);
    }

    #[test]
    fn kinds_survive_the_wire() {
        for kind in 0..=255 {
            assert_eq!(Kind::from_wire(kind).to_wire(), kind);
        }
    }
}
