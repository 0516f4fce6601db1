//! SETTINGS (RFC 9113 section 6.5.2, RFC 8441 section 3, RFC 9218 section 2.1): what this server
//! announces, and which values it takes from a peer.

use super::error::{Code, ConnectionError};
use super::flow::{DEFAULT_WINDOW, MAX_WINDOW};
use super::frame::{self, MIN_MAX_FRAME_SIZE, Setting};
use crate::limits::Limits;

const HEADER_TABLE_SIZE: u16 = 0x1;
const ENABLE_PUSH: u16 = 0x2;
const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
const NO_RFC7540_PRIORITIES: u16 = 0x9;

/// The largest SETTINGS_MAX_FRAME_SIZE: lengths are 24 bits wide.
const MAX_MAX_FRAME_SIZE: u32 = (1 << 24) - 1;

/// The size of the peer's dynamic table, which this server leaves at its default.
pub(super) const TABLE_SIZE: u32 = 4096;

/// What the operator chose for HTTP/2. Values outside the protocol's range are moved into it.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Streams that a client may have open at a time; 0: as many as it likes.
    pub max_streams: u32,
    /// Octets of a request body that a client may send ahead of its application.
    pub window: u32,
    /// The same for all streams of a connection together; never below the protocol's 65,535.
    pub connection_window: u32,
    /// Octets of the largest frame payload that is taken.
    pub max_frame_size: u32,
    /// Octets of a request's fields as RFC 9113 section 6.5.2 counts them; 0: off.
    pub max_header_list: u32,
    /// Whether extended CONNECT is announced (RFC 8441 section 3).
    pub connect_protocol: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_streams: 128,
            window: 1 << 20,
            connection_window: 2 << 20,
            max_frame_size: MIN_MAX_FRAME_SIZE,
            max_header_list: 65536,
            connect_protocol: true,
        }
    }
}

impl Settings {
    /// Every value within its range.
    #[must_use]
    pub(super) fn in_range(self) -> Self {
        let ceiling = Limits::CEILING as u32;
        Self {
            max_streams: match self.max_streams {
                0 => u32::MAX,
                streams => streams,
            },
            window: self.window.clamp(1, MAX_WINDOW),
            connection_window: self.connection_window.clamp(DEFAULT_WINDOW, MAX_WINDOW),
            max_frame_size: self
                .max_frame_size
                .clamp(MIN_MAX_FRAME_SIZE, MAX_MAX_FRAME_SIZE),
            max_header_list: match self.max_header_list {
                0 => ceiling,
                size => size.min(ceiling),
            },
            connect_protocol: self.connect_protocol,
        }
    }

    /// Appends the first frame of the server's side. `self` is in range.
    pub(super) fn encode(&self, dst: &mut Vec<u8>) {
        let mut settings = Vec::from([
            (MAX_CONCURRENT_STREAMS, self.max_streams),
            (INITIAL_WINDOW_SIZE, self.window),
            (MAX_FRAME_SIZE, self.max_frame_size),
            (MAX_HEADER_LIST_SIZE, self.max_header_list),
            (NO_RFC7540_PRIORITIES, 1),
        ]);
        if self.connect_protocol {
            settings.push((ENABLE_CONNECT_PROTOCOL, 1));
        }
        let settings: Vec<Setting> = settings
            .into_iter()
            .map(|(id, value)| Setting { id, value })
            .collect();
        frame::Settings::encode(&settings, dst);
    }
}

/// What a peer announced, as far as this server acts on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerSettings {
    pub(super) header_table_size: u32,
    pub(super) initial_window: u32,
    pub(super) max_frame_size: u32,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            header_table_size: TABLE_SIZE,
            initial_window: DEFAULT_WINDOW,
            max_frame_size: MIN_MAX_FRAME_SIZE,
        }
    }
}

