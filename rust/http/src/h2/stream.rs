//! One stream: the state machine of RFC 9113 section 5.1, and what a stream carries with it.

use super::error::{Code, Fault};
use super::flow::{ReceiveWindow, SendWindow};
use super::priority::Priority;
use crate::fields::HeaderBlock;

/// Where a stream stands.
///
/// ```text
///                      HEADERS              H: HEADERS, ES: END_STREAM, R: RST_STREAM
///                         |                 recv: from the client, send: by this server
///                         v
///                     +------+
///          recv ES    |      |    send ES
///        ,-----------+| open |+-----------.
///       /             |      |             \
///      v              +------+              v
///  +----------+           |           +----------+
///  |   half   |           |           |   half   |
///  |  closed  |           | send R    |  closed  |
///  | (remote) |           | recv R    |  (local) |
///  +----------+           |           +----------+
///       |                 v                 |
///       |  send ES    +--------+   recv ES  |
///       |  send R     |        |   send R   |
///        `----------->| closed |<----------'
///          recv R     |        |   recv R
///                     +--------+
/// ```
///
/// A stream begins with its first HEADERS, so idle streams have no object, and there are no
/// reserved ones, because this server does not push. Closed streams remember why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    HalfClosedRemote,
    HalfClosedLocal,
    Closed(Cause),
}

/// How a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Both sides sent END_STREAM.
    Ended,
    /// RST_STREAM from the client.
    ResetByPeer,
    /// RST_STREAM from this server; what the client sent before it knew is on its way.
    ResetHere,
}

/// A frame on a stream that was opened before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Trailers: a head would have opened the stream.
    Headers {
        end_stream: bool,
    },
    Data {
        end_stream: bool,
    },
    Reset,
    WindowUpdate,
}

/// What to do about a frame that does not change the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It was sent before the client knew that the stream had ended.
    Ignore,
    Stream(Code, &'static str),
    Connection(Code, &'static str),
}

impl Refusal {
    /// The fault, or `None` to ignore the frame.
    pub(super) const fn fault(self, stream: u32) -> Option<Fault> {
        match self {
            Self::Ignore => None,
            Self::Stream(code, reason) => Some(Fault::stream(stream, code, reason)),
            Self::Connection(code, reason) => Some(Fault::connection(code, reason)),
        }
    }
}

impl State {
    /// A frame from the client.
    ///
    /// # Errors
    /// The refusal that section 5.1 prescribes for this frame in this state.
    pub fn receive(self, frame: Frame) -> Result<Self, Refusal> {
        use Code::{ProtocolError, StreamClosed};
        match (self, frame) {
            (Self::Open, Frame::Data { end_stream: false } | Frame::WindowUpdate) => Ok(self),
            (Self::HalfClosedLocal, Frame::Data { end_stream: false } | Frame::WindowUpdate) => {
                Ok(self)
            }
            (Self::HalfClosedRemote, Frame::WindowUpdate) => Ok(self),

            (
                Self::Open,
                Frame::Headers { end_stream: true } | Frame::Data { end_stream: true },
            ) => Ok(Self::HalfClosedRemote),
            (
                Self::HalfClosedLocal,
                Frame::Headers { end_stream: true } | Frame::Data { end_stream: true },
            ) => Ok(Self::Closed(Cause::Ended)),

            // Section 8.1: a second field section ends the message.
            (Self::Open | Self::HalfClosedLocal, Frame::Headers { end_stream: false }) => Err(
                Refusal::Stream(ProtocolError, "trailers without END_STREAM"),
            ),

            (Self::Open | Self::HalfClosedLocal | Self::HalfClosedRemote, Frame::Reset) => {
                Ok(Self::Closed(Cause::ResetByPeer))
            }

            (Self::HalfClosedRemote, Frame::Headers { .. } | Frame::Data { .. }) => {
                Err(Refusal::Stream(StreamClosed, "frame after END_STREAM"))
            }

            (Self::Closed(Cause::ResetHere), _) => Err(Refusal::Ignore),
            (Self::Closed(_), Frame::WindowUpdate | Frame::Reset) => Err(Refusal::Ignore),
            (Self::Closed(Cause::ResetByPeer), Frame::Headers { .. } | Frame::Data { .. }) => {
                Err(Refusal::Stream(StreamClosed, "frame after RST_STREAM"))
            }
            (Self::Closed(Cause::Ended), Frame::Headers { .. } | Frame::Data { .. }) => Err(
                Refusal::Connection(StreamClosed, "frame on an ended stream"),
            ),
        }
    }

    /// END_STREAM goes out. A stream on which that is not possible stays as it is.
    #[must_use]
    pub const fn send_end(self) -> Self {
        match self {
            Self::Open => Self::HalfClosedLocal,
            Self::HalfClosedRemote => Self::Closed(Cause::Ended),
            Self::HalfClosedLocal | Self::Closed(_) => self,
        }
    }

    /// RST_STREAM goes out.
    #[must_use]
    pub const fn send_reset(self) -> Self {
        match self {
            Self::Closed(_) => self,
            _ => Self::Closed(Cause::ResetHere),
        }
    }

    #[must_use]
    pub const fn is_closed(self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// Whether the client may still send on it.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::Open | Self::HalfClosedLocal)
    }
}

/// How far the response has come, as the application gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Response {
    /// The head is still to come.
    Awaited,
    /// The head is out; `left` octets of an announced length are to come.
    Body { left: Option<u64> },
    /// The head was all: body octets are taken and not sent (HEAD, 204, 304).
    Bodiless,
    /// The application has given its end.
    Complete,
}

/// What follows the queued data.
#[derive(Debug, Default)]
pub(super) enum Finish {
    #[default]
    Open,
    End,
    Trailers(Box<HeaderBlock>),
}

