//! `receive` and `send` of one ASGI request (HTTP spec 2.5): messages to and from the exchange, their order checked.

use std::cell::{Cell, Ref, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrule_http::h1::encode::{ResponseError, ResponseHead};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use pyo3::{create_exception, intern};

use super::AsgiCore;
use super::awaitable::{Awaitable, Wait};
use super::message::{Fields, Message, each_field, flag, needed, size, with_bytes};
use crate::block::Block;
use crate::exchange::{Exchange, Gone, Read, SendError, Sent};
use crate::gil::Guarded;
use crate::reactor::connection::{SLACK, Waiter};

create_exception!(
    _core,
    ClientDisconnected,
    PyOSError,
    "The client went away before the response was complete (ASGI HTTP spec 2.4, `send`)."
);

/// An application whose awaits are all answered at once gives way to others after so much.
const BURST_BYTES: usize = 64 * 1024;
const BURST_TIME: Duration = Duration::from_millis(1);
/// The clock is read every so many messages.
const BURST_LOOK: u32 = 8;
/// Bytes of body handed over per `receive`.
const RECEIVE_LIMIT: usize = 128 * 1024;
/// So many futures may wait on a request before those that were cancelled are dropped.
const FEW_WAITERS: usize = 8;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// `http.response.start` is due.
    #[default]
    Start,
    Body,
    /// The body is complete, `http.response.trailers` is due.
    Trailers,
    Complete,
}

#[derive(Default)]
struct State {
    phase: Cell<Phase>,
    /// Given with `http.response.start`, sent with the first body message.
    head: RefCell<ResponseHead>,
    /// `head` has not gone out yet.
    head_due: Cell<bool>,
    /// What `head` was made of; applications that answer alike give the same objects again.
    fields: RefCell<Fields>,
    /// The head is out, and with it the whole response (HEAD, 204, 304).
    bodiless: Cell<bool>,
    /// `trailers: True` was announced.
    trailers: Cell<bool>,
    trailer_fields: RefCell<Vec<(Vec<u8>, Vec<u8>)>>,
    /// The last part of the request body was handed over.
    body_read: Cell<bool>,
    burst_bytes: Cell<usize>,
    burst_messages: Cell<u32>,
    burst_since: Cell<Option<Instant>>,
    /// The next `receive` lets others go first.
    give_way: Cell<bool>,
    /// `http.disconnect` was handed out before the response was complete.
    told_disconnect: Cell<bool>,
}

#[pyclass(frozen, module = "ferrule._core")]
pub(crate) struct Channel {
    core: Arc<AsgiCore>,
    /// Replaced only while nobody else has the channel.
    exchange: Guarded<RefCell<Exchange>>,
    state: Guarded<State>,
}

/// What a waiting `receive` or `send` finds when it is resumed.
pub(crate) enum Resumed {
    Wait(Py<PyAny>),
    /// Others go first, then again.
    Yield,
    Done,
    Value(Py<PyAny>),
}

impl Channel {
    pub(crate) fn new(core: Arc<AsgiCore>, exchange: Exchange) -> Channel {
        Channel {
            core,
            exchange: Guarded::new(RefCell::new(exchange)),
            state: Guarded::default(),
        }
    }

    /// Makes it the channel of another exchange.
    pub(super) fn renew(&self, py: Python<'_>, exchange: Exchange) {
        *self.exchange.get(py).borrow_mut() = exchange;
        let state = self.state.get(py);
        state.phase.set(Phase::Start);
        state.head_due.set(false);
        state.bodiless.set(false);
        state.trailers.set(false);
        state.trailer_fields.take();
        state.body_read.set(false);
        state.burst_bytes.set(0);
        state.burst_messages.set(0);
        state.burst_since.set(None);
        state.give_way.set(false);
        state.told_disconnect.set(false);
    }

    pub(crate) fn exchange<'a>(&'a self, py: Python<'a>) -> Ref<'a, Exchange> {
        self.exchange.get(py).borrow()
    }

    fn phase(&self, py: Python<'_>) -> Phase {
        self.state.get(py).phase.get()
    }

    /// Whether the application has sent all of its response.
    pub(crate) fn is_complete(&self, py: Python<'_>) -> bool {
        self.phase(py) == Phase::Complete
    }

    pub(crate) fn has_told_disconnect(&self, py: Python<'_>) -> bool {
        self.state.get(py).told_disconnect.get()
    }

    pub(crate) fn has_started(&self, py: Python<'_>) -> bool {
        self.phase(py) != Phase::Start
    }

