//! The request side of one HTTP/1.1 connection: Idle, Head, Body, Done, Closed. Knows the order of
//! events, never sockets, clocks or responses.
//!
//! ```text
//!        bytes         head complete      body complete     next_cycle
//!  Idle ------> Head ----------------> Body ----------> Done --------> Idle
//!    \___________\______ error __________/                \--> Closed (no keep-alive)
//! ```

use std::ops::Range;

use super::chunked::{ChunkEvent, Chunked};
use super::head;
use crate::error::{Error, ErrorKind};
use crate::fields::HeaderBlock;
use crate::limits::Limits;
use crate::request::{BodyLength, Request};

/// Where a connection is between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Between requests: nothing of the next one has arrived.
    Idle,
    /// A head has begun and is not complete.
    Head,
    /// The head is out as [`Event::Request`], the body not yet at its end.
    Body,
    /// The request is complete; further bytes wait for [`Connection::next_cycle`].
    Done,
    /// Nothing more is read: after an error, or after the last request.
    Closed,
}

/// What the bytes say next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing can be said until more input arrives.
    NeedMore,
    /// `request` is filled.
    Request,
    /// Request body bytes, as a range of the input of this call.
    Body(Range<usize>),
    /// The request is complete; for one without a body, this follows [`Event::Request`].
    End,
}

/// An event, and how many bytes at the front of the input are done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The caller drops these bytes, whatever the event; [`Event::NeedMore`] may use up bytes too.
    pub consumed: usize,
    pub event: Event,
}

#[derive(Debug)]
enum Phase {
    /// `line`: where the first incomplete line of the head starts.
    Head {
        line: u32,
    },
    Exact {
        remaining: u64,
    },
    Chunked(Chunked),
    Done,
    Closed,
    Failed(Error),
}

/// The request side of one connection. Small: an idle connection costs no heap.
#[derive(Debug)]
pub struct Connection {
    phase: Phase,
    trailers: Option<Box<HeaderBlock>>,
    /// No byte was consumed yet, so another protocol may still show.
    first: bool,
    /// The one empty line that may stand before a request line has passed.
    empty_line: bool,
    /// Bytes of a head have been seen.
    begun: bool,
    keep_alive: bool,
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

impl Connection {
    pub fn new() -> Self {
        Self {
            phase: Phase::Head { line: 0 },
            trailers: None,
            first: true,
            empty_line: false,
            begun: false,
            keep_alive: false,
        }
    }

    pub fn state(&self) -> State {
        match self.phase {
            Phase::Head { .. } if self.begun => State::Head,
            Phase::Head { .. } => State::Idle,
            Phase::Exact { .. } | Phase::Chunked(_) => State::Body,
            Phase::Done => State::Done,
            Phase::Closed | Phase::Failed(_) => State::Closed,
        }
    }

    /// The next event of `input`, the bytes received and not yet consumed. The caller drops
    /// `consumed` bytes from its front and calls again; after [`Event::NeedMore`] with the rest of
    /// the same bytes plus more, and with the same `request` while the state is [`State::Head`].
    ///
    /// After [`Event::End`] it returns [`Event::NeedMore`] with nothing consumed (pipelined bytes
    /// wait) until [`Connection::next_cycle`]; in [`State::Closed`] for ever.
    ///
    /// # Errors
    /// Whatever RFC 9112 or the limits refuse; then again on every further call. The sequence of
    /// events is a function of the bytes alone, not of how they were split over calls.
    pub fn next(
        &mut self,
        limits: &Limits,
        input: &[u8],
        request: &mut Request,
    ) -> Result<Step, Error> {
        let step = match &mut self.phase {
            Phase::Head { .. } => self.head(limits, input, request),
            Phase::Exact { remaining: 0 } => {
                self.phase = Phase::Done;
                Ok(Step {
                    consumed: 0,
                    event: Event::End,
                })
            }
            Phase::Exact { .. } | Phase::Done | Phase::Closed if input.is_empty() => Ok(NEED_MORE),
            Phase::Exact { remaining } => {
                let here = usize::try_from(*remaining)
                    .unwrap_or(usize::MAX)
                    .min(input.len());
                *remaining -= here as u64;
                Ok(Step {
                    consumed: here,
                    event: Event::Body(0..here),
                })
            }
            Phase::Chunked(chunked) => {
                chunked
                    .next(limits, input, &mut self.trailers)
                    .map(|(consumed, event)| {
                        let event = match event {
                            ChunkEvent::NeedMore => Event::NeedMore,
                            ChunkEvent::Data(range) => Event::Body(range),
                            ChunkEvent::End => {
                                self.phase = Phase::Done;
                                Event::End
                            }
                        };
                        Step { consumed, event }
                    })
            }
            Phase::Done | Phase::Closed => Ok(NEED_MORE),
            Phase::Failed(error) => Err(*error),
        };
        if let Err(error) = step {
            self.phase = Phase::Failed(error);
        }
        step
    }

