//! Requests that wait for an application thread. Connections take turns: what one of them has put in line at once, up
//! to all streams of HTTP/2, does not stand before everybody who comes after.
//! Knows no threads and no applications.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::exchange::Exchange;

/// How long (us) requests of one connection are given out in a row: they share writes, and the next in line waits for no
/// more than these.
const ROW: u64 = 1_000;

#[derive(Default)]
pub(super) struct Queue {
    /// Of each connection at most one request.
    front: VecDeque<Exchange>,
    /// What connections of many requests have behind the one in front, by the address of the connection, which that
    /// one keeps alive.
    behind: HashMap<usize, Behind>,
    count: usize,
}

#[derive(Default)]
struct Behind {
    waiting: VecDeque<Exchange>,
    /// When the connection's turn began (us).
    since: Option<u64>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn push(&mut self, exchange: Exchange) {
        self.count = self.count.saturating_add(1);
        if exchange.conn.is_shared() {
            match self.behind.get_mut(&address(&exchange)) {
                Some(behind) => return behind.waiting.push_back(exchange),
                None => _ = self.behind.insert(address(&exchange), Behind::default()),
            }
        }
        self.front.push_back(exchange);
    }

    /// The next request; `now` is asked (us) where several of its connection wait.
    pub(super) fn pop(&mut self, now: impl FnOnce() -> u64) -> Option<Exchange> {
        let exchange = self.front.pop_front()?;
        self.count = self.count.saturating_sub(1);
        if exchange.conn.is_shared()
            && let Some(behind) = self.behind.get_mut(&address(&exchange))
        {
            match behind.waiting.pop_front() {
                None => _ = self.behind.remove(&address(&exchange)),
                Some(next) => {
                    let now = now();
                    let since = *behind.since.get_or_insert(now);
                    if now.saturating_sub(since) < ROW {
                        self.front.push_front(next);
                    } else {
                        behind.since = None;
                        self.front.push_back(next);
                    }
                }
            }
        }
        Some(exchange)
    }
}

fn address(exchange: &Exchange) -> usize {
    Arc::as_ptr(&exchange.conn).addr()
}
