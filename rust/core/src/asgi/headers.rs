//! `scope["headers"]`: a sequence that behaves as the list of `(name, value)` pairs that ASGI asks
//! for, and makes that list only when somebody looks.
//!
//! Until then it holds the parsed request itself, so serving makes no Python object per header.
//! From then on the list is the truth: everything but `len` and truth value is the list's own
//! doing.
//!
//! This file must never know who asks for a header, or what one means.

use std::cell::RefCell;
use std::sync::Arc;

use ferrule_http::fields::Known;
use ferrule_http::request::Request;
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::pyclass::{CompareOp, PyTraverseError, PyVisit};
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyIterator, PyList, PyTuple, PyType};

use crate::gil::Guarded;

/// ASGI 3 `headers`: pairs of byte strings, names in lower case, in wire order.
///
/// Behaves as a list in every way but `isinstance(headers, list)`; pickles and copies as a list.
#[pyclass(frozen, sequence, module = "ferrule._core")]
pub(crate) struct LazyHeaders {
    /// Borrowed for the time of cloning a reference; Python never runs meanwhile.
    state: Guarded<RefCell<State>>,
}

enum State {
    /// Nobody has looked. `None` once the garbage collector has broken a cycle.
    Wire(Option<Arc<Request>>),
    List(Py<PyList>),
}

impl LazyHeaders {
    /// The fields of `request`, which is kept until somebody looks or the last reference goes.
    pub(crate) fn new(request: Arc<Request>) -> Self {
        Self {
            state: Guarded::new(RefCell::new(State::Wire(Some(request)))),
        }
    }

    /// Makes them the fields of another request, or of none.
    pub(super) fn renew(&self, py: Python<'_>, request: Option<Arc<Request>>) {
        let before = self.state.get(py).replace(State::Wire(request));
        drop(before);
    }

    /// The list, made now if this is the first look.
    fn list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let request = match &*self.state.get(py).borrow() {
            State::List(list) => return Ok(list.bind(py).clone()),
            State::Wire(request) => request.clone(),
        };
        // Allocation may run the garbage collector, and with it any Python code, which may look
        // here too, as may other threads: the list that is stored first is the one.
        let made = match &request {
            Some(request) => pairs(py, request)?,
            None => PyList::empty(py),
        };
        let mut state = self.state.get(py).borrow_mut();
        if let State::List(list) = &*state {
            return Ok(list.bind(py).clone());
        }
        *state = State::List(made.clone().unbind());
        Ok(made)
    }
}

fn pairs<'py>(py: Python<'py>, request: &Request) -> PyResult<Bound<'py, PyList>> {
    let names = known_names(py);
    PyList::new(
        py,
        request.block.iter().map(|(known, name, value)| Pair {
            shared: names.get(known as usize).filter(|_| known != Known::Other),
            name,
            value,
        }),
    )
}

/// One field on its way to a tuple.
struct Pair<'a> {
    shared: Option<&'a Py<PyBytes>>,
    name: &'a [u8],
    value: &'a [u8],
}

impl<'py> IntoPyObject<'py> for Pair<'_> {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let name = match self.shared {
            Some(name) => name.bind(py).clone(),
            None => PyBytes::new_with(py, self.name.len(), |lower| {
                lower.copy_from_slice(self.name);
                lower.make_ascii_lowercase();
                Ok(())
            })?,
        };
        PyTuple::new(py, [name, PyBytes::new(py, self.value)])
    }
}

/// A bytes object for each well-known name, by its number, for all requests to share.
fn known_names(py: Python<'_>) -> &[Py<PyBytes>] {
    static NAMES: PyOnceLock<Vec<Py<PyBytes>>> = PyOnceLock::new();
    NAMES.get_or_init(py, || {
        let name = |index| PyBytes::new(py, Known::from_index(index).name().as_bytes()).unbind();
        (0..Known::COUNT as u8).map(name).collect()
    })
}

/// What stands for `object` beside a list, which knows how to combine with lists only.
fn operand<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    match object.cast::<LazyHeaders>() {
        Ok(headers) => Ok(headers.get().list(object.py())?.into_any()),
        Err(_) => Ok(object.clone()),
    }
}

/// Make `isinstance(headers, collections.abc.MutableSequence)` true, and sequence patterns match.
/// Once per interpreter, when the module is made.
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    py.import("collections.abc")?
        .getattr("MutableSequence")?
        .call_method1("register", (py.get_type::<LazyHeaders>(),))?;
    Ok(())
}

#[pymethods]
impl LazyHeaders {
    fn __len__(&self, py: Python<'_>) -> usize {
        match &*self.state.get(py).borrow() {
            State::Wire(request) => request.as_ref().map_or(0, |request| request.block.len()),
            State::List(list) => list.bind(py).len(),
        }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.list(py)?.try_iter()
    }

    fn __reversed__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.list(py)?.call_method0("__reversed__")
    }

    fn __contains__(&self, item: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.list(item.py())?.as_any().contains(item)
    }

    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.list(key.py())?.as_any().get_item(key)
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.list(key.py())?.as_any().set_item(key, value)
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.list(key.py())?.as_any().del_item(key)
    }

    /// `append`, `sort` and nearly all other methods are the list's own. Asked for names only that this
    /// type lacks, so that looking for an odd one makes no list.
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        if !py.get_type::<PyList>().hasattr(name)? {
            let message = format!("'LazyHeaders' object has no attribute '{name}'");
            return Err(PyAttributeError::new_err(message));
        }
        self.list(py)?.getattr(name)
    }

    fn __richcmp__<'py>(
        &self,
        other: &Bound<'py, PyAny>,
        op: CompareOp,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        let other = operand(other)?;
        if !other.is_instance_of::<PyList>() {
            // As a list does, so that the other side gets its say.
            return Ok(py.NotImplemented().into_bound(py));
        }
        self.list(py)?.rich_compare(other, op)
    }

    fn __add__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.list(other.py())?.add(operand(other)?)
    }

    fn __radd__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        other.add(self.list(other.py())?)
    }

    fn __iadd__(&self, other: &Bound<'_, PyAny>) -> PyResult<()> {
        self.extend(other)
    }

    /// The list's own would never end when given these very headers: it knows itself only.
    #[pyo3(signature = (iterable, /))]
    fn extend(&self, iterable: &Bound<'_, PyAny>) -> PyResult<()> {
        let list = self.list(iterable.py())?;
        list.call_method1("extend", (operand(iterable)?,))?;
        Ok(())
    }

    fn __mul__<'py>(&self, times: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.list(times.py())?.mul(times)
    }

    fn __rmul__<'py>(&self, times: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.list(times.py())?.mul(times)
    }

    fn __imul__(&self, times: &Bound<'_, PyAny>) -> PyResult<()> {
        self.list(times.py())?.call_method1("__imul__", (times,))?;
        Ok(())
    }

    fn __repr__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.list(py)?.repr()?.into_any())
    }

    /// Pickle, copy and deepcopy give a plain list.
    fn __reduce__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyType>, (Bound<'py, PyList>,))> {
        Ok((py.get_type::<PyList>(), (self.list(py)?,)))
    }

    /// An application may put the scope into its own headers.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector, which calls this, has the GIL.
        let py = unsafe { Python::assume_attached() };
        match self.state.get(py).try_borrow().as_deref() {
            Ok(State::List(list)) => visit.call(list),
            _ => Ok(()),
        }
    }

    fn __clear__(&self, py: Python<'_>) {
        self.renew(py, None);
    }
}
