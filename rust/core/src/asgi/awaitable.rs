//! What `receive()` and `send()` return. Most of the time awaiting it gives the answer at once.
//! Has `send`, `throw` and `close` too, so that `asyncio.create_task(receive())` takes it for the coroutine it stands for.

use std::cell::Cell;
use std::sync::OnceLock;

use pyo3::exceptions::PyStopIteration;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::channel::Channel;
use crate::gil::Guarded;

/// What is awaited.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Receive,
    Send,
}

#[derive(Default)]
enum State {
    /// Done, with nothing to give.
    #[default]
    Done,
    /// Gives up the loop once, so that a busy application does not starve the others, then is done.
    Yield,
    /// Waits on a future for the channel.
    Waiting(Py<Channel>, Wait),
}

#[pyclass(frozen, module = "ferrule._core", freelist = 64)]
pub(crate) struct Awaitable {
    state: Guarded<Cell<State>>,
}

impl Awaitable {
    fn new(state: State) -> Awaitable {
        Awaitable {
            state: Guarded::new(Cell::new(state)),
        }
    }

    /// The one that is always done: it may be shared.
    pub(crate) fn done() -> Awaitable {
        Awaitable::new(State::Done)
    }

    pub(crate) fn yielding() -> Awaitable {
        Awaitable::new(State::Yield)
    }

    pub(crate) fn waiting(channel: Py<Channel>, wait: Wait) -> Awaitable {
        Awaitable::new(State::Waiting(channel, wait))
    }

    fn is_done(&self, py: Python<'_>) -> bool {
        let place = self.state.get(py);
        let state = place.take();
        let is_done = matches!(state, State::Done);
        place.set(state);
        is_done
    }

    /// One step: Ok(Some) is the future to wait for (or None-the-object for a bare yield), Ok(None) the end without value.
    fn step(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        // Taken out while Python code may run; put back if it still waits.
        let place = self.state.get(py);
        match place.take() {
            State::Done => Ok(None),
            State::Yield => Ok(Some(py.None())),
            State::Waiting(channel, wait) => {
                let outcome = channel.get().resume(py, wait)?;
                match outcome {
                    super::channel::Resumed::Wait(future) => {
                        // What `Future.__await__` does: tells the task that this yield is meant.
                        future
                            .bind(py)
                            .setattr(pyo3::intern!(py, "_asyncio_future_blocking"), true)?;
                        place.set(State::Waiting(channel, wait));
                        Ok(Some(future))
                    }
                    super::channel::Resumed::Yield => {
                        place.set(State::Waiting(channel, wait));
                        Ok(Some(py.None()))
                    }
                    super::channel::Resumed::Done => Ok(None),
                    super::channel::Resumed::Value(value) => {
                        Err(PyStopIteration::new_err((value,)))
                    }
                }
            }
        }
    }
}

/// What the type had for `__next__` before `shorten`.
static NEXT: OnceLock<ffi::iternextfunc> = OnceLock::new();

/// Makes awaiting short: an interpreter's `await` goes by these two slots, and most often there is nothing to wait for.
/// Once per interpreter, when the module is made.
pub(crate) fn shorten(py: Python<'_>) {
    let class = py.get_type::<Awaitable>().as_type_ptr();
    // SAFETY: the type is live, this module's own and not used yet, and the GIL is held; what replaces the functions
    // has their signatures and keeps their promises. A type with `__await__` has a table of asynchronous slots.
    unsafe {
        let (Some(before), Some(slots)) = ((*class).tp_iternext, (*class).tp_as_async.as_mut())
        else {
            return;
        };
        if NEXT.set(before).is_ok() {
            (*class).tp_iternext = Some(next);
            slots.am_await = Some(itself);
        }
    }
}

/// `__next__`: the end at once if there is nothing to wait for.
///
/// # Safety
/// As the slot: `this` is an `Awaitable`, and the GIL is held.
unsafe extern "C" fn next(this: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as the caller promises. Null without an exception is the end without a value.
    unsafe {
        let py = Python::assume_attached();
        let object = Borrowed::from_ptr(py, this);
        if object.cast_unchecked::<Awaitable>().get().is_done(py) {
            return std::ptr::null_mut();
        }
    }
    match NEXT.get() {
        // SAFETY: this function took that one's place.
        Some(next) => unsafe { next(this) },
        None => std::ptr::null_mut(),
    }
}

/// `__await__`
///
/// # Safety
/// As the slot: `this` is a live object, and the GIL is held.
unsafe extern "C" fn itself(this: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as the caller promises.
    unsafe { ffi::Py_NewRef(this) }
}

#[pymethods]
impl Awaitable {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.step(py)
    }

    fn send(&self, py: Python<'_>, _value: Py<PyAny>) -> PyResult<Py<PyAny>> {
        match self.step(py)? {
            Some(future) => Ok(future),
            None => Err(PyStopIteration::new_err(())),
        }
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &self,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        traceback: Option<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = traceback;
        drop(self.state.get(kind.py()).take());
        let error = match (value, kind.cast::<PyType>()) {
            (Some(value), _) if !value.is_none() => value,
            (_, Ok(class)) => class.call0()?,
            (_, Err(_)) => kind,
        };
        Err(PyErr::from_value(error))
    }

    fn close(&self, py: Python<'_>) {
        drop(self.state.get(py).take());
    }
}
