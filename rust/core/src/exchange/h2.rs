//! An exchange over HTTP/2: one stream of many on its connection. What it gives goes to the connection's protocol, and
//! out with what the other streams give.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ferrule_http::h1::encode::ResponseHead;
use ferrule_http::h2::Code;

use super::slot::{Response, Slot};
use super::{FilePart, Gone, Read, SendError, Sent, WAIT_STEP_MS, WaitFor, error_page};
use crate::reactor::connection::{Conn, ConnIo, News};
use crate::reactor::h2::{Entry, H2};
use crate::reactor::{Reactor, SCRATCH};

/// One live stream of a locked connection. What may end it takes it along, because its place in the list goes too.
pub(super) struct Stream<'a> {
    io: &'a mut ConnIo,
    conn: &'a Arc<Conn>,
    id: u64,
    at: usize,
}

impl<'a> Stream<'a> {
    pub(super) fn find(io: &'a mut ConnIo, conn: &'a Arc<Conn>, id: u64) -> Option<Stream<'a>> {
        let h2 = io.h2.as_deref()?;
        let at = h2.list.by_id(id)?;
        // One that is gone stays in the list until its application has left.
        h2.list.get(at)?.slot.as_ref()?;
        Some(Stream { io, conn, id, at })
    }

    fn entry(&mut self) -> Option<&mut Entry> {
        self.io.h2.as_deref_mut()?.list.get_mut(self.at)
    }

    pub(super) fn slot(&mut self) -> Option<&mut Slot> {
        self.entry()?.slot.as_deref_mut()
    }

    pub(super) fn take_up(&mut self) {
        if let Some(entry) = self.entry() {
            entry.taken = true;
        }
    }

    /// Has the protocol do something, and what comes of it sent.
    fn give<R>(
        self,
        cx: &Reactor,
        act: impl FnOnce(&mut H2, &Arc<Conn>, &mut News, usize) -> Result<R, SendError>,
    ) -> Result<R, SendError> {
        let Some(h2) = self.io.h2.as_deref_mut() else {
            return Err(SendError::Gone);
        };
        let outcome = act(h2, self.conn, &mut self.io.news, self.at);
        // One that is complete is not in the list any more, unless its stream has no room for all of it.
        let answered = h2.list.by_id(self.id).is_none();
        if answered && !self.io.has_news() {
            self.io.on_answered_h2(cx, self.conn);
        } else {
            self.io.on_given_h2(cx, self.conn);
        }
        outcome
    }

    pub(super) fn send(
        mut self,
        cx: &Reactor,
        head: Option<&ResponseHead>,
        data: &[u8],
        more: bool,
    ) -> Result<Sent, SendError> {
        self.check(head.is_some())?;
        self.give(cx, |h2, conn, news, at| {
            let length = if more { None } else { Some(data.len() as u64) };
            let end = !more && data.is_empty();
            begin(h2, cx, at, head, length, end)?;
            h2.give(cx, conn, news, at, data, !more)
        })
    }

    pub(super) fn send_file(
        mut self,
        cx: &Reactor,
        head: Option<&ResponseHead>,
        part: FilePart,
        more: bool,
    ) -> Result<Sent, SendError> {
        self.check(head.is_some())?;
        self.give(cx, |h2, conn, news, at| {
            let length = if more { None } else { Some(part.length) };
            begin(h2, cx, at, head, length, !more && part.length == 0)?;
            h2.give_file(cx, conn, news, at, part, !more)
        })
    }

    pub(super) fn finish(
        mut self,
        cx: &Reactor,
        head: Option<&ResponseHead>,
        trailers: &[(&[u8], &[u8])],
    ) -> Result<Sent, SendError> {
        self.check(head.is_some())?;
        self.give(cx, |h2, conn, news, at| {
            let bare = trailers.is_empty();
            begin(h2, cx, at, head, bare.then_some(0), bare)?;
            h2.finish(cx, conn, news, at, trailers)
        })
    }

    pub(super) fn interim(
        mut self,
        cx: &Reactor,
        status: u16,
        fields: &[(&[u8], &[u8])],
    ) -> Result<(), SendError> {
        if self
            .slot()
            .is_none_or(|slot| !matches!(slot.response, Response::Waiting))
        {
            return Ok(());
        }
        self.give(cx, |h2, _, _, at| h2.interim(at, status, fields))
    }

    pub(super) fn refuse(mut self, cx: &Reactor, status: u16, why: &str) {
        if self.check(true).is_ok() || self.check(false).is_ok() {
            let _ = self.give(cx, |h2, conn, news, at| {
                h2.refuse(cx, conn, news, at, status, why);
                Ok(())
            });
        }
    }

    pub(super) fn fail(mut self, cx: &Reactor, page: Option<&[u8]>) {
        let Some(slot) = self.slot() else {
            return;
        };
        let begun = match slot.response {
            Response::Complete => return,
            Response::Waiting => false,
            Response::Body(_) | Response::Stream => true,
        };
        let page = page.and_then(|page| error_page().map(|head| (head, page)));
        let _ = self.give(cx, |h2, conn, news, at| {
            match page {
                _ if begun => h2.reset(cx, conn, news, at, Code::InternalError),
                None => h2.answer(cx, conn, news, at, 500, "the application failed", &[]),
                Some((head, page)) => {
                    h2.respond(cx, at, &head, Some(page.len() as u64), false)?;
                    h2.give(cx, conn, news, at, page, true)?;
                }
            }
            Ok(())
        });
    }

    pub(super) fn give_up(self, cx: &Reactor) {
        let _ = self.give(cx, |h2, conn, news, at| {
            h2.reset(cx, conn, news, at, Code::Cancel);
            Ok(())
        });
    }

    pub(super) fn read(
        mut self,
        cx: &Reactor,
        to: &mut Vec<u8>,
        limit: usize,
        scratch: &mut Vec<u8>,
    ) -> Read {
        let Some(h2) = self.io.h2.as_deref_mut() else {
            return Read::Gone;
        };
        h2.send_continue(self.at);
        let waits = |slot: &mut Slot| slot.body_len() == 0 && !slot.body_ended;
        if self.slot().is_some_and(waits) {
            // The socket may have more by now; a look costs less than a turn of the loop.
            scratch.resize(SCRATCH, 0);
            self.io.advance(cx, self.conn, scratch);
            let (io, conn, id) = (self.io, self.conn, self.id);
            match Stream::find(io, conn, id) {
                Some(stream) => self = stream,
                None => return Read::Gone,
            }
        }
        let hung_up = self.io.has_hung_up();
        let Some(slot) = self.slot() else {
            return Read::Gone;
        };
        let here = slot.body_len();
        let outcome = if here > 0 {
            slot.reading = false;
            let taken = slot.take_body(to, limit);
            let more = !slot.body_ended || taken < here;
            if let Some(h2) = self.io.h2.as_deref_mut() {
                h2.consumed(self.at, taken);
            }
            Read::Data { more }
        } else if slot.body_ended {
            Read::Data { more: false }
        } else if hung_up {
            Read::Gone
        } else {
            slot.reading = true;
            if let Some(h2) = self.io.h2.as_deref_mut() {
                h2.relieve(cx, self.conn, &mut self.io.news);
            }
            Read::Wait
        };
        if self.io.wants_turn_h2() || matches!(outcome, Read::Wait) {
            self.io.on_given_h2(cx, self.conn);
        }
        outcome
    }

    pub(super) fn has_room(&self) -> bool {
        self.io
            .h2
            .as_deref()
            .and_then(|h2| h2.list.get(self.at))
            .is_some_and(|entry| entry.rest.is_none())
    }

    /// Whether the response can go on: its head is due and here, or is out.
    fn check(&mut self, has_head: bool) -> Result<(), Gone> {
        match self.slot().map(|slot| &slot.response) {
            Some(Response::Waiting) if has_head => Ok(()),
            Some(Response::Stream) => Ok(()),
            _ => Err(Gone),
        }
    }
}

