//! The edge of the reactor: a panic that one connection brings about costs that connection, and no panic ends a thread.

use std::sync::Arc;
use std::time::Duration;

use super::connection::{Conn, ConnIo};
use super::fragile::outlive;
use super::{Reactor, level};

/// What panics once may panic each time it is tried: this long (ms) between two tries.
const AFTER_PANIC: Duration = Duration::from_millis(10);

impl Reactor {
    /// Looks at one connection, as every turn does. None: that panicked, and the connection is closed.
    pub(crate) fn meet<R>(
        &self,
        conn: &Arc<Conn>,
        act: impl FnOnce(&mut ConnIo) -> R,
    ) -> Option<R> {
        self.guard(conn, || act(&mut conn.io()))
    }

    /// Runs what one connection brings about, its application included. None: that panicked, and the connection is
    /// closed.
    pub(crate) fn guard<R>(&self, conn: &Arc<Conn>, act: impl FnOnce() -> R) -> Option<R> {
        let outcome = outlive(act);
        if outcome.is_none() {
            self.break_off(conn);
        }
        outcome
    }

    /// Ends a connection whose state nobody can rely on.
    #[cold]
    pub(crate) fn break_off(&self, conn: &Arc<Conn>) {
        let why = "Internal error: the connection was closed";
        self.notice(level::ERROR, why.to_owned());
        // It is closed and forgotten before anything that can panic again.
        let _ = outlive(|| conn.io().reset(self, conn));
    }

    /// Runs what belongs to no connection, in a loop that has to go on. None: that panicked.
    pub(crate) fn survive<R>(&self, act: impl FnOnce() -> R) -> Option<R> {
        let outcome = outlive(act);
        if outcome.is_none() {
            self.notice(
                level::ERROR,
                "Internal error: the server goes on".to_owned(),
            );
            std::thread::sleep(AFTER_PANIC);
        }
        outcome
    }
}