impl PeerSettings {
    /// Takes one setting.
    ///
    /// # Errors
    /// For values that RFC 9113 section 6.5.2 forbids, with the code that it names.
    pub(super) fn apply(&mut self, setting: Setting) -> Result<(), ConnectionError> {
        let protocol = |reason| {
            Err(ConnectionError {
                code: Code::ProtocolError,
                reason,
            })
        };
        match (setting.id, setting.value) {
            (HEADER_TABLE_SIZE, size) => self.header_table_size = size,
            (ENABLE_PUSH, 2..) => return protocol("SETTINGS_ENABLE_PUSH is neither 0 nor 1"),
            (INITIAL_WINDOW_SIZE, size) if size > MAX_WINDOW => {
                return Err(ConnectionError {
                    code: Code::FlowControlError,
                    reason: "SETTINGS_INITIAL_WINDOW_SIZE too large",
                });
            }
            (INITIAL_WINDOW_SIZE, size) => self.initial_window = size,
            (MAX_FRAME_SIZE, MIN_MAX_FRAME_SIZE..=MAX_MAX_FRAME_SIZE) => {
                self.max_frame_size = setting.value;
            }
            (MAX_FRAME_SIZE, _) => return protocol("SETTINGS_MAX_FRAME_SIZE out of range"),
            (ENABLE_CONNECT_PROTOCOL, 2..) => {
                return protocol("SETTINGS_ENABLE_CONNECT_PROTOCOL is neither 0 nor 1");
            }
            (NO_RFC7540_PRIORITIES, 2..) => {
                return protocol("SETTINGS_NO_RFC7540_PRIORITIES is neither 0 nor 1");
            }
            // MAX_CONCURRENT_STREAMS bounds pushes, which are never sent; MAX_HEADER_LIST_SIZE is
            // advisory; unknown ones are ignored.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(id: u16, value: u32) -> Result<PeerSettings, Code> {
        let mut peer = PeerSettings::default();
        let outcome = peer.apply(Setting { id, value });
        outcome.map(|()| peer).map_err(|error| error.code)
    }

    #[test]
    fn values_out_of_range_are_refused_with_the_code_of_the_rfc() {
        for (id, value, code) in [
            (0x2, 2, Code::ProtocolError),
            (0x4, 1 << 31, Code::FlowControlError),
            (0x5, 16_383, Code::ProtocolError),
            (0x5, 1 << 24, Code::ProtocolError),
            (0x8, 2, Code::ProtocolError),
            (0x9, u32::MAX, Code::ProtocolError),
        ] {
            assert_eq!(apply(id, value).unwrap_err(), code, "{id:#x} {value}");
        }
    }

    #[test]
    fn values_in_range_are_taken_and_unknown_settings_ignored() {
        assert_eq!(apply(0x1, 0).unwrap().header_table_size, 0);
        assert_eq!(apply(0x4, MAX_WINDOW).unwrap().initial_window, MAX_WINDOW);
        assert_eq!(
            apply(0x5, MAX_MAX_FRAME_SIZE).unwrap().max_frame_size,
            MAX_MAX_FRAME_SIZE
        );
        for (id, value) in [
            (0x2, 0),
            (0x2, 1),
            (0x3, 0),
            (0x6, 0),
            (0x8, 1),
            (0x9, 1),
            (0xff, 7),
        ] {
            assert!(apply(id, value).is_ok(), "{id:#x} {value}");
        }
    }

    #[test]
    fn what_the_operator_chose_is_moved_into_range() {
        let wild = Settings {
            max_streams: 0,
            window: u32::MAX,
            connection_window: 0,
            max_frame_size: 1,
            max_header_list: 0,
            connect_protocol: false,
        };
        let tame = wild.in_range();
        assert_eq!(tame.max_streams, u32::MAX);
        assert_eq!(
            (tame.window, tame.connection_window),
            (MAX_WINDOW, DEFAULT_WINDOW)
        );
        assert_eq!(tame.max_frame_size, MIN_MAX_FRAME_SIZE);
        assert_eq!(tame.max_header_list as usize, Limits::CEILING);
    }
}
