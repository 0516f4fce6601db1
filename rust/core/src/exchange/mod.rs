//! One request and its response, whatever carried it: what `asgi/` and `wsgi/` talk to.
//! An exchange is known by its id; once it is over, or its client gone, every call says so.

mod h1;
mod h2;
mod slot;

use std::fs::File;
use std::mem::MaybeUninit;
use std::sync::Arc;

use ferrule_http::h1::encode::{ResponseError, ResponseHead};
use ferrule_http::request::Request;

use crate::reactor::Reactor;
use crate::reactor::connection::{Conn, ConnIo, Waiter};
use crate::scoreboard::Field;
use h1::Http1;
use h2::Stream;
pub(crate) use slot::{Phase, Response, Slot};

/// From this size on body bytes go to the kernel straight from the application's object instead of by way of the outbox.
const WRITE_THROUGH: usize = 4 * 1024;

/// A thread that waits for its client looks at the clock at least this often (ms).
const WAIT_STEP_MS: u64 = 1_000;

/// The handle that applications' sides hold.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub conn: Arc<Conn>,
    pub id: u64,
}

/// The exchange is over or its client is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone;

#[derive(Debug)]
pub(crate) enum SendError {
    Gone,
    /// The application broke its own framing. The connection or stream was ended; or nothing of the response was sent
    /// yet, and it can begin anew.
    Framing(ResponseError),
}

impl From<Gone> for SendError {
    fn from(_: Gone) -> Self {
        SendError::Gone
    }
}

/// How a write went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sent {
    Ok,
    /// More waits than should: come back when the client has read some.
    Wait,
    /// The response is whole, and waits for `Exchange::conclude`.
    Later,
}

/// What a read of the request body gave.
pub(crate) enum Read {
    /// Bytes were appended; `more` may follow.
    Data { more: bool },
    /// Nothing yet.
    Wait,
    /// The client hung up within the body, or the exchange is over.
    Gone,
}

/// What there is to read of a body straight from the socket, as far as its declared length says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direct {
    /// With what is here already.
    pub length: usize,
    /// Nothing comes after it.
    pub whole: bool,
}

/// What a thread waits for its client to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// To send more of the request body.
    Body,
    /// To take some of the response.
    Room,
}

/// A part of a file to send.
pub(crate) struct FilePart {
    pub file: File,
    pub offset: u64,
    pub length: u64,
}

/// An exchange found on its connection.
enum Carrier<'a> {
    Http1(Http1<'a>),
    Http2(Stream<'a>),
}

impl Carrier<'_> {
    fn slot(&mut self) -> Option<&mut Slot> {
        match self {
            Carrier::Http1(http1) => http1.slot(),
            Carrier::Http2(stream) => stream.slot(),
        }
    }

    /// Refuses the beginning of a response that its own Content-Length contradicts, before anything is sent.
    fn check(
        mut self,
        head: Option<&ResponseHead>,
        length: u64,
        more: bool,
    ) -> Result<Self, SendError> {
        if let Some(head) = head
            && let Err(error) = head.check_length(length, more)
            && self
                .slot()
                .is_some_and(|slot| slot.is_measured(head.status()))
        {
            return Err(SendError::Framing(error));
        }
        Ok(self)
    }
}

impl Exchange {
    fn find<'a>(&'a self, io: &'a mut ConnIo) -> Result<Carrier<'a>, Gone> {
        if io.slot.as_ref().is_some_and(|slot| slot.id == self.id) {
            return match io.is_open() {
                true => Ok(Carrier::Http1(Http1::new(io, &self.conn, self.id))),
                false => Err(Gone),
            };
        }
        Stream::find(io, &self.conn, self.id)
            .map(Carrier::Http2)
            .ok_or(Gone)
    }

    fn with_slot<R>(&self, act: impl FnOnce(&mut Slot) -> R) -> Result<R, Gone> {
        let mut io = self.conn.io();
        self.find(&mut io)?.slot().map(act).ok_or(Gone)
    }

    /// The application takes the request up. It is shared: who holds it keeps its bytes.
    pub(crate) fn take_up(&self) -> Option<Arc<Request>> {
        let mut io = self.conn.io();
        let mut carrier = self.find(&mut io).ok()?;
        if let Carrier::Http2(stream) = &mut carrier {
            stream.take_up();
        }
        carrier.slot()?.request.clone()
    }

    /// The application is done, however it ended. Called once per exchange that it was given.
    pub(crate) fn leave(&self, cx: &Reactor) {
        if self.conn.is_shared() {
            h2::leave(&self.conn, self.id, cx);
        }
    }

    /// Gives up the connection if it came along with the exchange: over HTTP/1 it has room for one at a time.
    /// Returns the readiness that came meanwhile; the caller stays the owner then.
    pub(crate) fn release(&self) -> Option<u8> {
        if self.conn.is_shared() {
            None
        } else {
            self.conn.release()
        }
    }

    /// Whether a response can still be written.
    pub(crate) fn is_open(&self) -> bool {
        self.with_slot(|slot| !matches!(slot.response, Response::Complete))
            .unwrap_or(false)
    }

