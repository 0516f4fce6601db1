//! `start_response`, the `write` it returns, and the way of body items to the exchange (PEP 3333).

use std::cell::{Cell, Ref, RefCell};
use std::sync::Arc;

use ferrule_http::h1::encode::{ResponseError, ResponseHead};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use super::{WsgiCore, with_item};
use crate::exchange::{Exchange, FilePart, SendError, Sent};
use crate::gil::Guarded;

#[derive(Default)]
struct State {
    started: Cell<bool>,
    /// Given to start_response, sent with the first body bytes.
    head: RefCell<ResponseHead>,
    /// `head` has been given and not gone out yet.
    head_due: Cell<bool>,
    /// The head is out: start_response may not change it any more.
    sent: Cell<bool>,
}

#[pyclass(frozen, module = "ferrule._core")]
pub(crate) struct Responder {
    core: Arc<WsgiCore>,
    /// Replaced only while nobody else has the object.
    exchange: Guarded<RefCell<Exchange>>,
    state: Guarded<State>,
}

impl Responder {
    pub(super) fn new(core: Arc<WsgiCore>, exchange: Exchange) -> Responder {
        Responder {
            core,
            exchange: Guarded::new(RefCell::new(exchange)),
            state: Guarded::default(),
        }
    }

    /// Makes it the responder of another request.
    pub(super) fn renew(&self, py: Python<'_>, exchange: &Exchange) {
        *self.exchange.get(py).borrow_mut() = exchange.clone();
        let state = self.state.get(py);
        state.started.set(false);
        state.head_due.set(false);
        state.sent.set(false);
    }

    pub(super) fn content_length(&self, py: Python<'_>) -> Option<u64> {
        let state = self.state.get(py);
        let due = state.head_due.get();
        due.then(|| state.head.borrow().content_length()).flatten()
    }

    /// The head, when it has not gone out yet.
    fn head<'a>(&'a self, py: Python<'a>) -> PyResult<Option<Ref<'a, ResponseHead>>> {
        let state = self.state.get(py);
        if !state.started.get() {
            return Err(PyRuntimeError::new_err(
                "the application sent a body before it called start_response (PEP 3333)",
            ));
        }
        state.sent.set(true);
        Ok(state.head_due.take().then(|| state.head.borrow()))
    }

    /// What is refused because its own head contradicts it was not sent, and neither was the head: it is due again.
    fn keep_head(&self, py: Python<'_>, first: bool, sent: &Result<Sent, SendError>) {
        if first && matches!(sent, Err(SendError::Framing(_))) {
            let state = self.state.get(py);
            state.head_due.set(true);
            state.sent.set(false);
        }
    }

    /// One item of a body with more to come. An empty one sends nothing: not even the head (PEP 3333). Returns whether
    /// the client wants more items.
    pub(super) fn send(&self, py: Python<'_>, item: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.core.pool.sign_of_life();
        let exchange = self.exchange.get(py).borrow();
        let mut first = false;
        let sent = with_item(item, |data| {
            if data.is_empty() {
                return Ok(None);
            }
            let head = self.head(py)?;
            first = head.is_some();
            Ok(Some(exchange.send(
                &self.core.reactor,
                head.as_deref(),
                data,
                true,
            )))
        })?;
        if let Some(sent) = sent {
            self.keep_head(py, first, &sent);
            self.core.settle(py, &exchange, sent)?;
        }
        Ok(!(first && exchange.is_bodiless()))
    }

    /// The only item of a body: its length is the response's.
    pub(super) fn send_last(&self, py: Python<'_>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let exchange = self.exchange.get(py).borrow();
        let sent = with_item(item, |data| {
            let head = self.head(py)?;
            let sent = exchange.send(&self.core.reactor, head.as_deref(), data, false);
            self.keep_head(py, head.is_some(), &sent);
            Ok(sent)
        })?;
        self.core.settle(py, &exchange, sent)
    }

    pub(super) fn finish(&self, py: Python<'_>) -> PyResult<()> {
        let exchange = self.exchange.get(py).borrow();
        let sent = {
            let head = self.head(py)?;
            let sent = exchange.finish(&self.core.reactor, head.as_deref(), &[]);
            self.keep_head(py, head.is_some(), &sent);
            sent
        };
        self.core.settle(py, &exchange, sent)
    }

    pub(super) fn send_file(&self, py: Python<'_>, part: FilePart) -> PyResult<()> {
        let exchange = self.exchange.get(py).borrow();
        let sent = {
            let head = self.head(py)?;
            let sent = exchange.send_file(&self.core.reactor, head.as_deref(), part, false);
            self.keep_head(py, head.is_some(), &sent);
            sent
        };
        self.core.settle(py, &exchange, sent)
    }
}

