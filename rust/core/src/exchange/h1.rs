//! An exchange over HTTP/1: it has its connection to itself, and what it writes goes to the outbox.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

use ferrule_http::h1::encode::{ResponseError, ResponseHead, encode_interim};
use ferrule_http::request::Version;

use super::slot::{Phase, Response, Slot};
use super::{
    Carrier, Direct, Exchange, FilePart, Gone, Read, SendError, Sent, WAIT_STEP_MS, WRITE_THROUGH,
    WaitFor, error_page,
};
use crate::reactor::connection::{Conn, ConnIo, HIGH_WATER, LOW_WATER};
use crate::reactor::poller::ready;
use crate::reactor::{Reactor, SCRATCH, Style};

/// The exchange at hand of a locked connection.
pub(super) struct Http1<'a> {
    io: &'a mut ConnIo,
    conn: &'a Arc<Conn>,
    id: u64,
    /// The end of the response may stay in the outbox, for the caller to conclude it.
    pub(super) may_wait: bool,
}

impl<'a> Http1<'a> {
    pub(super) fn new(io: &'a mut ConnIo, conn: &'a Arc<Conn>, id: u64) -> Http1<'a> {
        Http1 {
            io,
            conn,
            id,
            may_wait: false,
        }
    }

    pub(super) fn slot(&mut self) -> Option<&mut Slot> {
        self.io.slot.as_deref_mut()
    }

    pub(super) fn send(
        &mut self,
        cx: &Reactor,
        head: Option<&ResponseHead>,
        data: &[u8],
        more: bool,
    ) -> Result<Sent, SendError> {
        let length = if more { None } else { Some(data.len() as u64) };
        let go_on = self.begin(cx, head, length);
        let io = &mut *self.io;
        let Some(slot) = io.slot.as_deref_mut() else {
            return Err(SendError::Gone);
        };
        let Response::Body(writer) = &mut slot.response else {
            return Err(SendError::Gone);
        };
        let mut written = Ok(());
        let mut bare = false;
        if !data.is_empty() {
            if data.len() >= WRITE_THROUGH {
                match writer.before(io.out.tail(), data.len() as u64) {
                    Ok(wanted) => bare = wanted,
                    Err(error) => written = Err(error),
                }
            } else {
                written = writer.data(io.out.tail(), data);
            }
        }
        if let Err(error) = written {
            return Err(self.abandon(cx, error));
        }
        slot.sent = slot.sent.saturating_add(data.len() as u64);
        if bare {
            let mut writer = *writer;
            // A client that is full has its time from here on, however long the application took.
            cx.tick();
            io.write_through(cx, self.conn, data);
            writer.after(io.out.tail());
            if let Some(slot) = io.slot.as_deref_mut()
                && matches!(slot.response, Response::Body(_))
            {
                slot.response = Response::Body(writer);
            }
        }
        if !more {
            self.finish_in(cx, &[], go_on)
        } else {
            Ok(self.pass_on(cx))
        }
    }

    pub(super) fn send_file(
        &mut self,
        cx: &Reactor,
        head: Option<&ResponseHead>,
        part: FilePart,
        more: bool,
    ) -> Result<Sent, SendError> {
        let go_on = self.begin(cx, head, if more { None } else { Some(part.length) });
        let io = &mut *self.io;
        let Some(slot) = io.slot.as_deref_mut() else {
            return Err(SendError::Gone);
        };
        let Response::Body(writer) = &mut slot.response else {
            return Err(SendError::Gone);
        };
        match if part.length == 0 {
            Ok(false)
        } else {
            writer.before(io.out.tail(), part.length)
        } {
            Ok(true) => {
                slot.sent = slot.sent.saturating_add(part.length);
                io.out.push_file(part.file, part.offset, part.length);
                writer.after(io.out.tail());
            }
            Ok(false) => {}
            Err(error) => return Err(self.abandon(cx, error)),
        }
        if !more {
            self.finish_in(cx, &[], go_on)
        } else {
            Ok(self.pass_on(cx))
        }
    }

    pub(super) fn finish(
        &mut self,
        cx: &Reactor,
        head: Option<&ResponseHead>,
        trailers: &[(&[u8], &[u8])],
    ) -> Result<Sent, SendError> {
        let length = if trailers.is_empty() { Some(0) } else { None };
        let go_on = self.begin(cx, head, length);
        self.finish_in(cx, trailers, go_on)
    }

    pub(super) fn interim(
        &mut self,
        cx: &Reactor,
        status: u16,
        fields: &[(&[u8], &[u8])],
    ) -> Result<(), SendError> {
        let io = &mut *self.io;
        let Some(slot) = io.slot.as_deref_mut() else {
            return Err(SendError::Gone);
        };
        // HTTP/1.0 clients do not know interim responses (RFC 9110, 15.2).
        if !matches!(slot.response, Response::Waiting) || slot.request().version == Version::Http10
        {
            return Ok(());
        }
        io.out.lend(std::mem::take(&mut slot.spare));
        encode_interim(io.out.tail(), status, fields).map_err(SendError::Framing)?;
        io.flush(cx, self.conn);
        Ok(())
    }

    pub(super) fn refuse(&mut self, cx: &Reactor, status: u16, why: &str) {
        let complete = |slot: &Slot| matches!(slot.response, Response::Complete);
        if self.io.slot.as_deref().is_some_and(complete) {
            return;
        }
        self.io.refuse_with(cx, self.conn, status, why);
        self.io.settle(cx, self.conn);
        self.announce(cx);
    }

    pub(super) fn fail(&mut self, cx: &Reactor, page: Option<&[u8]>) {
        let io = &mut *self.io;
        let go_on = io.may_go_on(cx);
        let Some(slot) = io.slot.as_deref_mut() else {
            return;
        };
        match (&slot.response, page) {
            (Response::Complete, _) => {}
            (Response::Body(_) | Response::Stream, _) => return io.reset(cx, self.conn),
            (Response::Waiting, None) => {
                slot.answer(cx, &mut io.out, 500, "the application failed", &[], go_on);
                io.complete(cx, self.conn, go_on);
                io.flush(cx, self.conn);
            }
            (Response::Waiting, Some(page)) => {
                let head = error_page();
                let go_on = self.begin(cx, head.as_ref(), Some(page.len() as u64));
                if let Some(slot) = self.io.slot.as_deref_mut()
                    && let Response::Body(writer) = &mut slot.response
                    && writer.data(self.io.out.tail(), page).is_ok()
                {
                    slot.sent = page.len() as u64;
                    let _ = self.finish_in(cx, &[], go_on);
                }
            }
        }
        self.io.settle(cx, self.conn);
        self.announce(cx);
    }

    pub(super) fn give_up(&mut self, cx: &Reactor) {
        self.io.close(cx, self.conn);
    }

    pub(super) fn read(
        &mut self,
        cx: &Reactor,
        to: &mut Vec<u8>,
        limit: usize,
        scratch: &mut Vec<u8>,
    ) -> Read {
        let io = &mut *self.io;
        io.send_continue(cx, self.conn);
        if io
            .slot
            .as_ref()
            .is_some_and(|slot| slot.body_len() == 0 && !slot.body_ended)
        {
            // The socket may have more by now; a look costs less than a turn of the loop.
            scratch.resize(SCRATCH, 0);
            io.advance(cx, self.conn, scratch);
        }
        let taken = match io.slot.as_deref_mut() {
            Some(slot) if slot.id == self.id => slot.take_body(to, limit),
            _ => 0,
        };
        self.has_read(cx, taken)
    }

    /// None: there is nothing `read_into` could read that `read` would not.
    pub(super) fn direct(&self, cx: &Reactor) -> Option<Direct> {
        let here = self.io.slot.as_deref()?.body_len();
        let room = self.io.direct_room(cx)?;
        Some(Direct {
            length: here.saturating_add(room),
            whole: self.io.http.body_remaining() == Some(room as u64),
        })
    }

    /// Moves body bytes to `to`, from the socket straight away; also says how many.
    pub(super) fn read_into(&mut self, cx: &Reactor, to: &mut [MaybeUninit<u8>]) -> (Read, usize) {
        let taken = self.io.read_body(cx, self.conn, to);
        (self.has_read(cx, taken), taken)
    }

    fn has_read(&mut self, cx: &Reactor, taken: usize) -> Read {
        let io = &mut *self.io;
        let hung_up = io.has_hung_up() || !io.is_open();
        // Once it is answered, what is left of its body is thrown away.
        let runs = |slot: &&mut Slot| slot.id == self.id && slot.phase == Phase::Running;
        let Some(slot) = io.slot.as_deref_mut().filter(runs) else {
            // What was read may have been its fault, and that was the answer.
            io.settle(cx, self.conn);
            self.announce(cx);
            return Read::Gone;
        };
        if taken == 0 {
            return match (slot.body_ended, hung_up) {
                (true, _) => Read::Data { more: false },
                (false, true) => Read::Gone,
                (false, false) => {
                    slot.reading = true;
                    io.settle(cx, self.conn);
                    Read::Wait
                }
            };
        }
        let more = !slot.body_ended || slot.body_len() > 0;
        let waited = std::mem::take(&mut slot.reading);
        // Room was made: what the kernel or the look-ahead holds can follow.
        if !slot.body_ended && cx.style == Style::Streaming {
            cx.look_again(self.conn);
        }
        if waited {
            io.settle(cx, self.conn);
        }
        Read::Data { more }
    }

    pub(super) fn release_held(&mut self, cx: &Reactor) {
        if !self.io.out.is_empty() {
            self.io.flush(cx, self.conn);
            self.io.settle(cx, self.conn);
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.io.out.pending() <= LOW_WATER
    }

    // ---- the parts of sending ------------------------------------------------------------------

    /// Encodes the head if it is still to come. Returns whether another request may follow on the connection.
    fn begin(&mut self, cx: &Reactor, head: Option<&ResponseHead>, length: Option<u64>) -> bool {
        let io = &mut *self.io;
        let go_on = io.may_go_on(cx);
        let reusable = io.is_reusable();
        let Some(slot) = io.slot.as_deref_mut() else {
            return false;
        };
        if let (Response::Waiting, Some(head)) = (&slot.response, head) {
            io.out.lend(std::mem::take(&mut slot.spare));
            let writer = {
                let defaults = cx.defaults();
                head.encode(io.out.tail(), &slot.options(go_on, length, &defaults))
            };
            slot.status = head.status();
            slot.log_access &= head.log_access();
            slot.response = Response::Body(writer);
        }
        match &slot.response {
            Response::Body(writer) => writer.keep_alive() && reusable,
            _ => false,
        }
    }

    fn finish_in(
        &mut self,
        cx: &Reactor,
        trailers: &[(&[u8], &[u8])],
        go_on: bool,
    ) -> Result<Sent, SendError> {
        let io = &mut *self.io;
        let Some(slot) = io.slot.as_deref_mut() else {
            return Err(SendError::Gone);
        };
        let Response::Body(writer) = &mut slot.response else {
            return Err(SendError::Gone);
        };
        if let Err(error) = writer.finish(io.out.tail(), trailers) {
            return Err(self.abandon(cx, error));
        }
        slot.response = Response::Complete;
        if self.may_wait && go_on && io.out.is_short() {
            // `--limit-concurrency` counts what applications have.
            cx.request_ended(slot);
            return Ok(Sent::Later);
        }
        // The application may have taken its time, and deadlines run from the end of its response.
        cx.tick();
        self.conclude(cx, go_on);
        Ok(Sent::Ok)
    }

    pub(super) fn conclude(&mut self, cx: &Reactor, go_on: bool) {
        self.io.conclude(cx, self.conn, go_on);
        self.announce(cx);
    }

    fn pass_on(&mut self, cx: &Reactor) -> Sent {
        self.io.flush(cx, self.conn);
        self.io.settle(cx, self.conn);
        self.announce(cx);
        if self.io.out.pending() > HIGH_WATER {
            Sent::Wait
        } else {
            Sent::Ok
        }
    }

    /// What happened outside a turn has to reach the driver.
    fn announce(&self, cx: &Reactor) {
        if self.io.has_news() {
            cx.look_again(self.conn);
        }
    }

    fn abandon(&mut self, cx: &Reactor, error: ResponseError) -> SendError {
        self.io.reset(cx, self.conn);
        SendError::Framing(error)
    }
}