    fn head(
        &mut self,
        limits: &Limits,
        input: &[u8],
        request: &mut Request,
    ) -> Result<Step, Error> {
        let Phase::Head { line } = &mut self.phase else {
            return Ok(NEED_MORE);
        };
        let mut skipped = 0;
        // RFC 9112 section 2.2: one empty line is let pass, a flood of them is not.
        if !self.begun
            && !self.empty_line
            && let [b'\r', rest @ ..] = input
        {
            match rest {
                [] => return Ok(NEED_MORE),
                [b'\n', ..] => (skipped, self.empty_line, self.first) = (2, true, false),
                _ => return Err(ErrorKind::BareCarriageReturn.into()),
            }
        }
        let input = input.get(skipped..).unwrap_or_default();
        if input.is_empty() {
            return Ok(Step {
                consumed: skipped,
                event: Event::NeedMore,
            });
        }
        if !self.begun {
            self.begun = true;
            request.clear();
        }
        if self.first && *line == 0 && !is_http1(input)? {
            return Ok(NEED_MORE);
        }
        let Some(length) = head::parse(limits, input, line, request)? else {
            return Ok(Step {
                consumed: skipped,
                event: Event::NeedMore,
            });
        };
        self.first = false;
        self.keep_alive = request.keep_alive;
        self.phase = match request.body {
            BodyLength::None => Phase::Exact { remaining: 0 },
            BodyLength::Exact(remaining) => Phase::Exact { remaining },
            BodyLength::Chunked => Phase::Chunked(Chunked::new()),
        };
        Ok(Step {
            consumed: skipped + length,
            event: Event::Request,
        })
    }

    /// The response is complete: ready for the next request, or closed if the client said that
    /// this one was its last. Without effect unless the state is [`State::Done`].
    pub fn next_cycle(&mut self) {
        if matches!(self.phase, Phase::Done) {
            self.phase = if self.keep_alive {
                Phase::Head { line: 0 }
            } else {
                Phase::Closed
            };
            self.trailers = None;
            self.begun = false;
            self.empty_line = false;
        }
    }

    /// The trailer fields, once, after the [`Event::End`] of a chunked body that had any.
    pub fn trailers(&mut self) -> Option<HeaderBlock> {
        if !matches!(self.phase, Phase::Done) {
            return None;
        }
        self.trailers.take().map(|block| *block)
    }

    /// Declared body bytes still to come; `None` for the chunked coding, and outside a body.
    pub fn body_remaining(&self) -> Option<u64> {
        match self.phase {
            Phase::Exact { remaining } => Some(remaining),
            _ => None,
        }
    }

    /// The peer will send no more.
    ///
    /// # Errors
    /// [`ErrorKind::Incomplete`] if that cuts off a request (RFC 9112 section 8).
    pub fn end_of_input(&self) -> Result<(), Error> {
        match (self.state(), self.body_remaining()) {
            (State::Head, _) => Err(ErrorKind::Incomplete.into()),
            (State::Body, Some(0)) => Ok(()),
            (State::Body, _) => Err(ErrorKind::Incomplete.into()),
            _ => Ok(()),
        }
    }
}

const NEED_MORE: Step = Step {
    consumed: 0,
    event: Event::NeedMore,
};

/// RFC 9113 section 3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether the first bytes of a connection can be read as HTTP/1; `false`: too few to tell.
///
/// # Errors
/// [`ErrorKind::Http2Preface`], [`ErrorKind::TlsOnClearText`].
#[inline]
fn is_http1(input: &[u8]) -> Result<bool, Error> {
    match input {
        [0x16, 0x03, ..] => Err(ErrorKind::TlsOnClearText.into()),
        [0x16] => Ok(false),
        [b'P', ..] if input.starts_with(HTTP2_PREFACE) => Err(ErrorKind::Http2Preface.into()),
        [b'P', ..] if HTTP2_PREFACE.starts_with(input) => Ok(false),
        _ => Ok(true),
    }
}
