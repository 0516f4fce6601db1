//! What a connection receives: read from its socket as far as there is room for what comes out of it, and parsed.
//! Knows what a head and a body are for the connection, not what becomes of them.

use std::mem::MaybeUninit;
use std::sync::Arc;

use ferrule_http::h1::{Event, Step};
use ferrule_http::request::Request;
use rustix::buffer::spare_capacity;
use rustix::io::{self, Errno, ioctl_fionread};
use rustix::net::{RecvFlags, recv};

use super::requests::SKIP_BODY;
use super::{Conn, ConnIo, LOW_WATER};
use crate::exchange::Phase;
use crate::reactor::transport::Transport;
use crate::reactor::{Reactor, Style};
use crate::scoreboard::Field;

/// Request body bytes held for an application that streams them; beyond, the socket is left alone.
const BODY_WATER: usize = 128 * 1024;
/// Bytes that one connection may send before others have their turn.
const TURN: usize = 1024 * 1024;
/// The same of an HTTP/2 connection, which may be thousands of frames: a millisecond's work at worst.
const H2_TURN: usize = 128 * 1024;
/// Pipelined bytes read while a response is under way: enough to see that the client hangs up, bounded.
const LOOKAHEAD: usize = 16 * 1024;
/// Read at once where a request may begin: heads and small bodies fit, and most of a large body is left for
/// `receive_body`, which does not copy it.
const FIRST_READ: usize = 16 * 1024;
/// The rest of a body that is shorter is received before a thread is taken: to ask whether it is there costs as much.
const WORTH_LEAVING: u64 = 8 * 1024;
/// A body is read with room for this much more: a read that leaves some of it free has emptied the socket.
pub(crate) const SLACK: usize = 512;

/// What one read of the socket brought.
struct Received {
    /// 0: FIN.
    count: usize,
    /// There was room for more.
    room_left: bool,
}

