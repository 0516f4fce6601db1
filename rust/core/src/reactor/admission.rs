//! What becomes of a request whose head is complete, whatever carries it. Knows settings and counters, no bytes.

use ferrule_http::request::BodyLength;

use super::{Reactor, Style};
use crate::exchange::{Phase, Slot};
use crate::scoreboard::Field;

/// An answer of the server's own.
pub(super) struct Answer {
    pub status: u16,
    pub detail: &'static str,
    pub extra: &'static [(&'static str, &'static str)],
}

pub(super) enum Admission {
    /// The server answers it by itself.
    Answer(Answer),
    /// Its body is collected before a thread is taken.
    Collect,
    /// The application starts.
    Run,
}

impl Reactor {
    /// Decides, and counts the request if the application is to have it.
    pub(super) fn admit(&self, slot: &mut Slot) -> Admission {
        let config = &self.config;
        let answer = |status, detail| {
            Admission::Answer(Answer {
                status,
                detail,
                extra: &[],
            })
        };
        let path = slot.request().path_bytes();
        if config.health_path.as_deref() == Some(path) {
            return answer(200, "ok");
        }
        if config.ready_path.as_deref() == Some(path) {
            return match self.is_ready() {
                false => answer(503, "draining"),
                true => answer(200, "ready"),
            };
        }
        if config.limit_concurrency > 0 && self.in_flight() >= config.limit_concurrency {
            self.count(Field::Limited, 1);
            return Admission::Answer(Answer {
                status: 503,
                detail: "too many requests at once",
                extra: &[("retry-after", "1")],
            });
        }
        self.request_started(slot);
        if self.style == Style::Buffering
            && let BodyLength::Exact(length) = slot.request().body
            && length > 0
            && length <= config.body_memory
            && self.reserve_body(length)
        {
            slot.reserved = length;
            slot.phase = Phase::Collecting;
            return Admission::Collect;
        }
        slot.phase = Phase::Running;
        Admission::Run
    }
}
