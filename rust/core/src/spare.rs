//! The Python objects that an application gets with every request, used again for the next one if nobody has kept them.
//! Knows nothing of what they do.

use std::cell::RefCell;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::gil::Guarded;

/// Sets kept: as many requests as end, and begin, within a turn or two of applications that wait.
const KEPT: usize = 256;

/// What one request needs.
pub(crate) trait Handles {
    /// Whether nobody but the set itself has its objects.
    fn are_unshared(&self, py: Python<'_>) -> bool;

    /// Lets go of what belongs to the request. Called when nobody else has the objects.
    fn rest(&self, py: Python<'_>);
}

pub(crate) struct Spare<H>(Guarded<RefCell<Vec<H>>>);

impl<H> Default for Spare<H> {
    fn default() -> Self {
        Spare(Guarded::default())
    }
}

impl<H: Handles> Spare<H> {
    pub(crate) fn take(&self, py: Python<'_>) -> Option<H> {
        self.0.get(py).borrow_mut().pop()
    }

    /// Takes handles back, to be used again if nobody else has them.
    pub(crate) fn give(&self, py: Python<'_>, handles: H) {
        if handles.are_unshared(py) {
            handles.rest(py);
            let mut spare = self.0.get(py).borrow_mut();
            if spare.len() < KEPT {
                spare.push(handles);
                return;
            }
        }
        // After the end of the borrow: freeing objects may run Python code.
        drop(handles);
    }
}

/// Whether nobody else has an object: `own` references to it are known.
pub(crate) fn is_unshared<T>(object: &Py<T>, own: ffi::Py_ssize_t, _py: Python<'_>) -> bool {
    // SAFETY: a live object, and the GIL is held.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) == own }
}

/// Whether nobody else has a bound method, not even weakly.
pub(crate) fn is_unshared_method(method: &Py<PyAny>, py: Python<'_>) -> bool {
    let object = method.as_ptr();
    // SAFETY: a live object, and the GIL is held; the cast follows the check of the type.
    is_unshared(method, 1, py)
        && unsafe {
            ffi::PyCFunction_CheckExact(object) != 0
                && (*object.cast::<ffi::PyCFunctionObject>())
                    .m_weakreflist
                    .is_null()
        }
}
