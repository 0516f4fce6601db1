//! HTTP/2 on one connection: its streams as exchanges, many at a time. What the client does becomes slots and news here,
//! what applications give goes to the protocol (`output`), and time-outs are found (`deadlines`).
//! Runs no application and needs no GIL; everything happens under the connection's lock.

mod complaints;
mod deadlines;
mod ending;
mod exchanges;
mod gathering;
mod output;
mod pace;

use std::collections::VecDeque;
use std::sync::Arc;

use ferrule_http::error::Error;
use ferrule_http::h2::{Code, Connection, ConnectionError, Event};
use ferrule_http::request::Request;

use super::admission::{Admission, Answer};
use super::connection::{Conn, ConnIo, News};
use super::{Reactor, Style, level};
use crate::exchange::{Phase, Response, SendError, Slot};
use crate::scoreboard::Field;
use complaints::Complaints;
use deadlines::Clock;
use exchanges::Tail;
pub(crate) use exchanges::{Ending, Entry, Exchanges, Piece, Rest};
use gathering::Gathering;

/// Frames for a client that does not read them, in bytes: beyond, what it sends is left in the socket.
const BACKLOG: usize = 64 * 1024;
/// Frames that are worth a write of their own.
const GATHERED: usize = 16 * 1024;

pub(crate) struct H2 {
    pub(crate) http: Connection,
    pub(crate) list: Exchanges,
    /// Streams that go on a little without their exchanges.
    tails: Vec<Tail>,
    events: VecDeque<Event>,
    clock: Clock,
    complaints: Complaints,
    /// A turn will look at the connection, and send what came together until then.
    pub(super) flagged: bool,
    /// Threads that wait for their streams.
    pub(crate) waiting: usize,
    gathering: Gathering,
    /// Part of `--body-memory-total` held by bodies that nobody reads (see `relieve`).
    lent: u64,
    /// For pieces of files.
    buffer: Vec<u8>,
}

impl H2 {
    pub(super) fn new(cx: &Reactor) -> H2 {
        H2 {
            http: Connection::new(cx.config.h2, &cx.config.limits),
            list: Exchanges::default(),
            tails: Vec::new(),
            events: VecDeque::new(),
            clock: Clock::new(cx.now()),
            complaints: Complaints::default(),
            flagged: false,
            waiting: 0,
            gathering: Gathering::default(),
            lent: 0,
            buffer: Vec::new(),
        }
    }

    /// Whether the client reads the frames that it makes us send.
    pub(super) fn may_receive(&self) -> bool {
        self.http.backlog() < BACKLOG
    }

    /// Takes what the client sent; returns how much of it was used.
    pub(super) fn receive(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        news: &mut News,
        bytes: &[u8],
    ) -> Result<usize, ConnectionError> {
        let mut events = std::mem::take(&mut self.events);
        let outcome = self.http.receive(bytes, cx.now(), &mut events);
        for event in events.drain(..) {
            match event {
                Event::Request {
                    stream,
                    request,
                    end_stream,
                } => self.on_request(cx, conn, news, stream, request, end_stream),
                Event::Refused { stream, error } => self.on_refused(cx, conn, news, stream, error),
                Event::Data {
                    stream,
                    range,
                    end_stream,
                } => {
                    let data = bytes.get(range).unwrap_or_default();
                    self.on_data(conn, news, stream, data, end_stream);
                }
                // Neither ASGI nor WSGI has a place for trailers of a request.
                Event::Trailers { stream, .. } => {
                    self.on_data(conn, news, stream, b"", true);
                }
                Event::Reset {
                    stream,
                    by_peer,
                    reason,
                    ..
                } => {
                    if !by_peer {
                        cx.count(Field::BadRequests, 1);
                        self.complaints
                            .add(cx.now(), level::WARNING, "Stream reset", reason);
                    }
                    if let Some(at) = self.list.by_stream(stream) {
                        self.lose(cx, conn, news, at);
                    }
                }
                Event::Writable { stream } => {
                    if let Some(at) = self.list.by_stream(stream) {
                        self.feed(cx, conn, news, at);
                    }
                }
                // It may still have streams; `Connection::is_done` says when it has none.
                Event::GoAway { .. } => {}
            }
        }
        self.events = events;
        self.relieve(cx, conn, news);
        if let Ok(used) = outcome {
            let partial = used < bytes.len();
            self.clock
                .received(cx.now(), used > 0, partial, self.http.in_head());
        }
        outcome
    }

    // ---- requests ------------------------------------------------------------------------------

