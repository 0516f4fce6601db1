//! What each application thread is doing: so that a request that takes too long can be named, its thread given up and
//! replaced. Knows no connections; touching a seat is one atomic operation.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The thread waits for its client: it is not stuck.
const WAITING: u64 = 0b01;
/// The thread was given up: whatever it does, it is not counted any more.
const ABANDONED: u64 = 0b10;
const SHIFT: u32 = 2;

thread_local! {
    /// The seat of an application thread; threads that an application starts have none.
    static OWN: RefCell<Option<Arc<Seat>>> = const { RefCell::new(None) };
}

/// One application thread.
pub(super) struct Seat {
    /// `threading.get_ident()`
    pub thread: u64,
    /// The request it runs (0: none) and the marks above.
    state: AtomicU64,
}

/// What came of an attempt to give a thread up.
#[derive(PartialEq, Eq)]
pub(super) enum Abandon {
    Done,
    /// It waits for a client that is gone, and will find out by itself; if it does not, look again.
    Waiting,
    /// It is not with that request any more.
    Elsewhere,
}

impl Seat {
    pub(super) fn new(thread: u64) -> Seat {
        Seat {
            thread,
            state: AtomicU64::new(0),
        }
    }

    /// The seat of the calling thread.
    pub(super) fn own() -> Option<Arc<Seat>> {
        OWN.with(|own| own.borrow().clone())
    }

    /// The calling thread sits down, or (None) leaves.
    pub(super) fn take(seat: Option<Arc<Seat>>) {
        OWN.with(|own| *own.borrow_mut() = seat);
    }

    pub(super) fn begin(&self, request: u64) {
        self.state.store(request << SHIFT, Ordering::Release);
    }

    /// The request is over. False: the thread was given up meanwhile.
    pub(super) fn end(&self) -> bool {
        self.state.swap(0, Ordering::AcqRel) & ABANDONED == 0
    }

    /// The thread waits for its client from now on. False: it was given up before.
    pub(super) fn begin_wait(&self) -> bool {
        self.state.fetch_or(WAITING, Ordering::AcqRel) & ABANDONED == 0
    }

    pub(super) fn end_wait(&self) {
        self.state.fetch_and(!WAITING, Ordering::AcqRel);
    }

    /// Gives the thread up if it is still busy with `request`.
    pub(super) fn abandon(&self, request: u64) -> Abandon {
        let busy = request << SHIFT;
        match self.state.compare_exchange(
            busy,
            busy | ABANDONED,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => Abandon::Done,
            Err(state) if state == busy | WAITING => Abandon::Waiting,
            Err(_) => Abandon::Elsewhere,
        }
    }
}
