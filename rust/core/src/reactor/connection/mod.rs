//! One connection: its socket, what was received and not yet consumed, and what waits to be written.
//! Moves bytes between the socket and the protocol and says what happened; runs no application and needs no GIL.

mod deadlines;
mod input;
mod output;
mod requests;
mod sealed;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, MutexGuard, OnceLock};

use ferrule_http::h1::Connection as Http1;
use pyo3::{Py, PyAny};

use super::fragile::Fragile;
use super::h2::H2;
use super::listener::Peer;
use super::outbox::Outbox;
use super::poller::ready;
use super::transport::Transport;
use super::{Address, Expired, Reactor, Style};
use crate::exchange::Slot;
use crate::tls::Description;
pub(super) use deadlines::{after, rate_due};
pub(crate) use input::SLACK;

/// Response bytes in memory at which the application is paused, and at which it goes on.
pub(crate) const HIGH_WATER: usize = 64 * 1024;
pub(crate) const LOW_WATER: usize = 16 * 1024;
/// After a response that ends the connection, what the client still sends is read this long and this far,
/// because closing with unread input would reset the connection before the client has read the answer (RFC 9112, 9.6).
const LINGER_MS: u64 = 2_000;
const LINGER_BYTES: usize = 1024 * 1024;

/// A future that Python code waits on; the core only carries it.
pub(crate) type Waiter = Py<PyAny>;

const OWNED: u8 = 0b1000_0000;

pub(crate) struct Conn {
    pub key: usize,
    pub peer: Peer,
    pub listener: usize,
    /// OWNED while a thread works on it, plus the readiness that came meanwhile.
    owner: AtomicU8,
    /// Many exchanges at a time: none of them has the connection to itself.
    shared: AtomicBool,
    /// When something is due at the earliest, ms.
    pub(super) deadline: AtomicU64,
    io: Fragile<ConnIo>,
    /// With `io`: a stream that a thread waits for has moved.
    pub(crate) moved: Condvar,
    /// What is known of its TLS, once that is agreed on.
    tls: OnceLock<Arc<Description>>,
}

impl Conn {
    pub(super) fn new(fd: OwnedFd, key: usize, peer: Peer, listener: usize, cx: &Reactor) -> Conn {
        let io = ConnIo::new(fd, cx.transport(listener), cx.now());
        let due = io.next_due(cx);
        cx.note_deadline(due);
        Conn {
            key,
            peer,
            listener,
            owner: AtomicU8::new(0),
            shared: AtomicBool::new(false),
            deadline: AtomicU64::new(due),
            io: Fragile::new(io),
            moved: Condvar::new(),
            tls: OnceLock::new(),
        }
    }

    pub(crate) fn tls(&self) -> Option<&Arc<Description>> {
        self.tls.get()
    }

    /// From here on threads own it only while they move its bytes, and exchanges run beside each other.
    pub(super) fn share(&self) {
        self.shared.store(true, Ordering::Release);
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Acquire)
    }

    /// Makes the caller the owner, or leaves `bits` to the one that is.
    pub(crate) fn claim(&self, bits: u8) -> bool {
        self.owner.fetch_or(OWNED | bits, Ordering::AcqRel) & OWNED == 0
    }

    /// Gives up ownership, unless readiness came meanwhile: then the caller stays the owner and gets it.
    pub(crate) fn release(&self) -> Option<u8> {
        match self
            .owner
            .compare_exchange(OWNED, 0, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => None,
            Err(_) => Some(self.owner.swap(OWNED, Ordering::AcqRel) & !OWNED),
        }
    }

    /// After a claim the bits are the caller's: those of the claim itself must not be reported again.
    pub(crate) fn begin(&self) -> u8 {
        self.owner.swap(OWNED, Ordering::AcqRel) & !OWNED
    }

    pub(crate) fn deadline(&self) -> u64 {
        self.deadline.load(Ordering::Relaxed)
    }

    /// After a panic within it the connection is at its end, whoever caught that: an event will tell the next turn.
    pub(crate) fn io(&self) -> MutexGuard<'_, ConnIo> {
        self.io.lock(|io| io.cut())
    }

    /// The address the client connected to; None on unix sockets.
    pub(crate) fn local_address(&self, cx: &Reactor) -> Address {
        let (address, path) = cx.listener_address(self.listener);
        match address {
            Some(address) if !address.ip().is_unspecified() => (Some(address), path),
            _ => {
                let io = self.io();
                let name = io
                    .fd
                    .as_ref()
                    .and_then(|fd| rustix::net::getsockname(fd).ok());
                match Peer::of(name) {
                    Peer::Inet(local) => (Some(local), path),
                    Peer::Unix => (address, path),
                }
            }
        }
    }
}

/// What the driver has to do after the connection moved.
#[derive(Default)]
pub(crate) struct News {
    /// A request to run, which has the connection to itself.
    pub launch: Option<u64>,
    /// Requests to run beside each other.
    pub launches: Vec<u64>,
    /// Futures to complete: something they wait for has happened.
    pub wake: Vec<Waiter>,
    /// Exchanges whose client hung up.
    pub hung_up: Vec<u64>,
    /// Exchanges that ran into the request time-out.
    pub timed_out: Vec<Expired>,
}

impl News {
    fn is_empty(&self) -> bool {
        self.launch.is_none()
            && self.launches.is_empty()
            && self.wake.is_empty()
            && self.hung_up.is_empty()
            && self.timed_out.is_empty()
    }
}

