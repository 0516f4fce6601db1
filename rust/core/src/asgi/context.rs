//! Entering a `contextvars.Context` as `Context.run` does, without the call in between.

use pyo3::ffi;
use pyo3::prelude::*;

/// A context that is entered; left when this goes, whatever happens meanwhile.
pub(super) struct Entered<'a, 'py>(&'a Bound<'py, PyAny>);

pub(super) fn enter<'a, 'py>(context: &'a Bound<'py, PyAny>) -> PyResult<Entered<'a, 'py>> {
    // SAFETY: a live object, and the GIL is held. What is no context, or is entered already, raises.
    match unsafe { ffi::PyContext_Enter(context.as_ptr()) } {
        0 => Ok(Entered(context)),
        _ => Err(PyErr::fetch(context.py())),
    }
}

impl Drop for Entered<'_, '_> {
    fn drop(&mut self) {
        let context = self.0;
        // SAFETY: as above. It raises if another context was entered since and never left.
        if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
            PyErr::fetch(context.py()).write_unraisable(context.py(), Some(context));
        }
    }
}
