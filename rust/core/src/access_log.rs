//! The access log: lines are formatted into a bounded buffer and written in batches, without the
//! GIL.
//!
//! Callers record while serving and flush between turns; see [`AccessLog::flush_due`] for the
//! rhythm. A sink that takes nothing costs lines, which are counted and reported, never time.
//!
//! This file must never know who served a request or how; the text of lines is `format`'s, the
//! writing is `sink`'s.

mod date;
mod format;
mod sink;
mod text;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use ferrule_http::fields::Known;
use ferrule_http::request::{Request, Version};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rustix::pipe::PIPE_BUF;

use format::{Entry, Layout, Scratch};
use sink::Sink;

/// Bytes that may wait here; as much again may be on its way in the sink.
const BUFFER: usize = 128 * 1024;

/// A longer line is cut by the layout. On a pipe it must be one atomic write.
const LINE: usize = PIPE_BUF;

/// A line that has waited so long is written with the next look, batch or no batch.
const MAX_AGE_MS: u64 = 5;

/// No line waits.
const NONE: u64 = u64::MAX;

/// One response, to be logged.
pub(crate) struct Line<'a> {
    pub request: &'a Request,
    pub status: u16,
    /// Body bytes sent.
    pub size: u64,
    pub duration_us: u64,
    /// Time between the complete head and the application's start.
    pub queue_us: u64,
    /// Formatted address of the client; empty for unix sockets.
    pub ip: &'a [u8],
    pub request_id: u64,
    /// When the response was complete, milliseconds since 1970.
    pub unix_ms: u64,
    /// The same by a clock that nobody sets.
    pub now_ms: u64,
}

/// Formats access lines and writes them in batches; never blocks serving. See `_core.pyi` for the
/// Python side.
#[pyclass(frozen, module = "ferrule._core")]
pub(crate) struct AccessLog {
    layout: Layout,
    wants_client_fields: bool,
    /// Held for the time of formatting one line or of a swap.
    pending: Mutex<Pending>,
    /// Held while writing. Whoever needs both takes this one first.
    sink: Mutex<Sink>,
    /// Bytes in both, for a look without locks.
    buffered: AtomicUsize,
    /// Bytes that are worth a write.
    batch: AtomicUsize,
    /// Time of the oldest line in both, or `NONE`. Changed with `pending` held.
    oldest_ms: AtomicU64,
    dropped: AtomicU64,
}

struct Pending {
    lines: Vec<u8>,
    scratch: Scratch,
    /// Time of the newest line.
    newest_ms: u64,
    /// Lines dropped since the last report.
    unreported: u64,
}