    /// A slot for a new stream. A `request` gives its contents away and goes back for reuse.
    fn open(
        &mut self,
        cx: &Reactor,
        stream: u32,
        request: Option<Box<Request>>,
    ) -> Option<(usize, &mut Slot)> {
        let mut slot = cx.take_slot();
        slot.id = cx.next_id();
        slot.started_us = cx.turn_us();
        slot.body_since = cx.now();
        slot.log_access = true;
        if let Some(mut request) = request {
            if let Some(own) = slot.request.as_mut().and_then(Arc::get_mut) {
                std::mem::swap(own, &mut *request);
            }
            self.http.recycle(request);
        }
        self.clock.served();
        let at = self.list.push(slot.id, stream, slot);
        self.list.slot(at).map(|slot| (at, slot))
    }

    /// The head is complete: answer it here, collect its body, or hand it to the application.
    fn on_request(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        news: &mut News,
        stream: u32,
        request: Box<Request>,
        end_stream: bool,
    ) {
        let Some((at, slot)) = self.open(cx, stream, Some(request)) else {
            return;
        };
        slot.body_ended = end_stream;
        slot.want_continue = slot.request().expect_continue;
        if slot.request().protocol.is_some() {
            // Extended CONNECT was not announced (RFC 8441, 3).
            return self.answer(cx, conn, news, at, 501, "no protocol by CONNECT", &[]);
        }
        match cx.admit(slot) {
            Admission::Answer(Answer {
                status,
                detail,
                extra,
            }) => self.answer(cx, conn, news, at, status, detail, extra),
            Admission::Collect => self.send_continue(at),
            Admission::Run => news.launches.push(slot.id),
        }
    }

    /// A request, or the body of one, that deserves an error.
    fn on_refused(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        news: &mut News,
        stream: u32,
        error: Error,
    ) {
        let at = match self.list.by_stream(stream) {
            Some(at) => Some(at),
            // It was answered before, and nothing else is due.
            None if self.list.has_known(stream) => None,
            None => self.open(cx, stream, None).map(|(at, _)| at),
        };
        if let Some(at) = at {
            self.refuse(cx, conn, news, at, error.status(), error.message());
        }
    }

    fn on_data(&mut self, conn: &Conn, news: &mut News, stream: u32, data: &[u8], end: bool) {
        let Some(at) = self.list.by_stream(stream) else {
            return;
        };
        let Some(slot) = self.list.slot(at) else {
            return;
        };
        slot.body_seen = slot.body_seen.saturating_add(data.len() as u64);
        slot.body.extend_from_slice(data);
        if end {
            slot.body_ended = true;
            slot.want_continue = false;
        }
        match slot.phase {
            // Within the budget of collected bodies: it takes no window from the other streams.
            Phase::Collecting => {
                if end {
                    slot.phase = Phase::Running;
                    news.launches.push(slot.id);
                }
                self.http.consumed(stream, data.len());
            }
            _ => {
                news.wake.append(&mut slot.receivers);
                self.stir(conn);
            }
        }
    }

    /// Invites the body if the client waits to be asked (RFC 9110, 10.1.1).
    pub(crate) fn send_continue(&mut self, at: usize) {
        let Some(entry) = self.list.get_mut(at) else {
            return;
        };
        let Some(slot) = entry.slot.as_deref_mut() else {
            return;
        };
        if std::mem::take(&mut slot.want_continue) && matches!(slot.response, Response::Waiting) {
            // Fails only when the stream is gone, and then nobody wants it.
            let _ = self.http.interim(entry.stream, 100, &[]);
        }
    }

    /// Sends an interim response (RFC 8297).
    pub(crate) fn interim(
        &mut self,
        at: usize,
        status: u16,
        fields: &[(&[u8], &[u8])],
    ) -> Result<(), SendError> {
        let stream = self.list.get(at).ok_or(SendError::Gone)?.stream;
        self.http
            .interim(stream, status, fields)
            .map_err(output::refusal)
    }

    /// The application has dealt with so much of the request body: the client may send on.
    pub(crate) fn consumed(&mut self, at: usize, count: usize) {
        if let Some(entry) = self.list.get(at) {
            self.http.consumed(entry.stream, count);
        }
    }

    /// Keeps streams that somebody reads going when data that nobody reads has taken up the connection's window: its
    /// bytes then count to the budget of collected bodies instead. Without budget, the latest stream that no thread has
    /// taken up yet is refused, which tells the client to try again (RFC 9113, 8.7).
    pub(crate) fn relieve(&mut self, cx: &Reactor, conn: &Arc<Conn>, news: &mut News) {
        let held = self.http.blocked_by_held();
        if held == 0 || !self.list.iter().any(wants_data) {
            return;
        }
        if cx.reserve_body(held.into()) {
            self.lent = self.lent.saturating_add(held.into());
            return self.http.lend(held);
        }
        let waits = |entry: &Entry| {
            !entry.taken
                && entry
                    .slot
                    .as_ref()
                    .is_some_and(|slot| slot.phase == Phase::Running && slot.body_len() > 0)
        };
        if let Some(at) = (0..self.list.len())
            .rev()
            .find(|at| self.list.get(*at).is_some_and(waits))
        {
            self.reset(cx, conn, news, at, Code::RefusedStream);
        }
    }

