//! Children that the application forks. Such a process has copies of the sockets, the poller and the requests of the worker
//! it came from, and must not touch any of them: clients would get two answers, or none.

use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Forks between the first process and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process that something was made in.
pub(crate) struct Origin(u32);

impl Origin {
    pub(crate) fn here() -> Origin {
        Origin(FORKS.load(Ordering::Relaxed))
    }

    /// Whether this is a child of that process instead.
    pub(crate) fn is_elsewhere(&self) -> bool {
        FORKS.load(Ordering::Relaxed) != self.0
    }
}

#[pyfunction]
fn _after_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Has the interpreter count its forks.
pub(crate) fn watch(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let keywords = PyDict::new(py);
    keywords.set_item("after_in_child", wrap_pyfunction!(_after_fork, module)?)?;
    py.import("os")?
        .call_method("register_at_fork", (), Some(&keywords))?;
    Ok(())
}

/// What the log says of a child that came back without having asked for its end.
pub(crate) const STRAY: &str = "A child that the application forked came back into the server and was ended: it should end with os._exit()";

/// Whether the log has to say why a child is ended.
pub(crate) fn is_stray(py: Python<'_>, error: Option<&PyErr>) -> bool {
    !error.is_some_and(|error| error.is_instance_of::<PySystemExit>(py))
}

/// Ends a child that came back from the application: with the status of its `SystemExit`, else with 1. Nothing of the
/// worker is finalized or given back; what the child printed is flushed.
pub(crate) fn leave(py: Python<'_>, error: Option<&PyErr>) -> ! {
    let status = match error {
        Some(error) if !is_stray(py, Some(error)) => exit_status(error.value(py)),
        _ => 1,
    };
    for name in ["stdout", "stderr"] {
        // A stream that is closed or full has nothing more to say.
        let _ = py
            .import("sys")
            .and_then(|sys| sys.getattr(name)?.call_method0("flush"));
    }
    let _ = py
        .import("os")
        .and_then(|os| os.call_method1("_exit", (status,)));
    std::process::abort();
}

/// As `sys.exit` documents it: None is 0, a number is itself, anything else is 1.
fn exit_status(exit: &Bound<'_, PyAny>) -> i32 {
    match exit.getattr("code") {
        Ok(code) if code.is_none() => 0,
        Ok(code) => code.extract().map_or(1, |code: i32| code & 0xff),
        Err(_) => 1,
    }
}
