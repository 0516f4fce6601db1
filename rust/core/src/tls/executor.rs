//! A few native threads that take handshake steps: key agreement and signatures cost a hundred microseconds and more,
//! which the threads that serve requests do not have. They never need the GIL.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::handshake::{Job, Outcome};
use crate::reactor::connection::Conn;
use crate::reactor::lock;
use crate::reactor::poller::Alarm;

/// More would take the processors from requests that are being served.
const THREADS: usize = 2;
/// From so many waiting steps on, the newest is taken first. In order, a crowd of clients that never answer would keep
/// whoever comes behind it waiting for all of them; who has waited long is gone, or has time.
const CROWD: usize = 32;
/// A thread without work ends after this.
const KEEP: Duration = Duration::from_secs(10);
/// Verifying a chain of certificates needs a small part of it.
const STACK: usize = 512 * 1024;

/// The executor of one reactor; threads end when it is dropped.
pub(crate) struct Executor {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    done: Mutex<Vec<(Arc<Conn>, Outcome)>>,
    has_done: AtomicBool,
    /// Ends the poller's sleep.
    alarm: Alarm,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<(Arc<Conn>, Job)>,
    threads: usize,
    idle: usize,
    stopping: bool,
}

impl Executor {
    pub(crate) fn new(alarm: Alarm) -> Executor {
        Executor {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                work: Condvar::new(),
                done: Mutex::default(),
                has_done: AtomicBool::new(false),
                alarm,
            }),
        }
    }

    pub(crate) fn submit(&self, conn: Arc<Conn>, job: Job) {
        let mut state = lock(&self.shared.state);
        state.jobs.push_back((conn, job));
        if state.idle > 0 || state.threads >= THREADS {
            drop(state);
            self.shared.work.notify_one();
            return;
        }
        state.threads = state.threads.saturating_add(1);
        drop(state);
        let shared = self.shared.clone();
        let thread = thread::Builder::new()
            .name("ferrule-tls".to_owned())
            .stack_size(STACK);
        if thread.spawn(move || shared.work()).is_err() {
            // Out of threads: late is better than never, and another one may be at it.
            let mut state = lock(&self.shared.state);
            state.threads = state.threads.saturating_sub(1);
            let job = state.jobs.pop_front();
            drop(state);
            if let Some((conn, job)) = job {
                self.shared.finish(conn, job.run());
            }
        }
    }

    /// Steps that were taken since the last call.
    pub(crate) fn take_done(&self) -> Vec<(Arc<Conn>, Outcome)> {
        if !self.shared.has_done.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *lock(&self.shared.done))
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        lock(&self.shared.state).stopping = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        while let Some((conn, job)) = self.next() {
            self.finish(conn, job.run());
        }
    }

    fn next(&self) -> Option<(Arc<Conn>, Job)> {
        let mut state = lock(&self.state);
        loop {
            if state.stopping {
                return None;
            }
            let job = if state.jobs.len() < CROWD {
                state.jobs.pop_front()
            } else {
                state.jobs.pop_back()
            };
            if job.is_some() {
                return job;
            }
            state.idle = state.idle.saturating_add(1);
            let (after, waited) = match self.work.wait_timeout(state, KEEP) {
                Ok(woken) => woken,
                Err(poisoned) => poisoned.into_inner(),
            };
            state = after;
            state.idle = state.idle.saturating_sub(1);
            if waited.timed_out() && state.jobs.is_empty() {
                state.threads = state.threads.saturating_sub(1);
                return None;
            }
        }
    }

    fn finish(&self, conn: Arc<Conn>, outcome: Outcome) {
        lock(&self.done).push((conn, outcome));
        if !self.has_done.swap(true, Ordering::AcqRel) {
            self.alarm.ring();
        }
    }
}
