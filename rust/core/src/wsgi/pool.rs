//! Who polls and who runs the application: leader and followers.
//!
//! One application thread leads: it polls with the GIL held, and runs what it finds itself, one request after the
//! other, so that at load nobody hands anything over. Only when nothing is ready does it let the GIL go and sleep in
//! the poller. The others follow: they sleep until there is more to do than the leader gets done.
//!
//! One more thread does I/O only and never needs the GIL; see `io.rs`.
//!
//! Locks: nobody waits for the GIL, or runs Python, while holding one. The lead is held for the whole of a sleep in the
//! poller, so with the GIL it is only tried.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;

use super::WsgiCore;
use super::queue::Queue;
use super::seat::{Abandon, Seat};
use crate::exchange::Exchange;
use crate::reactor::poller::Poller;
use crate::reactor::{Expired, NEVER, Ready, SCRATCH, level, lock};

/// Sleeps end after this even if nothing happens, as a backstop.
pub(super) const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// A poller that fails would be asked again at once, for ever.
const AFTER_ERROR: Duration = Duration::from_millis(10);
/// A thread whose request ran out of time has this long to notice by itself: it may be on its way back, or wait for the
/// client.
const LAST_CHANCE_MS: u64 = 200;

/// After so many requests from the queue, and so long (us), somebody polls although there are more in it.
const UNPOLLED: usize = 8;
const UNPOLLED_US: u64 = 2_000;

/// What polling needs; whoever holds the lock leads.
pub(super) struct Lead {
    poller: Poller,
    scratch: Vec<u8>,
    batch: Vec<Ready>,
    found: Vec<Exchange>,
}

/// A thread that is stuck in a request, for the worker to report and to replace.
pub(super) struct Stuck {
    pub thread: u64,
    pub request: String,
}

pub(super) struct Pool {
    lead: Mutex<Lead>,
    /// An application thread leads or waits for the lead; the others need not try.
    pub(super) leading: AtomicBool,
    /// An application thread asks the I/O thread for the lead.
    pub(super) wanted: AtomicBool,
    queue: Mutex<Queue>,
    /// Requests taken from it since somebody polled.
    unpolled: AtomicUsize,
    /// With `queue`: there is work for followers, or they shall end.
    work: Condvar,
    followers: AtomicUsize,
    /// Threads inside an application call that do not wait for their client.
    pub(super) inside: AtomicUsize,
    /// Counts requests taken up and given back.
    pub(super) progress: AtomicU64,
    /// Counts what else shows that an application is alive: items of its responses, reads, waits for clients.
    alive: AtomicU64,
    /// Counts turns of application threads.
    pub(super) turns: AtomicU64,
    /// When somebody polled last (us).
    polled_us: AtomicU64,
    /// With `tick`: the I/O thread sleeps until an application call begins.
    pub(super) resting: Mutex<bool>,
    pub(super) is_resting: AtomicBool,
    pub(super) tick: Condvar,
    /// The deadline that a sleeping leader wakes up for (ms); 0: nobody sleeps.
    sleeping_until: AtomicU64,
    stopping: AtomicBool,
    seats: Mutex<Vec<Arc<Seat>>>,
    /// Requests whose time is over, and whose threads are looked at when `late_until` (ms) has come.
    late: Mutex<Vec<Expired>>,
    late_until: AtomicU64,
    stuck: Mutex<Vec<Stuck>>,
    /// Written to when the main thread has something to see to.
    wakeup: Option<OwnedFd>,
    /// Progress when `stuck_for` looked last, and since when (ms) it is the same.
    standstill: Mutex<(u64, u64)>,
}

/// Puts the lead down whatever happens.
struct Leading<'a>(&'a AtomicBool);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A thread that waits for its client; it is back whatever happens.
struct Waiting<'a> {
    pool: &'a Pool,
    seat: Arc<Seat>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.enter();
        self.seat.end_wait();
    }
}

