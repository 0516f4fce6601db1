//! A connection's requests over HTTP/1, from the complete head to the end of the response: run, answered or refused.
//! Knows no sockets; what it writes goes to the outbox.

use std::sync::Arc;

use ferrule_http::error::Error;
use ferrule_http::h1::State;
use ferrule_http::h1::encode::encode_continue;
use ferrule_http::request::BodyLength;

use super::{Conn, ConnIo};
use crate::config::Protocol;
use crate::exchange::{Phase, Response};
use crate::reactor::admission::{Admission, Answer};
use crate::reactor::{Reactor, level};
use crate::scoreboard::Field;

/// An unread request body is skipped up to this size to keep the connection.
pub(super) const SKIP_BODY: u64 = 128 * 1024;

impl ConnIo {
    /// The head is complete: answer it here, collect its body, or hand it to the application.
    pub(super) fn on_head(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        let Some(slot) = self.slot.as_deref_mut() else {
            return;
        };
        slot.body_since = cx.now();
        slot.want_continue = slot.request().expect_continue;
        self.served = true;
        if cx.protocol(conn.listener) == Protocol::Http2 {
            return self.refuse_with(cx, conn, 505, "this server speaks HTTP/2 only");
        }
        match cx.admit(slot) {
            Admission::Answer(Answer {
                status,
                detail,
                extra,
            }) => self.answer(cx, conn, status, detail, extra),
            Admission::Collect => self.send_continue(cx, conn),
            Admission::Run => self.news.launch = Some(slot.id),
        }
    }

    /// The application may have the request that was being collected.
    pub(super) fn begin(&mut self) {
        if let Some(slot) = self.slot.as_deref_mut() {
            slot.phase = Phase::Running;
            self.news.launch = Some(slot.id);
        }
    }

    pub(super) fn on_end(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        let Some(slot) = self.slot.as_deref_mut() else {
            return;
        };
        slot.body_ended = true;
        slot.want_continue = false;
        match slot.phase {
            Phase::Head => {}
            Phase::Collecting => self.begin(),
            Phase::Running => self.news.wake.append(&mut slot.receivers),
            Phase::Skipping => self.next_request(cx, conn),
        }
    }

    /// Invites the body if the client waits to be asked (RFC 9110, 10.1.1).
    pub(crate) fn send_continue(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        let Some(slot) = self.slot.as_deref_mut() else {
            return;
        };
        if std::mem::take(&mut slot.want_continue) && matches!(slot.response, Response::Waiting) {
            encode_continue(self.out.tail());
            self.flush(cx, conn);
        }
    }

    /// Answers the request at hand without the application.
    pub(super) fn answer(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        status: u16,
        detail: &str,
        extra: &[(&str, &str)],
    ) {
        let may_go_on = self.may_go_on(cx);
        let Some(slot) = self.slot.as_deref_mut() else {
            return;
        };
        slot.answer(cx, &mut self.out, status, detail, extra, may_go_on);
        self.complete(cx, conn, may_go_on);
        self.flush_unless_pipelined(cx, conn);
    }

    /// Refuses what cannot be served: one answer if none has begun, then the connection ends.
    pub(crate) fn refuse(&mut self, cx: &Reactor, conn: &Arc<Conn>, error: Error) {
        self.refuse_with(cx, conn, error.status(), error.message());
    }

    pub(crate) fn refuse_with(&mut self, cx: &Reactor, conn: &Arc<Conn>, status: u16, why: &str) {
        cx.count(
            if matches!(status, 408 | 504) {
                Field::Timeouts
            } else {
                Field::BadRequests
            },
            1,
        );
        let Some(slot) = self.slot.as_deref_mut() else {
            return self.close(cx, conn);
        };
        cx.notice(
            level::WARNING,
            format!(
                "Request refused status={status} ip=\"{}\" cause=\"{why}\"",
                conn.peer.ip().as_str()
            ),
        );
        if !matches!(slot.response, Response::Waiting | Response::Complete) {
            return self.reset(cx, conn);
        }
        slot.answer(cx, &mut self.out, status, why, &[], false);
        self.complete(cx, conn, false);
        self.flush(cx, conn);
    }

    /// Whether another request may follow the one at hand, as far as a response that begins now may say so.
    pub(crate) fn may_go_on(&self, cx: &Reactor) -> bool {
        !cx.is_draining() && self.is_reusable()
    }

    /// Whether the connection can carry another request. A response whose head promised it before draining began is
    /// kept to its word: its client may be sending already.
    pub(crate) fn is_reusable(&self) -> bool {
        let Some(slot) = &self.slot else { return false };
        if self.closing || self.read_closed && self.unconsumed() == 0 || !slot.request().keep_alive
        {
            return false;
        }
        // A body nobody asked for may never come, and one that is long is not worth reading.
        slot.body_ended
            || !slot.want_continue
                && self
                    .http
                    .body_remaining()
                    .is_some_and(|left| left <= SKIP_BODY)
            || slot.request().body == BodyLength::None
    }

    /// The response is whole, and in the outbox: sends it, and goes on to the next request or to the end.
    pub(crate) fn conclude(&mut self, cx: &Reactor, conn: &Arc<Conn>, go_on: bool) {
        // One send for all there is: flush before the slot goes, so that its buffer can go with it.
        if go_on {
            self.flush_unless_pipelined(cx, conn);
        } else {
            // What is behind it will not be answered.
            self.flush(cx, conn);
        }
        if self.is_open() {
            self.complete(cx, conn, go_on);
            self.settle(cx, conn);
        }
    }

    /// The response is complete (in the outbox, at least).
    pub(crate) fn complete(&mut self, cx: &Reactor, conn: &Arc<Conn>, go_on: bool) {
        let Some(slot) = self.slot.as_deref_mut() else {
            return;
        };
        cx.response_completed(slot, conn);
        self.news.wake.append(&mut slot.receivers);
        self.news.wake.append(&mut slot.senders);
        if !go_on {
            let unread = !slot.body_ended || self.unconsumed() > 0;
            self.drop_input();
            self.closing = true;
            self.lingering = unread;
            self.since = cx.now();
            self.drop_slot(cx);
            if unread && self.readable {
                // What the socket has already raises no event.
                cx.look_again(conn);
            }
        } else if slot.body_ended {
            self.next_request(cx, conn);
        } else if self.http.state() == State::Body || self.http.state() == State::Head {
            slot.phase = Phase::Skipping;
            slot.body = Vec::new();
            self.since = cx.now();
            if self.readable {
                cx.look_again(conn);
            }
        } else {
            self.next_request(cx, conn);
        }
    }

    pub(super) fn drop_input(&mut self) {
        self.input = Vec::new();
        self.input_start = 0;
    }

    /// No further request; what is in the outbox still goes out.
    pub(in crate::reactor) fn start_lingering(&mut self, cx: &Reactor) {
        self.drop_input();
        self.closing = true;
        self.lingering = true;
        self.since = cx.now();
    }

    pub(super) fn next_request(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        self.drop_slot(cx);
        self.http.next_cycle();
        self.since = cx.now();
        if self.unconsumed() > 0 || self.readable {
            cx.look_again(conn);
        }
    }

    pub(crate) fn drop_slot(&mut self, cx: &Reactor) {
        if let Some(mut slot) = self.slot.take() {
            slot.spare = self.out.reclaim();
            cx.end_slot(slot);
        }
    }
}
