//! How exchanges over HTTP/2 end other than by the application's response: answers of the server's own, resets, and the end
//! of the connection.

use std::sync::Arc;

use ferrule_http::h1::encode::simple_answer;
use ferrule_http::h2::Code;

use super::H2;
use crate::exchange::{Phase, Response};
use crate::reactor::connection::{Conn, News};
use crate::reactor::{Reactor, level};
use crate::scoreboard::Field;

impl H2 {
    // ---- answers of the server's own -----------------------------------------------------------

    #[allow(clippy::too_many_arguments)] // what an answer has, and where it goes
    pub(crate) fn answer(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        news: &mut News,
        at: usize,
        status: u16,
        detail: &str,
        extra: &[(&str, &str)],
    ) {
        let (head, body) = simple_answer(status, detail, extra);
        let length = Some(body.len() as u64);
        if self.respond(cx, at, &head, length, false).is_ok() {
            let _ = self.give(cx, conn, news, at, &body, true);
        }
    }

    /// Refuses what cannot be served: an answer if none has begun, else the stream ends.
    pub(crate) fn refuse(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        news: &mut News,
        at: usize,
        status: u16,
        why: &str,
    ) {
        let Some(slot) = self.list.slot(at) else {
            return;
        };
        if matches!(slot.response, Response::Complete) {
            // It was answered, and the rest of that is on its way.
            return;
        }
        let count = match status {
            408 | 504 => Field::Timeouts,
            _ => Field::BadRequests,
        };
        cx.count(count, 1);
        let what = format!("Request refused status={status}");
        self.complaints.add(cx.now(), level::WARNING, &what, why);
        match slot.response {
            Response::Waiting => self.answer(cx, conn, news, at, status, why, &[]),
            _ => self.reset(cx, conn, news, at, Code::Cancel),
        }
    }

    // ---- ending --------------------------------------------------------------------------------

    /// Resets a stream so that the client cannot take what it got for a complete response.
    pub(crate) fn reset(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        news: &mut News,
        at: usize,
        code: Code,
    ) {
        if let Some(entry) = self.list.get(at) {
            self.http.reset(entry.stream, code);
            self.lose(cx, conn, news, at);
        }
    }

    /// The stream is gone. Whoever waits on it is woken and finds it gone.
    pub(crate) fn lose(&mut self, cx: &Reactor, conn: &Arc<Conn>, news: &mut News, at: usize) {
        let Some(entry) = self.list.get_mut(at) else {
            return;
        };
        let Some(mut slot) = entry.slot.take() else {
            return;
        };
        entry.rest = None;
        // Nobody reads what came of its body, and the access log says what was sent.
        self.http.consumed(entry.stream, usize::MAX);
        slot.sent = self.http.data_sent_on(entry.stream);
        // One that its application has not taken up costs nothing when its turn comes.
        let launched = slot.phase == Phase::Running && entry.taken && !entry.left;
        news.wake.append(&mut slot.receivers);
        news.wake.append(&mut slot.senders);
        if slot.phase == Phase::Running {
            cx.response_lost(&slot, conn);
            if !matches!(slot.response, Response::Complete) {
                news.hung_up.push(slot.id);
            }
        }
        cx.end_slot(slot);
        if !launched {
            self.forget(at);
        }
        self.stir(conn);
    }

    /// The application has left. Its stream counts no more if it is gone already.
    pub(crate) fn leave(&mut self, id: u64) {
        let Some(at) = self.list.by_id(id) else {
            return;
        };
        match self.list.get_mut(at) {
            Some(entry) if entry.slot.is_some() => entry.left = true,
            _ => self.forget(at),
        }
    }

    pub(super) fn forget(&mut self, at: usize) {
        if let Some(entry) = self.list.remove(at) {
            self.http.release(entry.stream);
        }
    }

    /// Wakes threads that wait for their streams; each looks whether it is its own that has moved.
    pub(super) fn stir(&self, conn: &Conn) {
        if self.waiting > 0 {
            conn.moved.notify_all();
        }
    }

    /// Every stream ends with the connection.
    pub(in crate::reactor) fn abandon(&mut self, cx: &Reactor, conn: &Arc<Conn>, news: &mut News) {
        for at in (0..self.list.len()).rev() {
            self.lose(cx, conn, news, at);
        }
        self.complaints.tell(cx, conn);
        cx.release_body(std::mem::take(&mut self.lent));
        self.stir(conn);
    }

    /// The client will send no more: what it has asked for completely is still answered.
    pub(super) fn on_eof(&mut self, cx: &Reactor, conn: &Arc<Conn>, news: &mut News) {
        for at in (0..self.list.len()).rev() {
            let Some(slot) = self.list.slot(at) else {
                continue;
            };
            if slot.phase == Phase::Collecting {
                self.lose(cx, conn, news, at);
            } else if !matches!(slot.response, Response::Complete) {
                news.wake.append(&mut slot.receivers);
                news.hung_up.push(slot.id);
            }
        }
        self.stir(conn);
    }
}