fn begin(
    h2: &mut H2,
    cx: &Reactor,
    at: usize,
    head: Option<&ResponseHead>,
    length: Option<u64>,
    end: bool,
) -> Result<(), SendError> {
    match head {
        Some(head) => h2.respond(cx, at, head, length, end),
        None => Ok(()),
    }
}

/// The application is done with an exchange, live or not.
pub(super) fn leave(conn: &Arc<Conn>, id: u64, cx: &Reactor) {
    let mut io = conn.io();
    if let Some(h2) = io.h2.as_deref_mut() {
        h2.leave(id);
        if io.wants_turn_h2() {
            io.on_given_h2(cx, conn);
        }
    }
}

/// Waits until the stream has moved. Whoever polls moves it: the leader, or the I/O thread in its place.
pub(super) fn wait(conn: &Arc<Conn>, id: u64, what: WaitFor) -> Result<(), Gone> {
    let mut io = conn.io();
    let mut stream = Stream::find(&mut io, conn, id).ok_or(Gone)?;
    let moved = match what {
        WaitFor::Room => stream.has_room(),
        WaitFor::Body => stream
            .slot()
            .is_none_or(|slot| slot.body_len() > 0 || slot.body_ended),
    };
    if moved {
        return Ok(());
    }
    if let Some(h2) = io.h2.as_deref_mut() {
        h2.waiting = h2.waiting.saturating_add(1);
    }
    let limit = Duration::from_millis(WAIT_STEP_MS);
    let (mut io, _) = conn
        .moved
        .wait_timeout(io, limit)
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(h2) = io.h2.as_deref_mut() {
        h2.waiting = h2.waiting.saturating_sub(1);
    }
    Ok(())
}
