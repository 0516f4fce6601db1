//! The reactor: sockets, their owners, deadlines and buffers, shared by both drivers (asyncio loop, WSGI threads).
//! Everything here runs without the GIL if need be; Python objects are only carried (waiters), never used.

mod accepting;
mod account;
mod admission;
pub(crate) mod connection;
pub(crate) mod fragile;
mod guard;
pub(crate) mod h2;
pub(crate) mod listener;
mod notices;
pub(crate) mod outbox;
pub(crate) mod poller;
mod pool;
mod timers;
pub(crate) mod transport;

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ferrule_http::h1::encode::Defaults;
use pyo3::prelude::*;

use crate::access_log::AccessLog;
use crate::config::{Config, Protocol};
use crate::exchange::{Slot, describe};
use crate::forked::Origin;
use crate::scoreboard::{Field, Scoreboard};
use crate::tls::Executor;
use connection::Conn;
use listener::Listener;
use notices::Notices;
pub(crate) use notices::level;
use poller::{Handle, Poller, Source, ready};
use pool::Pool;
use transport::{Spoken, Transport};

/// Bytes read from a socket at once. A read that fills it counts as "there may be more".
pub(crate) const SCRATCH: usize = 64 * 1024;
/// "No deadline" in the millisecond clock.
pub(crate) const NEVER: u64 = u64::MAX;

/// Locks; a panic elsewhere has closed its own connection and left the data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds as Python gives them: below zero counts as none, too many (infinity) as no limit.
pub(crate) fn grace(seconds: f64) -> Duration {
    match Duration::try_from_secs_f64(seconds.max(0.0)) {
        Ok(grace) => grace,
        Err(_) => Duration::MAX,
    }
}

/// How the driver runs applications, as far as reading bodies is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// The application starts at the head, its body follows (ASGI).
    Streaming,
    /// Short bodies are collected before a thread is taken (WSGI).
    Buffering,
}

/// A connection that has something for its driver, claimed for it.
pub(crate) type Ready = Arc<Conn>;

/// An internet address, or the path of a unix socket.
pub(crate) type Address = (Option<std::net::SocketAddr>, Option<String>);

pub(crate) struct Reactor {
    pub config: Config,
    pub style: Style,
    pub origin: Origin,
    pub handle: Handle,
    pub access_log: Option<Py<AccessLog>>,
    pub scoreboard: Option<Py<Scoreboard>>,
    defaults: Mutex<Defaults>,
    pool: Mutex<Pool>,
    conns: Mutex<slab::Slab<Arc<Conn>>>,
    listeners: Mutex<Vec<Option<Listener>>>,
    /// Where each listener listens; kept when it is closed, because its connections go on.
    addresses: Vec<Address>,
    /// What is spoken on each.
    spoken: Vec<Spoken>,
    pub handshakes: Executor,
    /// Work that no event will announce again: unread input, yielded writes, pipelined requests.
    again: Mutex<VecDeque<Arc<Conn>>>,
    has_again: AtomicBool,
    /// Requests that an application thread has had for too long.
    expired: Mutex<Vec<Expired>>,
    notices: Mutex<Notices>,
    has_notices: AtomicBool,
    start: Instant,
    /// `start` on the scoreboard's clock.
    start_ns: u64,
    now_ms: AtomicU64,
    now_us: AtomicU64,
    unix_offset_ms: AtomicU64,
    next_sweep: AtomicU64,
    next_id: AtomicU64,
    in_flight: AtomicUsize,
    open: AtomicUsize,
    buffered_bodies: AtomicU64,
    accept_pending: AtomicBool,
    /// A new connection was left to less loaded workers until then (us); 0: none was.
    accept_after: AtomicU64,
    /// When to try again because accepting failed (ms); NEVER: it did not.
    accept_retry: AtomicU64,
    accepting: AtomicBool,
    draining: AtomicBool,
    drain_idle_until: AtomicU64,
}

/// A request that was answered 504 while the application is still at it.
pub(crate) struct Expired {
    pub id: u64,
    /// Names the request in messages.
    pub what: String,
}

impl Expired {
    fn new(slot: &Slot) -> Expired {
        Expired {
            id: slot.id,
            what: describe(slot.request()),
        }
    }
}

