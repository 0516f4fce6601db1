//! `wsgi.input`: the request body as a file (PEP 3333). Reads block, without the GIL, until the client has sent what
//! is asked for; memory stays bounded by what the application asks for.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::{WsgiCore, gone};
use crate::block::Block;
use crate::exchange::{Exchange, Gone, Read, WaitFor};
use crate::gil::Guarded;
use crate::reactor::SCRATCH;
use crate::reactor::connection::SLACK;

/// Reads of less are answered from what one larger read of the socket has brought.
const WORTH_A_CALL: usize = 8 * 1024;
/// A buffer above this is not kept once it is empty: one large read must not be paid for until the request ends.
const KEPT: usize = 2 * SCRATCH;

thread_local! {
    /// A thread's receive buffer; application threads need one only for bodies and slow clients.
    static SCRATCH_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn take_scratch() -> Vec<u8> {
    let mut scratch = SCRATCH_BUFFER.with(|buffer| std::mem::take(&mut *buffer.borrow_mut()));
    scratch.resize(SCRATCH, 0);
    scratch
}

pub(super) fn give_scratch(scratch: Vec<u8>) {
    SCRATCH_BUFFER.with(|buffer| *buffer.borrow_mut() = scratch);
}

#[derive(Default)]
struct State {
    /// Received, not yet given to the application, from `start`.
    held: Vec<u8>,
    start: usize,
    ended: bool,
}

impl State {
    fn rest(&self) -> &[u8] {
        self.held.get(self.start..).unwrap_or_default()
    }

    /// Moves the rest to the front, so that what was given away does not add up.
    fn compact(&mut self) {
        self.held.drain(..self.start.min(self.held.len()));
        self.start = 0;
    }

    fn take(&mut self, count: usize) {
        self.start = self.start.saturating_add(count);
        if self.start >= self.held.len() {
            self.start = 0;
            self.held.clear();
            if self.held.capacity() > KEPT {
                self.held = Vec::new();
            }
        }
    }
}

#[pyclass(frozen, module = "ferrule._core")]
pub(crate) struct Input {
    core: Arc<WsgiCore>,
    /// Replaced only while nobody else has the object.
    exchange: Guarded<RefCell<Exchange>>,
    state: Guarded<Cell<State>>,
}

impl Input {
    pub(super) fn new(core: Arc<WsgiCore>, exchange: Exchange) -> Input {
        Input {
            core,
            exchange: Guarded::new(RefCell::new(exchange)),
            state: Guarded::default(),
        }
    }

    /// Makes it the body of another request.
    pub(super) fn renew(&self, py: Python<'_>, exchange: &Exchange) {
        *self.exchange.get(py).borrow_mut() = exchange.clone();
        self.state.get(py).take();
    }

    /// Receives until `enough` says so, or the body ends.
    fn fill(
        &self,
        py: Python<'_>,
        state: &mut State,
        enough: impl Fn(&[u8]) -> bool,
    ) -> PyResult<()> {
        self.core.pool.sign_of_life();
        let exchange = self.exchange.get(py).borrow();
        while !state.ended && !enough(state.rest()) {
            state.compact();
            let mut scratch = take_scratch();
            let read = exchange.read(
                &self.core.reactor,
                &mut state.held,
                usize::MAX,
                &mut scratch,
            );
            give_scratch(scratch);
            match read {
                Read::Data { more } => state.ended = !more,
                Read::Wait => self.core.wait(py, &exchange, WaitFor::Body).map_err(gone)?,
                Read::Gone => return Err(gone(Gone)),
            }
        }
        Ok(())
    }

    /// Reads a block straight from the socket to where it stays; None where that is not to be had. Like `fill` it gives
    /// less than `limit` at the end of the body only.
    fn read_direct<'py>(
        &self,
        py: Python<'py>,
        state: &mut State,
        limit: usize,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let exchange = self.exchange.get(py).borrow();
        if state.ended || limit < WORTH_A_CALL || !state.rest().is_empty() {
            return Ok(None);
        }
        let Some(direct) = exchange.direct(&self.core.reactor) else {
            return Ok(None);
        };
        let size = match direct.length {
            length if length > limit => limit,
            length if direct.whole => length.saturating_add(SLACK),
            _ => return Ok(None),
        };
        self.core.pool.sign_of_life();
        let mut block = Block::new(py, size)?;
        let wanted = direct.length.min(limit);
        let mut filled = 0usize;
        while filled < wanted && !state.ended {
            let room = block.room().get_mut(filled..).unwrap_or_default();
            let (read, count) = exchange.read_into(&self.core.reactor, room);
            filled = filled.saturating_add(count);
            match read {
                Read::Data { more } => state.ended = !more,
                Read::Wait => self.core.wait(py, &exchange, WaitFor::Body).map_err(gone)?,
                Read::Gone => return Err(gone(Gone)),
            }
        }
        // SAFETY: `read_into` has written as many bytes as it says, each time behind those of the time before.
        unsafe { block.finish(py, filled) }.map(Some)
    }

    /// Works on the state outside its place, because receiving may wait and lets the GIL go.
    fn with_state<R>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&mut State) -> PyResult<R>,
    ) -> PyResult<R> {
        let mut state = self.state.get(py).take();
        let outcome = act(&mut state);
        self.state.get(py).set(state);
        outcome
    }

    fn line<'py>(
        &self,
        py: Python<'py>,
        state: &mut State,
        limit: Option<usize>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        // What was searched is not searched again when more has come: a long line must not cost its square.
        let searched = Cell::new(0usize);
        let end_of_line = |held: &[u8]| {
            let from = searched.get();
            let found = held
                .get(from..)
                .and_then(|rest| rest.iter().position(|byte| *byte == b'\n'));
            match found {
                Some(at) => {
                    searched.set(from.saturating_add(at));
                    Some(from.saturating_add(at).saturating_add(1))
                }
                None => {
                    searched.set(held.len());
                    None
                }
            }
        };
        self.fill(py, state, |held| {
            end_of_line(held).is_some() || limit.is_some_and(|limit| held.len() >= limit)
        })?;
        let held = state.rest();
        let count = end_of_line(held)
            .unwrap_or(held.len())
            .min(limit.unwrap_or(usize::MAX));
        let line = PyBytes::new(py, held.get(..count).unwrap_or_default());
        state.take(count);
        Ok(line)
    }
}

