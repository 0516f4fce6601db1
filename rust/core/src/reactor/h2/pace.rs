//! How fast a client takes what waits for it: the clocks of the write time-out and of the byte-rate floor.
//! Knows times and counts, no frames.

use ferrule_http::h2::Waits;

use crate::config::Config;
use crate::reactor::NEVER;
use crate::reactor::connection::{after, rate_due};

/// A request may come to its end so long (ms) after its response, as over HTTP/1.
const LATE_BODY_MS: u64 = 2_000;

/// Runs from when a client was to move something until nothing waits for it any more.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// Since when something waits, less the time that it was not the client who held it up.
    since: u64,
    /// The last time that anything moved.
    moved: u64,
    looked: u64,
    /// Octets sent when the clock began to run, and at the last look.
    base: u64,
    sent: u64,
}

impl Pace {
    fn new(now: u64, sent: u64) -> Pace {
        Pace {
            since: now,
            moved: now,
            looked: now,
            base: sent,
            sent,
        }
    }

    /// Looks what has moved. `held`: it is the client who has to move.
    fn look(&mut self, now: u64, sent: u64, held: bool) {
        if !held {
            self.since = self.since.saturating_add(now.saturating_sub(self.looked));
        }
        if !held || sent != self.sent {
            self.moved = now;
        }
        self.sent = sent;
        self.looked = now;
    }

    fn octets(&self) -> u64 {
        self.sent.saturating_sub(self.base)
    }

    fn due(&self, config: &Config) -> u64 {
        after(self.moved, config.write_timeout_ms).min(rate_due(
            self.since,
            self.octets(),
            config.body_min_rate,
        ))
    }
}

/// The pace of a stream.
#[derive(Default)]
pub(super) struct StreamPace {
    data: Option<Pace>,
    /// Since when the response is out and the request is not.
    late_since: Option<u64>,
}

impl StreamPace {
    /// Looks what has moved, and says when the client is late. Waiting for other streams costs no time.
    pub(super) fn look(&mut self, waits: Waits, sent: u64, now: u64, config: &Config) -> u64 {
        match waits {
            Waits::Nothing => {
                *self = StreamPace::default();
                NEVER
            }
            Waits::End => {
                self.data = None;
                let since = *self.late_since.get_or_insert(now);
                since.saturating_add(LATE_BODY_MS)
            }
            Waits::Turn => {
                if let Some(pace) = &mut self.data {
                    pace.look(now, sent, false);
                }
                NEVER
            }
            Waits::Window => {
                let pace = self.data.get_or_insert_with(|| Pace::new(now, sent));
                pace.look(now, sent, true);
                pace.due(config)
            }
        }
    }
}

/// The pace of a whole connection.
#[derive(Default)]
pub(super) struct ConnectionPace {
    /// Of data that the connection's window holds back.
    shut: Option<Pace>,
    /// Of data that any window holds back. Streams run out of their own time before: this one is for a client that
    /// opens one window after the other, and never two that fit.
    stuck: Option<Pace>,
}

impl ConnectionPace {
    pub(super) fn look(
        &mut self,
        shut: bool,
        stuck: bool,
        sent: u64,
        now: u64,
        config: &Config,
    ) -> u64 {
        let run = |pace: &mut Option<Pace>, held: bool| {
            if held {
                pace.get_or_insert_with(|| Pace::new(now, sent))
                    .look(now, sent, true);
            } else {
                *pace = None;
            }
        };
        run(&mut self.shut, shut);
        run(&mut self.stuck, stuck);
        let shut = self.shut.map_or(NEVER, |pace| pace.due(config));
        let stuck = self.stuck.map_or(NEVER, |pace| {
            let grace = config.write_timeout_ms.saturating_mul(2);
            let floor = rate_due(pace.since, pace.octets(), config.body_min_rate);
            after(pace.moved, grace).min(floor.saturating_add(grace))
        });
        shut.min(stuck)
    }
}