    /// Whether a response that a thread has completed goes out with the next one.
    fn gathers(&mut self, cx: &Reactor) -> bool {
        let to_run = |entry: &Entry| {
            !entry.taken
                && entry
                    .slot
                    .as_ref()
                    .is_some_and(|slot| slot.phase == Phase::Running)
        };
        self.http.backlog() < GATHERED
            && self.list.iter().rev().any(to_run)
            && self.gathering.waits(cx.precise_us())
    }

    /// Gives the budget back as lent bytes are consumed.
    fn repay(&mut self, cx: &Reactor) {
        let lent = u64::from(self.http.lent());
        if self.lent > lent {
            cx.release_body(self.lent - lent);
            self.lent = lent;
        }
    }
}

/// Whether somebody waits for more of a request's body.
fn wants_data(entry: &Entry) -> bool {
    entry.slot.as_ref().is_some_and(|slot| {
        !slot.body_ended
            && (slot.phase == Phase::Collecting || slot.reading && slot.body_len() == 0)
    })
}

impl ConnIo {
    /// From here on the connection speaks HTTP/2: its client said so by the preface, or by ALPN.
    pub(crate) fn speak_h2(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        self.drop_slot(cx);
        self.h2 = Some(Box::new(H2::new(cx)));
        conn.share();
    }

    /// Takes received bytes; returns how many were used.
    pub(super) fn receive_h2(&mut self, cx: &Reactor, conn: &Arc<Conn>, bytes: &[u8]) -> usize {
        let Some(h2) = self.h2.as_deref_mut() else {
            return bytes.len();
        };
        match h2.receive(cx, conn, &mut self.news, bytes) {
            Ok(used) => used,
            Err(error) => {
                cx.count(Field::BadRequests, 1);
                h2.complaints
                    .tell_end(cx, conn, level::WARNING, &error.to_string());
                self.end_h2(cx, conn);
                bytes.len()
            }
        }
    }

    /// The connection is at its end: what is left to do is to send GOAWAY, and to close.
    pub(super) fn end_h2(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        let Some(mut h2) = self.h2.take() else {
            return;
        };
        h2.abandon(cx, conn, &mut self.news);
        h2.http
            .poll_output(self.out.tail(), 0, &mut VecDeque::new());
        self.start_lingering(cx);
        self.flush(cx, conn);
    }

    pub(super) fn on_eof_h2(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        if let Some(h2) = self.h2.as_deref_mut() {
            h2.on_eof(cx, conn, &mut self.news);
        }
    }

    /// After bytes were read, or the socket takes more.
    pub(super) fn on_moved_h2(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        if let Some(h2) = self.h2.as_deref_mut() {
            h2.flagged = false;
        }
        if cx.style == Style::Streaming && !self.news.launches.is_empty() {
            // Applications may answer at once, and one write takes all.
            self.ask_for_turn(cx, conn);
        } else {
            self.pump(cx, conn);
        }
        self.settle(cx, conn);
    }

    /// Asks for a turn that sends what comes together until then.
    pub(crate) fn ask_for_turn(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        if let Some(h2) = self.h2.as_deref_mut()
            && !std::mem::replace(&mut h2.flagged, true)
        {
            cx.look_again(conn);
        }
    }

    /// Whether something waits to be sent or delivered that nobody has announced.
    pub(crate) fn wants_turn_h2(&self) -> bool {
        let frames = |h2: &H2| !h2.flagged && h2.http.has_output();
        self.has_news() || self.h2.as_deref().is_some_and(frames)
    }

    /// After an application gave the end of a response. A thread that has more of the connection's requests to run may
    /// have the next response in no time; if it has not, whoever polls sends this one.
    pub(crate) fn on_answered_h2(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        let gathers = |h2: &mut H2| cx.style == Style::Buffering && h2.gathers(cx);
        if self.h2.as_deref_mut().is_some_and(gathers) {
            self.ask_for_turn(cx, conn);
        } else {
            self.on_given_h2(cx, conn);
        }
    }

    /// After an application gave something to send.
    pub(crate) fn on_given_h2(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        match cx.style {
            Style::Streaming => self.ask_for_turn(cx, conn),
            Style::Buffering => {
                self.pump(cx, conn);
                self.settle(cx, conn);
            }
        }
        if self.has_news() {
            cx.look_again(conn);
        }
    }
}
