//! What a panic may leave half done, and where panics end. Knows nothing of connections, so that cargo tests can run it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};

/// Runs `act`; None: it panicked.
pub(crate) fn outlive<R>(act: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(act)).ok()
}

/// A value behind a lock. When a panic ends a thread's work on it, whoever comes next finds it mended.
pub(crate) struct Fragile<T>(Mutex<T>);

impl<T> Fragile<T> {
    pub(crate) const fn new(value: T) -> Fragile<T> {
        Fragile(Mutex::new(value))
    }

    /// Locks. `mend` sees the value first if its last holder panicked.
    pub(crate) fn lock(&self, mend: impl FnOnce(&mut T)) -> MutexGuard<'_, T> {
        let Fragile(mutex) = self;
        mutex.lock().unwrap_or_else(|poisoned| {
            mutex.clear_poison();
            let mut value = poisoned.into_inner();
            mend(&mut value);
            value
        })
    }
}
