//! A connection under TLS: its handshake, what is received sealed, and the goodbye.
//! Knows what becomes of bytes, not how they are sealed; `crate::tls` does.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::{Conn, ConnIo};
use crate::reactor::transport::Transport;
use crate::reactor::{Reactor, level};
use crate::scoreboard::Field;
use crate::tls::{Established, Handshake, Outcome, Step};

/// Bytes of a handshake read at once: what a client sends behind the end of it does not count to it.
const HANDSHAKE_READ: usize = 16 * 1024;
const PLAIN_HTTP: &str = "this port speaks TLS: use https://";

impl ConnIo {
    /// Reads once. None: nothing more is to be had now.
    pub(super) fn receive_sealed(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        scratch: &mut [u8],
    ) -> Option<usize> {
        match &self.transport {
            // Somebody whose connection ends is not listened to: bytes are counted, and lost.
            _ if self.lingering => self.discard(cx, conn, scratch),
            Transport::Tls(session) if session.is_closed() => self.discard(cx, conn, scratch),
            Transport::Tls(_) => self.receive_records(cx, conn, scratch),
            Transport::Handshake(_) => self.receive_handshake(cx, conn, scratch),
            Transport::Clear => None,
        }
    }

    fn read_socket(&mut self, cx: &Reactor, conn: &Arc<Conn>, place: &mut [u8]) -> Option<usize> {
        loop {
            let fd = self.fd.as_ref()?;
            match recv(fd, &mut *place, RecvFlags::DONTWAIT) {
                Ok((_, 0)) => {
                    self.readable = false;
                    // After close_notify it is no news.
                    if !self.read_closed || self.lingering {
                        self.on_eof(cx, conn);
                    }
                    return None;
                }
                Ok((_, count)) => {
                    // As for clear text: a short read emptied the socket.
                    if count < place.len() && !self.hang_up {
                        self.readable = false;
                    }
                    cx.count(Field::BytesIn, count as u64);
                    return Some(count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.readable = false;
                    return None;
                }
                Err(_) => {
                    self.close(cx, conn);
                    return None;
                }
            }
        }
    }

    fn discard(&mut self, cx: &Reactor, conn: &Arc<Conn>, scratch: &mut [u8]) -> Option<usize> {
        let count = self.read_socket(cx, conn, scratch)?;
        if self.lingering {
            self.feed(cx, conn, scratch.get(..count).unwrap_or_default());
        }
        Some(count)
    }

    fn receive_records(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        scratch: &mut [u8],
    ) -> Option<usize> {
        let Transport::Tls(session) = &mut self.transport else {
            return None;
        };
        let place = session.room(scratch);
        let count = self.read_socket(cx, conn, place)?;
        let Transport::Tls(session) = &mut self.transport else {
            return None;
        };
        let mut reply = Vec::new();
        let opened = session.open(scratch, count, &mut reply);
        self.out.push_sealed(&reply);
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.fail_tls(cx, conn, &error.to_string());
                return None;
            }
        };
        if !reply.is_empty() {
            self.flush(cx, conn);
        }
        let data = scratch.get(..opened.plain).unwrap_or_default();
        if !data.is_empty() {
            self.feed(cx, conn, data);
        }
        if opened.closed {
            self.readable = false;
            self.on_eof(cx, conn);
        }
        (!opened.closed).then_some(count)
    }

    // ---- the handshake -------------------------------------------------------------------------

    fn receive_handshake(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        scratch: &mut [u8],
    ) -> Option<usize> {
        let Transport::Handshake(handshake) = &self.transport else {
            return None;
        };
        if handshake.is_away() {
            // What comes meanwhile stays in the socket; the end of the step is another look.
            return None;
        }
        let place = scratch.get_mut(..HANDSHAKE_READ).unwrap_or_default();
        let count = self.read_socket(cx, conn, place)?;
        let bytes = scratch.get(..count).unwrap_or_default();
        let Transport::Handshake(handshake) = &mut self.transport else {
            return None;
        };
        if let Some(first) = bytes.first()
            && !handshake.has_begun()
            && !Handshake::is_tls(*first)
        {
            self.refuse_clear_text(cx, conn, *first);
            return None;
        }
        match handshake.take(bytes) {
            Ok(None) => Some(count),
            Ok(Some(job)) => {
                cx.handshakes.submit(conn.clone(), job);
                None
            }
            Err(()) => {
                self.fail_tls(cx, conn, "the handshake is too long");
                None
            }
        }
    }

    /// A step of the handshake was taken.
    pub(in crate::reactor) fn on_step(&mut self, cx: &Reactor, conn: &Arc<Conn>, outcome: Outcome) {
        if self.fd.is_none() || self.closing {
            return;
        }
        self.out.push_sealed(&outcome.reply);
        match outcome.step {
            Step::More(half) => {
                if let Transport::Handshake(handshake) = &mut self.transport {
                    handshake.resume(half);
                }
            }
            Step::Done(established) => self.on_established(cx, conn, established),
            Step::Failed(why) => return self.fail_tls(cx, conn, &why),
        }
        self.flush(cx, conn);
        self.settle(cx, conn);
    }

    fn on_established(&mut self, cx: &Reactor, conn: &Arc<Conn>, established: Established) {
        let Established {
            session,
            description,
            data,
            is_http2,
        } = established;
        let closed = session.is_closed();
        self.transport = Transport::Tls(Box::new(session));
        // Once per connection, so it is free.
        let _ = conn.tls.set(description);
        self.since = cx.now();
        self.input = data;
        if is_http2 {
            self.speak_h2(cx, conn);
        }
        if closed {
            self.readable = false;
            if self.has_pipelined() {
                self.parse_input(cx, conn);
            }
            self.on_eof(cx, conn);
        }
    }

    /// Something else than TLS on a port for TLS. HTTP gets an answer that its client can read (RFC 9110, 15.5).
    fn refuse_clear_text(&mut self, cx: &Reactor, conn: &Arc<Conn>, first: u8) {
        if !first.is_ascii_uppercase() {
            cx.count(Field::BadRequests, 1);
            cx.notice_of(level::INFO, conn, "Connection closed", "this is not TLS");
            return self.close(cx, conn);
        }
        self.transport = Transport::Clear;
        let mut slot = cx.take_slot();
        slot.id = cx.next_id();
        slot.started_us = cx.turn_us();
        self.slot = Some(slot);
        self.refuse_with(cx, conn, 400, PLAIN_HTTP);
    }

    /// The client broke the rules of TLS. It is told by the alert that waits.
    fn fail_tls(&mut self, cx: &Reactor, conn: &Arc<Conn>, why: &str) {
        cx.count(Field::BadRequests, 1);
        let what = match self.transport {
            Transport::Handshake(_) => "TLS handshake failed",
            _ => "TLS connection broken",
        };
        cx.notice_of(level::INFO, conn, what, why);
        self.flush(cx, conn);
        if self.slot.is_some() || self.h2.is_some() {
            return self.close(cx, conn);
        }
        self.start_lingering(cx);
        self.settle(cx, conn);
    }

    /// Before a connection is closed for lack of a handshake. One that never said anything is not worth a word.
    pub(super) fn note_late_handshake(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        if let Transport::Handshake(handshake) = &self.transport
            && handshake.has_begun()
            && !self.closing
        {
            cx.count(Field::Timeouts, 1);
            let why = "the handshake was not complete in time";
            cx.notice_of(level::INFO, conn, "TLS handshake failed", why);
        }
    }

    // ---- the end -------------------------------------------------------------------------------

    /// Says close_notify if everything before it is out: whoever has it can trust that nothing was cut off.
    pub(super) fn say_goodbye(&mut self) {
        let (Transport::Tls(session), Some(fd)) = (&mut self.transport, &self.fd) else {
            return;
        };
        if self.slot.is_some() || !self.out.is_empty() {
            return;
        }
        let goodbye = session.close_notify();
        self.out.push_sealed(&goodbye);
        // If the kernel has no room for it, the client has not read what it got either.
        let _ = self.out.flush_sealed(fd.as_fd());
    }
}