    /// Whether the client can take no more, or has said that it will send no more.
    pub(crate) fn has_hung_up(&self) -> bool {
        let mut io = self.conn.io();
        self.find(&mut io).is_err() || io.has_hung_up()
    }

    /// Whether the response is whole with its head, which is out: the client waits for nothing more.
    pub(crate) fn is_bodiless(&self) -> bool {
        self.with_slot(|slot| slot.is_bodiless()).unwrap_or(false)
    }

    /// Writes body bytes; `head` comes with the first call. With `more` false the response ends here.
    pub(crate) fn send(
        &self,
        cx: &Reactor,
        head: Option<&ResponseHead>,
        data: &[u8],
        more: bool,
    ) -> Result<Sent, SendError> {
        let mut io = self.conn.io();
        match self.find(&mut io)?.check(head, data.len() as u64, more)? {
            Carrier::Http1(mut http1) => http1.send(cx, head, data, more),
            Carrier::Http2(stream) => stream.send(cx, head, data, more),
        }
    }

    /// As `send` of all that is left, but a short response may be left in the outbox (`Sent::Later`): the caller
    /// concludes it before the reactor's next turn.
    pub(crate) fn send_later(
        &self,
        cx: &Reactor,
        head: Option<&ResponseHead>,
        data: &[u8],
    ) -> Result<Sent, SendError> {
        let mut io = self.conn.io();
        match self.find(&mut io)?.check(head, data.len() as u64, false)? {
            Carrier::Http1(mut http1) => {
                http1.may_wait = true;
                http1.send(cx, head, data, false)
            }
            Carrier::Http2(stream) => stream.send(cx, head, data, false),
        }
    }

    /// Sends the response that was left for later.
    pub(crate) fn conclude(&self, cx: &Reactor) {
        let mut io = self.conn.io();
        if let Ok(Carrier::Http1(mut http1)) = self.find(&mut io) {
            // Others do not wait.
            let go_on = true;
            http1.conclude(cx, go_on);
        }
    }

    /// Sends part of a file as body bytes.
    pub(crate) fn send_file(
        &self,
        cx: &Reactor,
        head: Option<&ResponseHead>,
        part: FilePart,
        more: bool,
    ) -> Result<Sent, SendError> {
        let mut io = self.conn.io();
        match self.find(&mut io)?.check(head, part.length, more)? {
            Carrier::Http1(mut http1) => http1.send_file(cx, head, part, more),
            Carrier::Http2(stream) => stream.send_file(cx, head, part, more),
        }
    }

    /// Ends a response whose body is complete, with trailers where the framing has room for them.
    pub(crate) fn finish(
        &self,
        cx: &Reactor,
        head: Option<&ResponseHead>,
        trailers: &[(&[u8], &[u8])],
    ) -> Result<Sent, SendError> {
        let mut io = self.conn.io();
        match self.find(&mut io)?.check(head, 0, false)? {
            Carrier::Http1(mut http1) => http1.finish(cx, head, trailers),
            Carrier::Http2(stream) => stream.finish(cx, head, trailers),
        }
    }

    /// Sends an interim response (RFC 8297 early hints); only before the response begins.
    pub(crate) fn interim(
        &self,
        cx: &Reactor,
        status: u16,
        fields: &[(&[u8], &[u8])],
    ) -> Result<(), SendError> {
        let mut io = self.conn.io();
        match self.find(&mut io)? {
            Carrier::Http1(mut http1) => http1.interim(cx, status, fields),
            Carrier::Http2(stream) => stream.interim(cx, status, fields),
        }
    }

    /// The client broke the exchange off: one answer if none has begun, then the connection or stream ends.
    pub(crate) fn refuse(&self, cx: &Reactor, status: u16, why: &str) {
        let mut io = self.conn.io();
        match self.find(&mut io) {
            Ok(Carrier::Http1(mut http1)) => http1.refuse(cx, status, why),
            Ok(Carrier::Http2(stream)) => stream.refuse(cx, status, why),
            Err(Gone) => {}
        }
    }

    /// The application failed: 500 if nothing was sent yet, else the connection or stream is reset, so that the client
    /// cannot take the part it has for the whole. `page` replaces the plain answer (debug).
    pub(crate) fn fail(&self, cx: &Reactor, page: Option<&[u8]>) {
        cx.count(Field::AppErrors, 1);
        let mut io = self.conn.io();
        match self.find(&mut io) {
            Ok(Carrier::Http1(mut http1)) => http1.fail(cx, page),
            Ok(Carrier::Http2(stream)) => stream.fail(cx, page),
            Err(Gone) => {}
        }
    }

    /// Ends the exchange without a response: the client has gone and its request was cancelled.
    pub(crate) fn give_up(&self, cx: &Reactor) {
        let mut io = self.conn.io();
        match self.find(&mut io) {
            Ok(Carrier::Http1(mut http1)) => http1.give_up(cx),
            Ok(Carrier::Http2(stream)) => stream.give_up(cx),
            Err(Gone) => {}
        }
    }

