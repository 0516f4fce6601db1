//! When something is due on a connection over HTTP/1, and what happens then.
//! Knows the clock of the reactor and the settings, and sets no timers of its own.

use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionread;

use super::{Conn, ConnIo, LINGER_MS};
use crate::config::Config;
use crate::exchange::Phase;
use crate::reactor::transport::Transport;
use crate::reactor::{Expired, NEVER, Reactor, SCRATCH, Style, level};

/// Bytes to be thrown away that have come by the deadline and get their client another one: few such deadlines are a
/// whole body.
const WORTH_WAITING: u64 = 16 * 1024;
/// Grace before the byte-rate floors count.
const RATE_GRACE_MS: u64 = 5_000;

impl ConnIo {
    /// Stops the clock of the body-rate floor while it is the application that does not read.
    pub(super) fn run_body_clock(&mut self, cx: &Reactor) {
        // Without a body to come there is nothing to time.
        if self.slot.as_ref().is_none_or(|slot| slot.body_ended) {
            return;
        }
        let willing = self.invites_body(cx);
        if let Some(slot) = self.slot.as_deref_mut() {
            slot.run_body_clock(willing, cx.now());
        }
    }

    /// Whether the client is who keeps its body from coming: not one that waits for `100 Continue`, and while a WSGI
    /// application runs, somebody reads only when it asks for more and has not got any.
    pub(super) fn invites_body(&self, cx: &Reactor) -> bool {
        self.may_parse()
            && self.slot.as_ref().is_none_or(|slot| {
                !slot.want_continue
                    && (cx.style == Style::Streaming
                        || slot.phase != Phase::Running
                        || slot.reading && slot.body_len() == 0)
            })
    }

    /// When a client that does not read is given up. What waits without having been tried waits for the server.
    pub(in crate::reactor) fn write_due(&self, config: &Config) -> u64 {
        if !self.is_taking() {
            return NEVER;
        }
        after(self.write_since, config.write_timeout_ms).min(rate_due(
            self.pending_since,
            self.pending_sent,
            config.body_min_rate,
        ))
    }

    /// Whether the kernel has left some of what was written to it: the client has more to take.
    fn is_taking(&self) -> bool {
        !self.out.is_empty() && self.pending_sent > 0
    }

    /// Whether a response is complete and no further request has begun.
    pub(super) fn has_answered(&self) -> bool {
        match &self.slot {
            None => self.served,
            Some(slot) => slot.phase == Phase::Skipping,
        }
    }

    pub(super) fn next_due(&self, cx: &Reactor) -> u64 {
        let config = &cx.config;
        let mut due = self.write_due(config);
        if self.is_taking() && self.has_answered() {
            // The client is taking its response: nothing else is expected of it.
            return due;
        }
        let Some(slot) = &self.slot else {
            if self.closing {
                return due.min(after(self.since, LINGER_MS));
            }
            let limit = match &self.transport {
                Transport::Handshake(handshake) => handshake.timeout_ms(),
                _ if self.served => config.keep_alive_ms,
                _ => config.header_timeout_ms,
            };
            return due.min(after(self.since, limit)).min(cx.idle_until());
        };
        match slot.phase {
            Phase::Head => due.min(after(self.since, config.header_timeout_ms)),
            Phase::Skipping => due.min(after(self.since, LINGER_MS)),
            Phase::Collecting | Phase::Running => {
                if !slot.body_ended && self.invites_body(cx) {
                    due = due.min(rate_due(
                        slot.body_since,
                        slot.body_seen,
                        config.body_min_rate,
                    ));
                }
                due.min(after(slot.started_us / 1000, config.request_timeout_ms))
            }
        }
    }

    /// Does what is left to do for a client before it is judged, whoever owns the connection: a loop or a thread that
    /// was busy must not use up its client's time.
    pub(in crate::reactor) fn look_late(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        if !self.out.is_empty() && (!self.blocked || self.takes_more()) {
            self.blocked = false;
            self.flush(cx, conn);
        }
        let thread_reads = cx.style == Style::Buffering
            && self
                .slot
                .as_ref()
                .is_some_and(|slot| slot.phase == Phase::Running);
        let has_come = self.unconsumed() > 0 || self.has_unread();
        if has_come && !thread_reads && self.to_discard().is_none() {
            self.readable = true;
            self.advance(cx, conn, &mut vec![0; SCRATCH]);
        }
    }

