//! One worker's gauges and counters in memory that all processes of a server share.
//!
//! The layout is written in `python/ferrule/arbiter/scoreboard.py` and mirrored here; a worker
//! compares the two before it serves. Everything but construction works without Python, from any
//! thread.
//!
//! This file must never know what the numbers are used for: it counts, it does not decide.

use std::num::NonZero;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Changes with the layout, so that a mixed upgrade is noticed.
pub(crate) const SCOREBOARD_VERSION: u64 = 1;

const LINE: usize = 64;
const WORD: usize = size_of::<u64>();

/// Two buckets per octave of microseconds from 64 us on; see [`bucket`].
const LATENCY_BUCKETS: usize = 40;

macro_rules! fields {
    ($($field:ident = $name:literal,)*) => {
        /// A word of a slot, by its place.
        #[allow(dead_code)] // The arbiter and the worker's Python side write some of them.
        #[derive(Clone, Copy)]
        #[repr(usize)]
        pub(crate) enum Field {
            $($field,)*
        }

        const NAMES: &[&str] = &[$($name,)*];
    };
}

fields! {
    // Gauges, written by the core.
    HeartbeatNs = "heartbeat_ns",
    State = "state",
    Pid = "pid",
    Connections = "connections",
    InFlight = "in_flight",
    BusyThreads = "busy_threads",
    Threads = "threads",
    BlockedNs = "blocked_ns",
    // Identity, written by the arbiter and by the worker's Python side.
    WorkerId = "worker_id",
    Generation = "generation",
    StartedNs = "started_ns",
    ReadyNs = "ready_ns",
    MaxRequests = "max_requests",
    DrainGraceMs = "drain_grace_ms",
    Reserved1 = "reserved_1",
    Reserved2 = "reserved_2",
    // Counters, written by the core, only ever growing.
    Accepted = "accepted",
    Requests = "requests",
    Responses1xx = "responses_1xx",
    Responses2xx = "responses_2xx",
    Responses3xx = "responses_3xx",
    Responses4xx = "responses_4xx",
    Responses5xx = "responses_5xx",
    BytesIn = "bytes_in",
    BytesOut = "bytes_out",
    BadRequests = "bad_requests",
    Limited = "limited",
    Timeouts = "timeouts",
    Disconnects = "disconnects",
    AppErrors = "app_errors",
    Websockets = "websockets",
    LinesDropped = "lines_dropped",
    LatencyTotalUs = "latency_total_us",
    Reserved3 = "reserved_3",
    Reserved4 = "reserved_4",
    Reserved5 = "reserved_5",
    Reserved6 = "reserved_6",
    Reserved7 = "reserved_7",
    Reserved8 = "reserved_8",
    Reserved9 = "reserved_9",
}

/// The first latency bucket comes behind the last field.
const LATENCY: usize = NAMES.len();

/// Requests that a worker shows by name, so that the log can say what a killed worker had in flight.
const REQUESTS: usize = 32;
/// Words of one: id (0: free), monotonic start (ns), then text, padded with zeros.
const REQUEST_WORDS: usize = 16;
const REQUEST_TEXT: usize = (REQUEST_WORDS - 2) * WORD;
/// They begin on a cache line of their own behind the histogram.
const FIRST_REQUEST: usize = ((LATENCY + LATENCY_BUCKETS) * WORD).next_multiple_of(LINE) / WORD;
const SLOT_SIZE: usize = (FIRST_REQUEST + REQUESTS * REQUEST_WORDS) * WORD;
const SLOT_WORDS: usize = SLOT_SIZE / WORD;

/// Value of [`Field::State`] of a worker that accepts; only such workers take part in spreading
/// connections.
const READY: u64 = 2;
/// Of one that shall get no further traffic.
const DRAINING: u64 = 3;

type Slot = [AtomicU64; SLOT_WORDS];

/// `SCOREBOARD_LAYOUT` of the module: byte offset of every field in a slot, `latency` being the
/// first of `latency_buckets` words, and `slot_size`.
pub(crate) fn layout(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let layout = PyDict::new(py);
    for (position, name) in NAMES.iter().enumerate() {
        if name.starts_with("reserved_") {
            continue;
        }
        layout.set_item(name, position * WORD)?;
    }
    layout.set_item("latency", LATENCY * WORD)?;
    layout.set_item("slot_size", SLOT_SIZE)?;
    layout.set_item("latency_buckets", LATENCY_BUCKETS)?;
    layout.set_item("requests_shown", FIRST_REQUEST * WORD)?;
    layout.set_item("requests_shown_max", REQUESTS)?;
    Ok(layout)
}

