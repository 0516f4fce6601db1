//! Time-outs of an HTTP/2 connection and of its streams. The clocks run here; what is due ends one stream where it can,
//! and the connection where it must.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferrule_http::h2::{Code, Connection, Waits};

use super::pace::{ConnectionPace, StreamPace};
use super::{Entry, H2};
use crate::config::Config;
use crate::exchange::{Phase, Response};
use crate::reactor::connection::{Conn, ConnIo, News, after, rate_due};
use crate::reactor::{Expired, NEVER, Reactor, Style, level};

/// A connection without streams keeps its buffers so long (ms): clients that come and go in bursts pay once.
const KEEP_BUFFERS: u64 = 1_000;

/// Why a response was given up.
const UNREAD: &str = "the client does not read its response";

/// How far a drain has come (RFC 9113, 6.8).
#[derive(PartialEq, Eq)]
enum Drain {
    No,
    /// The client was told; what it sends meanwhile is served.
    Announced,
    /// It was told which streams are the last.
    Final,
}

pub(super) struct Clock {
    /// The last time there was a stream, or the start of the connection (ms).
    idle_since: u64,
    served: bool,
    shrunk: bool,
    /// Since when a frame or a header block is incomplete.
    head_since: Option<u64>,
    pace: ConnectionPace,
    drain: Drain,
}

/// What a time-out ends.
enum End {
    /// The connection, at once: its client takes nothing any more.
    Abrupt,
    /// The connection, with GOAWAY.
    Orderly,
}

impl Clock {
    pub(super) fn new(now: u64) -> Clock {
        Clock {
            idle_since: now,
            served: false,
            shrunk: false,
            head_since: Some(now),
            pace: ConnectionPace::default(),
            drain: Drain::No,
        }
    }

    /// Bytes came. `progress`: frames were complete; `partial`: one is not; `in_head`: a header block is not.
    pub(super) fn received(&mut self, now: u64, progress: bool, partial: bool, in_head: bool) {
        self.head_since = match self.head_since {
            _ if !partial && !in_head => None,
            Some(since) if in_head || !progress => Some(since),
            _ => Some(now),
        };
    }

    /// Whether an incomplete frame or header block has its own time limit: until then the connection is not idle.
    fn times_head(&self, config: &Config) -> bool {
        self.head_since.is_some() && config.header_timeout_ms > 0
    }

    pub(super) fn served(&mut self) {
        self.served = true;
        self.shrunk = false;
    }

    pub(super) fn ended(&mut self, now: u64) {
        self.idle_since = now;
    }
}

impl H2 {
    /// When something is due at the earliest. Looks what has moved since the last time.
    fn next_due(&mut self, cx: &Reactor) -> u64 {
        let (config, now) = (&cx.config, cx.now());
        let mut due = NEVER;
        if let Some(since) = self.clock.head_since {
            due = due.min(after(since, config.header_timeout_ms));
        }
        if self.http.streams() > 0 || self.clock.times_head(config) {
            self.clock.idle_since = now;
        } else {
            due = due.min(self.idle_due(config));
            if !self.clock.shrunk {
                due = due.min(self.clock.idle_since.saturating_add(KEEP_BUFFERS));
            }
        }
        if self.clock.drain == Drain::Announced {
            due = due.min(cx.idle_until());
        }
        let http = &self.http;
        self.tails
            .retain(|tail| http.waits_for_client(tail.stream) != Waits::Nothing);
        due = due.min(self.connection_due(cx)).min(self.complaints.due());
        for entry in self.list.iter_mut() {
            due = due
                .min(reader_due(&self.http, entry.stream, &mut entry.pace, cx))
                .min(entry_due(entry, config, now));
        }
        for tail in &mut self.tails {
            due = due.min(reader_due(&self.http, tail.stream, &mut tail.pace, cx));
        }
        due
    }

    /// When a client is given up that opens no window.
    fn connection_due(&mut self, cx: &Reactor) -> u64 {
        let (shut, stuck) = (self.http.waits_for_window(), self.http.waits_for_windows());
        let sent = self.http.data_sent();
        self.clock
            .pace
            .look(shut, stuck, sent, cx.now(), &cx.config)
    }

    fn idle_due(&self, config: &Config) -> u64 {
        let limit = if self.clock.served {
            config.keep_alive_ms
        } else {
            config.header_timeout_ms
        };
        after(self.clock.idle_since, limit)
    }