impl AccessLog {
    /// Append the line of one response, or drop it when the buffer is full.
    pub(crate) fn record(&self, line: &Line<'_>) {
        let request = line.request;
        let field = |known| match self.wants_client_fields {
            true => request.block.first(known).unwrap_or_default(),
            false => b"",
        };
        let entry = Entry {
            method: request.method_bytes(),
            path: request.path_bytes(),
            query: request.query.map(|query| request.block.slice(query)),
            target: request.target_bytes(),
            protocol: match request.version {
                Version::Http10 => "HTTP/1.0",
                Version::Http11 => "HTTP/1.1",
                Version::Http2 => "HTTP/2.0",
            },
            user_agent: field(Known::UserAgent),
            referer: field(Known::Referer),
            ip: line.ip,
            status: line.status,
            size: line.size,
            duration_us: line.duration_us,
            queue_us: line.queue_us,
            request_id: line.request_id,
            unix_ms: line.unix_ms,
        };
        let mut guard = lock(&self.pending);
        let pending = &mut *guard;
        if pending.lines.len() + LINE > BUFFER {
            pending.unreported += 1;
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let text = self.layout.line(&entry, &mut pending.scratch);
        pending.lines.extend_from_slice(text);
        self.buffered.fetch_add(text.len(), Relaxed);
        pending.newest_ms = line.now_ms;
        if self.oldest_ms.load(Relaxed) == NONE {
            self.oldest_ms.store(line.now_ms, Relaxed);
        }
    }

    /// Whether nothing waits to be written.
    #[inline]
    fn is_empty(&self) -> bool {
        self.buffered.load(Relaxed) == 0
    }

    /// How long (ms) lines may wait at `now_ms` until everything is to be written; None: nothing waits.
    fn left(&self, now_ms: u64) -> Option<u64> {
        let oldest = self.oldest_ms.load(Relaxed);
        let left = oldest
            .saturating_add(MAX_AGE_MS)
            .saturating_sub(now_ms)
            .min(MAX_AGE_MS);
        (!self.is_empty()).then_some(left)
    }

    /// Write what is worth a system call at `now_ms`: full batches, or everything once a line has waited for 5 ms.
    /// Returns after how long (ms) to call again; None: nothing waits.
    ///
    /// The rhythm that bounds a line's wait to one turn and 5 ms, and keeps batches full at load: call this at the end
    /// of every turn that served something (a look at a few atomics unless a write is due), and sleep no longer than it
    /// says, or have a timer call it.
    #[inline]
    pub(crate) fn flush_due(&self, now_ms: u64) -> Option<u64> {
        let left = self.left(now_ms)?;
        if left > 0 && self.buffered.load(Relaxed) < self.batch.load(Relaxed) {
            return Some(left);
        }
        // Whoever holds the sink is writing what is due.
        match self.sink.try_lock() {
            Ok(mut sink) => self.write(&mut sink, left == 0),
            Err(TryLockError::Poisoned(poisoned)) => self.write(&mut poisoned.into_inner(), true),
            Err(TryLockError::WouldBlock) => {}
        }
        // A sink that has not taken all gets a pause.
        self.left(now_ms)
            .map(|left| if left == 0 { MAX_AGE_MS } else { left })
    }

    /// Write everything now, as far as the sink takes it.
    pub(crate) fn flush(&self) {
        if !self.is_empty() {
            self.write(&mut lock(&self.sink), true);
        }
    }

    fn write(&self, sink: &mut Sink, everything: bool) {
        sink.follow_rotation();
        loop {
            if !sink.write(everything) || !self.hand_over(sink, everything) {
                break;
            }
        }
        self.settle(sink);
    }

    /// Tell the others what `sink` has left and wants.
    fn settle(&self, sink: &Sink) {
        self.batch.store(sink.batch(), Relaxed);
        let pending = lock(&self.pending);
        let buffered = pending.lines.len() + sink.left();
        self.buffered.store(buffered, Relaxed);
        // What a write of full batches leaves behind is as old as the newest line at most, as far as it is known.
        let oldest = match buffered {
            0 => NONE,
            _ => pending.newest_ms,
        };
        self.oldest_ms.store(oldest, Relaxed);
    }

    /// Give the pending lines to the sink, if there are any and they are worth it.
    fn hand_over(&self, sink: &mut Sink, everything: bool) -> bool {
        let mut guard = lock(&self.pending);
        let pending = &mut *guard;
        let enough = if everything {
            1
        } else {
            sink.batch().saturating_sub(sink.left()).max(1)
        };
        if pending.lines.len() < enough {
            return false;
        }
        if pending.unreported > 0 {
            // The sink has taken all it had, and the lines waiting here are older than the loss.
            let report = self.layout.dropped(pending.unreported);
            pending.lines.extend_from_slice(report.as_bytes());
            pending.unreported = 0;
        }
        sink.take(&mut pending.lines);
        true
    }
}

/// A panic while a lock was held cannot leave half a line that matters more than the log going on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymethods]
impl AccessLog {
    #[new]
    #[pyo3(signature = (fd, *, path, format, fields, worker))]
    fn new(
        fd: i32,
        path: Option<PathBuf>,
        format: &str,
        fields: Vec<String>,
        worker: u64,
    ) -> PyResult<Self> {
        if fd < 0 {
            return Err(PyValueError::new_err(format!("{fd} is no file descriptor")));
        }
        let layout = Layout::new(format, &fields, worker, LINE).map_err(PyValueError::new_err)?;
        // SAFETY: borrowed for the time of this call only, in which the caller keeps it open.
        // Should it be closed already, duplicating fails with EBADF.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?;
        let sink = Sink::new(fd, path)?;
        let pending = Pending {
            lines: Vec::new(),
            scratch: layout.scratch(),
            newest_ms: 0,
            unreported: 0,
        };
        Ok(Self {
            wants_client_fields: layout.wants_client_fields(),
            layout,
            batch: AtomicUsize::new(sink.batch()),
            sink: Mutex::new(sink),
            pending: Mutex::new(pending),
            buffered: AtomicUsize::new(0),
            oldest_ms: AtomicU64::new(NONE),
            dropped: AtomicU64::new(0),
        })
    }

    #[pyo3(name = "flush")]
    fn flush_py(&self, py: Python<'_>) {
        py.detach(|| self.flush());
    }

    /// Open `path` again (after rotation). Raises `OSError`; the old file stays in use then.
    fn reopen(&self, py: Python<'_>) -> io::Result<()> {
        py.detach(|| {
            let mut sink = lock(&self.sink);
            let reopened = sink.reopen();
            self.settle(&sink);
            reopened
        })
    }

    /// Lines dropped because the sink did not keep up.
    #[pyo3(name = "dropped")]
    fn dropped_py(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}