    /// Moves what was received of the request body to `to`, up to `limit` bytes.
    pub(crate) fn read(
        &self,
        cx: &Reactor,
        to: &mut Vec<u8>,
        limit: usize,
        scratch: &mut Vec<u8>,
    ) -> Read {
        if cx.origin.is_elsewhere() {
            return self.read_copy(to, limit);
        }
        let mut io = self.conn.io();
        match self.find(&mut io) {
            Ok(Carrier::Http1(mut http1)) => http1.read(cx, to, limit, scratch),
            Ok(Carrier::Http2(stream)) => stream.read(cx, to, limit, scratch),
            Err(Gone) => Read::Gone,
        }
    }

    /// `read` for a child that the application forked: of its copy of what had come by then. The socket is its parent's.
    fn read_copy(&self, to: &mut Vec<u8>, limit: usize) -> Read {
        let take = |slot: &mut Slot| {
            let taken = slot.take_body(to, limit);
            (taken, !slot.body_ended || slot.body_len() > 0)
        };
        match self.with_slot(take) {
            Ok((taken, more)) if taken > 0 || !more => Read::Data { more },
            _ => Read::Gone,
        }
    }

    /// What `read_into` may read of the body without a copy; None: `read` is the way.
    pub(crate) fn direct(&self, cx: &Reactor) -> Option<Direct> {
        let mut io = self.conn.io();
        match self.find(&mut io) {
            Ok(Carrier::Http1(http1)) => http1.direct(cx),
            Ok(Carrier::Http2(_)) | Err(Gone) => None,
        }
    }

    /// Reads the request body into the front of `to`, which has room for no more than `direct` has said, or for `SLACK`
    /// bytes beyond; also says how many bytes.
    pub(crate) fn read_into(&self, cx: &Reactor, to: &mut [MaybeUninit<u8>]) -> (Read, usize) {
        let mut io = self.conn.io();
        match self.find(&mut io) {
            Ok(Carrier::Http1(mut http1)) => http1.read_into(cx, to),
            // Not reached: `direct` gives no size for these.
            Ok(Carrier::Http2(_)) | Err(Gone) => (Read::Gone, 0),
        }
    }

    /// Blocks the calling thread until the client may have done what is waited for, or some time has passed.
    /// The caller looks again, and must not hold the GIL.
    pub(crate) fn wait(
        &self,
        cx: &Reactor,
        what: WaitFor,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Gone> {
        if self.conn.is_shared() {
            h2::wait(&self.conn, self.id, what)
        } else {
            h1::wait(self, cx, what, scratch)
        }
    }

    /// The application takes its time: answers to the requests before this one, held back for its own, go out.
    pub(crate) fn release_held(&self, cx: &Reactor) {
        let mut io = self.conn.io();
        if let Ok(Carrier::Http1(mut http1)) = self.find(&mut io) {
            http1.release_held(cx);
        }
    }

    /// Whether so little waits that the application may go on.
    pub(crate) fn has_room(&self) -> Result<bool, Gone> {
        let mut io = self.conn.io();
        match self.find(&mut io)? {
            Carrier::Http1(http1) => Ok(http1.has_room()),
            Carrier::Http2(stream) => Ok(stream.has_room()),
        }
    }

    /// Leaves futures that are completed when the request body, or the end of the client, arrives.
    pub(crate) fn wait_readable(&self, waiters: impl Iterator<Item = Waiter>) -> Result<(), Gone> {
        self.with_slot(|slot| slot.receivers.extend(waiters))
    }

    /// Takes those futures if they are more than a `few`, for the caller to sort out.
    pub(crate) fn take_receivers(&self, few: usize) -> Result<Vec<Waiter>, Gone> {
        self.with_slot(|slot| match slot.receivers.len() > few {
            true => std::mem::take(&mut slot.receivers),
            false => Vec::new(),
        })
    }

    /// Leaves a future that is completed when there is room for output; false: there is room.
    pub(crate) fn wait_writable(&self, waiter: Waiter) -> Result<bool, Gone> {
        let mut io = self.conn.io();
        let mut carrier = self.find(&mut io)?;
        let room = match &carrier {
            Carrier::Http1(http1) => http1.has_room(),
            Carrier::Http2(stream) => stream.has_room(),
        };
        if !room && let Some(slot) = carrier.slot() {
            slot.senders.push(waiter);
        }
        Ok(!room)
    }

    /// Leaves out of the access log what the application does not want there.
    pub(crate) fn hide_from_log(&self) {
        let _ = self.with_slot(|slot| slot.log_access = false);
    }
}

/// The page that takes the place of a failed application's response.
fn error_page() -> Option<ResponseHead> {
    let mut head = ResponseHead::default();
    head.start(500, None)
        .and_then(|()| head.push(b"content-type", b"text/html; charset=utf-8"))
        .ok()
        .map(|()| head)
}

/// A request as log messages name it.
pub(crate) fn describe(request: &Request) -> String {
    format!(
        "method={} path=\"{}\"",
        String::from_utf8_lossy(request.method_bytes()),
        String::from_utf8_lossy(request.path_bytes()).escape_debug()
    )
}