/// Histogram bucket of a duration: 0 below 64 us, then two per octave ([64, 96), [96, 128), [128,
/// 192), ...); the last takes everything from 2^25 us on.
fn bucket(us: u64) -> usize {
    let Some(us) = NonZero::new(us).filter(|us| us.get() >= 64) else {
        return 0;
    };
    let octave = us.ilog2();
    let half = (us.get() >> (octave - 1)) & 1;
    let index = 1 + 2 * (octave as usize - 6) + half as usize;
    index.min(LATENCY_BUCKETS - 1)
}

/// One worker's slot of the scoreboard. See `_core.pyi` for the Python side.
///
/// All accesses are relaxed: each number stands for itself, and readers live with one that is a
/// moment old.
#[pyclass(frozen, module = "ferrule._core")]
pub(crate) struct Scoreboard {
    /// All workers' slots; the slot of sums behind them is the arbiter's.
    first: NonNull<Slot>,
    slots: usize,
    own: usize,
    alone: AtomicBool,
    /// One moment on this process's clock and on the one the arbiter reads, `time.monotonic_ns`:
    /// they tick together.
    epoch: Instant,
    epoch_ns: u64,
    /// Keeps the mapping alive, and open: an `mmap` with an exported buffer refuses to close.
    _memory: PyUntypedBuffer,
}

// SAFETY: `first` points into memory that `_memory` keeps mapped as long as `self` lives, and it is
// only ever dereferenced as atomics, which any number of threads may use at once. `PyUntypedBuffer`
// is Send and Sync itself.
unsafe impl Send for Scoreboard {}
// SAFETY: as above.
unsafe impl Sync for Scoreboard {}

impl Scoreboard {
    fn all(&self) -> &[Slot] {
        // SAFETY: `new` has checked that `slots` slots fit into the buffer from its start and that
        // it is aligned for `AtomicU64` and writable; the buffer lives as long as `self`. Other
        // processes change the words at any time, which is what atomics are for; nobody in this
        // process makes a plain reference to them.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.slots) }
    }

    #[inline]
    fn own(&self) -> &Slot {
        // SAFETY: as in `all`; `new` has checked that `own < slots`.
        unsafe { self.first.add(self.own).as_ref() }
    }

    /// From here on one thread counts everything: sums need no atomic addition, which costs more
    /// than all that it counts.
    pub(crate) fn count_alone(&self) {
        self.alone.store(true, Relaxed);
    }

    #[inline]
    fn increase(&self, word: &AtomicU64, amount: u64) {
        if self.alone.load(Relaxed) {
            word.store(word.load(Relaxed).wrapping_add(amount), Relaxed);
        } else {
            word.fetch_add(amount, Relaxed);
        }
    }

    #[inline]
    pub(crate) fn add(&self, field: Field, amount: u64) {
        self.increase(&self.own()[field as usize], amount);
    }

