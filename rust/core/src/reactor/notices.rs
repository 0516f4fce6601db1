//! Messages for the operator, left by threads that cannot log themselves: logging needs the GIL.

use std::sync::atomic::Ordering;

use super::connection::Conn;
use super::{Reactor, lock};

/// Messages for the operator that wait for a thread with the GIL; more are counted and summed up.
const NOTICES: usize = 256;

/// `logging` levels.
pub(crate) mod level {
    pub const INFO: u8 = 20;
    pub const WARNING: u8 = 30;
    pub const ERROR: u8 = 40;
}

#[derive(Default)]
pub(super) struct Notices {
    waiting: Vec<(u8, String)>,
    dropped: u64,
}

impl Reactor {
    /// Leaves a message for the operator; a thread that has the GIL passes it on.
    pub(crate) fn notice(&self, level: u8, text: String) {
        let mut notices = lock(&self.notices);
        if notices.waiting.len() < NOTICES {
            notices.waiting.push((level, text));
        } else {
            notices.dropped = notices.dropped.saturating_add(1);
        }
        self.has_notices.store(true, Ordering::Release);
    }

    /// A message about a client.
    pub(crate) fn notice_of(&self, level: u8, conn: &Conn, what: &str, cause: &str) {
        let ip = conn.peer.ip();
        self.notice(
            level,
            format!("{what} ip=\"{}\" cause=\"{cause}\"", ip.as_str()),
        );
    }

    pub(crate) fn has_notices(&self) -> bool {
        self.has_notices.load(Ordering::Relaxed)
    }

    pub(crate) fn take_notices(&self) -> Vec<(u8, String)> {
        if !self.has_notices.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        let mut notices = lock(&self.notices);
        let mut waiting = std::mem::take(&mut notices.waiting);
        let dropped = std::mem::take(&mut notices.dropped);
        if dropped > 0 {
            waiting.push((
                level::WARNING,
                format!("{dropped} further messages were dropped: too many at once"),
            ));
        }
        waiting
    }
}
