//! What goes out over HTTP/2: responses as applications give them, as far as their streams take them, and frames to the
//! socket in as few writes as possible.

use std::sync::Arc;

use ferrule_http::h1::encode::ResponseHead;
use ferrule_http::h2::{Code, Event, Waits};

use super::exchanges::Tail;
use super::{Ending, H2, Piece, Rest};
use crate::exchange::{FilePart, Response, SendError, Sent};
use crate::reactor::connection::{Conn, ConnIo, News};
use crate::reactor::{Reactor, level};

/// Bytes of frames per write.
const WRITE: usize = 64 * 1024;
/// Bytes that one connection may write before others have their turn.
const TURN: usize = 512 * 1024;
/// Bytes of a file read at once.
const FILE_PIECE: usize = 64 * 1024;

/// What the protocol says of something given, as an exchange's owner reads it.
pub(super) fn refusal(error: ferrule_http::h2::SendError) -> SendError {
    match error {
        ferrule_http::h2::SendError::Response(error) => SendError::Framing(error),
        _ => SendError::Gone,
    }
}

impl H2 {
    /// Sends the head of a response. `end`: there is no body, and there are no trailers.
    pub(crate) fn respond(
        &mut self,
        cx: &Reactor,
        at: usize,
        head: &ResponseHead,
        length: Option<u64>,
        end: bool,
    ) -> Result<(), SendError> {
        let Some(entry) = self.list.get_mut(at) else {
            return Err(SendError::Gone);
        };
        let Some(slot) = entry.slot.as_deref_mut() else {
            return Err(SendError::Gone);
        };
        self.http
            .respond(entry.stream, head, &cx.defaults(), length, end)
            .map_err(refusal)?;
        slot.status = head.status();
        slot.log_access &= head.log_access();
        slot.response = Response::Stream;
        Ok(())
    }

    /// Takes a part of a body; what the stream has no room for waits here.
    pub(crate) fn give(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        news: &mut News,
        at: usize,
        data: &[u8],
        end: bool,
    ) -> Result<Sent, SendError> {
        let Some(entry) = self.list.get_mut(at) else {
            return Err(SendError::Gone);
        };
        let Some(slot) = entry.slot.as_deref_mut() else {
            return Err(SendError::Gone);
        };
        slot.sent = slot.sent.saturating_add(data.len() as u64);
        if end {
            slot.response = Response::Complete;
        }
        let mut left = data;
        if entry.rest.is_none() {
            match self.http.data(entry.stream, data, end) {
                Ok(taken) => left = data.get(taken..).unwrap_or_default(),
                Err(error) => {
                    self.lose(cx, conn, news, at);
                    return Err(refusal(error));
                }
            }
            if left.is_empty() {
                if end {
                    self.complete(cx, conn, news, at);
                }
                return Ok(Sent::Ok);
            }
        }
        let rest = entry.rest.get_or_insert_default();
        rest.push(left);
        Ok(wait_or_end(rest, end))
    }

    /// Takes a part of a file, which is read as the stream has room for it.
    pub(crate) fn give_file(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        news: &mut News,
        at: usize,
        part: FilePart,
        end: bool,
    ) -> Result<Sent, SendError> {
        let Some(entry) = self.list.get_mut(at) else {
            return Err(SendError::Gone);
        };
        let Some(slot) = entry.slot.as_deref_mut() else {
            return Err(SendError::Gone);
        };
        slot.sent = slot.sent.saturating_add(part.length);
        if slot.is_bodiless() {
            // Nothing of it would go out.
            return self.give(cx, conn, news, at, b"", end);
        }
        if end {
            slot.response = Response::Complete;
        }
        let rest = entry.rest.get_or_insert_default();
        rest.pieces.push_back(Piece::File(part));
        wait_or_end(rest, end);
        let id = entry.id;
        self.feed(cx, conn, news, at);
        let waits = |at| self.list.get(at).is_some_and(|entry| entry.rest.is_some());
        match self.list.by_id(id) {
            Some(at) if !end && waits(at) => Ok(Sent::Wait),
            _ => Ok(Sent::Ok),
        }
    }

    /// Ends a response whose body was given.
    pub(crate) fn finish(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        news: &mut News,
        at: usize,
        trailers: &[(&[u8], &[u8])],
    ) -> Result<Sent, SendError> {
        if trailers.is_empty() {
            return self.give(cx, conn, news, at, b"", true);
        }
        let Some(entry) = self.list.get_mut(at) else {
            return Err(SendError::Gone);
        };
        if let Some(rest) = &mut entry.rest {
            let own = |(name, value): &(&[u8], &[u8])| (name.to_vec(), value.to_vec());
            rest.ending = Ending::Trailers(trailers.iter().map(own).collect());
            if let Some(slot) = &mut entry.slot {
                slot.response = Response::Complete;
            }
            return Ok(Sent::Ok);
        }
        self.http
            .trailers(entry.stream, trailers)
            .map_err(refusal)?;
        self.complete(cx, conn, news, at);
        Ok(Sent::Ok)
    }