    #[inline]
    pub(crate) fn set(&self, field: Field, value: u64) {
        self.own()[field as usize].store(value, Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self, field: Field) -> u64 {
        self.own()[field as usize].load(Relaxed)
    }

    /// Count a response by the class of its status; one outside 100..=599 counts as a 5xx.
    #[inline]
    pub(crate) fn response(&self, status: u16) {
        let field = match status / 100 {
            1 => Field::Responses1xx,
            2 => Field::Responses2xx,
            3 => Field::Responses3xx,
            4 => Field::Responses4xx,
            _ => Field::Responses5xx,
        };
        self.add(field, 1);
    }

    /// Count one response time of `us` microseconds: its histogram bucket and the sum.
    #[inline]
    pub(crate) fn latency(&self, us: u64) {
        self.increase(&self.own()[LATENCY + bucket(us)], 1);
        self.add(Field::LatencyTotalUs, us);
    }

    /// `now` in nanoseconds of `time.monotonic_ns`, the clock of every `_ns` field.
    #[inline]
    pub(crate) fn nanoseconds(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch).as_nanos();
        self.epoch_ns
            .saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// Store `now` as this worker's heartbeat.
    #[inline]
    pub(crate) fn beat_at(&self, now: Instant) {
        self.set(Field::HeartbeatNs, self.nanoseconds(now));
    }

    /// Shows a request as in flight. Of more than fit at once, the youngest are shown.
    pub(crate) fn show(&self, id: u64, start_ns: u64, method: &[u8], target: &[u8]) {
        let Some((shown, start_word, text)) = self.request(id) else {
            return;
        };
        shown.store(0, Relaxed);
        start_word.store(start_ns, Relaxed);
        let mut line = [0u8; REQUEST_TEXT];
        let mut free = line.as_mut_slice();
        for part in [method, b" ".as_slice(), target] {
            let (place, rest) = free.split_at_mut(part.len().min(free.len()));
            place.copy_from_slice(part.get(..place.len()).unwrap_or_default());
            free = rest;
        }
        for (word, part) in text.iter().zip(line.as_chunks::<WORD>().0) {
            word.store(u64::from_ne_bytes(*part), Relaxed);
        }
        shown.store(id, Relaxed);
    }

    /// The request is over.
    pub(crate) fn hide(&self, id: u64) {
        if let Some((shown, _, _)) = self.request(id)
            && shown.load(Relaxed) == id
        {
            shown.store(0, Relaxed);
        }
    }

    fn request(&self, id: u64) -> Option<(&AtomicU64, &AtomicU64, &[AtomicU64])> {
        let first = FIRST_REQUEST + (id as usize % REQUESTS) * REQUEST_WORDS;
        match self.own().get(first..first + REQUEST_WORDS)? {
            [shown, start, text @ ..] => Some((shown, start, text)),
            _ => None,
        }
    }

    /// Whether another ready worker has an application thread free.
    pub(crate) fn another_is_free(&self) -> bool {
        self.all().iter().enumerate().any(|(position, slot)| {
            let word = |field: Field| {
                slot.get(field as usize)
                    .map_or(0, |word| word.load(Relaxed))
            };
            position != self.own
                && word(Field::State) == READY
                && word(Field::InFlight) < word(Field::Threads)
        })
    }

    /// Whether the arbiter, or the worker itself, has said that no further traffic should come.
    pub(crate) fn is_draining(&self) -> bool {
        self.get(Field::State) == DRAINING
    }

    /// Connections of the least loaded worker that is ready, this one left out; `None` when no
    /// other is ready.
    pub(crate) fn least_connections(&self) -> Option<u64> {
        self.all()
            .iter()
            .enumerate()
            .filter(|(position, slot)| {
                *position != self.own && slot[Field::State as usize].load(Relaxed) == READY
            })
            .map(|(_, slot)| slot[Field::Connections as usize].load(Relaxed))
            .min()
    }
}

#[pymethods]
impl Scoreboard {
    #[new]
    fn new(memory: &Bound<'_, PyAny>, slot: usize, slots: usize) -> PyResult<Self> {
        if slot >= slots {
            return Err(PyValueError::new_err(format!(
                "slot {slot} of a scoreboard of {slots}"
            )));
        }
        let epoch = Instant::now();
        let epoch_ns = memory
            .py()
            .import("time")?
            .call_method0("monotonic_ns")?
            .extract()?;
        let buffer = PyUntypedBuffer::get(memory)?;
        let needed = slots
            .checked_add(1)
            .and_then(|slots| slots.checked_mul(SLOT_SIZE));
        if needed.is_none_or(|needed| buffer.len_bytes() < needed) {
            let have = buffer.len_bytes();
            return Err(PyValueError::new_err(format!(
                "{have} bytes are too few for {slots} scoreboard slots"
            )));
        }
        let first = NonNull::new(buffer.buf_ptr().cast::<Slot>());
        match first.filter(|first| first.is_aligned()) {
            Some(first) if !buffer.readonly() && buffer.is_c_contiguous() => Ok(Self {
                first,
                slots,
                own: slot,
                alone: AtomicBool::new(false),
                epoch,
                epoch_ns,
                _memory: buffer,
            }),
            _ => Err(PyValueError::new_err(
                "a scoreboard takes writable, contiguous, aligned memory",
            )),
        }
    }

    /// Store the monotonic clock (ns) as this worker's heartbeat.
    fn beat(&self) {
        self.beat_at(Instant::now());
    }
}