impl Reactor {
    pub(crate) fn new(
        config: Config,
        defaults: Defaults,
        style: Style,
        listeners: &[RawFd],
        spoken: Vec<Spoken>,
        access_log: Option<Py<AccessLog>>,
        scoreboard: Option<Py<Scoreboard>>,
    ) -> io::Result<(Reactor, Poller)> {
        crate::heap::keep_ordinary_blocks();
        let (poller, handle) = poller::new()?;
        let listeners = listeners
            .iter()
            .map(|fd| Listener::new(*fd))
            .collect::<io::Result<Vec<_>>>()?;
        let addresses = listeners
            .iter()
            .map(|listener| (listener.address, listener.path.clone()))
            .collect();
        let start = Instant::now();
        if style == Style::Streaming
            && let Some(board) = &scoreboard
        {
            // All of it happens on the loop's thread.
            board.get().count_alone();
        }
        let start_ns = scoreboard
            .as_ref()
            .map_or(0, |board| board.get().nanoseconds(start));
        let reactor = Reactor {
            config,
            style,
            origin: Origin::here(),
            handshakes: Executor::new(handle.alarm()),
            spoken,
            handle,
            access_log,
            scoreboard,
            defaults: Mutex::new(defaults),
            pool: Mutex::default(),
            conns: Mutex::default(),
            listeners: Mutex::new(listeners.into_iter().map(Some).collect()),
            addresses,
            again: Mutex::default(),
            has_again: AtomicBool::new(false),
            expired: Mutex::default(),
            notices: Mutex::default(),
            has_notices: AtomicBool::new(false),
            start,
            start_ns,
            now_ms: AtomicU64::new(0),
            now_us: AtomicU64::new(0),
            unix_offset_ms: AtomicU64::new(0),
            next_sweep: AtomicU64::new(NEVER),
            next_id: AtomicU64::new(1),
            in_flight: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            buffered_bodies: AtomicU64::new(0),
            accept_pending: AtomicBool::new(false),
            accept_after: AtomicU64::new(0),
            accept_retry: AtomicU64::new(NEVER),
            accepting: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            drain_idle_until: AtomicU64::new(NEVER),
        };
        reactor.tick();
        Ok((reactor, poller))
    }

    // ---- clock -------------------------------------------------------------------------------

    /// Reads the clock once; everything in a turn uses that time.
    pub(crate) fn tick(&self) {
        let us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(NEVER);
        let ms = us / 1000;
        // The greatest of what several threads have read: time does not go back.
        self.now_us.fetch_max(us, Ordering::Relaxed);
        let before = self.now_ms.fetch_max(ms, Ordering::Relaxed);
        // The wall clock may be set; look again now and then, and whenever a second may have passed for `Date`.
        if ms / 250 != before / 250 || before == 0 {
            let unix = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let unix_ms = u64::try_from(unix.as_millis()).unwrap_or(0);
            self.unix_offset_ms
                .store(unix_ms.saturating_sub(ms), Ordering::Relaxed);
            lock(&self.defaults).refresh(unix_ms / 1000);
        }
    }

    /// Milliseconds since the start of this worker, as of the last tick.
    pub(crate) fn now(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// Microseconds, read anew: for durations.
    pub(crate) fn precise_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(NEVER)
    }

    pub(crate) fn turn_us(&self) -> u64 {
        self.now_us.load(Ordering::Relaxed)
    }

    pub(crate) fn unix_ms(&self) -> u64 {
        self.unix_offset_ms
            .load(Ordering::Relaxed)
            .saturating_add(self.now())
    }

