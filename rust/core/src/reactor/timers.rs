//! Deadlines, kept lazily: a connection stores when something is due at the earliest, and a sweep looks at those
//! that are due. Setting a deadline is one store; nothing is queued, moved or cancelled per request.

use std::sync::atomic::Ordering;

use super::poller::ready;
use super::{NEVER, Reactor, Ready};

/// Sweeps are at least this far apart (ms): the precision of every time-out.
const SPACING: u64 = 100;
/// While there are connections a sweep comes at least this often (ms).
const LONGEST: u64 = 5_000;

impl Reactor {
    /// Makes sure that a sweep happens when `at` (ms) has passed.
    pub(crate) fn note_deadline(&self, at: u64) {
        if at < self.next_sweep.load(Ordering::Relaxed) {
            self.next_sweep.fetch_min(at, Ordering::Relaxed);
        }
    }

    /// When a sleeping poller has to wake up by itself (ms).
    pub(crate) fn next_timer(&self) -> u64 {
        let sweep = self.next_sweep.load(Ordering::Relaxed);
        match self.accept_after.load(Ordering::Relaxed) {
            0 => sweep,
            us => sweep.min(us.div_ceil(1000)),
        }
    }

    /// Looks at every connection whose deadline has passed; appends those with something for the driver to `batch`.
    pub(super) fn sweep(&self, batch: &mut Vec<Ready>) {
        self.next_sweep.store(NEVER, Ordering::Relaxed);
        let now = self.now();
        let mut next = self.accept_retry.load(Ordering::Relaxed);
        let mut due = Vec::new();
        for (_, conn) in super::lock(&self.conns).iter() {
            // A deadline that another thread sets just now may be missed here: the next look finds it.
            next = next.min(now.saturating_add(LONGEST));
            let at = conn.deadline();
            if at <= now {
                due.push(conn.clone());
            } else {
                next = next.min(at);
            }
        }
        for conn in due {
            let woken = self.meet(&conn, |io| {
                io.on_deadline(self, &conn);
                io.settle(self, &conn);
                io.has_news()
            });
            if woken == Some(true) && conn.claim(ready::AGAIN) {
                batch.push(conn);
            }
        }
        if next != NEVER {
            self.note_deadline(next.max(now.saturating_add(SPACING)));
        }
    }
}
