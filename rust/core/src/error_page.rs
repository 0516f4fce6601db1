//! The page that `--debug` shows for an exception: Python renders it, this hands over what it needs.

use ferrule_http::request::Request;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Calls `page(exception, request_line, fields)`; None when that fails too.
pub(crate) fn render(
    py: Python<'_>,
    page: &Py<PyAny>,
    exception: Py<pyo3::exceptions::PyBaseException>,
    request: &Request,
) -> Option<Vec<u8>> {
    let line = format!(
        "{} {}",
        String::from_utf8_lossy(request.method_bytes()),
        String::from_utf8_lossy(request.target_bytes())
    );
    let fields: Vec<_> = request
        .block
        .iter()
        .map(|(_, name, value)| (PyBytes::new(py, name), PyBytes::new(py, value)))
        .collect();
    match page.bind(py).call1((exception, line, fields)) {
        Ok(html) => html.extract().ok(),
        Err(error) => {
            error.write_unraisable(py, None);
            None
        }
    }
}