/// A negative size or None: all there is.
fn limit(size: Option<isize>) -> Option<usize> {
    size.and_then(|size| usize::try_from(size).ok())
}

#[pymethods]
impl Input {
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        let limit = limit(size);
        self.with_state(py, |state| {
            if let Some(data) = self.read_direct(py, state, limit.unwrap_or(usize::MAX))? {
                return Ok(data);
            }
            self.fill(py, state, |held| {
                limit.is_some_and(|limit| held.len() >= limit)
            })?;
            let held = state.rest();
            let count = limit.map_or(held.len(), |limit| limit.min(held.len()));
            let data = PyBytes::new(py, held.get(..count).unwrap_or_default());
            state.take(count);
            Ok(data)
        })
    }

    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.with_state(py, |state| self.line(py, state, limit(size)))
    }

    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<isize>) -> PyResult<Bound<'py, PyList>> {
        let lines = PyList::empty(py);
        let hint = limit(hint).filter(|hint| *hint > 0);
        let mut total = 0usize;
        self.with_state(py, |state| {
            loop {
                let line = self.line(py, state, None)?;
                let length = line.as_bytes().len();
                if length == 0 {
                    break;
                }
                lines.append(line)?;
                total = total.saturating_add(length);
                if hint.is_some_and(|hint| total >= hint) {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(lines)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.readline(py, None)?;
        Ok(if line.as_bytes().is_empty() {
            None
        } else {
            Some(line)
        })
    }
}
