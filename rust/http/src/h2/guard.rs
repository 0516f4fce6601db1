//! The flood guards: what a peer may do that costs us more than it costs the peer.
//!
//! Most attacks on HTTP/2 are legal frames in illegal numbers. Each kind has a budget here: a
//! burst that no client exceeds, filled up again at a steady rate, and by honest work where such
//! frames are a consequence of it. A peer without budget gets GOAWAY with ENHANCE_YOUR_CALM.
//!
//! | attack | bounded by |
//! |---|---|
//! | Rapid Reset (CVE-2023-44487), MadeYouReset (CVE-2025-8671), reset floods (CVE-2019-9514) | [`Flood::Reset`]; and a reset stream counts until its application is done with it, so work in flight is bounded whatever the rate |
//! | reset growth (RUSTSEC-2024-0003) | [`MAX_UNSENT`]; closed streams are remembered in a ring of fixed size |
//! | CONTINUATION flood (RUSTSEC-2024-0332) | [`MAX_CONTINUATIONS`]; octets of a block: `hpack::decoder` |
//! | SETTINGS and PING floods (CVE-2019-9512, -9515) | [`Flood::Settings`], [`Flood::Ping`], [`MAX_UNSENT`] |
//! | empty frames (CVE-2019-9518, RUSTSEC-2026-0258) | [`Flood::EmptyData`] |
//! | priority loops (CVE-2019-9513) | [`Flood::Priority`]; there is no priority tree |
//! | tiny windows (CVE-2019-9511), zero windows and unread responses (CVE-2019-9517) | [`Flood::WindowUpdate`]; queues of fixed size: `connection::send`; the caller's time limits on responses that make no progress |
//! | empty field names (CVE-2019-9516) | refused as malformed: `hpack::line` |
//! | HPACK, header-count and cookie-crumb bombs (CVE-2016-6581, CVE-2026-49975) | list size and line count: `hpack::decoder`; [`MAX_COOKIE_CRUMBS`] |
//! | more streams than allowed | [`Flood::Refused`] |
//! | frames of unknown kinds | [`Flood::Unknown`] |

use super::error::{Code, ConnectionError};

/// CONTINUATION frames of one header block. The largest block that is read to its end fits eight
/// frames of the smallest size; clients that cut finer exist, to 4 KiB and 1 KiB.
pub const MAX_CONTINUATIONS: u32 = 64;

/// Frames that a peer's frames made us write and that it has not made room for by reading:
/// acknowledgements and resets. 17 KiB of them.
pub const MAX_UNSENT: u32 = 1000;

/// Cookie fields of one request, which HTTP/2 clients send one per cookie (RFC 9113 section
/// 8.2.3). Browsers keep up to 180 cookies per site.
pub const MAX_COOKIE_CRUMBS: usize = 256;

/// Octets of a DATA frame that somebody may measure the connection by.
const HONEST_PIECE: usize = 256;

/// Octets of data that are worth one WINDOW_UPDATE frame, of 13 octets.
const DATA_PER_UPDATE: usize = 64;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// Streams reset by the peer, and those that its errors made us reset.
    Reset,
    /// Requests beyond the allowed number of streams.
    Refused,
    Settings,
    Ping,
    /// DATA without data that does not end its stream.
    EmptyData,
    /// PRIORITY and PRIORITY_UPDATE.
    Priority,
    WindowUpdate,
    /// Frames of unknown kinds.
    Unknown,
}

struct Budget {
    burst: u32,
    per_second: u32,
    reason: &'static str,
}

impl Flood {
    const COUNT: usize = Self::Unknown as usize + 1;

    const ALL: [Self; Self::COUNT] = [
        Self::Reset,
        Self::Refused,
        Self::Settings,
        Self::Ping,
        Self::EmptyData,
        Self::Priority,
        Self::WindowUpdate,
        Self::Unknown,
    ];

    /// The most that comes together of this budget.
    const fn most(self) -> u32 {
        match self {
            Self::WindowUpdate => EARNED_UPDATES,
            _ => self.budget().burst,
        }
    }

    const fn budget(self) -> Budget {
        let (burst, per_second, reason) = match self {
            // A browser that leaves a page cancels all of its streams at once, a proxy one for
            // each client that goes away; every finished response allows one more.
            Self::Reset => (500, 50, "too many reset streams"),
            // Before it knows our limit a client may open as many streams as it has requests.
            Self::Refused => (1000, 100, "too many streams beyond the limit"),
            // One at the start, and a few when a window is tuned.
            Self::Settings => (50, 5, "too many SETTINGS frames"),
            // Keep-alive is one in many seconds; gRPC measures bandwidth with one per round trip
            // while data flows, which pays for them. The burst is for those that data on its way
            // will pay for.
            Self::Ping => (100, 20, "too many PING frames"),
            // No client has a use for them; some send one where a body turned out to be empty.
            Self::EmptyData => (100, 10, "too many empty DATA frames"),
            // Browsers reprioritise as a page is laid out, a few times per request.
            Self::Priority => (500, 100, "too many priority frames"),
            // At most two for each DATA frame that was sent, whose octets pay for them.
            Self::WindowUpdate => (1000, 200, "too many WINDOW_UPDATE frames"),
            // GREASE is one frame now and then (RFC 8701).
            Self::Unknown => (200, 20, "too many unknown frames"),
        };
        Budget {
            burst,
            per_second,
            reason,
        }
    }
}

