//! The thread that only does I/O: it accepts, parses, enforces time-outs and refuses while every application thread is
//! in the application. It never needs the GIL.
//!
//! While the application runs it looks every TICK. A call that lasts that long means that nobody polls, so it takes
//! over polling and wakes followers for what it finds, until an application thread has nothing left to do and asks for
//! the lead. Calls that are short but sleep (the process uses little CPU while requests wait) wake a follower per tick.
//! Calls that are short and busy are left alone, because further threads would only queue for the GIL; but new
//! connections and deadlines are seen to in between.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::WsgiCore;
use super::pool::LONGEST_SLEEP;

/// An application call that lasts this long is not waited for. Shorter costs CPU-bound applications 10 to 20 %.
const TICK: Duration = Duration::from_millis(2);
/// Ticks in a row with nothing to do for the I/O thread after which they become longer, and how long: a wake-up costs
/// a few microseconds, which at full load are missing elsewhere.
const QUIET_TICKS: u32 = 50;
const LONG_TICK: Duration = Duration::from_millis(5);
/// Ticks without any application call after which the I/O thread sleeps until the next one begins.
const IDLE_TICKS: u32 = 10;
/// Above this share of one CPU during a tick, further threads would only queue for the GIL.
const BUSY_SHARE: f64 = 0.7;
/// Ticks without a turn after which the I/O thread makes one, although the application threads get on.
const UNPOLLED_TICKS: u32 = 5;

/// What a tick compares with the tick before.
struct Watch {
    progress: u64,
    turns: u64,
    unpolled: u32,
    cpu: Duration,
    at: Instant,
    /// Ticks in a row without any application call.
    idle: u32,
    /// Ticks in a row with nothing to do.
    quiet: u32,
}

/// What went on during a tick.
struct Seen {
    /// No request was taken up or given back.
    stuck: bool,
    /// The GIL is likely to be free.
    sleeping: bool,
    /// Ticks since an application thread polled.
    unpolled: u32,
}

impl WsgiCore {
    pub(super) fn io_loop(&self) {
        let mut watch = Watch {
            progress: 0,
            turns: 0,
            unpolled: 0,
            cpu: cpu_time(),
            at: Instant::now(),
            idle: 0,
            quiet: 0,
        };
        while !self.pool.is_stopping() {
            self.reactor.survive(|| self.tick(&mut watch));
        }
    }

    /// Sleeps for a tick, and does what is to be done then.
    fn tick(&self, watch: &mut Watch) {
        let pool = &self.pool;
        let tick = match watch.quiet < QUIET_TICKS {
            true => TICK,
            false => LONG_TICK,
        };
        self.pause(tick, &mut watch.idle);
        let led = pool.leading.load(Ordering::Acquire);
        if led && pool.inside.load(Ordering::SeqCst) == 0 {
            watch.idle = watch.idle.saturating_add(1);
            return;
        }
        watch.idle = 0;
        let seen = self.look(watch);
        let waiting = pool.queued();
        watch.quiet = watch.quiet.saturating_add(1);
        if waiting > 0 && (seen.stuck || seen.sleeping) {
            watch.quiet = 0;
            pool.notify(if seen.stuck { waiting } else { 1 });
        }
        if led || seen.unpolled == 0 {
            return;
        }
        if seen.stuck || seen.sleeping {
            watch.quiet = 0;
            self.take_over();
        } else if seen.unpolled >= UNPOLLED_TICKS {
            watch.quiet = 0;
            self.look_in();
            watch.unpolled = 0;
        }
    }

    fn look(&self, watch: &mut Watch) -> Seen {
        let progress = self.pool.progress.load(Ordering::Relaxed);
        let turns = self.pool.turns.load(Ordering::Relaxed);
        let (cpu, at) = (cpu_time(), Instant::now());
        let used = cpu.saturating_sub(watch.cpu).as_secs_f64();
        let passed = at.saturating_duration_since(watch.at).as_secs_f64();
        let unpolled = match turns == watch.turns {
            true => watch.unpolled.saturating_add(1),
            false => 0,
        };
        let seen = Seen {
            stuck: progress == watch.progress,
            sleeping: used < passed * BUSY_SHARE,
            unpolled,
        };
        *watch = Watch {
            progress,
            turns,
            unpolled,
            cpu,
            at,
            ..*watch
        };
        seen
    }

    /// A tick, or a rest until the application is entered again.
    fn pause(&self, tick: Duration, idle: &mut u32) {
        let pool = &self.pool;
        let mut resting = crate::reactor::lock(&pool.resting);
        if *idle < IDLE_TICKS {
            drop(pool.tick.wait_timeout(resting, tick));
            return;
        }
        *resting = true;
        pool.is_resting.store(true, Ordering::SeqCst);
        // An entry just before this line did not see the flag: one more look.
        if pool.inside.load(Ordering::SeqCst) > 0 {
            *resting = false;
        }
        while *resting && !pool.is_stopping() {
            resting = match pool.tick.wait_timeout(resting, LONGEST_SLEEP) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        pool.is_resting.store(false, Ordering::SeqCst);
        *idle = 0;
    }

    /// Polls in the application threads' place until one of them asks for the lead.
    fn take_over(&self) {
        let pool = &self.pool;
        let Some(mut lead) = pool.try_lead() else {
            return;
        };
        while !pool.is_stopping() && !pool.wanted.load(Ordering::Acquire) {
            // All of them: what an application thread found before it entered the application waits as well.
            pool.notify(pool.queued());
            self.sleep(&mut lead);
        }
    }

    /// One turn between an application's requests; what it finds is for the thread that is at it.
    fn look_in(&self) {
        if let Some(mut lead) = self.pool.try_lead() {
            self.turn(&mut lead, Duration::ZERO);
        }
    }
}

/// CPU time of the whole process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}