    // ---- receive -------------------------------------------------------------------------------

    /// The next message, if it is here.
    fn try_receive(&self, py: Python<'_>) -> PyResult<Option<(Py<PyAny>, usize)>> {
        self.core.catch_up();
        let state = self.state.get(py);
        if self.is_complete(py) {
            return disconnect(py).map(Some);
        }
        if state.body_read.get() {
            return if self.exchange(py).has_hung_up() {
                self.tell_disconnect(py).map(Some)
            } else {
                Ok(None)
            };
        }
        let outcome = self.read(py).and_then(|(read, body)| match (read, body) {
            (Read::Data { more }, Some(body)) => {
                if !more {
                    state.body_read.set(true);
                }
                let size = body.as_bytes().len();
                let message = PyDict::new(py);
                message.set_item(intern!(py, "type"), intern!(py, "http.request"))?;
                message.set_item(intern!(py, "body"), body)?;
                message.set_item(intern!(py, "more_body"), more)?;
                Ok(Some((message.into_any().unbind(), size)))
            }
            (Read::Gone, _) => self.tell_disconnect(py).map(Some),
            _ => Ok(None),
        });
        self.core.keep_turning(py)?;
        outcome
    }

    /// Reads body bytes, of a large body as they come from the socket.
    fn read<'py>(&self, py: Python<'py>) -> PyResult<(Read, Option<Bound<'py, PyBytes>>)> {
        let reactor = &self.core.reactor;
        let direct = self.exchange(py).direct(reactor);
        if let Some(direct) = direct {
            let mut block = Block::new(py, direct.length.saturating_add(SLACK))?;
            let (read, filled) = self.exchange(py).read_into(reactor, block.room());
            let body = match read {
                // SAFETY: `read_into` has written as many bytes as it says.
                Read::Data { .. } => Some(unsafe { block.finish(py, filled)? }),
                Read::Wait | Read::Gone => None,
            };
            return Ok((read, body));
        }
        let mut buffers = self.core.take_buffers();
        let (body, scratch) = (&mut buffers.body, &mut buffers.scratch);
        let read = self
            .exchange(py)
            .read(reactor, body, RECEIVE_LIMIT, scratch);
        let body = match read {
            Read::Data { .. } => Some(PyBytes::new(py, body)),
            Read::Wait | Read::Gone => None,
        };
        self.core.give_buffers(buffers);
        Ok((read, body))
    }

    fn tell_disconnect(&self, py: Python<'_>) -> PyResult<(Py<PyAny>, usize)> {
        self.state.get(py).told_disconnect.set(true);
        disconnect(py)
    }

    /// Called by a waiting awaitable, when it is first awaited and each time its task takes it up.
    pub(crate) fn resume(&self, py: Python<'_>, wait: Wait) -> PyResult<Resumed> {
        match wait {
            Wait::Receive => {
                // Before anything is taken: a task that is cancelled while it gives way has lost nothing.
                if self.state.get(py).give_way.take() {
                    return Ok(Resumed::Yield);
                }
                if let Some((message, size)) = self.try_receive(py)? {
                    if self.burst(py, size) {
                        self.state.get(py).give_way.set(true);
                    }
                    return Ok(Resumed::Value(message));
                }
                let future = self.core.new_future(py)?;
                let waiters = match self.exchange(py).take_receivers(FEW_WAITERS) {
                    Ok(waiters) => still_waiting(py, waiters),
                    Err(Gone) => return Ok(Resumed::Value(self.tell_disconnect(py)?.0)),
                };
                let waiters = waiters.into_iter().chain([future.clone_ref(py)]);
                match self.exchange(py).wait_readable(waiters) {
                    Ok(()) => Ok(Resumed::Wait(future)),
                    Err(Gone) => Ok(Resumed::Value(self.tell_disconnect(py)?.0)),
                }
            }
            Wait::Send => {
                let future = self.core.new_future(py)?;
                match self.exchange(py).wait_writable(future.clone_ref(py)) {
                    Ok(true) => Ok(Resumed::Wait(future)),
                    Ok(false) => Ok(Resumed::Done),
                    Err(Gone) if self.is_complete(py) => Ok(Resumed::Done),
                    Err(Gone) => Err(gone()),
                }
            }
        }
    }

    /// What `send` gives for a message that went its way.
    fn sent(&self, py: Python<'_>, size: usize) -> PyResult<Py<Awaitable>> {
        match self.burst(py, size) {
            true => Py::new(py, Awaitable::yielding()),
            false => Ok(self.core.done.clone_ref(py)),
        }
    }

    /// Counts what was answered at once; true: give way now (architecture: fairness).
    fn burst(&self, py: Python<'_>, bytes: usize) -> bool {
        let state = self.state.get(py);
        let bytes = state.burst_bytes.get().saturating_add(bytes);
        let messages = state.burst_messages.get().wrapping_add(1);
        let mut over = bytes >= BURST_BYTES;
        if !over && messages.is_multiple_of(BURST_LOOK) {
            match state.burst_since.get() {
                Some(since) => over = since.elapsed() >= BURST_TIME,
                None => state.burst_since.set(Some(Instant::now())),
            }
        }
        if over {
            state.burst_since.set(None);
        }
        state.burst_bytes.set(if over { 0 } else { bytes });
        state.burst_messages.set(if over { 0 } else { messages });
        over
    }

    // ---- send ----------------------------------------------------------------------------------

    fn start(&self, py: Python<'_>, message: &Message<'_, '_>) -> PyResult<()> {
        let state = self.state.get(py);
        if state.phase.get() != Phase::Start {
            return Err(PyRuntimeError::new_err(
                "http.response.start was sent twice: it is sent once per response",
            ));
        }
        let status = needed(&message.status, "status", "http.response.start")?;
        let status: u16 = status.extract().map_err(|_| {
            PyTypeError::new_err("http.response.start: status is an integer from 200 to 999")
        })?;
        let known = |headers| state.fields.borrow().are(headers);
        if message.headers.as_ref().is_some_and(known) {
            let again = state.head.borrow_mut().set_status(status);
            again.map_err(|error| bad_status(status, error))?;
        } else {
            self.make_head(py, status, message.headers.as_ref())?;
        }
        let trailers = flag(&message.other(intern!(py, "trailers"))?)?;
        if let Some(wanted) = message.other(intern!(py, "log_access"))?
            && !wanted.is_truthy()?
        {
            self.exchange(py).hide_from_log();
        }
        state.head_due.set(true);
        state.trailers.set(trailers);
        state.phase.set(Phase::Body);
        Ok(())
    }

    /// Makes the head of what the application gave. It is out of its place meanwhile, because Python code may run.
    fn make_head(
        &self,
        py: Python<'_>,
        status: u16,
        headers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let state = self.state.get(py);
        drop(state.fields.take());
        let mut head = state.head.take();
        head.start(status, None)
            .map_err(|error| bad_status(status, error))?;
        let push = |name: &[u8], value: &[u8]| {
            head.push(name, value).map_err(|error| {
                let name = String::from_utf8_lossy(name);
                PyValueError::new_err(format!("http.response.start: header {name}: {error}"))
            })
        };
        let fields = headers.and_then(Fields::of);
        match (&fields, headers) {
            (Some(fields), _) => fields.each(py, push)?,
            (None, Some(headers)) => each_field(headers, push)?,
            (None, None) => {}
        }
        if let Some(name) = head.hop_by_hop() {
            self.core.hop_by_hop(py, name)?;
        }
        state.head.replace(head);
        state.fields.replace(fields.unwrap_or_default());
        Ok(())
    }

    /// The head that goes with the first body message.
    fn first<'a>(&'a self, py: Python<'a>, kind: &str) -> PyResult<Option<Ref<'a, ResponseHead>>> {
        let state = self.state.get(py);
        match state.phase.get() {
            Phase::Body => Ok(state.head_due.take().then(|| state.head.borrow())),
            Phase::Start => Err(PyRuntimeError::new_err(format!(
                "{kind} was sent before http.response.start"
            ))),
            Phase::Trailers => Err(PyRuntimeError::new_err(format!(
                "{kind} was sent after the last body message: http.response.trailers is due"
            ))),
            Phase::Complete => Err(PyRuntimeError::new_err(format!(
                "{kind} was sent after the response was complete"
            ))),
        }
    }

    /// Takes the outcome of a body message, `first` of its response or not, and moves on if it went out.
    fn body_sent(
        &self,
        py: Python<'_>,
        sent: Result<Sent, SendError>,
        first: bool,
        more: bool,
    ) -> PyResult<Sent> {
        let state = self.state.get(py);
        if matches!(sent, Err(SendError::Framing(_))) {
            // It did not, and neither did the head that came with it.
            state.head_due.set(first);
        } else if !more {
            state.phase.set(if state.trailers.get() {
                Phase::Trailers
            } else {
                Phase::Complete
            });
        }
        checked(sent)
    }

    fn body(&self, py: Python<'_>, message: &Message<'_, '_>) -> PyResult<(Sent, usize)> {
        let more = flag(&message.more_body)?;
        with_bytes(message.body.as_ref(), |data| {
            let head = self.first(py, "http.response.body")?;
            let state = self.state.get(py);
            let exchange = self.exchange(py);
            if more && state.bodiless.get() && exchange.has_hung_up() {
                // No write will ever fail, so this is where a stream without end learns that nobody is there.
                exchange.give_up(&self.core.reactor);
                return Err(gone());
            }
            let more_to_come = more || state.trailers.get();
            if more_to_come {
                // A client has its time from here on, however long the application took.
                self.core.reactor.tick();
            }
            let first = head.is_some();
            let reactor = &self.core.reactor;
            let sent = if !more_to_come && self.core.gathers(py, &exchange.conn) {
                exchange.send_later(reactor, head.as_deref(), data)
            } else {
                exchange.send(reactor, head.as_deref(), data, more_to_come)
            };
            if matches!(sent, Ok(Sent::Later)) {
                self.core.gather(py, exchange.clone());
            }
            if first && more_to_come {
                state.bodiless.set(exchange.is_bodiless());
            }
            Ok((self.body_sent(py, sent, first, more)?, data.len()))
        })
    }

    fn trailers(&self, py: Python<'_>, message: &Message<'_, '_>) -> PyResult<Sent> {
        let state = self.state.get(py);
        if state.phase.get() != Phase::Trailers {
            return Err(PyRuntimeError::new_err(
                "http.response.trailers is sent after the last body message of a response started with trailers: True",
            ));
        }
        let mut fields = Vec::new();
        if let Some(headers) = &message.headers {
            each_field(headers, |name, value| {
                fields.push((name.to_vec(), value.to_vec()));
                Ok(())
            })?;
        }
        let more = flag(&message.other(intern!(py, "more_trailers"))?)?;
        state.trailer_fields.borrow_mut().append(&mut fields);
        if more {
            return Ok(Sent::Ok);
        }
        state.phase.set(Phase::Complete);
        let fields = state.trailer_fields.take();
        let fields: Vec<(&[u8], &[u8])> = fields
            .iter()
            .map(|(n, v)| (n.as_slice(), v.as_slice()))
            .collect();
        checked(self.exchange(py).finish(&self.core.reactor, None, &fields))
    }

    fn early_hint(&self, py: Python<'_>, message: &Message<'_, '_>) -> PyResult<()> {
        if self.has_started(py) {
            return Err(PyRuntimeError::new_err(
                "http.response.early_hint is sent before http.response.start",
            ));
        }
        let links = message.other(intern!(py, "links"))?;
        let links = needed(&links, "links", "http.response.early_hint")?;
        let mut values = Vec::new();
        for link in links.try_iter()? {
            with_bytes(Some(&link?), |value| {
                values.push(value.to_vec());
                Ok(())
            })?;
        }
        let fields: Vec<(&[u8], &[u8])> = values
            .iter()
            .map(|value| (b"link".as_slice(), value.as_slice()))
            .collect();
        match self.exchange(py).interim(&self.core.reactor, 103, &fields) {
            Ok(()) => Ok(()),
            Err(SendError::Gone) => Err(gone()),
            Err(SendError::Framing(error)) => Err(PyValueError::new_err(format!(
                "http.response.early_hint: {error}"
            ))),
        }
    }

    /// `http.response.pathsend`: a whole file by its path.
    fn pathsend(&self, py: Python<'_>, message: &Message<'_, '_>) -> PyResult<Sent> {
        let path: std::path::PathBuf = needed(
            &message.other(intern!(py, "path"))?,
            "path",
            "http.response.pathsend",
        )?
        .extract()?;
        let part = py.detach(|| crate::sendfile::whole(&path))?;
        let head = self.first(py, "http.response.pathsend")?;
        let trailers = self.state.get(py).trailers.get();
        let sent = self
            .exchange(py)
            .send_file(&self.core.reactor, head.as_deref(), part, trailers);
        self.body_sent(py, sent, head.is_some(), false)
    }

    /// `http.response.zerocopysend`: part of an open file.
    fn zerocopysend(&self, py: Python<'_>, message: &Message<'_, '_>) -> PyResult<Sent> {
        let kind = "http.response.zerocopysend";
        let file = message.other(intern!(py, "file"))?;
        let file = needed(&file, "file", kind)?;
        let fd: i32 = match file.extract() {
            Ok(fd) => fd,
            Err(_) => file.call_method0(intern!(py, "fileno"))?.extract()?,
        };
        let file = crate::sendfile::duplicate(fd)?;
        let offset = size(&message.other(intern!(py, "offset"))?, "offset")?;
        let count = size(&message.other(intern!(py, "count"))?, "count")?;
        let more = flag(&message.more_body)?;
        let part = crate::sendfile::part(file, offset, count)?;
        let head = self.first(py, kind)?;
        let more_to_come = more || self.state.get(py).trailers.get();
        let sent =
            self.exchange(py)
                .send_file(&self.core.reactor, head.as_deref(), part, more_to_come);
        self.body_sent(py, sent, head.is_some(), more)
    }
}

