//! What a connection sends, and how it ends: the outbox to the socket, lingering, FIN, reset.
//! Knows nothing of what the bytes mean.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::net::{Shutdown, shutdown, sockopt};

use super::{Conn, ConnIo, HIGH_WATER, LOW_WATER};
use crate::exchange::Phase;
use crate::reactor::outbox::Flush;
use crate::reactor::transport::Transport;
use crate::reactor::{NEVER, Reactor, level};
use crate::scoreboard::Field;

impl ConnIo {
    pub(crate) fn flush_unless_pipelined(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        // With more requests at hand their answers join this one in one send.
        if self.has_pipelined() && self.out.pending() < HIGH_WATER {
            cx.look_again(conn);
        } else {
            self.flush(cx, conn);
        }
    }

    pub(crate) fn flush(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        let Some(fd) = &self.fd else { return };
        if self.blocked {
            return;
        }
        let flushed = match &mut self.transport {
            Transport::Clear => self.out.flush(fd.as_fd(), cx.config.sendfile),
            Transport::Handshake(_) => self.out.flush_sealed(fd.as_fd()),
            Transport::Tls(session) => self.out.write_tls(fd.as_fd(), session, b""),
        };
        match flushed {
            Ok((written, how)) => self.wrote(cx, conn, written, how),
            Err(error) => self.write_failed(cx, conn, &error),
        }
    }

    /// As `flush`, with `data` behind what waits; `data` is copied only if the kernel does not take it.
    pub(crate) fn write_through(&mut self, cx: &Reactor, conn: &Arc<Conn>, data: &[u8]) {
        let Some(fd) = &self.fd else { return };
        if self.blocked {
            self.out.tail().extend_from_slice(data);
            return;
        }
        let flushed = match &mut self.transport {
            Transport::Tls(session) => self.out.write_tls(fd.as_fd(), session, data),
            _ => self.out.write_through(fd.as_fd(), data),
        };
        match flushed {
            Ok((written, how)) => self.wrote(cx, conn, written, how),
            Err(error) => self.write_failed(cx, conn, &error),
        }
    }

    pub(super) fn wrote(&mut self, cx: &Reactor, conn: &Arc<Conn>, written: u64, how: Flush) {
        cx.count(Field::BytesOut, written);
        self.blocked = how == Flush::Blocked;
        if how == Flush::Done {
            if self.pending_sent > 0 && self.has_answered() {
                // From here on the client is waited for.
                self.since = cx.now();
            }
            self.pending_sent = 0;
        } else {
            if self.pending_sent == 0 {
                self.pending_since = cx.now();
                self.write_since = cx.now();
            }
            if written > 0 {
                self.write_since = cx.now();
            }
            self.pending_sent = self.pending_sent.saturating_add(written.max(1));
            if how == Flush::Yielded {
                cx.look_again(conn);
            }
        }
        if self.out.pending() <= LOW_WATER
            && let Some(slot) = self.slot.as_deref_mut()
        {
            self.news.wake.append(&mut slot.senders);
        }
        if self.slot.is_none() && self.h2.is_none() && how == Flush::Done {
            self.out.clear();
        }
    }

    pub(super) fn write_failed(&mut self, cx: &Reactor, conn: &Arc<Conn>, error: &std::io::Error) {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            cx.notice(level::ERROR, format!("Response aborted: {error}"));
            return self.reset(cx, conn);
        }
        self.close(cx, conn);
    }

    // ---- ending --------------------------------------------------------------------------------

    pub(super) fn on_eof(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        self.read_closed = true;
        if self.lingering {
            // Else `settle` does, once the response is out.
            if self.out.is_empty() {
                self.close(cx, conn);
            }
            return;
        }
        if self.h2.is_some() {
            return self.on_eof_h2(cx, conn);
        }
        let Some(slot) = self.slot.as_deref_mut() else {
            return;
        };
        match slot.phase {
            Phase::Head | Phase::Skipping => {
                self.closing = true;
                self.drop_slot(cx);
            }
            Phase::Collecting => {
                self.refuse_with(cx, conn, 400, "the client hung up within its request body")
            }
            Phase::Running => {
                self.news.wake.append(&mut slot.receivers);
                self.news.hung_up.push(slot.id);
            }
        }
    }

    /// Ends the connection so that the client cannot take what it got for a complete response.
    pub(crate) fn reset(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        self.cut();
        self.sever(cx, conn);
    }

    /// Resets the connection; closing the socket and forgetting it is still to be done.
    pub(super) fn cut(&self) {
        let Some(fd) = &self.fd else { return };
        // Linger 0: close sends RST and drops what the kernel still holds.
        let _ = sockopt::set_socket_linger(&**fd, Some(Duration::ZERO));
        // A child that the application forked may keep the socket open; TCP on Linux is reset by this all the same.
        #[cfg(target_os = "linux")]
        if rustix::net::connect_unspec(&**fd).is_err() {
            // A unix socket, which knows no reset.
            let _ = shutdown(fd, Shutdown::Both);
        }
    }

    /// Closes the connection after all that was sent.
    pub(crate) fn close(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        self.say_goodbye();
        if let Some(fd) = &self.fd {
            // A child that the application forked may keep the socket open, and the client would never see the end.
            let _ = shutdown(fd, Shutdown::Both);
        }
        self.sever(cx, conn);
    }

    /// Closes the socket and has the connection forgotten, before anything else. Whoever waits on it is woken and finds
    /// it gone.
    fn sever(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        if let Some(fd) = self.fd.take() {
            conn.deadline.store(NEVER, Ordering::Relaxed);
            // A waiting thread, or a child that the application forked, may hold the socket open: its events must not
            // reach the connection that gets this one's key.
            cx.handle.remove(fd.as_raw_fd());
            if Arc::strong_count(&fd) > 1 {
                // A thread waits for it: end its wait; it drops the last reference.
                let _ = shutdown(&fd, Shutdown::Both);
            }
            drop(fd);
            cx.forget(conn);
        }
        if let Some(slot) = self.slot.as_deref_mut() {
            self.news.wake.append(&mut slot.receivers);
            self.news.wake.append(&mut slot.senders);
            if slot.phase == Phase::Running {
                self.news.hung_up.push(slot.id);
                cx.response_lost(slot, conn);
            }
        }
        if let Some(mut h2) = self.h2.take() {
            h2.abandon(cx, conn, &mut self.news);
        }
        self.out.clear();
        self.drop_slot(cx);
        self.drop_input();
        if self.has_news() {
            cx.look_again(conn);
        }
    }

    /// Says FIN once, then reads on for a while (see LINGER_MS).
    pub(super) fn shut_down(&mut self, cx: &Reactor) {
        if self.said_fin {
            return;
        }
        self.said_fin = true;
        self.say_goodbye();
        if let Some(fd) = &self.fd {
            let _ = shutdown(fd, Shutdown::Write);
            self.since = cx.now();
        }
    }
}
