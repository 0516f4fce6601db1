//! Whether a complete response waits for those right behind it, so that one write takes many. Knows times, no frames.

/// Responses that follow each other as fast as this (us) come from an application that answers at once.
const QUICK: u64 = 100;
/// And this long (us) the first of them waits at most while they do.
const LONGEST: u64 = 500;

/// When WSGI threads completed responses of one connection (us).
#[derive(Default)]
pub(super) struct Gathering {
    last: u64,
    /// The last one that did not wait.
    sent: u64,
}

impl Gathering {
    /// A response is complete, and another is to follow. Whether it waits for that: the first never does, because
    /// nothing is known of how long the next one will take.
    pub(super) fn waits(&mut self, now: u64) -> bool {
        let quick = now.saturating_sub(self.last) < QUICK;
        self.last = now;
        let waits = quick && now.saturating_sub(self.sent) < LONGEST;
        if !waits {
            self.sent = now;
        }
        waits
    }
}
