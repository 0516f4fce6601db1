//! Buffers that travel from request to request, so that an idle connection holds none and a busy one allocates none.

use std::sync::Arc;

use ferrule_http::request::Request;

use super::{Reactor, lock};
use crate::exchange::Slot;

/// Kept at most; more than a turn's batch is never in use at once under steady load.
const KEEP: usize = 256;
/// A request head above this many bytes is freed instead of kept: one large head must not be paid for ever.
const KEEP_HEAD: usize = 16 * 1024;

#[derive(Default)]
pub(crate) struct Pool {
    #[expect(
        clippy::vec_box,
        reason = "slots go to connections and back as they are, without being moved"
    )]
    slots: Vec<Box<Slot>>,
    requests: Vec<Arc<Request>>,
}

impl Reactor {
    /// A clean slot with a request of its own.
    pub(super) fn take_slot(&self) -> Box<Slot> {
        let mut pool = lock(&self.pool);
        let slot = pool.slots.pop();
        let request = pool.requests.pop();
        drop(pool);
        let mut slot = slot.unwrap_or_default();
        slot.request = Some(request.unwrap_or_default());
        slot
    }

    /// Takes back the slot of a request that is over. Whoever still looks at the request keeps it.
    pub(crate) fn give_slot(&self, mut slot: Box<Slot>) {
        let request = slot.request.take();
        slot.reset();
        let mut pool = lock(&self.pool);
        if pool.slots.len() < KEEP {
            pool.slots.push(slot);
        }
        drop(pool);
        if let Some(request) = request {
            self.give_request(request);
        }
    }

    /// Keeps the request's buffers for the next one if nobody else looks at them.
    pub(crate) fn give_request(&self, mut request: Arc<Request>) {
        let Some(own) = Arc::get_mut(&mut request) else {
            return;
        };
        if own.block.capacity() > KEEP_HEAD {
            return;
        }
        own.clear();
        let mut pool = lock(&self.pool);
        if pool.requests.len() < KEEP {
            pool.requests.push(request);
        }
    }
}
