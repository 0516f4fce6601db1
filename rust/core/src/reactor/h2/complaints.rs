//! What the operator is told about the client of one connection: one line for all that happens within a second, because
//! a client can do wrong on thousands of streams.

use crate::reactor::connection::Conn;
use crate::reactor::{NEVER, Reactor};

/// Complaints are gathered so long (ms).
const GATHER: u64 = 1_000;

#[derive(Default)]
pub(super) struct Complaints {
    first: Option<First>,
    further: u64,
}

struct First {
    at: u64,
    level: u8,
    what: String,
    cause: String,
}

impl Complaints {
    /// Says soon `what` was done with a stream, and why.
    pub(super) fn add(&mut self, now: u64, level: u8, what: &str, cause: &str) {
        match &mut self.first {
            Some(_) => self.further = self.further.saturating_add(1),
            None => {
                self.first = Some(First {
                    at: now,
                    level,
                    what: what.to_owned(),
                    cause: cause.to_owned(),
                });
            }
        }
    }

    /// When there is something to be said.
    pub(super) fn due(&self) -> u64 {
        self.first
            .as_ref()
            .map_or(NEVER, |first| first.at.saturating_add(GATHER))
    }

    /// Says what there is.
    pub(super) fn tell(&mut self, cx: &Reactor, conn: &Conn) {
        if let Some(First {
            level, what, cause, ..
        }) = self.first.take()
        {
            cx.notice_of(level, conn, &self.counted(&what), &cause);
            self.further = 0;
        }
    }

    /// Says that the connection ends, which explains whatever else there was to say.
    pub(super) fn tell_end(&mut self, cx: &Reactor, conn: &Conn, level: u8, cause: &str) {
        self.first = None;
        cx.notice_of(level, conn, "Connection refused", cause);
        self.further = 0;
    }

    fn counted(&self, what: &str) -> String {
        match self.further {
            0 => what.to_owned(),
            further => format!("{what} further={further}"),
        }
    }
}
