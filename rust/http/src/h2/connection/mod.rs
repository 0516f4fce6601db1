//! One HTTP/2 connection, seen from the server: octets in, events out; decisions in, octets out.
//!
//! The owner calls [`Connection::receive`] with what it read, acts on the events, and calls
//! [`Connection::poll_output`] when its socket takes octets. Request bodies are acknowledged to
//! the client as the owner calls [`Connection::consumed`]; response bodies are taken as far as
//! there is room, and [`Event::Writable`] says when there is again. Every stream that an event
//! announced is the owner's until it calls [`Connection::release`].
//!
//! Nothing here knows sockets, clocks (the caller passes milliseconds) or applications.

mod body;
mod headers;
mod output;
mod receive;
mod send;

use std::collections::VecDeque;
use std::ops::Range;

use super::error::{Code, ConnectionError};
use super::flow::{DEFAULT_WINDOW, ReceiveWindow, SendWindow};
use super::frame::{GoAway, HEAD_LEN, MAX_31, Ping, RstStream, WindowUpdate};
use super::guard::{Flood, Guard};
use super::priority::{Priority, Scheduler};
use super::request::Section;
use super::settings::{PeerSettings, Settings, TABLE_SIZE};
use super::stream::{Cause, Finish, Response, State};
use super::streams::Streams;
use crate::error::Error;
use crate::fields::HeaderBlock;
use crate::h1::encode::ResponseError;
use crate::hpack::{Decoder, Encoder};
use crate::limits::Limits;
use crate::request::Request;

/// What every client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Requests, and queue buffers, that are kept for their memory while the connection is busy: as
/// many as usual clients have streams under way.
const SPARES: usize = 32;

/// Octets that one spare may hold. Larger ones are rare, and not worth keeping.
const SPARE_CAPACITY: usize = 16 * 1024;

/// Octets of a request body that are skipped after its response: as much as HTTP/1.1 would skip to
/// keep its connection.
const LATE_BODY: u32 = 64 * 1024;

/// What a stream waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    Nothing,
    /// Its turn among the other streams, or the connection's window.
    Turn,
    /// The client is to open the stream's window.
    Window,
    /// The response is out, and the client is to end its request.
    End,
}

/// What the client did, in its order.
#[derive(Debug)]
pub enum Event {
    /// A request head. The stream is the owner's until it is released.
    Request {
        stream: u32,
        request: Box<Request>,
        /// There is no body and there are no trailers.
        end_stream: bool,
    },
    /// A request that deserves an answer with the error's status, given through
    /// [`Connection::respond`]. Its body is not delivered. For a stream that is known already the
    /// error concerns its body: what is left of it is not delivered.
    Refused { stream: u32, error: Error },
    /// Octets of a request body: `range` of the input of this call. May be empty at the end.
    Data {
        stream: u32,
        range: Range<usize>,
        end_stream: bool,
    },
    /// The end of a request body, with trailers.
    Trailers { stream: u32, trailers: HeaderBlock },
    /// The stream is gone: nothing more arrives and nothing can be sent. A stream that no event
    /// announced may be among them, when its request was malformed.
    Reset {
        stream: u32,
        code: Code,
        /// The client reset it; otherwise a fault of the client's made this side reset it.
        by_peer: bool,
        /// One short line for the log.
        reason: &'static str,
    },
    /// The stream takes data again, after [`Connection::data`] took less than it was given or
    /// [`Connection::room`] was 0.
    Writable { stream: u32 },
    /// The client opens no further streams on this connection.
    GoAway { code: Code, last_stream: u32 },
}

/// Why something could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The stream is not there any more: the client reset it, or it was released.
    Closed,
    /// Out of order: a second head, data before the head or after the end.
    Order,
    /// What the application gave is wrong; the stream was reset with INTERNAL_ERROR if the client
    /// has seen a part of the response.
    Response(ResponseError),
}

impl From<ResponseError> for SendError {
    fn from(error: ResponseError) -> Self {
        Self::Response(error)
    }
}