impl ConnIo {
    /// Reads and parses as far as there is room for what comes out of it.
    pub(crate) fn advance(&mut self, cx: &Reactor, conn: &Arc<Conn>, scratch: &mut [u8]) {
        let mut left = if self.h2.is_some() { H2_TURN } else { TURN };
        loop {
            if self.unconsumed() > 0 && self.may_parse() {
                self.parse_input(cx, conn);
            }
            if !self.readable || !self.wants_input() {
                // A request that FIN cut off may come to light only when the one before it is answered.
                let cut_off = self
                    .slot
                    .as_ref()
                    .is_some_and(|slot| slot.phase != Phase::Running);
                if self.read_closed && cut_off && self.may_parse() {
                    self.on_eof(cx, conn);
                }
                return;
            }
            if self.leaves_body(cx) {
                return cx.look_again(conn);
            }
            if self.has_come(cx) {
                return self.begin();
            }
            if left == 0 {
                // Edge-triggered: no event will tell of the rest.
                return cx.look_again(conn);
            }
            if !matches!(self.transport, Transport::Clear) {
                let Some(count) = self.receive_sealed(cx, conn, scratch) else {
                    return;
                };
                left = left.saturating_sub(count);
                continue;
            }
            let room = self.body_room();
            let received = match room {
                Some(room) => self.receive_body(room),
                None => self.receive(scratch),
            };
            match received {
                Ok(Received { count: 0, .. }) => {
                    self.readable = false;
                    return self.on_eof(cx, conn);
                }
                Ok(Received { count, room_left }) => {
                    // A short read emptied the socket; the next byte or FIN raises a new event.
                    if room_left && !self.hang_up {
                        self.readable = false;
                    }
                    cx.count(Field::BytesIn, count as u64);
                    left = left.saturating_sub(count);
                    match room {
                        Some(_) => self.take_in_last(cx, conn, count),
                        None => self.feed(cx, conn, scratch.get(..count).unwrap_or_default()),
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.readable = false;
                    return;
                }
                Err(_) => return self.close(cx, conn),
            }
        }
    }

    fn receive(&self, scratch: &mut [u8]) -> io::Result<Received> {
        let fd = self.fd.as_ref().ok_or(Errno::BADF)?;
        let begins = self
            .slot
            .as_ref()
            .is_none_or(|slot| slot.phase == Phase::Head);
        let size = match begins && self.h2.is_none() {
            true => scratch.len().min(FIRST_READ),
            false => scratch.len(),
        };
        let to = scratch.get_mut(..size).unwrap_or_default();
        let (_, count) = recv(fd, to, RecvFlags::DONTWAIT)?;
        let room_left = count < size;
        Ok(Received { count, room_left })
    }

    // ---- bodies of declared length -------------------------------------------------------------

    /// How much of a body may be read straight to where it is kept; None where bytes have to be parsed to know
    /// what they are.
    fn body_room(&self) -> Option<usize> {
        let slot = self.slot.as_deref()?;
        let most = match slot.phase {
            Phase::Collecting => TURN,
            Phase::Running => BODY_WATER.saturating_sub(slot.body_len()),
            Phase::Head | Phase::Skipping => return None,
        };
        if self.unconsumed() > 0 || self.lingering || self.h2.is_some() {
            return None;
        }
        let left = usize::try_from(self.http.body_remaining()?).unwrap_or(usize::MAX);
        Some(left.min(most)).filter(|room| *room > 0)
    }

    fn receive_body(&mut self, room: usize) -> io::Result<Received> {
        let fd = self.fd.as_ref().ok_or(Errno::BADF)?;
        let slot = self.slot.as_deref_mut().ok_or(Errno::BADF)?;
        slot.body.reserve_exact(room.saturating_add(SLACK));
        let (_, count) = recv(fd, spare_capacity(&mut slot.body), RecvFlags::DONTWAIT)?;
        let room_left = slot.body.len() < slot.body.capacity();
        Ok(Received { count, room_left })
    }

    /// The last `count` bytes of the slot's body are new.
    fn take_in_last(&mut self, cx: &Reactor, conn: &Arc<Conn>, count: usize) {
        let Some(slot) = self.slot.as_deref_mut() else {
            return;
        };
        let mut body = std::mem::take(&mut slot.body);
        self.news.wake.append(&mut slot.receivers);
        let before = body.len().saturating_sub(count);
        let used = self.take_in(cx, conn, body.get(before..).unwrap_or_default());
        body.truncate(before.saturating_add(used));
        if let Some(slot) = self.slot.as_deref_mut() {
            slot.body = body;
        }
    }

    /// Accounts for bytes that were read past the parser; returns how many are of the body. What is beyond its
    /// declared length belongs to the next request.
    fn take_in(&mut self, cx: &Reactor, conn: &Arc<Conn>, fresh: &[u8]) -> usize {
        let step = self
            .http
            .next(&cx.config.limits, fresh, &mut Request::new());
        let used = match step {
            Ok(Step {
                consumed,
                event: Event::Body(_),
            }) => consumed,
            // Not reached: `body_room` has seen that a declared body is under way.
            _ => 0,
        };
        self.input.clear();
        self.input_start = 0;
        self.input
            .extend_from_slice(fresh.get(used..).unwrap_or_default());
        if let Some(slot) = self.slot.as_deref_mut() {
            slot.body_seen = slot.body_seen.saturating_add(used as u64);
        }
        if self.http.body_remaining() == Some(0) {
            // The end takes no bytes.
            self.parse(cx, conn, b"");
        }
        used
    }

    /// Whether the body is left in the socket because an application starts that may read it straight from there.
    fn leaves_body(&self, cx: &Reactor) -> bool {
        cx.style == Style::Streaming && self.news.launch.is_some() && self.direct_room(cx).is_some()
    }

    /// Whether the rest of a body that is being collected is in the socket already, from where the application may as
    /// well read it: no copy of it is kept until a thread is free.
    fn has_come(&self, cx: &Reactor) -> bool {
        let collecting = cx.style == Style::Buffering
            && matches!(self.transport, Transport::Clear)
            && self
                .slot
                .as_deref()
                .is_some_and(|slot| slot.phase == Phase::Collecting);
        let (true, Some(room), Some(fd)) = (collecting, self.body_room(), &self.fd) else {
            return false;
        };
        // A body this short has room for all that is left of it.
        let left = room as u64;
        (WORTH_LEAVING..=SKIP_BODY).contains(&left)
            && ioctl_fionread(fd).is_ok_and(|here| here >= left)
    }

    /// How many bytes `read_body` may find in the socket; None: it has none, or they have to be parsed.
    pub(crate) fn direct_room(&self, cx: &Reactor) -> Option<usize> {
        let asked = self
            .slot
            .as_deref()
            .is_some_and(|slot| slot.phase == Phase::Running && !slot.want_continue);
        // A child that the application forked must not take from its parent's socket.
        if !asked
            || !self.readable
            || !matches!(self.transport, Transport::Clear)
            || cx.origin.is_elsewhere()
        {
            return None;
        }
        self.body_room()
    }

    /// Moves body bytes to `to`: what is here, then what the socket has. Returns how many. Room for `SLACK` bytes beyond
    /// both lets it see that the socket has no more.
    pub(crate) fn read_body(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        to: &mut [MaybeUninit<u8>],
    ) -> usize {
        let Some(slot) = self.slot.as_deref_mut() else {
            return 0;
        };
        let here = slot.move_body(to);
        let (Some(_), Some(fd)) = (self.direct_room(cx), &self.fd) else {
            return here;
        };
        let room = to.get_mut(here..).unwrap_or_default();
        let size = room.len();
        if size == 0 {
            // To receive nothing would look like FIN.
            return here;
        }
        match recv(fd, room, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => {
                self.readable = false;
                self.on_eof(cx, conn);
            }
            Ok(((fresh, _), count)) => {
                if count < size && !self.hang_up {
                    self.readable = false;
                }
                cx.count(Field::BytesIn, count as u64);
                return here.saturating_add(self.take_in(cx, conn, fresh));
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => self.readable = false,
            Err(_) => self.close(cx, conn),
        }
        here
    }

    /// Whether received bytes may be parsed now: a response in flight, a full body queue or a slow reader hold them back.
    pub(super) fn may_parse(&self) -> bool {
        if self.closing || self.fd.is_none() {
            return false;
        }
        if let Some(h2) = &self.h2 {
            return h2.may_receive();
        }
        match &self.slot {
            None => self.out.pending() <= LOW_WATER,
            Some(slot) => match slot.phase {
                Phase::Head => self.out.pending() <= LOW_WATER,
                Phase::Collecting | Phase::Skipping => true,
                // The end of a declared length takes no bytes, so none will come to ask for it once the last have.
                Phase::Running => {
                    !slot.body_ended
                        && (slot.body_len() < BODY_WATER || self.http.body_remaining() == Some(0))
                }
            },
        }
    }

    pub(super) fn wants_input(&self) -> bool {
        if self.lingering {
            return true;
        }
        match &self.slot {
            Some(slot) if slot.phase == Phase::Running && slot.body_ended => {
                !self.closing && self.unconsumed() < LOOKAHEAD
            }
            _ => self.may_parse(),
        }
    }

    pub(super) fn feed(&mut self, cx: &Reactor, conn: &Arc<Conn>, fresh: &[u8]) {
        if self.lingering {
            // Before that the client has its response to take, and as long as that allows.
            if self.said_fin {
                self.linger_left = self.linger_left.saturating_sub(fresh.len());
                if self.linger_left == 0 {
                    self.close(cx, conn);
                }
            }
            return;
        }
        if self.unconsumed() == 0 {
            let used = if self.may_parse() {
                self.parse(cx, conn, fresh)
            } else {
                0
            };
            let left = fresh.get(used..).unwrap_or_default();
            self.input.clear();
            self.input_start = 0;
            if !left.is_empty() && self.fd.is_some() && !self.closing {
                self.input.extend_from_slice(left);
            }
        } else {
            self.input.extend_from_slice(fresh);
            if self.may_parse() {
                self.parse_input(cx, conn);
            }
        }
    }

    pub(super) fn parse_input(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        let mut input = std::mem::take(&mut self.input);
        let start = self.input_start;
        let used = self.parse(cx, conn, input.get(start..).unwrap_or_default());
        let start = start.saturating_add(used);
        if start >= input.len() || self.closing {
            input.clear();
            self.input_start = 0;
        } else if start > LOOKAHEAD {
            input.drain(..start);
            self.input_start = 0;
        } else {
            self.input_start = start;
        }
        self.input = input;
    }

    /// Parses `bytes` until they are used up or may not be parsed further; returns how many were used.
    pub(super) fn parse(&mut self, cx: &Reactor, conn: &Arc<Conn>, bytes: &[u8]) -> usize {
        if self.h2.is_some() {
            return self.receive_h2(cx, conn, bytes);
        }
        let mut used = 0;
        let mut unused = None;
        while self.may_parse() {
            let rest = bytes.get(used..).unwrap_or_default();
            if self.slot.is_none() {
                if rest.is_empty() {
                    break;
                }
                let mut slot = cx.take_slot();
                slot.id = cx.next_id();
                slot.started_us = cx.turn_us();
                slot.log_access = true;
                self.slot = Some(slot);
                self.since = cx.now();
            }
            let Some(slot) = self.slot.as_deref_mut() else {
                break;
            };
            // Once the application runs it may share the request; the parser needs it for the head only.
            let request = match slot.request.as_mut().and_then(Arc::get_mut) {
                Some(request) => request,
                None => unused.get_or_insert_with(Request::new),
            };
            let step = match self.http.next(&cx.config.limits, rest, request) {
                Ok(step) => step,
                Err(error) if cx.protocol(conn.listener).is_http2(error.kind) => {
                    self.speak_h2(cx, conn);
                    return used.saturating_add(self.receive_h2(cx, conn, rest));
                }
                Err(error) => {
                    self.refuse(cx, conn, error);
                    return bytes.len();
                }
            };
            used = used.saturating_add(step.consumed);
            match step.event {
                Event::NeedMore => break,
                Event::Request => self.on_head(cx, conn),
                Event::Body(range) => {
                    let data = rest.get(range).unwrap_or_default();
                    slot.body_seen = slot.body_seen.saturating_add(data.len() as u64);
                    if slot.phase != Phase::Skipping {
                        slot.body.extend_from_slice(data);
                        self.news.wake.append(&mut slot.receivers);
                    }
                }
                Event::End => self.on_end(cx, conn),
            }
        }
        used
    }
}