/// WINDOW_UPDATE frames that data may have paid for: as many as the windows that a client keeps open may have data on
/// its way in small frames, which some clients acknowledge one by one.
const EARNED_UPDATES: u32 = 20_000;

/// Milliseconds between two fillings: all rates come to whole numbers of frames.
const FILLING: u64 = 200;

/// One connection's budgets.
#[derive(Debug)]
pub struct Guard {
    left: [u32; Flood::COUNT],
    /// Octets of data that have not paid for a WINDOW_UPDATE yet.
    unpaid: usize,
    filled: u64,
    unsent: u32,
}

impl Default for Guard {
    /// Every budget full.
    fn default() -> Self {
        Self {
            left: Flood::ALL.map(|flood| flood.budget().burst),
            unpaid: 0,
            filled: 0,
            unsent: 0,
        }
    }
}

impl Guard {
    /// Fills the budgets up. `now`: milliseconds of a clock that never goes back.
    #[inline]
    pub fn tick(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.filled);
        if elapsed >= FILLING {
            self.fill(elapsed / FILLING);
            self.filled = now - elapsed % FILLING;
        }
    }

    fn fill(&mut self, fillings: u64) {
        for (left, flood) in self.left.iter_mut().zip(Flood::ALL) {
            let budget = flood.budget();
            let more = u64::from(budget.per_second) * FILLING / 1000;
            let filled = u64::from(*left).saturating_add(more.saturating_mul(fillings));
            let filled = u32::try_from(filled).unwrap_or(u32::MAX).min(budget.burst);
            *left = filled.max(*left);
        }
    }

    /// One more of `flood`.
    ///
    /// # Errors
    /// When its budget is spent.
    #[inline]
    pub fn spend(&mut self, flood: Flood) -> Result<(), ConnectionError> {
        let left = &mut self.left[flood as usize];
        if *left == 0 {
            return Err(calm(flood.budget().reason));
        }
        *left -= 1;
        Ok(())
    }

    /// Honest work that explains `count` more of `flood`.
    #[inline]
    pub fn earn(&mut self, flood: Flood, count: u32) {
        let left = &mut self.left[flood as usize];
        *left = left.saturating_add(count).min(flood.most());
    }

    /// A DATA frame goes out, for which the peer may open its windows, and measure them by PING.
    /// One that only a tiny window made small pays for next to nothing (CVE-2019-9511). `whole`: it
    /// ends the data that there was, which what was left of a window may have cut in two: a peer
    /// that acknowledges frame by frame opens both windows for both parts.
    #[inline]
    pub fn data_sent(&mut self, octets: usize, whole: bool) {
        self.unpaid += octets;
        let paid = self.unpaid / DATA_PER_UPDATE;
        self.unpaid %= DATA_PER_UPDATE;
        let parts = if whole && octets > 0 { 4 } else { 0 };
        let updates = u32::try_from(paid)
            .unwrap_or(u32::MAX)
            .saturating_add(parts);
        if updates > 0 {
            self.earn(Flood::WindowUpdate, updates);
        }
        if octets >= HONEST_PIECE || parts > 0 {
            self.earn(Flood::Ping, 1);
        }
    }

    /// A frame of the peer's made us queue one.
    ///
    /// # Errors
    /// When the peer makes us write and does not read.
    #[inline]
    pub fn queue_reply(&mut self) -> Result<(), ConnectionError> {
        self.unsent += 1;
        if self.unsent > MAX_UNSENT {
            return Err(calm("too many frames to be answered and none read"));
        }
        Ok(())
    }

    /// What was queued has been taken by the connection's owner.
    #[inline]
    pub const fn sent(&mut self) {
        self.unsent = 0;
    }
}

/// The answer to a flood.
#[must_use]
pub const fn calm(reason: &'static str) -> ConnectionError {
    ConnectionError {
        code: Code::EnhanceYourCalm,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_burst_and_a_rate() {
        for flood in Flood::ALL {
            let mut guard = Guard::default();
            guard.tick(1_000_000);
            let Budget {
                burst,
                per_second,
                reason,
            } = flood.budget();
            for _ in 0..burst {
                assert_eq!(guard.spend(flood), Ok(()));
            }
            assert_eq!(guard.spend(flood), Err(calm(reason)));
            guard.tick(1_000_500);
            guard.tick(1_001_000);
            for _ in 0..per_second {
                assert_eq!(guard.spend(flood), Ok(()), "{flood:?}");
            }
            assert_eq!(guard.spend(flood), Err(calm(reason)));
            guard.earn(flood, 2);
            assert_eq!(guard.spend(flood), Ok(()));
            guard.tick(u64::MAX / 2);
            for _ in 0..burst {
                assert_eq!(guard.spend(flood), Ok(()));
            }
            guard.earn(flood, u32::MAX);
            guard.tick(u64::MAX);
            for _ in 0..flood.most() {
                assert_eq!(guard.spend(flood), Ok(()));
            }
            assert_eq!(guard.spend(flood), Err(calm(reason)));
        }
    }

    #[test]
    fn replies_are_bounded_until_they_are_taken() {
        let mut guard = Guard::default();
        for _ in 0..3 {
            for _ in 0..MAX_UNSENT {
                assert_eq!(guard.queue_reply(), Ok(()));
            }
            guard.sent();
        }
        for _ in 0..MAX_UNSENT {
            assert_eq!(guard.queue_reply(), Ok(()));
        }
        assert_eq!(guard.queue_reply().unwrap_err().code, Code::EnhanceYourCalm);
    }
}