impl Pool {
    pub(super) fn new(poller: Poller, wakeup: Option<OwnedFd>) -> Pool {
        Pool {
            lead: Mutex::new(Lead {
                poller,
                scratch: vec![0; SCRATCH],
                batch: Vec::new(),
                found: Vec::new(),
            }),
            leading: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            queue: Mutex::default(),
            unpolled: AtomicUsize::new(0),
            work: Condvar::new(),
            followers: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            progress: AtomicU64::new(0),
            alive: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            polled_us: AtomicU64::new(0),
            resting: Mutex::new(false),
            is_resting: AtomicBool::new(false),
            tick: Condvar::new(),
            sleeping_until: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            seats: Mutex::default(),
            late: Mutex::default(),
            late_until: AtomicU64::new(NEVER),
            stuck: Mutex::default(),
            wakeup,
            standstill: Mutex::default(),
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // With the lock, so that nobody is between its look at `stopping` and its sleep.
        drop(lock(&self.queue));
        self.work.notify_all();
        *lock(&self.resting) = false;
        self.tick.notify_all();
    }

    /// The lead, if nobody has it.
    pub(super) fn try_lead(&self) -> Option<MutexGuard<'_, Lead>> {
        match self.lead.try_lock() {
            Ok(lead) => Some(lead),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn next(&self, now: impl FnOnce() -> u64) -> Option<Exchange> {
        let exchange = lock(&self.queue).pop(now);
        if exchange.is_some() {
            self.unpolled.fetch_add(1, Ordering::Relaxed);
        }
        exchange
    }

    pub(super) fn queue(&self, exchanges: &mut Vec<Exchange>) {
        if !exchanges.is_empty() {
            let mut queue = lock(&self.queue);
            exchanges.drain(..).for_each(|each| queue.push(each));
        }
    }

    pub(super) fn queued(&self) -> usize {
        lock(&self.queue).len()
    }

    /// Wakes followers for `count` queued requests.
    pub(super) fn notify(&self, count: usize) {
        for _ in 0..count.min(self.followers.load(Ordering::Relaxed)) {
            self.work.notify_one();
        }
    }

    /// The calling thread enters the application (or comes back from waiting for its client).
    fn enter(&self) {
        // In one order with the I/O thread's going to rest and its look at `inside`.
        self.inside.fetch_add(1, Ordering::SeqCst);
        if self.is_resting.load(Ordering::SeqCst) {
            *lock(&self.resting) = false;
            self.is_resting.store(false, Ordering::SeqCst);
            self.tick.notify_one();
        }
    }

    /// Whether a thread is inside the application, and not given up.
    pub(super) fn is_busy(&self) -> bool {
        self.inside.load(Ordering::SeqCst) > 0
    }

    fn leave(&self) {
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    /// The calling thread takes a request up.
    pub(super) fn begin(&self, seat: &Seat, request: u64) {
        self.enter();
        self.progress.fetch_add(1, Ordering::Relaxed);
        // Last: who gives the thread up counts it out.
        seat.begin(request);
    }

    /// And is done with it. False: the thread was given up meanwhile, and another has its place.
    pub(super) fn end(&self, seat: &Seat) -> bool {
        let kept = seat.end();
        if kept {
            self.leave();
            self.progress.fetch_add(1, Ordering::Relaxed);
        }
        kept
    }

    /// The application does something: whatever it takes, it is not stuck.
    pub(super) fn sign_of_life(&self) {
        self.alive.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs `wait`, in which the calling thread waits for its client.
    pub(super) fn outside<R>(&self, wait: impl FnOnce() -> R) -> R {
        let waiting = Seat::own()
            .filter(|seat| seat.begin_wait())
            .map(|seat| Waiting { pool: self, seat });
        if waiting.is_some() {
            self.leave();
        }
        let outcome = wait();
        drop(waiting);
        self.sign_of_life();
        outcome
    }

    /// Gives up the threads that are stuck in `late` requests. Returns those to be looked at again.
    fn abandon(&self, late: Vec<Expired>) -> Vec<Expired> {
        let seats = lock(&self.seats).clone();
        let mut again = Vec::new();
        for request in late {
            for seat in &seats {
                match seat.abandon(request.id) {
                    Abandon::Elsewhere => {}
                    Abandon::Waiting => {
                        again.push(request);
                        break;
                    }
                    Abandon::Done => {
                        self.leave();
                        lock(&self.stuck).push(Stuck {
                            thread: seat.thread,
                            request: request.what,
                        });
                        if let Some(wakeup) = &self.wakeup {
                            // A full pipe wakes as well.
                            let _ = rustix::io::write(wakeup, b"\0");
                        }
                        break;
                    }
                }
            }
        }
        again
    }

    /// Threads given up since the last call.
    pub(super) fn take_stuck(&self) -> Vec<Stuck> {
        std::mem::take(&mut *lock(&self.stuck))
    }

    /// Milliseconds for which every one of `threads` has been inside the application without a sign of life.
    pub(super) fn standstill(&self, threads: usize, now: u64) -> u64 {
        let seen = self
            .progress
            .load(Ordering::Relaxed)
            .wrapping_add(self.alive.load(Ordering::Relaxed));
        let all_inside = self.inside.load(Ordering::SeqCst) >= threads;
        let mut standstill = lock(&self.standstill);
        if !all_inside || standstill.0 != seen {
            *standstill = (seen, now);
        }
        now.saturating_sub(standstill.1)
    }
}

impl WsgiCore {
    /// An application thread: runs requests, leads, or follows, until the pool stops or the thread was given up.
    pub(super) fn serve(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let thread = py
            .import("threading")?
            .call_method0(intern!(py, "get_ident"))?
            .extract()?;
        let seat = Arc::new(Seat::new(thread));
        lock(&self.pool.seats).push(seat.clone());
        Seat::take(Some(seat.clone()));
        self.serve_seated(py, &seat);
        Seat::take(None);
        lock(&self.pool.seats).retain(|other| !Arc::ptr_eq(other, &seat));
        Ok(())
    }

    fn serve_seated(self: &Arc<Self>, py: Python<'_>, seat: &Seat) {
        while !self.pool.is_stopping() {
            if self.reactor.survive(|| self.take_turn(py, seat)) == Some(false) {
                return;
            }
        }
    }

    /// Does what there is to do next. False: the thread was given up meanwhile.
    fn take_turn(self: &Arc<Self>, py: Python<'_>, seat: &Seat) -> bool {
        // A long line must not hide who has come since.
        if self.pool.unpolled.load(Ordering::Relaxed) >= UNPOLLED
            && self.reactor.precise_us()
                >= self
                    .pool
                    .polled_us
                    .load(Ordering::Relaxed)
                    .saturating_add(UNPOLLED_US)
            && let Some(mut lead) = self.pool.try_lead()
        {
            self.turn(&mut lead, Duration::ZERO);
            self.pool.turns.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(exchange) = self.pool.next(|| self.reactor.precise_us()) {
            return self.run(py, seat, exchange);
        }
        if self.reactor.has_notices() {
            // The log may block: then the I/O thread polls.
            self.pool.enter();
            self.report(py);
            self.pool.leave();
        }
        if self.pool.leading.swap(true, Ordering::AcqRel) {
            self.follow(py);
        } else {
            let leading = Leading(&self.pool.leading);
            self.lead(py);
            drop(leading);
        }
        true
    }

    /// Polls until there is something to run. Asks first with the GIL held: at load there always is something.
    fn lead(&self, py: Python<'_>) {
        if let Some(mut lead) = self.pool.try_lead() {
            let found = self.turn(&mut lead, Duration::ZERO);
            self.pool.turns.fetch_add(1, Ordering::Relaxed);
            if found > 0 || self.reactor.has_work() {
                return;
            }
        }
        // The lock is given back before the GIL is asked for: nobody ever waits for the GIL while polling is his.
        py.detach(|| {
            let mut lead = self.pool.try_lead().unwrap_or_else(|| {
                self.pool.wanted.store(true, Ordering::Release);
                self.reactor.handle.wake();
                let lead = lock(&self.pool.lead);
                self.pool.wanted.store(false, Ordering::Release);
                lead
            });
            if self.pool.is_stopping() || self.pool.queued() > 0 {
                return;
            }
            self.sleep(&mut lead);
            self.pool.turns.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// A turn that sleeps until there is something to do.
    pub(super) fn sleep(&self, lead: &mut Lead) {
        let until = self.reactor.next_timer();
        self.pool.sleeping_until.store(until, Ordering::Release);
        // Whoever leaves work or an earlier deadline after this line sees that somebody sleeps (`nudge`).
        fence(Ordering::SeqCst);
        let timeout = if self.reactor.has_work() {
            Duration::ZERO
        } else {
            self.reactor.tick();
            self.reactor
                .until_sweep()
                .unwrap_or(LONGEST_SLEEP)
                .min(LONGEST_SLEEP)
                .min(self.write_log())
        };
        self.turn(lead, timeout);
        self.pool.sleeping_until.store(0, Ordering::Release);
    }

    /// After a request: a sleeping leader must learn of work and deadlines that came up meanwhile.
    pub(super) fn nudge(&self) {
        fence(Ordering::SeqCst);
        let until = self.pool.sleeping_until.load(Ordering::Acquire);
        if until != 0 && (self.reactor.has_work() || self.reactor.next_timer() < until) {
            self.reactor.handle.wake();
        }
    }

    /// One turn of the reactor; requests that are ready go to the queue, their connections stay owned. Returns how
    /// many there were.
    pub(super) fn turn(&self, lead: &mut Lead, timeout: Duration) -> usize {
        let Lead {
            poller,
            scratch,
            batch,
            found,
        } = lead;
        self.pool.unpolled.store(0, Ordering::Relaxed);
        if let Err(error) = self.reactor.turn(poller, Some(timeout), batch) {
            let text = format!("Polling failed: {error}");
            self.reactor.notice(level::ERROR, text);
            std::thread::sleep(AFTER_ERROR);
        }
        self.pool
            .polled_us
            .store(self.reactor.turn_us(), Ordering::Relaxed);
        for conn in batch.drain(..) {
            let bits = conn.begin();
            self.move_bytes(&conn, bits, scratch, found);
        }
        self.give_up_late();
        self.write_log();
        let count = found.len();
        self.pool.queue(found);
        count
    }

    /// Sees to threads whose requests ran out of time.
    fn give_up_late(&self) {
        if self.reactor.config.request_timeout_ms == 0 {
            return;
        }
        let expired = self.reactor.take_expired();
        let until = self.pool.late_until.load(Ordering::Relaxed);
        let due = self.reactor.now() >= until;
        if !due && expired.is_empty() {
            // A sweep that came in between knew only of its connections.
            return self.reactor.note_deadline(until);
        }
        let mut late = std::mem::take(&mut *lock(&self.pool.late));
        if due {
            late = self.pool.abandon(late);
        }
        late.extend(expired);
        let until = match late.is_empty() {
            true => NEVER,
            false => self.reactor.now().saturating_add(LAST_CHANCE_MS),
        };
        self.reactor.note_deadline(until);
        self.pool.late_until.store(until, Ordering::Relaxed);
        lock(&self.pool.late).extend(late);
    }

    /// Waits, without the GIL, until there is something for this thread.
    fn follow(&self, py: Python<'_>) {
        py.detach(|| {
            let pool = &self.pool;
            // The leader may sleep for long, and not know of this thread's last line.
            self.reactor.tick();
            let patience = self.write_log();
            let mut queue = lock(&pool.queue);
            pool.followers.fetch_add(1, Ordering::AcqRel);
            while queue.is_empty() && !pool.is_stopping() {
                let waited = pool.work.wait_timeout(queue, patience);
                let (left, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                queue = left;
                if waited.timed_out() || !pool.leading.load(Ordering::Acquire) {
                    break;
                }
            }
            pool.followers.fetch_sub(1, Ordering::AcqRel);
        });
    }

    /// Writes access lines as far as that is worth it. Returns when to look again.
    fn write_log(&self) -> Duration {
        let log = self.reactor.access_log.as_ref();
        log.and_then(|log| log.get().flush_due(self.reactor.now()))
            .map_or(LONGEST_SLEEP, Duration::from_millis)
    }

    /// Seconds during which every application thread has been inside one call; 0 while any is free.
    pub(super) fn stuck_for(&self) -> f64 {
        self.reactor.tick();
        let now = self.reactor.now();
        self.pool.standstill(self.reactor.config.threads, now) as f64 / 1000.0
    }
}
