//! Short responses that end in one turn are sent together, once its applications have run: the first of them wakes
//! who waits for responses on this machine, a proxy say, and the others find it awake. Each would have to wake it anew
//! if an application ran in between.
//! Only while applications are quick: after one that took long nothing waits for a while. What has been gathered before
//! it is the price: it waits until that application lets go of the thread, as any request that comes meanwhile.

use std::cell::{Cell, RefCell};

use crate::exchange::Exchange;
use crate::reactor::Reactor;

/// An application that runs for longer keeps responses waiting that need not wait (us).
const LONG: u64 = 200;
/// Responses are sent once the first of them has waited for this long (us).
const MOST_WAIT: u64 = 250;
/// After a long step nothing waits for so many times its length: waits are a twentieth of the time at most.
const PENANCE: u64 = 20;

/// What of this turn, or of one turn of the loop, is to be sent.
#[derive(Default)]
pub(super) struct Gathering {
    waiting: RefCell<Vec<Exchange>>,
    /// The connection whose application runs, if it is not alone in this turn.
    serving: Cell<Option<usize>>,
    /// When the last step began (us), and when the one began that the first waiting response came from.
    step: Cell<u64>,
    since: Cell<u64>,
    /// When a response ended outside of turns (us).
    ended: Cell<u64>,
    /// Nothing waits until then (us).
    pause_until: Cell<u64>,
}

impl Gathering {
    /// A turn begins to serve connections.
    pub(super) fn begin(&self, now: u64) {
        self.step.set(now);
    }

    /// The application of a connection is next; `several` have this turn.
    pub(super) fn serve(&self, key: usize, several: bool) {
        let pauses = self.step.get() < self.pause_until.get();
        self.serving.set((several && !pauses).then_some(key));
    }

    /// That application has run. True: what waits is due.
    pub(super) fn served(&self, now: u64) -> bool {
        self.serving.set(None);
        let took = self.lap(now);
        if took > LONG {
            self.pause(now, took);
            return !self.is_empty();
        }
        self.is_due(now)
    }

    /// Whether the end of a response may wait. `turn`: within a turn, where the connection at hand may; a response of
    /// another one, in a loop that its application runs within the loop, may be what that application waits for.
    /// Outside of turns responses wait that follow on each other closely.
    pub(super) fn takes(&self, key: usize, turn: bool, now: u64) -> bool {
        if turn {
            return self.serving.get() == Some(key);
        }
        let since_the_last = now.saturating_sub(self.ended.replace(now));
        if since_the_last > LONG {
            if !self.is_empty() {
                self.pause(now, since_the_last);
            }
            return false;
        }
        self.step.set(now);
        now >= self.pause_until.get()
    }

    pub(super) fn add(&self, exchange: Exchange) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            self.since.set(self.step.get());
        }
        waiting.push(exchange);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    pub(super) fn is_due(&self, now: u64) -> bool {
        !self.is_empty() && now.saturating_sub(self.since.get()) >= MOST_WAIT
    }

    /// The next step begins; how long the last one took.
    fn lap(&self, now: u64) -> u64 {
        now.saturating_sub(self.step.replace(now))
    }

    fn pause(&self, now: u64, took: u64) {
        self.pause_until
            .set(now.saturating_add(took.saturating_mul(PENANCE)));
    }

    /// Sends all that waits.
    pub(super) fn send(&self, reactor: &Reactor) {
        // Deadlines run from when they are sent.
        reactor.tick();
        let now = reactor.turn_us();
        let took = self.lap(now);
        if took > LONG {
            self.pause(now, took);
        }
        let mut waiting = self.waiting.take();
        for exchange in waiting.drain(..) {
            reactor.guard(&exchange.conn, || exchange.conclude(reactor));
        }
        // Nothing has joined meanwhile, as no application ran.
        self.waiting.replace(waiting);
        self.step.set(reactor.precise_us());
    }
}