/// Waits for the socket, which is the exchange's own, moves what it brings and enforces the deadlines.
pub(super) fn wait(
    exchange: &Exchange,
    cx: &Reactor,
    what: WaitFor,
    scratch: &mut Vec<u8>,
) -> Result<(), Gone> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    cx.tick();
    let conn = &exchange.conn;
    // The descriptor is kept open, so that its number cannot become another's.
    let (fd, left) = {
        let mut io = conn.io();
        let Carrier::Http1(http1) = exchange.find(&mut io)? else {
            return Err(Gone);
        };
        http1.io.settle(cx, conn);
        let left = conn.deadline().saturating_sub(cx.now());
        let fd = http1.io.wait_handle().ok_or(Gone)?;
        (fd, left.min(WAIT_STEP_MS))
    };
    let flags = match what {
        WaitFor::Body => PollFlags::IN,
        WaitFor::Room => PollFlags::OUT,
    };
    let mut watched = [PollFd::new(&*fd, flags)];
    let left = Duration::from_millis(left);
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(1),
        tv_nsec: left.subsec_nanos().into(),
    };
    // An error or a signal counts as a look at the clock.
    let _ = poll(&mut watched, Some(&timeout));
    let seen = watched.first().map_or(PollFlags::empty(), PollFd::revents);
    cx.tick();
    let mut bits = 0;
    if seen.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
        bits |= ready::READ;
    }
    if seen.contains(PollFlags::OUT) {
        bits |= ready::WRITE;
    }
    if seen.intersects(PollFlags::HUP | PollFlags::ERR) {
        bits |= ready::GONE;
    }
    let mut io = conn.io();
    if let Ok(Carrier::Http1(http1)) = exchange.find(&mut io) {
        scratch.resize(SCRATCH, 0);
        http1.io.on_ready(cx, conn, bits, scratch);
        http1.io.on_deadline(cx, conn);
        http1.io.settle(cx, conn);
    }
    Ok(())
}
