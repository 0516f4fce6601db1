//! What can be had because the GIL is held: state without locks.

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

/// A value that is reached with the GIL only; made of `Cell` and `RefCell` where it changes.
#[derive(Default)]
pub(crate) struct Guarded<T>(T);

// SAFETY: `get`, the only way to the value, takes the token of a thread that has the GIL, and the reference it gives
// cannot be used without it: `Python::detach` takes closures that are `Send`, which a reference to cells is not. So
// threads reach the value one after the other, with the GIL's own synchronisation between them; `T: Send` because it
// may be each time another thread. `check` refuses interpreters that run without the GIL.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    pub(crate) const fn new(value: T) -> Guarded<T> {
        Guarded(value)
    }

    #[inline(always)]
    pub(crate) fn get<'a>(&'a self, _py: Python<'a>) -> &'a T {
        &self.0
    }
}

/// Refuses an interpreter whose GIL was turned off by hand; importing the module turns it on otherwise.
pub(crate) fn check(py: Python<'_>) -> PyResult<()> {
    let enabled = match py.import("sys")?.getattr_opt("_is_gil_enabled")? {
        Some(enabled) => enabled.call0()?.is_truthy()?,
        None => true,
    };
    if enabled {
        Ok(())
    } else {
        Err(PyImportError::new_err(
            "ferrule needs the GIL: start Python without PYTHON_GIL=0 and -X gil=0",
        ))
    }
}