/// What the next octets of input are.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// The rest of the client preface, from this octet on.
    Preface(usize),
    /// A frame head, and the payload of every frame but DATA.
    Frame,
    /// The payload of a DATA frame.
    Data {
        stream: u32,
        left: u32,
        padding: u32,
        end_stream: bool,
    },
    /// Octets without consequence.
    Skip(u32),
}

/// How far a graceful end has come (RFC 9113 section 6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    No,
    /// The client was told that this connection ends, and may still open streams.
    Announced,
    /// It was told the last stream that is served.
    Final(u32),
}

/// The payload of the PING that follows the first GOAWAY: when it comes back, the client has read
/// that GOAWAY.
const DRAIN_PING: [u8; 8] = *b"draining";

/// One connection.
#[derive(Debug)]
pub struct Connection {
    settings: Settings,
    limits: Limits,
    peer: PeerSettings,
    /// Our SETTINGS were acknowledged.
    acknowledged: bool,
    /// The client's first SETTINGS have come.
    greeted: bool,
    failed: Option<ConnectionError>,
    drain: Drain,
    peer_leaves: bool,

    reading: Reading,
    /// A header block that is not complete: nothing but its CONTINUATION may come.
    block: Option<headers::Block>,
    section: Section,
    decoder: Decoder,
    encoder: Encoder,

    streams: Streams,
    /// Priorities that came before their streams (RFC 9218 section 7.1).
    early: VecDeque<(u32, Priority)>,
    receive: ReceiveWindow,
    /// Octets given back to the connection's window although no stream's owner has consumed them.
    lent: u32,
    send: SendWindow,
    guard: Guard,

    /// Frames in the order in which they go out, data of the scheduled streams after them.
    pending: Vec<u8>,
    scheduler: Scheduler,
    /// Octets of data in all queues.
    queued: usize,
    /// Octets of data ever put into frames.
    sent: u64,

    #[allow(
        clippy::vec_box,
        reason = "they are handed out as boxes, which move in one word"
    )]
    spare_requests: Vec<Box<Request>>,
    spare_queues: Vec<Vec<u8>>,
}

impl Connection {
    /// A connection whose client has sent nothing yet; the server's part of the preface is ready
    /// to be sent. `limits` holds for each request as it does in HTTP/1.1.
    #[must_use]
    pub fn new(settings: Settings, limits: &Limits) -> Self {
        let settings = settings.in_range();
        let mut pending = Vec::new();
        settings.encode(&mut pending);
        let increment = settings.connection_window - DEFAULT_WINDOW;
        if increment > 0 {
            WindowUpdate {
                stream: 0,
                increment,
            }
            .encode(&mut pending);
        }
        Self {
            settings,
            limits: limits.clone(),
            peer: PeerSettings::default(),
            acknowledged: false,
            greeted: false,
            failed: None,
            drain: Drain::No,
            peer_leaves: false,
            reading: Reading::Preface(0),
            block: None,
            section: Section::new(),
            decoder: Decoder::new(TABLE_SIZE),
            encoder: Encoder::new(),
            streams: Streams::default(),
            early: VecDeque::new(),
            receive: ReceiveWindow::new(settings.connection_window, settings.connection_window),
            lent: 0,
            send: SendWindow::new(DEFAULT_WINDOW),
            guard: Guard::default(),
            pending,
            scheduler: Scheduler::default(),
            queued: 0,
            sent: 0,
            spare_requests: Vec::new(),
            spare_queues: Vec::new(),
        }
    }

    /// Octets that the input buffer must be able to hold: the largest frame that is not delivered
    /// in pieces.
    #[must_use]
    pub const fn input_capacity(&self) -> usize {
        self.settings.max_frame_size as usize + HEAD_LEN
    }

    /// Streams that are open, or not released yet.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether a request head has begun and not ended: the time limit on heads applies.
    #[must_use]
    pub const fn in_head(&self) -> bool {
        self.block.is_some() || !self.greeted
    }

    /// Octets of response data ever put into frames, to see whether a slow client makes progress.
    #[must_use]
    pub const fn data_sent(&self) -> u64 {
        self.sent
    }