#[pymethods]
impl Responder {
    #[pyo3(signature = (status, response_headers, exc_info=None, /))]
    fn start_response<'py>(
        slf: &Bound<'py, Self>,
        status: &Bound<'py, PyAny>,
        response_headers: &Bound<'py, PyAny>,
        exc_info: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let this = slf.get();
        let state = this.state.get(py);
        let (started, sent) = (state.started.get(), state.sent.get());
        match exc_info {
            Some(info) if sent => return Err(reraise(info)?),
            None if started => {
                return Err(PyRuntimeError::new_err(
                    "start_response was called twice without exc_info (PEP 3333)",
                ));
            }
            _ => {}
        }
        // A head that turns out bad leaves the response as if it had never been started. Out of its place meanwhile,
        // because Python code may run.
        state.started.set(false);
        state.head_due.set(false);
        let mut head = state.head.take();
        match ascii(status) {
            Some(text) => start(&mut head, status, text.as_bytes())?,
            None => start(&mut head, status, &text(status, "the status")?)?,
        }
        match response_headers.cast_exact::<PyList>() {
            Ok(list) => {
                for field in list {
                    push_field(&mut head, &field)?;
                }
            }
            Err(_) => {
                for field in response_headers.try_iter()? {
                    push_field(&mut head, &field?)?;
                }
            }
        }
        if let Some(name) = head.hop_by_hop() {
            this.core.hop_by_hop(py, name);
        }
        state.head.replace(head);
        state.head_due.set(true);
        state.started.set(true);
        Ok(slf.clone())
    }

    /// `write`, the imperative way to send a body. The responder itself is that callable, because hardly any
    /// application uses it and each would pay for a bound method.
    fn __call__(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        self.core.check_origin()?;
        self.send(py, data).map(drop)
    }

    /// `wsgi.early_hints`: sends a 103 with the given fields.
    fn early_hints(&self, headers: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = headers.py();
        self.core.check_origin()?;
        let mut fields = Vec::new();
        for field in headers.try_iter()? {
            let field = field?;
            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = field.extract()?;
            fields.push((bytes(&name)?, bytes(&value)?));
        }
        let fields: Vec<(&[u8], &[u8])> = fields
            .iter()
            .map(|(n, v)| (n.as_slice(), v.as_slice()))
            .collect();
        let exchange = self.exchange.get(py).borrow();
        match exchange.interim(&self.core.reactor, 103, &fields) {
            Ok(()) => Ok(()),
            Err(SendError::Gone) => Err(super::gone(crate::exchange::Gone)),
            Err(SendError::Framing(error)) => {
                Err(PyValueError::new_err(format!("wsgi.early_hints: {error}")))
            }
        }
    }
}

/// An ASCII string, as nearly all are, read in place.
fn ascii<'a>(value: &'a Bound<'_, PyAny>) -> Option<&'a str> {
    let string = value.cast::<PyString>().ok()?;
    let text = string.to_str().ok()?;
    // Each of its characters is one byte of UTF-8.
    (string.len().ok()? == text.len()).then_some(text)
}

fn start(head: &mut ResponseHead, status: &Bound<'_, PyAny>, text: &[u8]) -> PyResult<()> {
    let (code, reason) = parse_status(text)?;
    head.start(code, Some(reason))
        .map_err(|error| PyValueError::new_err(format!("start_response: status {status}: {error}")))
}

fn push_field(head: &mut ResponseHead, field: &Bound<'_, PyAny>) -> PyResult<()> {
    let Some(pair) = field.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2) else {
        return Err(PyTypeError::new_err(
            "start_response: a header is a tuple of name and value, both str",
        ));
    };
    let name = pair.get_borrowed_item(0)?;
    let value = pair.get_borrowed_item(1)?;
    push(head, &name, &value)
}

fn push(
    head: &mut ResponseHead,
    name: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let refused = |error: ResponseError| {
        PyValueError::new_err(format!("start_response: header {name}: {error}"))
    };
    if let (Some(name), Some(value)) = (ascii(name), ascii(value)) {
        return head
            .push(name.as_bytes(), value.as_bytes())
            .map_err(refused);
    }
    let name_text = text(name, "a header name")?;
    let value_text = text(value, "a header value")?;
    head.push(&name_text, &value_text).map_err(refused)
}

/// A native string of PEP 3333: str whose characters are latin-1 bytes.
fn text(value: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<u8>> {
    let py = value.py();
    let string = value
        .cast::<PyString>()
        .map_err(|_| PyTypeError::new_err(format!("start_response: {what} is a str")))?;
    let encoded = string
        .call_method1(intern!(py, "encode"), (intern!(py, "latin-1"),))
        .map_err(|_| {
            PyValueError::new_err(format!(
                "start_response: {what} has characters beyond latin-1: {string:?}"
            ))
        })?;
    Ok(encoded.cast::<PyBytes>()?.as_bytes().to_vec())
}

/// bytes, or a native string.
fn bytes(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    match value.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.as_bytes().to_vec()),
        Err(_) => text(value, "an early hint"),
    }
}

/// "404 Not Found" to 404 and "Not Found".
fn parse_status(status: &[u8]) -> PyResult<(u16, &[u8])> {
    let bad = || {
        PyValueError::new_err(format!(
            "start_response: the status is three digits, a space and a reason, not {:?}",
            String::from_utf8_lossy(status)
        ))
    };
    let (code, reason) = match status {
        [a, b, c] => ([*a, *b, *c], &b""[..]),
        [a, b, c, b' ', reason @ ..] => ([*a, *b, *c], reason),
        _ => return Err(bad()),
    };
    if !code.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let code = code
        .iter()
        .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    Ok((code, reason))
}

/// The exception of an `exc_info` tuple, to be raised again because the head is out.
fn reraise(info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let value = info.get_item(1)?;
    Ok(PyErr::from_value(value))
}
