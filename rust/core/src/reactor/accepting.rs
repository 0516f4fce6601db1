//! New connections: how many this worker takes, and when it leaves them to the others.
//! Knows listeners and what the scoreboard says of the other workers, nothing of what connections carry.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::connection::Conn;
use super::listener::Peer;
use super::notices::level;
use super::{NEVER, Reactor, Style, lock};
use crate::scoreboard::Field;

/// Connections accepted per listener and turn: few, so that workers share a burst and a turn stays short.
const ACCEPTS_PER_TURN: usize = 16;
/// How long a worker with more than its share leaves a new connection to the others.
const ACCEPT_YIELD_US: u64 = 1_000;
/// How long accepting rests when the process is out of descriptors or memory.
const ACCEPT_RETRY_MS: u64 = 100;

impl Reactor {
    pub(crate) fn start_accepting(&self) -> io::Result<()> {
        for (index, listener) in lock(&self.listeners).iter().enumerate() {
            if let Some(listener) = listener {
                self.handle.add_listener(listener.raw_fd(), index)?;
            }
        }
        self.accepting.store(true, Ordering::Relaxed);
        self.accept_pending.store(true, Ordering::Relaxed);
        self.handle.wake();
        Ok(())
    }

    /// Accepts, unless another worker should: then gives it ACCEPT_YIELD to come first, and takes what is left.
    pub(super) fn accept_fairly(&self) -> bool {
        let until = self.accept_after.load(Ordering::Relaxed);
        if until == 0 && (self.holds_more_than_its_share() || self.is_saturated()) {
            self.accept_after.store(
                self.turn_us().saturating_add(ACCEPT_YIELD_US),
                Ordering::Relaxed,
            );
            return false;
        }
        if until > self.turn_us() {
            return false;
        }
        self.accept_after.store(0, Ordering::Relaxed);
        self.accept()
    }

    /// Clearly more connections than the least loaded worker: by more than two, and by more than an eighth.
    fn holds_more_than_its_share(&self) -> bool {
        let own = self.open.load(Ordering::Relaxed) as u64;
        let least = self
            .scoreboard
            .as_ref()
            .and_then(|board| board.get().least_connections());
        least.is_some_and(|least| own > least.saturating_add((least / 8).max(2)))
    }

    /// Every application thread has a request while another worker has a thread free.
    fn is_saturated(&self) -> bool {
        self.style == Style::Buffering
            && self.in_flight() >= self.config.threads
            && self
                .scoreboard
                .as_ref()
                .is_some_and(|board| board.get().another_is_free())
    }

    /// Accepts a few connections of every listener. True: one of them has more.
    pub(super) fn accept(&self) -> bool {
        let mut more = false;
        let listeners = lock(&self.listeners);
        for (index, listener) in listeners.iter().enumerate() {
            let Some(listener) = listener else { continue };
            let mut left = ACCEPTS_PER_TURN;
            loop {
                if self.is_full() {
                    // A connection that closes asks for another look.
                    return false;
                }
                if left == 0 {
                    more = true;
                    break;
                }
                left -= 1;
                match listener.accept() {
                    Ok(Some((fd, peer))) => {
                        self.accept_retry.store(NEVER, Ordering::Relaxed);
                        if let Some(Err(error)) = self.survive(|| self.add(fd, peer, index)) {
                            self.notice(
                                level::ERROR,
                                format!("Cannot watch a new connection: {error}"),
                            );
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        // Out of descriptors or memory: the queue keeps the client. Said once until it works again.
                        let retry = self.now().saturating_add(ACCEPT_RETRY_MS);
                        if self.accept_retry.swap(retry, Ordering::Relaxed) == NEVER {
                            let text = format!("Cannot accept a connection: {error}");
                            self.notice(level::ERROR, text);
                        }
                        self.note_deadline(retry);
                        return false;
                    }
                }
            }
        }
        if more {
            self.accept_pending.store(true, Ordering::Relaxed);
        }
        more
    }

    fn is_full(&self) -> bool {
        self.config.connections > 0 && self.open.load(Ordering::SeqCst) >= self.config.connections
    }

    fn add(&self, fd: OwnedFd, peer: Peer, listener: usize) -> io::Result<()> {
        let raw = fd.as_raw_fd();
        let (key, conn) = {
            let mut conns = lock(&self.conns);
            let entry = conns.vacant_entry();
            let key = entry.key();
            let conn = Arc::new(Conn::new(fd, key, peer, listener, self));
            entry.insert(conn.clone());
            (key, conn)
        };
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        self.gauge(Field::Connections, open.saturating_add(1));
        self.count(Field::Accepted, 1);
        if let Err(error) = self.handle.add_connection(raw, key) {
            conn.io().close(self, &conn);
            return Err(error);
        }
        Ok(())
    }
}