    pub(crate) fn defaults(&self) -> MutexGuard<'_, Defaults> {
        lock(&self.defaults)
    }

    // ---- turns -------------------------------------------------------------------------------

    /// One turn: waits for events up to `timeout`, accepts, sweeps deadlines, and appends to `batch` every connection
    /// with something to do. Connections that some thread owns only have the event noted. Returns true when more
    /// may be waiting, so that the next turn should follow without sleeping.
    pub(crate) fn turn(
        &self,
        poller: &mut Poller,
        timeout: Option<Duration>,
        batch: &mut Vec<Ready>,
    ) -> io::Result<bool> {
        let mut accept = self.accept_pending.swap(false, Ordering::Relaxed);
        // Locked once for all events, but never while the poller sleeps.
        let mut conns = None;
        let full = poller.wait(timeout, |source, bits| match source {
            Source::Listener => accept = true,
            Source::Connection(key) => {
                let known = conns.get_or_insert_with(|| lock(&self.conns));
                let Some(conn) = known.get(key).cloned() else {
                    return;
                };
                if conn.claim(bits) {
                    batch.push(conn);
                } else if bits & ready::WRITE != 0 {
                    // Its owner may be in the application for long: what waits goes out beside it.
                    conns = None;
                    self.meet(&conn, |io| io.write_on(self, &conn));
                }
            }
        })?;
        drop(conns);
        self.tick();
        for (conn, outcome) in self.handshakes.take_done() {
            self.meet(&conn, |io| io.on_step(self, &conn, outcome));
            if conn.claim(ready::AGAIN) {
                batch.push(conn);
            }
        }
        let mut more = full;
        let yielded = self.accept_after.load(Ordering::Relaxed);
        accept |= yielded != 0 && self.turn_us() >= yielded;
        accept |= self.now() >= self.accept_retry.load(Ordering::Relaxed);
        if accept && self.accepting.load(Ordering::Relaxed) {
            more |= self.accept_fairly();
        }
        if self.now() >= self.next_sweep.load(Ordering::Relaxed) {
            self.sweep(batch);
        }
        self.again(batch);
        Ok(more)
    }

    /// Appends the connections that asked for another look; false: there was none.
    pub(crate) fn again(&self, batch: &mut Vec<Ready>) -> bool {
        if !self.has_again.swap(false, Ordering::AcqRel) {
            return false;
        }
        let waiting = std::mem::take(&mut *lock(&self.again));
        for conn in waiting {
            if conn.claim(ready::AGAIN) {
                batch.push(conn);
            }
        }
        true
    }

    /// Asks for another look at a connection in the next turn.
    pub(crate) fn look_again(&self, conn: &Arc<Conn>) {
        lock(&self.again).push_back(conn.clone());
        self.has_again.store(true, Ordering::Release);
    }

    /// Whether a turn without sleep should follow.
    pub(crate) fn has_work(&self) -> bool {
        self.has_again.load(Ordering::Acquire)
            || (self.accept_pending.load(Ordering::Relaxed)
                && self.accepting.load(Ordering::Relaxed))
    }

    /// Time until the next deadline may pass or a yielded connection is taken; None: neither.
    pub(crate) fn until_sweep(&self) -> Option<Duration> {
        match self.next_timer() {
            NEVER => None,
            at => Some(Duration::from_millis(at.saturating_sub(self.now()))),
        }
    }

    /// Forgets a closed connection. Called once per connection, by `ConnIo::sever`.
    fn forget(&self, conn: &Conn) {
        let mut conns = lock(&self.conns);
        if conns
            .get(conn.key)
            .is_some_and(|known| std::ptr::eq(&**known, conn))
        {
            let gone = conns.remove(conn.key);
            drop(conns);
            drop(gone);
            // By the count itself: between a look and the subtraction an accept could find the worker full.
            let open = self.open.fetch_sub(1, Ordering::SeqCst);
            self.gauge(Field::Connections, open.saturating_sub(1));
            let was_full = self.config.connections > 0 && open >= self.config.connections;
            if was_full && self.accepting.load(Ordering::Relaxed) {
                self.accept_pending.store(true, Ordering::Relaxed);
                self.handle.wake();
            }
        }
    }

    /// Whether the local address of its connections is known only per connection.
    pub(crate) fn listens_everywhere(&self, index: usize) -> bool {
        self.addresses.get(index).is_some_and(|(address, _)| {
            address.is_some_and(|address| address.ip().is_unspecified())
        })
    }

    pub(crate) fn protocol(&self, listener: usize) -> Protocol {
        match self.spoken.get(listener) {
            Some(spoken) => spoken.protocol,
            None => self.config.protocol,
        }
    }

    /// How a connection to a listener begins.
    fn transport(&self, listener: usize) -> Transport {
        self.spoken
            .get(listener)
            .map_or(Transport::Clear, Spoken::transport)
    }

    pub(crate) fn speaks_tls(&self, listener: usize) -> bool {
        self.spoken
            .get(listener)
            .is_some_and(|spoken| spoken.tls.is_some())
    }

    pub(crate) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    pub(crate) fn listener_address(&self, index: usize) -> Address {
        self.addresses.get(index).cloned().unwrap_or_default()
    }

    // ---- draining ----------------------------------------------------------------------------

    /// Serves what the accept queues hold, stops accepting, and lets idle connections go within min(5 s, grace / 2).
    pub(crate) fn drain(&self, grace: Duration) {
        if self.draining.swap(true, Ordering::AcqRel) {
            return;
        }
        self.tick();
        if self.accepting.load(Ordering::Relaxed) {
            while self.accept() {}
        }
        self.accepting.store(false, Ordering::Relaxed);
        for listener in lock(&self.listeners).iter_mut() {
            if let Some(listener) = listener.take() {
                self.handle.remove(listener.raw_fd());
            }
        }
        let idle = (grace / 2).min(Duration::from_secs(5));
        let until = self
            .now()
            .saturating_add(u64::try_from(idle.as_millis()).unwrap_or(0));
        self.drain_idle_until.store(until, Ordering::Release);
        for conn in self.all() {
            self.meet(&conn, |io| io.settle(self, &conn));
        }
        self.handle.wake();
    }

    /// What the readiness path answers. The arbiter can say no while accepting goes on (`--drain-delay`).
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_draining()
            && self
                .scoreboard
                .as_ref()
                .is_none_or(|board| !board.get().is_draining())
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Closes every connection.
    pub(crate) fn abort(&self) {
        for conn in self.all() {
            self.meet(&conn, |io| io.close(self, &conn));
        }
        self.handle.wake();
    }

    fn all(&self) -> Vec<Arc<Conn>> {
        lock(&self.conns)
            .iter()
            .map(|(_, conn)| conn.clone())
            .collect()
    }

    // ---- counters and messages -----------------------------------------------------------------

    pub(crate) fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}