#[pymethods]
impl Channel {
    /// ASGI `receive`. Nothing is taken before it is awaited, so that a task made of it can be cancelled without loss.
    fn receive(slf: &Bound<'_, Self>) -> Awaitable {
        Awaitable::waiting(slf.clone().unbind(), Wait::Receive)
    }

    /// ASGI `send`.
    fn send(slf: &Bound<'_, Self>, message: &Bound<'_, PyAny>) -> PyResult<Py<Awaitable>> {
        let py = slf.py();
        let this = slf.get();
        if this.core.reactor.origin.is_elsewhere() {
            this.core.leave_child(py, None);
        }
        let message = Message::read(&this.core.message_keys, message)?;
        let kind = needed(&message.kind, "type", "an ASGI message")?;
        let kind = kind
            .cast::<PyString>()
            .map_err(|_| PyTypeError::new_err("the type of an ASGI message is a str"))?
            .to_str()?;
        if kind == "http.response.start" {
            // Goes out with the first part of the body.
            this.start(py, &message)?;
            return this.sent(py, 0);
        }
        match kind {
            // The carrier sees to it, where what it writes may have to wait or ends a response.
            "http.response.body" => this.core.catch_up(),
            _ => this.core.reactor.tick(),
        }
        let (sent, size) = match kind {
            "http.response.body" => this.body(py, &message)?,
            "http.response.pathsend" => (this.pathsend(py, &message)?, 0),
            "http.response.zerocopysend" => (this.zerocopysend(py, &message)?, 0),
            "http.response.trailers" => (this.trailers(py, &message)?, 0),
            "http.response.early_hint" => (this.early_hint(py, &message).map(|()| Sent::Ok)?, 0),
            // For test clients that run the application in their own process; on the wire there is no place for it.
            "http.response.debug" => (Sent::Ok, 0),
            other => {
                return Err(PyValueError::new_err(format!(
                    "an HTTP application does not send {other:?}"
                )));
            }
        };
        this.core.keep_turning(py)?;
        match sent {
            Sent::Wait => Py::new(py, Awaitable::waiting(slf.clone().unbind(), Wait::Send)),
            // Nothing is left to take turns with; whoever yields here keeps a large body until it comes back.
            Sent::Ok | Sent::Later if this.is_complete(py) => Ok(this.core.done.clone_ref(py)),
            Sent::Ok | Sent::Later => this.sent(py, size),
        }
    }

