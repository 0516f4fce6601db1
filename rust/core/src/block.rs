//! A `bytes` object that is filled while nobody else has it, so that a body is not copied into one afterwards.

use std::mem::MaybeUninit;

use pyo3::ffi;
use pyo3::ffi::compat::{
    PyBytesWriter, PyBytesWriter_Create, PyBytesWriter_Discard, PyBytesWriter_FinishWithSize,
    PyBytesWriter_GetData,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The writer of PEP 782, on every version of the interpreter.
pub(crate) struct Block {
    writer: *mut PyBytesWriter,
    size: usize,
}

impl Block {
    /// Room for `size` bytes. MemoryError where there is none.
    pub(crate) fn new(py: Python<'_>, size: usize) -> PyResult<Block> {
        let length = ffi::Py_ssize_t::try_from(size)?;
        // SAFETY: the GIL is held.
        let writer = unsafe { PyBytesWriter_Create(length) };
        match writer.is_null() {
            true => Err(PyErr::fetch(py)),
            false => Ok(Block { writer, size }),
        }
    }

    pub(crate) fn room(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: a live writer has that many bytes, which are its owner's to write until it is finished; they may not
        // be initialised, and are not taken for it. The borrow ends before the writer does.
        unsafe {
            let start = PyBytesWriter_GetData(self.writer).cast::<MaybeUninit<u8>>();
            std::slice::from_raw_parts_mut(start, self.size)
        }
    }

    /// The object, of the first `filled` bytes.
    ///
    /// # Safety
    /// That many bytes of `room` have been written.
    pub(crate) unsafe fn finish(
        mut self,
        py: Python<'_>,
        filled: usize,
    ) -> PyResult<Bound<'_, PyBytes>> {
        let length = ffi::Py_ssize_t::try_from(filled.min(self.size))?;
        let writer = std::mem::replace(&mut self.writer, std::ptr::null_mut());
        // SAFETY: the GIL is held and the writer is live; finishing ends it whatever comes of it, and gives a new
        // reference to a `bytes` object, or null with an exception.
        unsafe {
            let object = PyBytesWriter_FinishWithSize(writer, length);
            Ok(Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked())
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: a block lives on the stack of a thread that has the GIL; the writer is its own, or null after `finish`.
        unsafe { PyBytesWriter_Discard(self.writer) }
    }
}
