//! Frames (RFC 9113 sections 4 and 6, RFC 9218 section 7.1): one file each, with what it takes to
//! load and to encode it. A frame knows its own layout and the errors of that layout; what a frame
//! does to streams and connection is decided elsewhere.

mod continuation;
mod data;
mod goaway;
mod head;
mod headers;
mod ping;
mod priority;
mod priority_update;
mod push_promise;
mod rst_stream;
mod settings;
mod window_update;

pub use continuation::Continuation;
pub use data::Data;
pub use goaway::GoAway;
pub use head::{Head, Kind};
pub use headers::{Headers, HeadersFrame};
pub use ping::Ping;
pub use priority::{Dependency, Priority};
pub use priority_update::PriorityUpdate;
pub use push_promise::PushPromise;
pub use rst_stream::RstStream;
pub use settings::{Setting, Settings};
pub use window_update::WindowUpdate;

use super::error::{Code, Fault};

/// Octets of a frame head.
pub const HEAD_LEN: usize = 9;

/// The smallest and the initial SETTINGS_MAX_FRAME_SIZE (RFC 9113 section 6.5.2).
pub const MIN_MAX_FRAME_SIZE: u32 = 16_384;

/// The highest value of the 31-bit fields: stream identifiers, windows and increments.
pub const MAX_31: u32 = (1 << 31) - 1;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Any frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    Data(Data<'a>),
    Headers(Headers<'a>),
    Priority(Priority),
    RstStream(RstStream),
    Settings(Settings<'a>),
    PushPromise(PushPromise<'a>),
    Ping(Ping),
    GoAway(GoAway<'a>),
    WindowUpdate(WindowUpdate),
    Continuation(Continuation<'a>),
    PriorityUpdate(PriorityUpdate<'a>),
    /// To be ignored (RFC 9113 section 4.1).
    Unknown,
}

impl<'a> Frame<'a> {
    /// Loads the frame of `head`, whose payload has exactly `head.length` octets.
    ///
    /// # Errors
    /// What the frame's own layout forbids.
    pub fn load(head: Head, payload: &'a [u8]) -> Result<Self, Fault> {
        Ok(match head.kind {
            Kind::Data => Self::Data(Data::load(head, payload)?),
            Kind::Headers => Self::Headers(Headers::load(head, payload)?),
            Kind::Priority => Self::Priority(Priority::load(head, payload)?),
            Kind::RstStream => Self::RstStream(RstStream::load(head, payload)?),
            Kind::Settings => Self::Settings(Settings::load(head, payload)?),
            Kind::PushPromise => Self::PushPromise(PushPromise::load(head, payload)?),
            Kind::Ping => Self::Ping(Ping::load(head, payload)?),
            Kind::GoAway => Self::GoAway(GoAway::load(head, payload)?),
            Kind::WindowUpdate => Self::WindowUpdate(WindowUpdate::load(head, payload)?),
            Kind::Continuation => Self::Continuation(Continuation::load(head, payload)?),
            Kind::PriorityUpdate => Self::PriorityUpdate(PriorityUpdate::load(head, payload)?),
            Kind::Unknown(_) => Self::Unknown,
        })
    }
}

/// Removes padding (RFC 9113 section 6.1): what is left of `payload`, and how much was padding.
fn unpad(head: Head, payload: &[u8]) -> Result<(&[u8], Option<u8>), Fault> {
    if !head.has(PADDED) {
        return Ok((payload, None));
    }
    let Some((&padding, rest)) = payload.split_first() else {
        return Err(Fault::connection(
            Code::FrameSizeError,
            "padded frame without a pad length",
        ));
    };
    match rest.len().checked_sub(usize::from(padding)) {
        Some(length) => Ok((rest.get(..length).unwrap_or_default(), Some(padding))),
        None => Err(Fault::connection(
            Code::ProtocolError,
            "more padding than payload",
        )),
    }
}

/// Appends `padding` as the pad length goes before a payload, or nothing.
fn encode_pad_length(dst: &mut Vec<u8>, padding: Option<u8>) {
    dst.extend(padding);
}

/// Appends the padding itself.
fn encode_padding(dst: &mut Vec<u8>, padding: Option<u8>) {
    let padding = usize::from(padding.unwrap_or(0));
    dst.resize(dst.len() + padding, 0);
}

/// Octets that padding adds to a payload.
fn padding_len(padding: Option<u8>) -> usize {
    padding.map_or(0, |padding| 1 + usize::from(padding))
}

/// The big-endian 32-bit number at the front of `payload`, and the rest.
fn split_u32(payload: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = payload.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), rest))
}

fn on_stream(head: Head, reason: &'static str) -> Result<(), Fault> {
    if head.stream == 0 {
        return Err(Fault::connection(Code::ProtocolError, reason));
    }
    Ok(())
}

fn on_connection(head: Head, reason: &'static str) -> Result<(), Fault> {
    if head.stream != 0 {
        return Err(Fault::connection(Code::ProtocolError, reason));
    }
    Ok(())
}