    /// Done callback of a task that could not finish at once.
    fn _finished(slf: &Bound<'_, Self>, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let this = slf.get();
        this.core.clone().task_done(slf.py(), this, task)
    }
}

/// Those of some futures that somebody may still wait for: frameworks that only look whether the client is there wait
/// and are cancelled every time.
fn still_waiting(py: Python<'_>, mut waiters: Vec<Waiter>) -> Vec<Waiter> {
    waiters.retain(|waiter| {
        let done = waiter.bind(py).call_method0(intern!(py, "done"));
        !done.is_ok_and(|done| done.is_truthy().unwrap_or(false))
    });
    waiters
}

fn disconnect(py: Python<'_>) -> PyResult<(Py<PyAny>, usize)> {
    let message = PyDict::new(py);
    message.set_item(intern!(py, "type"), intern!(py, "http.disconnect"))?;
    Ok((message.into_any().unbind(), 0))
}

fn bad_status(status: u16, error: ResponseError) -> PyErr {
    PyValueError::new_err(format!("http.response.start: status {status}: {error}"))
}

fn gone() -> PyErr {
    ClientDisconnected::new_err("the client went away before the response was complete")
}

fn checked(sent: Result<Sent, SendError>) -> PyResult<Sent> {
    match sent {
        Ok(sent) => Ok(sent),
        Err(SendError::Gone) => Err(gone()),
        Err(SendError::Framing(error)) => Err(PyRuntimeError::new_err(format!(
            "http.response.body: {error}"
        ))),
    }
}