    /// Gives a stream what waits for it, as far as it has room.
    pub(super) fn feed(&mut self, cx: &Reactor, conn: &Arc<Conn>, news: &mut News, at: usize) {
        let Some(entry) = self.list.get_mut(at) else {
            return;
        };
        let stream = entry.stream;
        let Some(rest) = entry.rest.as_deref_mut() else {
            return;
        };
        let broken = loop {
            let last = rest.pieces.len() == 1 && matches!(rest.ending, Ending::End);
            match rest.pieces.front_mut() {
                None => break None,
                Some(Piece::Bytes(bytes, start)) => {
                    let data = bytes.get(*start..).unwrap_or_default();
                    match self.http.data(stream, data, last) {
                        Ok(taken) if taken < data.len() => {
                            *start = start.saturating_add(taken);
                            return;
                        }
                        Ok(_) => {}
                        Err(error) => break Some(format!("{:?}", refusal(error))),
                    }
                }
                Some(Piece::File(part)) if part.length == 0 => {
                    rest.pieces.pop_front();
                    continue;
                }
                Some(Piece::File(part)) => {
                    let left = usize::try_from(part.length).unwrap_or(usize::MAX);
                    let room = self.http.room(stream).min(left).min(FILE_PIECE);
                    if room == 0 {
                        return;
                    }
                    self.buffer.resize(room, 0);
                    let count = match read(part, &mut self.buffer) {
                        Ok(0) => break Some("the file became shorter".to_owned()),
                        Ok(count) => count,
                        Err(error) => break Some(error.to_string()),
                    };
                    let data = self.buffer.get(..count).unwrap_or_default();
                    let more = part.length > 0;
                    if let Err(error) = self.http.data(stream, data, last && !more) {
                        break Some(format!("{:?}", refusal(error)));
                    }
                    if more {
                        continue;
                    }
                }
            }
            rest.pieces.pop_front();
            if last {
                return self.complete(cx, conn, news, at);
            }
        };
        if let Some(cause) = broken {
            cx.notice(level::ERROR, format!("Response aborted: {cause}"));
            return self.reset(cx, conn, news, at, Code::InternalError);
        }
        let ended = match std::mem::take(&mut rest.ending) {
            Ending::Open => {
                entry.rest = None;
                if let Some(slot) = entry.slot.as_deref_mut() {
                    news.wake.append(&mut slot.senders);
                }
                return self.stir(conn);
            }
            Ending::End => self.http.data(stream, b"", true).map(|_| ()),
            Ending::Trailers(fields) => {
                let fields: Vec<(&[u8], &[u8])> = fields
                    .iter()
                    .map(|(name, value)| (name.as_slice(), value.as_slice()))
                    .collect();
                self.http.trailers(stream, &fields)
            }
        };
        match ended {
            Ok(()) => self.complete(cx, conn, news, at),
            Err(error) => {
                let error = refusal(error);
                cx.notice(level::ERROR, format!("Response aborted: {error:?}"));
                self.reset(cx, conn, news, at, Code::InternalError);
            }
        }
    }

    /// The response is complete, in the stream's queue at least.
    fn complete(&mut self, cx: &Reactor, conn: &Arc<Conn>, news: &mut News, at: usize) {
        let Some(mut entry) = self.list.remove(at) else {
            return;
        };
        if let Some(mut slot) = entry.slot.take() {
            cx.response_completed(&slot, conn);
            news.wake.append(&mut slot.receivers);
            news.wake.append(&mut slot.senders);
            cx.end_slot(slot);
        }
        self.http.release(entry.stream);
        if self.http.waits_for_client(entry.stream) != Waits::Nothing {
            self.tails.push(Tail {
                stream: entry.stream,
                pace: entry.pace,
            });
        }
        self.clock.ended(cx.now());
    }

    /// Frames that may be sent now, appended to `out`.
    fn poll_output(&mut self, cx: &Reactor, conn: &Arc<Conn>, news: &mut News, out: &mut Vec<u8>) {
        let mut events = std::mem::take(&mut self.events);
        loop {
            self.http.poll_output(out, WRITE, &mut events);
            // What a queue has room for again may go out with the same write.
            let Some(event) = events.pop_front() else {
                break;
            };
            if let Event::Writable { stream } = event
                && let Some(at) = self.list.by_stream(stream)
            {
                self.feed(cx, conn, news, at);
            }
        }
        self.events = events;
    }
}

fn wait_or_end(rest: &mut Rest, end: bool) -> Sent {
    if end {
        rest.ending = Ending::End;
        Sent::Ok
    } else {
        Sent::Wait
    }
}

/// Reads the next piece of a file.
fn read(part: &mut FilePart, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    loop {
        match rustix::io::pread(&part.file, &mut *buffer, part.offset) {
            Ok(count) => {
                part.offset = part.offset.saturating_add(count as u64);
                part.length = part.length.saturating_sub(count as u64);
                return Ok(count);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

impl ConnIo {
    /// Writes what there is until nothing is left, the kernel takes no more, or others shall have their turn.
    pub(crate) fn pump(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        let may_receive = |io: &Self| io.h2.as_deref().is_some_and(H2::may_receive);
        let held_back = !may_receive(self);
        self.write_out(cx, conn);
        if held_back && may_receive(self) && self.is_open() {
            // What the client has sent meanwhile was left in the socket, and no event will tell of it.
            cx.look_again(conn);
        }
    }

    fn write_out(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        let mut left = TURN;
        loop {
            if !self.out.is_empty() {
                self.flush(cx, conn);
            }
            // Only what the kernel has taken lets more be written: that bounds a client that does not read.
            if !self.out.is_empty() || !self.is_open() {
                return;
            }
            let Some(h2) = self.h2.as_deref_mut() else {
                return;
            };
            if !h2.http.has_output() {
                return;
            }
            if left == 0 {
                return self.ask_for_turn(cx, conn);
            }
            h2.poll_output(cx, conn, &mut self.news, self.out.tail());
            left = left.saturating_sub(self.out.pending());
        }
    }
}
