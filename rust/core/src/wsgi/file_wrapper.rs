//! `wsgi.file_wrapper` (PEP 3333, optional platform-specific file handling): an iterable over a file-like object that
//! the server recognises and hands to sendfile where the object is a real file.

use pyo3::exceptions::PyStopIteration;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyType};

use crate::exchange::FilePart;
use crate::sendfile;

const BLOCK: usize = 64 * 1024;

#[pyclass(frozen, module = "ferrule._core", name = "FileWrapper")]
pub(crate) struct FileWrapper {
    file: Py<PyAny>,
    block_size: usize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize=BLOCK, /))]
    fn new(filelike: Py<PyAny>, blksize: usize) -> Self {
        FileWrapper {
            file: filelike,
            block_size: blksize.max(1),
        }
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let block = self
            .file
            .bind(py)
            .call_method1(intern!(py, "read"), (self.block_size,))?;
        let empty = block.cast::<PyBytes>().map_or(Ok(false), |bytes| {
            Ok::<_, PyErr>(bytes.as_bytes().is_empty())
        })?;
        if empty {
            Err(PyStopIteration::new_err(()))
        } else {
            Ok(block)
        }
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(close) = self.file.bind(py).getattr_opt(intern!(py, "close"))? {
            close.call0()?;
        }
        Ok(())
    }
}

impl FileWrapper {
    /// The file from where it stands, at most `length` bytes of it; None when it is no regular file, or its descriptor
    /// holds other bytes than `read` gives.
    pub(super) fn part(&self, py: Python<'_>, length: Option<u64>) -> PyResult<Option<FilePart>> {
        let file = self.file.bind(py);
        if !reads_its_descriptor(file)? {
            return Ok(None);
        }
        let Ok(Ok(fd)) = file
            .call_method0(intern!(py, "fileno"))
            .map(|fd| fd.extract::<i32>())
        else {
            return Ok(None);
        };
        // `tell` knows of bytes that a buffered reader has taken from the descriptor already.
        let offset = match file.call_method0(intern!(py, "tell")) {
            Ok(at) => at.extract::<u64>().ok(),
            Err(_) => None,
        };
        Ok(sendfile::duplicate(fd)
            .and_then(|file| sendfile::part(file, offset, length))
            .ok())
    }
}

/// The classes of `io` that tell what a file is.
struct Classes {
    base: Py<PyType>,
    raw: Py<PyType>,
    reader: Py<PyType>,
    random: Py<PyType>,
}

fn classes(py: Python<'_>) -> PyResult<&Classes> {
    static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();
    CLASSES.get_or_try_init(py, || {
        let io = py.import("io")?;
        let class = |name| Ok::<_, PyErr>(io.getattr(name)?.cast_into::<PyType>()?.unbind());
        Ok(Classes {
            base: class("IOBase")?,
            raw: class("FileIO")?,
            reader: class("BufferedReader")?,
            random: class("BufferedRandom")?,
        })
    })
}

/// Whether reading `file` gives the bytes of its descriptor as they are: io.FileIO, what buffers one, and what carries
/// one as `file` (tempfile, Django). A GzipFile has a descriptor too, but that holds the compressed bytes.
fn reads_its_descriptor(file: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = file.py();
    let classes = classes(py)?;
    if file.get_type().is(&classes.raw) {
        return Ok(true);
    }
    let is = |object: &Bound<'_, PyAny>, class: &Py<PyType>| object.is_instance(class.bind(py));
    let carried = match file.getattr_opt(intern!(py, "file"))? {
        Some(inner) if !is(file, &classes.base)? => inner,
        _ => file.clone(),
    };
    let raw = match is(&carried, &classes.reader)? || is(&carried, &classes.random)? {
        true => carried.getattr(intern!(py, "raw"))?,
        false => carried,
    };
    is(&raw, &classes.raw)
}