    /// Octets of one stream's response data put into frames.
    #[must_use]
    pub fn data_sent_on(&self, stream: u32) -> u64 {
        self.streams.get(stream).map_or(0, |stream| stream.sent)
    }

    /// Whether response data waits for the client to open the connection's window.
    #[must_use]
    pub fn waits_for_window(&self) -> bool {
        self.queued > 0 && self.send.available() == 0
    }

    /// Whether response data waits for the client to open any window.
    #[must_use]
    pub fn waits_for_windows(&self) -> bool {
        self.queued > 0 && !self.can_send_data()
    }

    /// What a live stream waits for that only its client can do.
    #[must_use]
    pub fn waits_for_client(&self, stream: u32) -> Waits {
        match self.streams.get(stream) {
            Some(stream) if stream.queued() > 0 && stream.send.available() == 0 => Waits::Window,
            Some(stream) if stream.released && stream.state == State::HalfClosedLocal => Waits::End,
            Some(stream) if stream.queued() > 0 => Waits::Turn,
            _ => Waits::Nothing,
        }
    }

    /// Whether [`Connection::poll_output`] would write something.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.pending.is_empty() || self.can_send_data()
    }

    /// Octets of frames that are ready to be sent, queued data not counted. A client that makes us
    /// write and does not read lets them grow: the caller then reads no further.
    #[must_use]
    pub const fn backlog(&self) -> usize {
        self.pending.len()
    }

    fn can_send_data(&self) -> bool {
        !self.scheduler.is_empty() && self.send.available() > 0 && self.failed.is_none()
    }

    /// Begins a graceful end, or brings it to its second step: the first call tells the client
    /// that the connection ends, the second one (made when the client has seen the first, or by
    /// the caller after a while) which streams are still served.
    pub fn drain(&mut self) {
        match self.drain {
            _ if self.failed.is_some() => {}
            Drain::No => {
                self.drain = Drain::Announced;
                self.go_away(MAX_31, Code::NoError, "");
                Ping {
                    ack: false,
                    opaque: DRAIN_PING,
                }
                .encode(&mut self.pending);
            }
            Drain::Announced => {
                let last = self.streams.last();
                self.drain = Drain::Final(last);
                self.go_away(last, Code::NoError, "");
            }
            Drain::Final(_) => {}
        }
    }

    /// Whether there is nothing left to do but to send what is pending and to close: a drain has
    /// come to its end, or the client said that it leaves, and no stream is left.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let ending = matches!(self.drain, Drain::Final(_)) || self.peer_leaves;
        self.failed.is_some() || (ending && self.streams.len() == 0 && self.block.is_none())
    }

    fn go_away(&mut self, last_stream: u32, code: Code, reason: &str) {
        GoAway {
            last_stream,
            code,
            debug: reason.as_bytes(),
        }
        .encode(&mut self.pending);
    }

    /// Ends the connection for a reason that the caller found. GOAWAY is pending then.
    pub fn end(&mut self, code: Code, reason: &'static str) {
        self.fail(ConnectionError { code, reason });
    }

    /// The connection is over.
    fn fail(&mut self, error: ConnectionError) {
        if self.failed.is_none() {
            self.failed = Some(error);
            let last = match self.drain {
                Drain::Final(last) => last,
                _ => self.streams.last(),
            };
            self.go_away(last, error.code, error.reason);
        }
    }

    /// Gives a request back, so that a later one need not allocate.
    pub fn recycle(&mut self, mut request: Box<Request>) {
        let small = request.block.capacity() <= SPARE_CAPACITY;
        if small && self.spare_requests.len() < SPARES {
            request.clear();
            self.spare_requests.push(request);
        }
    }

    /// Gives all memory back that is kept for further requests: for a connection that has become
    /// idle.
    pub fn shrink(&mut self) {
        self.spare_requests = Vec::new();
        self.spare_queues = Vec::new();
        self.pending.shrink_to_fit();
        *self.section.request = Request::new();
        self.streams.shrink();
        self.scheduler.shrink();
    }

    /// Resets a stream: the application failed, or does not want it any more, or the client takes
    /// too long. One that is not released is still to be.
    pub fn reset(&mut self, stream: u32, code: Code) {
        let Some(found) = self.streams.get_mut(stream) else {
            return;
        };
        if !found.state.is_closed() {
            found.state = found.state.send_reset();
            self.streams.ended();
            if self.failed.is_none() {
                RstStream { stream, code }.encode(&mut self.pending);
            }
            self.drop_output(stream);
            self.settle(stream);
        }
    }

    /// The owner is done with the stream. What is queued of a complete response is still sent; an
    /// incomplete one is reset, so that nobody takes it for the whole. The rest of the request is
    /// skipped, so that a client which has not read the response yet finds it, and hears of what is
    /// wrong with its frames; beyond [`LATE_BODY`] it is told to stop (RFC 9113 section 8.1).
    pub fn release(&mut self, stream: u32) {
        let Some(found) = self.streams.get_mut(stream) else {
            return;
        };
        found.released = true;
        let unconsumed = std::mem::take(&mut found.unconsumed);
        // From here on what arrives is credited at once.
        found.discard = true;
        let complete = matches!(found.response, Response::Complete | Response::Bodiless);
        let closed = found.state.is_closed();
        self.credit_connection(unconsumed);
        if !closed && !complete {
            self.reset(stream, Code::InternalError);
        }
        self.settle(stream);
    }

    /// Forgets a stream that nobody needs any more.
    fn settle(&mut self, number: u32) {
        let Some(stream) = self.streams.get(number).filter(|stream| stream.released) else {
            return;
        };
        if let State::Closed(cause) = stream.state
            && let Some(stream) = self.streams.remove(number, cause)
        {
            self.keep_queue(stream.queue);
        }
    }

    fn keep_queue(&mut self, mut queue: Vec<u8>) {
        let worthwhile = (1..=SPARE_CAPACITY).contains(&queue.capacity());
        if worthwhile && self.spare_queues.len() < SPARES {
            queue.clear();
            self.spare_queues.push(queue);
        }
    }

    /// Drops what is queued on a stream that can send nothing any more.
    fn drop_output(&mut self, number: u32) {
        let Some(stream) = self.streams.get_mut(number) else {
            return;
        };
        if stream.scheduled {
            stream.scheduled = false;
            self.scheduler.remove(number, stream.priority);
        }
        self.queued -= stream.queued();
        stream.start = 0;
        stream.finish = Finish::Open;
        let queue = std::mem::take(&mut stream.queue);
        self.keep_queue(queue);
    }

    /// Octets of the connection's window were dealt with.
    fn credit_connection(&mut self, octets: u32) {
        let repaid = octets.min(self.lent);
        self.lent -= repaid;
        self.credit_window(octets - repaid);
    }

    fn credit_window(&mut self, octets: u32) {
        if let Some(increment) = self.receive.credit(octets) {
            WindowUpdate {
                stream: 0,
                increment,
            }
            .encode(&mut self.pending);
        }
    }

    /// A fault of the client's ends a stream, live or not.
    fn stream_fault(
        &mut self,
        stream: u32,
        code: Code,
        reason: &'static str,
        events: &mut VecDeque<Event>,
    ) -> Result<(), ConnectionError> {
        self.guard.spend(Flood::Reset)?;
        self.guard.queue_reply()?;
        match self.streams.get_mut(stream) {
            Some(live) if live.state.is_closed() => {
                // Once is enough: whatever else comes is taken to have crossed this.
                live.state = State::Closed(Cause::ResetHere);
                RstStream { stream, code }.encode(&mut self.pending);
                return Ok(());
            }
            Some(_) => self.reset(stream, code),
            None => {
                self.streams.reset_again(stream);
                RstStream { stream, code }.encode(&mut self.pending);
            }
        }
        events.push_back(Event::Reset {
            stream,
            code,
            by_peer: false,
            reason,
        });
        self.settle(stream);
        Ok(())
    }
}