pub(crate) struct ConnIo {
    /// Shared with a thread that waits for the socket, so that the number cannot become another's meanwhile.
    fd: Option<Arc<OwnedFd>>,
    transport: Transport,
    pub(crate) http: Http1,
    /// The request being received, run or skipped. Between requests there is none, and no buffer.
    pub(crate) slot: Option<Box<Slot>>,
    /// All of a connection that speaks HTTP/2; `http` and `slot` are idle then.
    pub(crate) h2: Option<Box<H2>>,
    /// Received and not yet consumed, from `input_start`.
    input: Vec<u8>,
    input_start: usize,
    pub(crate) out: Outbox,
    pub(crate) news: News,
    /// The current phase's start: connected, first byte of a head, or end of the last response (ms).
    since: u64,
    write_since: u64,
    pending_since: u64,
    pending_sent: u64,
    linger_left: usize,
    /// The socket may have unread bytes (edge-triggered: nobody will say so again).
    readable: bool,
    /// FIN was announced: read until it is seen.
    hang_up: bool,
    pub(super) read_closed: bool,
    /// No further request; closes when the outbox is empty.
    pub(crate) closing: bool,
    lingering: bool,
    /// FIN was sent, and what comes until the client sends its own is thrown away.
    said_fin: bool,
    served: bool,
    /// The kernel took no more; a write event will say when it does.
    blocked: bool,
}

impl ConnIo {
    fn new(fd: OwnedFd, transport: Transport, now: u64) -> ConnIo {
        ConnIo {
            fd: Some(Arc::new(fd)),
            transport,
            http: Http1::new(),
            slot: None,
            h2: None,
            input: Vec::new(),
            input_start: 0,
            out: Outbox::default(),
            news: News::default(),
            since: now,
            write_since: now,
            pending_since: now,
            pending_sent: 0,
            linger_left: LINGER_BYTES,
            readable: true,
            hang_up: false,
            read_closed: false,
            closing: false,
            lingering: false,
            said_fin: false,
            served: false,
            blocked: false,
        }
    }

    pub(crate) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// The request to run if that is all the news, as it mostly is; else all of them.
    pub(crate) fn take_launch_or_news(&mut self) -> (Option<u64>, Option<News>) {
        let launch = self.news.launch.take();
        if self.news.is_empty() {
            return (launch, None);
        }
        let news = News {
            launch,
            ..self.take_news()
        };
        (None, Some(news))
    }

    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.fd.is_some()
    }

    /// The client has sent FIN: it may still read.
    pub(crate) fn has_hung_up(&self) -> bool {
        self.read_closed
    }

    pub(crate) fn wait_handle(&self) -> Option<Arc<OwnedFd>> {
        self.fd.clone()
    }

    fn unconsumed(&self) -> usize {
        self.input.len().saturating_sub(self.input_start)
    }

    /// Whether bytes of a further request are here already.
    pub(crate) fn has_pipelined(&self) -> bool {
        self.unconsumed() > 0 && !self.closing
    }

    // ---- readiness -----------------------------------------------------------------------------

    /// The socket is ready as `bits` say, or (0) it is worth another look.
    pub(crate) fn on_ready(
        &mut self,
        cx: &Reactor,
        conn: &Arc<Conn>,
        bits: u8,
        scratch: &mut [u8],
    ) {
        if self.fd.is_none() {
            return;
        }
        if bits & ready::GONE != 0 {
            return self.close(cx, conn);
        }
        if bits & ready::READ != 0 {
            self.readable = true;
        }
        if bits & ready::READ_CLOSED != 0 {
            self.hang_up = true;
        }
        if bits & ready::WRITE != 0 {
            self.blocked = false;
        }
        if self.h2.is_some() {
            self.advance(cx, conn, scratch);
            return self.on_moved_h2(cx, conn);
        }
        // Answers held back for the requests behind them go out first once they fill the outbox: nothing is parsed
        // until there is room.
        if !self.out.is_empty() && (!self.has_pipelined() || self.out.pending() > LOW_WATER) {
            self.flush(cx, conn);
        }
        self.advance(cx, conn, scratch);
        if self.h2.is_some() {
            return self.on_moved_h2(cx, conn);
        }
        // An ASGI application may answer at once and its answer join those; a thread may take its time.
        if !self.out.is_empty() && (self.news.launch.is_none() || cx.style == Style::Buffering) {
            self.flush(cx, conn);
            if self.unconsumed() > 0 && self.may_parse() {
                // This made the room, and no event will tell.
                cx.look_again(conn);
            }
        }
        self.settle(cx, conn);
    }

    /// The socket takes more, and another thread owns the connection. A block of a response is on its way while the
    /// application makes the next one (PEP 3333, "Buffering and Streaming").
    pub(super) fn write_on(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        if std::mem::take(&mut self.blocked) && !self.out.is_empty() {
            self.flush(cx, conn);
            self.pump(cx, conn);
            self.settle(cx, conn);
        }
    }

    /// After every move: closes what is over, and notes when the next thing is due.
    pub(crate) fn settle(&mut self, cx: &Reactor, conn: &Arc<Conn>) {
        if self.fd.is_none() {
            return;
        }
        if self.h2.is_some() {
            return self.settle_h2(cx, conn);
        }
        if self.out.is_empty() && self.slot.is_none() {
            if self.closing && !self.lingering && !self.read_closed && self.has_unread() {
                // To close now would reset the connection, and the client might lose the end of its response.
                self.lingering = true;
                self.readable = true;
                cx.look_again(conn);
            }
            if self.closing && self.lingering && !self.read_closed {
                self.shut_down(cx);
            } else if self.closing || self.read_closed && self.unconsumed() == 0 {
                return self.close(cx, conn);
            }
            if self.unconsumed() == 0 && self.input.capacity() > 0 {
                self.input = Vec::new();
            }
        }
        self.run_body_clock(cx);
        let due = self.next_due(cx);
        conn.deadline.store(due, Ordering::Relaxed);
        cx.note_deadline(due);
    }
}