/// A stream that was opened and that the application, or the client, is not yet done with.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) state: State,
    pub(super) priority: Priority,
    /// In the scheduler: data is queued and the stream's window is open.
    pub(super) scheduled: bool,
    /// Somebody waits for room in the queue.
    pub(super) wants_room: bool,
    /// The application is done with it.
    pub(super) released: bool,
    /// Request octets go nowhere: the request was refused, or its response is complete.
    pub(super) discard: bool,
    pub(super) method: Method,
    pub(super) response: Response,

    pub(super) receive: ReceiveWindow,
    /// Octets that were charged to the windows and that the application has not consumed.
    pub(super) unconsumed: u32,
    /// Octets of the request body so far, padding not counted, and those of them that came after
    /// the response.
    pub(super) received: u64,
    pub(super) late: u32,
    /// Content-Length of the request.
    pub(super) expected: Option<u64>,

    pub(super) send: SendWindow,
    /// Octets of the response body that are in frames.
    pub(super) sent: u64,
    /// Data from `start` on is queued.
    pub(super) queue: Vec<u8>,
    pub(super) start: usize,
    pub(super) finish: Finish,
}

/// As far as the method decides what a response may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Head,
    Connect,
    Other,
}

impl Stream {
    /// Octets of data waiting.
    pub(super) fn queued(&self) -> usize {
        self.queue.len() - self.start
    }

    pub(super) fn enqueue(&mut self, octets: &[u8]) {
        // What was sent already is dropped before the buffer would grow for it.
        if self.start > 0 && self.queue.len() + octets.len() > self.queue.capacity() {
            self.queue.drain(..self.start);
            self.start = 0;
        }
        self.queue.extend_from_slice(octets);
    }

    /// Forgets the first queued octets.
    pub(super) fn dequeue(&mut self, octets: usize) {
        self.start += octets;
        if self.start >= self.queue.len() {
            self.queue.clear();
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Cause::{Ended, ResetByPeer, ResetHere};
    use State::{Closed, HalfClosedLocal, HalfClosedRemote, Open};

    const HEADERS: Frame = Frame::Headers { end_stream: false };
    const TRAILERS: Frame = Frame::Headers { end_stream: true };
    const DATA: Frame = Frame::Data { end_stream: false };
    const LAST_DATA: Frame = Frame::Data { end_stream: true };

    #[test]
    fn the_diagram() {
        for (state, frame, next) in [
            (Open, DATA, Open),
            (Open, LAST_DATA, HalfClosedRemote),
            (Open, TRAILERS, HalfClosedRemote),
            (Open, Frame::Reset, Closed(ResetByPeer)),
            (Open, Frame::WindowUpdate, Open),
            (HalfClosedLocal, DATA, HalfClosedLocal),
            (HalfClosedLocal, LAST_DATA, Closed(Ended)),
            (HalfClosedLocal, TRAILERS, Closed(Ended)),
            (HalfClosedLocal, Frame::Reset, Closed(ResetByPeer)),
            (HalfClosedLocal, Frame::WindowUpdate, HalfClosedLocal),
            (HalfClosedRemote, Frame::Reset, Closed(ResetByPeer)),
            (HalfClosedRemote, Frame::WindowUpdate, HalfClosedRemote),
        ] {
            assert_eq!(state.receive(frame), Ok(next), "{state:?} {frame:?}");
        }
        for (state, end, reset) in [
            (Open, HalfClosedLocal, Closed(ResetHere)),
            (HalfClosedRemote, Closed(Ended), Closed(ResetHere)),
            (HalfClosedLocal, HalfClosedLocal, Closed(ResetHere)),
            (
                Closed(ResetByPeer),
                Closed(ResetByPeer),
                Closed(ResetByPeer),
            ),
        ] {
            assert_eq!(state.send_end(), end);
            assert_eq!(state.send_reset(), reset);
        }
    }

    #[test]
    fn frames_that_a_state_forbids_have_the_error_of_the_rfc() {
        for (state, frame, code, connection) in [
            (Open, HEADERS, Code::ProtocolError, false),
            (HalfClosedLocal, HEADERS, Code::ProtocolError, false),
            (HalfClosedRemote, DATA, Code::StreamClosed, false),
            (HalfClosedRemote, LAST_DATA, Code::StreamClosed, false),
            (HalfClosedRemote, TRAILERS, Code::StreamClosed, false),
            (Closed(ResetByPeer), DATA, Code::StreamClosed, false),
            (Closed(ResetByPeer), HEADERS, Code::StreamClosed, false),
            (Closed(Ended), DATA, Code::StreamClosed, true),
            (Closed(Ended), HEADERS, Code::StreamClosed, true),
        ] {
            let refusal = state.receive(frame).unwrap_err();
            let fault = refusal.fault(1).unwrap();
            assert_eq!(fault.code(), code, "{state:?} {frame:?}");
            assert_eq!(
                matches!(fault, Fault::Connection(_)),
                connection,
                "{state:?} {frame:?}"
            );
        }
    }

    #[test]
    fn what_was_on_its_way_is_ignored() {
        for frame in [
            HEADERS,
            TRAILERS,
            DATA,
            LAST_DATA,
            Frame::Reset,
            Frame::WindowUpdate,
        ] {
            assert_eq!(Closed(ResetHere).receive(frame), Err(Refusal::Ignore));
        }
        for cause in [Ended, ResetByPeer] {
            assert_eq!(Closed(cause).receive(Frame::Reset), Err(Refusal::Ignore));
            assert_eq!(
                Closed(cause).receive(Frame::WindowUpdate),
                Err(Refusal::Ignore)
            );
        }
    }
}