    /// Enforces what is due on streams; says what is due on the connection.
    fn enforce(&mut self, cx: &Reactor, conn: &Arc<Conn>, news: &mut News) -> Option<End> {
        let (config, now) = (&cx.config, cx.now());
        let is_due =
            |since: Option<u64>, limit| since.is_some_and(|since| now >= after(since, limit));
        if self.connection_due(cx) <= now {
            return Some(End::Abrupt);
        }
        if is_due(self.clock.head_since, config.header_timeout_ms) {
            let why = "a request head did not come in time";
            cx.notice_of(level::INFO, conn, "Connection closed", why);
            self.http.end(Code::EnhanceYourCalm, why);
            return Some(End::Orderly);
        }
        if self.complaints.due() <= now {
            self.complaints.tell(cx, conn);
        }
        if self.http.streams() == 0 && !self.clock.times_head(config) {
            if now >= self.idle_due(config) {
                self.http.drain();
                self.http.drain();
                return Some(End::Orderly);
            }
            if now >= self.clock.idle_since.saturating_add(KEEP_BUFFERS) {
                self.shrink();
            }
        }
        if self.clock.drain == Drain::Announced && now >= cx.idle_until() {
            // The client did not say that it has read the first GOAWAY.
            self.clock.drain = Drain::Final;
            self.http.drain();
        }
        for at in (0..self.list.len()).rev() {
            let Some(entry) = self.list.get_mut(at) else {
                continue;
            };
            if reader_due(&self.http, entry.stream, &mut entry.pace, cx) <= now {
                self.complaints
                    .add(now, level::INFO, "Stream reset", UNREAD);
                self.reset(cx, conn, news, at, Code::Cancel);
            } else if entry_due(entry, config, now) <= now {
                self.end_late(cx, conn, news, at);
            }
        }
        for tail in &mut self.tails {
            let waits = self.http.waits_for_client(tail.stream);
            if reader_due(&self.http, tail.stream, &mut tail.pace, cx) > now {
                continue;
            }
            if waits == Waits::End {
                // RFC 9113, 8.1: the response does not depend on the rest of the request.
                self.http.reset(tail.stream, Code::NoError);
            } else {
                self.complaints
                    .add(now, level::INFO, "Stream reset", UNREAD);
                self.http.reset(tail.stream, Code::Cancel);
            }
        }
        None
    }

    /// A stream has run out of time: finds which of its clocks, and ends it.
    fn end_late(&mut self, cx: &Reactor, conn: &Arc<Conn>, news: &mut News, at: usize) {
        let now = cx.now();
        let config = &cx.config;
        let Some(entry) = self.list.get(at) else {
            return;
        };
        let Some(slot) = entry.slot.as_deref() else {
            return;
        };
        if now >= after(slot.started_us / 1000, config.request_timeout_ms) {
            match (cx.style, slot.phase) {
                (Style::Buffering, Phase::Running) => cx.expire(slot),
                _ => news.timed_out.push(Expired::new(slot)),
            }
            return self.refuse(
                cx,
                conn,
                news,
                at,
                504,
                "the application did not answer in time",
            );
        }
        let why = "the request body did not come in time";
        self.refuse(cx, conn, news, at, 408, why);
    }

    fn shrink(&mut self) {
        self.clock.shrunk = true;
        self.http.shrink();
        self.list.shrink();
        self.tails = Vec::new();
        self.events.shrink_to_fit();
        self.buffer = Vec::new();
    }
}

/// When the client of a stream is late to read its response, or to end its request after that. Looks what has moved.
fn reader_due(http: &Connection, stream: u32, pace: &mut StreamPace, cx: &Reactor) -> u64 {
    let waits = http.waits_for_client(stream);
    pace.look(waits, http.data_sent_on(stream), cx.now(), &cx.config)
}

/// When something is due about one stream. Stops the clock of the body-rate floor while nobody asks for the body: and
/// once a response has begun, because then both sides may talk as slowly as they like.
fn entry_due(entry: &mut Entry, config: &Config, now: u64) -> u64 {
    let Some(slot) = entry.slot.as_deref_mut() else {
        return NEVER;
    };
    if matches!(slot.response, Response::Complete) {
        return NEVER;
    }
    let mut due = NEVER;
    let invited = !slot.want_continue
        && (slot.phase == Phase::Collecting
            || slot.reading && matches!(slot.response, Response::Waiting));
    slot.run_body_clock(invited, now);
    if !slot.body_ended && invited {
        due = due.min(rate_due(
            slot.body_since,
            slot.body_seen,
            config.body_min_rate,
        ));
    }
    due.min(after(slot.started_us / 1000, config.request_timeout_ms))
}

impl ConnIo {
    /// After every move: closes what is over, begins to drain, and notes when the next thing is due.
    pub(crate) fn settle_h2(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        let written = self.out.is_empty();
        let Some(h2) = self.h2.as_deref_mut() else {
            return;
        };
        if cx.is_draining() && h2.clock.drain == Drain::No {
            h2.clock.drain = Drain::Announced;
            h2.http.drain();
            return self.ask_for_turn(cx, conn);
        }
        let idle = h2.http.streams() == 0 && h2.list.is_empty();
        if written && !h2.http.has_output() && (h2.http.is_done() || self.read_closed && idle) {
            self.end_h2(cx, conn);
            return self.settle(cx, conn);
        }
        h2.repay(cx);
        let due = h2.next_due(cx).min(self.write_due(&cx.config));
        conn.deadline.store(due, Ordering::Relaxed);
        cx.note_deadline(due);
    }

    pub(crate) fn on_deadline_h2(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        self.look_late(cx, conn);
        if self.write_due(&cx.config) <= cx.now() {
            return self.abort_reader(cx, conn);
        }
        let Some(h2) = self.h2.as_deref_mut() else {
            return;
        };
        // What has moved meanwhile counts.
        h2.next_due(cx);
        match h2.enforce(cx, conn, &mut self.news) {
            Some(End::Abrupt) => self.abort_reader(cx, conn),
            Some(End::Orderly) => self.end_h2(cx, conn),
            None if h2.http.has_output() => self.on_given_h2(cx, conn),
            None => {}
        }
    }
}