    /// Whether an event would say that the kernel takes more.
    fn takes_more(&self) -> bool {
        let Some(fd) = &self.fd else { return false };
        let now = Timespec::default();
        poll(&mut [PollFd::new(&**fd, PollFlags::OUT)], Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Whether the socket holds bytes that nobody has received.
    pub(super) fn has_unread(&self) -> bool {
        let fd = self.fd.as_ref();
        fd.is_some_and(|fd| ioctl_fionread(fd).is_ok_and(|here| here > 0))
    }

    /// Throws away what has come of bytes that nobody wants. False: the client has sent too little to get more time for
    /// that.
    fn discard_late(&mut self, cx: &Reactor, conn: &Arc<Conn>) -> bool {
        let Some(before) = self.to_discard() else {
            return false;
        };
        self.readable = true;
        self.advance(cx, conn, &mut vec![0; SCRATCH]);
        match self.to_discard() {
            Some(left) if before.saturating_sub(left) < WORTH_WAITING => false,
            Some(_) => {
                self.since = cx.now();
                true
            }
            None => true,
        }
    }

    /// How many bytes may still come that are only thrown away; None: they are none of that kind.
    fn to_discard(&self) -> Option<u64> {
        match &self.slot {
            _ if self.fd.is_none() => None,
            None if self.closing && self.lingering => Some(self.linger_left as u64),
            Some(slot) if slot.phase == Phase::Skipping => self.http.body_remaining(),
            _ => None,
        }
    }

    /// The client takes nothing of what waits for it.
    pub(in crate::reactor) fn abort_reader(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        let ip = conn.peer.ip();
        cx.notice(
            level::INFO,
            format!(
                "Connection closed: the client does not read its response ip=\"{}\"",
                ip.as_str()
            ),
        );
        self.reset(cx, conn);
    }

    /// Something was due: finds what, and ends it.
    pub(crate) fn on_deadline(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        if self.h2.is_some() {
            return self.on_deadline_h2(cx, conn);
        }
        if self.fd.is_none() || self.next_due(cx) > cx.now() {
            return;
        }
        self.look_late(cx, conn);
        if self.h2.is_some() {
            return self.on_moved_h2(cx, conn);
        }
        if self.fd.is_none() || self.next_due(cx) > cx.now() {
            return;
        }
        let config = &cx.config;
        let now = cx.now();
        if self.write_due(config) <= now {
            return self.abort_reader(cx, conn);
        }
        if self.discard_late(cx, conn) {
            return;
        }
        let Some(slot) = self.slot.as_deref_mut() else {
            self.note_late_handshake(cx, conn);
            return self.close(cx, conn);
        };
        match slot.phase {
            Phase::Head => self.refuse_with(cx, conn, 408, "the request head did not come in time"),
            Phase::Skipping => self.close(cx, conn),
            Phase::Collecting | Phase::Running => {
                let limit = config.request_timeout_ms;
                if limit > 0 && now >= (slot.started_us / 1000).saturating_add(limit) {
                    match (cx.style, slot.phase) {
                        (Style::Buffering, Phase::Running) => cx.expire(slot),
                        _ => self.news.timed_out.push(Expired::new(slot)),
                    }
                    return self.refuse_with(
                        cx,
                        conn,
                        504,
                        "the application did not answer in time",
                    );
                }
                self.refuse_with(cx, conn, 408, "the request body did not come in time");
            }
        }
    }
}

/// `limit` after `since`; 0: never.
pub(in crate::reactor) fn after(since: u64, limit: u64) -> u64 {
    if limit == 0 {
        NEVER
    } else {
        since.saturating_add(limit)
    }
}

/// When a transfer that began at `since` and moved `bytes` falls below `rate` bytes per second.
pub(in crate::reactor) fn rate_due(since: u64, bytes: u64, rate: u64) -> u64 {
    if rate == 0 {
        return NEVER;
    }
    let earned = bytes.saturating_mul(1000).checked_div(rate).unwrap_or(0);
    since.saturating_add(RATE_GRACE_MS).saturating_add(earned)
}
