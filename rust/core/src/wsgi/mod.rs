//! WSGI (PEP 3333) on a pool of Python threads: running one request, and the class that the worker drives.

mod environ;
mod file_wrapper;
mod handles;
mod input;
mod io;
mod pool;
mod queue;
mod response;
mod seat;

use std::cell::RefCell;
use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::access_log::AccessLog;
use crate::asgi::ClientDisconnected;
use crate::config::{Config, Options};
use crate::exchange::{Exchange, Gone, SendError, Sent, WaitFor, describe};
use crate::forked;
use crate::gil::Guarded;
use crate::reactor::connection::Conn;
use crate::reactor::fragile::outlive;
use crate::reactor::transport::Spoken;
use crate::reactor::{Address, Reactor, Style, level};
use crate::scoreboard::Scoreboard;
use crate::spare::Spare;
use crate::tls::TlsConfig;
use environ::{Client, Constants, EnvironTemplate, HeaderCache};
use ferrule_http::request::Request;
use file_wrapper::FileWrapper;
use handles::Handles;
use pool::Pool;
use response::Responder;
use seat::Seat;

/// Connections whose last fields are remembered, each with a few KiB at most.
const CACHES: usize = 128;

pub(super) struct WsgiCore {
    pub(super) reactor: Reactor,
    pool: Pool,
    app: Py<PyAny>,
    /// By listener.
    environs: Vec<EnvironTemplate>,
    /// By connection, more or less: those that share an entry take turns, and idle ones cost nothing.
    caches: Guarded<RefCell<Vec<HeaderCache>>>,
    spare: Spare<Handles>,
    log: Py<PyAny>,
    error_page: Option<Py<PyAny>>,
    told_hop_by_hop: std::sync::atomic::AtomicBool,
}

/// Serves a WSGI application on Python threads that the worker starts.
#[pyclass(frozen, module = "ferrule._core")]
pub(crate) struct WsgiServer {
    core: Arc<WsgiCore>,
}

#[pymethods]
impl WsgiServer {
    #[new]
    #[pyo3(signature = (app, options, *, listeners, log, error_page, access_log, scoreboard, draining, wakeup=None, tls=Vec::new(), protocols=Vec::new()))]
    #[allow(clippy::too_many_arguments)] // keyword-only from Python
    fn new(
        py: Python<'_>,
        app: Py<PyAny>,
        options: &Bound<'_, Options>,
        listeners: Vec<i32>,
        log: Py<PyAny>,
        error_page: Option<Py<PyAny>>,
        access_log: Option<Py<AccessLog>>,
        scoreboard: Option<Py<Scoreboard>>,
        draining: Bound<'_, PyAny>,
        wakeup: Option<i32>,
        tls: Vec<Option<Py<TlsConfig>>>,
        protocols: Vec<String>,
    ) -> PyResult<Self> {
        let options = options.get();
        let config = options.config.clone();
        let wakeup = wakeup
            .map(|fd| crate::sendfile::duplicate(fd).map(Into::into))
            .transpose()?;
        let spoken = Spoken::of(listeners.len(), config.protocol, &protocols, tls)?;
        let (reactor, poller) = Reactor::new(
            config,
            options.defaults()?,
            Style::Buffering,
            &listeners,
            spoken,
            access_log,
            scoreboard,
        )?;
        let environs = reactor
            .addresses()
            .iter()
            .enumerate()
            .map(|(index, address)| {
                let scheme = match reactor.speaks_tls(index) {
                    true => "https",
                    false => "http",
                };
                environ_template(py, &reactor.config, scheme, address, &draining)
            })
            .collect::<PyResult<_>>()?;
        Ok(WsgiServer {
            core: Arc::new(WsgiCore {
                reactor,
                pool: Pool::new(poller, wakeup),
                app,
                environs,
                caches: Guarded::new(RefCell::new(Vec::from_iter(
                    (0..CACHES).map(|_| HeaderCache::default()),
                ))),
                spare: Spare::default(),
                log,
                error_page,
                told_hop_by_hop: std::sync::atomic::AtomicBool::new(false),
            }),
        })
    }

    /// Begin to accept.
    fn start(&self) -> PyResult<()> {
        Ok(self.core.reactor.start_accepting()?)
    }

    /// Run as an application thread until `stop`.
    fn serve(&self, py: Python<'_>) -> PyResult<()> {
        self.core.serve(py)
    }

    /// Run as the I/O thread until `stop`.
    fn io_loop(&self, py: Python<'_>) {
        py.detach(|| self.core.io_loop());
    }

    fn drain(&self, py: Python<'_>, grace: f64) {
        py.detach(|| self.core.reactor.drain(crate::reactor::grace(grace)));
    }

    fn abort(&self, py: Python<'_>) {
        py.detach(|| self.core.reactor.abort());
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| {
            self.core.pool.stop();
            self.core.reactor.handle.wake();
        });
    }

    /// Pass on what waits for the log; called by the main thread now and then.
    fn report(&self, py: Python<'_>) {
        self.core.report(py);
    }

    fn is_idle(&self) -> bool {
        self.core.reactor.connections() == 0 && self.core.reactor.in_flight() == 0
    }

    /// Whether threads are inside the application, be their clients there or not.
    fn is_busy(&self) -> bool {
        self.core.pool.is_busy()
    }

    fn in_flight(&self) -> usize {
        self.core.reactor.in_flight()
    }

    fn connections(&self) -> usize {
        self.core.reactor.connections()
    }

    fn stuck_for(&self) -> f64 {
        self.core.stuck_for()
    }

    /// Threads given up since the last call: their ident, and the request they are stuck in.
    fn abandoned(&self) -> Vec<(u64, String)> {
        let stuck = self.core.pool.take_stuck();
        stuck
            .into_iter()
            .map(|stuck| (stuck.thread, stuck.request))
            .collect()
    }
}

impl WsgiCore {
    /// Moves bytes of a connection this thread owns, and appends the requests that are ready. One that has the
    /// connection to itself keeps it owned; else it is given up.
    fn move_bytes(
        &self,
        conn: &Arc<Conn>,
        mut bits: u8,
        scratch: &mut [u8],
        found: &mut Vec<Exchange>,
    ) {
        let exchange = |id| Exchange {
            conn: conn.clone(),
            id,
        };
        loop {
            let moved = self.reactor.meet(conn, |io| {
                io.on_ready(&self.reactor, conn, bits, scratch);
                io.take_news()
            });
            if let Some(news) = moved {
                found.extend(news.launches.into_iter().map(exchange));
                if let Some(id) = news.launch {
                    return found.push(exchange(id));
                }
            }
            match conn.release() {
                Some(further) => bits = further,
                None => return,
            }
        }
    }

    /// Runs one request, then looks what its connection brings next. False: the thread was given up meanwhile.
    fn run(self: &Arc<Self>, py: Python<'_>, seat: &Seat, exchange: Exchange) -> bool {
        self.pool.begin(seat, exchange.id);
        self.reactor.guard(&exchange.conn, || {
            // None: the client is gone, or its time was up while it waited for a thread.
            if let Some(request) = exchange.take_up() {
                let outcome = self.call(py, &exchange, &request);
                if self.reactor.origin.is_elsewhere() {
                    self.leave_child(py, &request, outcome.err());
                }
                if let Err(error) = outcome {
                    self.failed(py, &exchange, &request, error);
                }
                self.reactor.give_request(request);
            }
        });
        let leave = || exchange.leave(&self.reactor);
        self.reactor.guard(&exchange.conn, leave);
        let kept = self.pool.end(seat);
        // Most often there is nothing: the client waits for this answer, and its next request is an event.
        if let Some(bits) = exchange.release() {
            let mut scratch = input::take_scratch();
            let mut found = Vec::new();
            self.move_bytes(&exchange.conn, bits, &mut scratch, &mut found);
            self.pool.queue(&mut found);
            input::give_scratch(scratch);
        }
        self.nudge();
        kept
    }

    /// PEP 3333: calls the application, sends what its iterable gives, and always closes the iterable.
    fn call(
        self: &Arc<Self>,
        py: Python<'_>,
        exchange: &Exchange,
        request: &Request,
    ) -> PyResult<()> {
        let handles = Handles::take(py, self, exchange)?;
        let outcome = self.call_with(py, exchange, request, &handles);
        self.spare.give(py, handles);
        outcome
    }

    fn call_with(
        &self,
        py: Python<'_>,
        exchange: &Exchange,
        request: &Request,
        handles: &Handles,
    ) -> PyResult<()> {
        let Some(template) = self.environs.get(exchange.conn.listener) else {
            return Ok(());
        };
        let client = Client {
            peer: exchange.conn.peer,
            tls: exchange.conn.tls(),
        };
        let key = exchange.conn.key;
        // Taken out, because building runs the garbage collector and with it anybody's code.
        let mut cache = self.swap_cache(py, key, HeaderCache::default());
        let environ = template.build(
            py,
            request,
            client,
            handles.input.bind(py).as_any(),
            handles.early_hints.bind(py),
            Some(&mut cache),
        )?;
        drop(self.swap_cache(py, key, cache));
        let start_response = handles.start_response.bind(py);
        let result = self.app.bind(py).call1((environ, start_response))?;
        let sent = self.send_all(py, &result, handles.responder.get());
        sent.and(close(&result))
    }

    fn swap_cache(&self, py: Python<'_>, key: usize, cache: HeaderCache) -> HeaderCache {
        match self.caches.get(py).borrow_mut().get_mut(key % CACHES) {
            Some(entry) => std::mem::replace(entry, cache),
            None => cache,
        }
    }

    /// A child that the application forked has no client: its socket is its parent's.
    pub(super) fn check_origin(&self) -> PyResult<()> {
        match self.reactor.origin.is_elsewhere() {
            true => Err(gone(Gone)),
            false => Ok(()),
        }
    }

    fn send_all(
        &self,
        py: Python<'_>,
        result: &Bound<'_, PyAny>,
        responder: &Responder,
    ) -> PyResult<()> {
        let origin = &self.reactor.origin;
        if origin.is_elsewhere() {
            return Ok(());
        }
        if let Ok(wrapper) = result.cast_exact::<FileWrapper>()
            && let Some(part) = wrapper.get().part(py, responder.content_length(py))?
        {
            return responder.send_file(py, part);
        }
        if let Ok(list) = result.cast_exact::<PyList>()
            && list.len() == 1
        {
            return responder.send_last(py, &list.get_item(0)?);
        }
        if let Ok(tuple) = result.cast_exact::<PyTuple>()
            && tuple.len() == 1
        {
            return responder.send_last(py, &tuple.get_item(0)?);
        }
        for item in result.try_iter()? {
            let item = item?;
            // An iterable without end must not hold its thread for a client that has all it gets.
            if origin.is_elsewhere() || !responder.send(py, &item)? {
                break;
            }
        }
        match origin.is_elsewhere() {
            true => Ok(()),
            false => responder.finish(py),
        }
    }

    fn failed(&self, py: Python<'_>, exchange: &Exchange, request: &Request, error: PyErr) {
        let open = exchange.is_open();
        if error.is_instance_of::<ClientDisconnected>(py) {
            // Not the application's fault. While a response can still be written, it was the body that ended early.
            return exchange.refuse(
                &self.reactor,
                400,
                "the client hung up within its request body",
            );
        }
        let which = describe(request);
        let page = self.error_page.as_ref().filter(|_| open).and_then(|page| {
            let exception = error.clone_ref(py).into_value(py);
            crate::error_page::render(py, page, exception, request)
        });
        self.tell(
            py,
            level::ERROR,
            &format!("Exception in WSGI application {which}"),
            Some(error),
        );
        exchange.fail(&self.reactor, page.as_deref());
    }

    /// Nothing of the worker is a child's that the application forked: neither the client nor the next request.
    fn leave_child(&self, py: Python<'_>, request: &Request, error: Option<PyErr>) -> ! {
        let kept = error.as_ref().map(|error| error.clone_ref(py));
        if forked::is_stray(py, error.as_ref()) {
            let text = format!("{} {}", forked::STRAY, describe(request));
            self.tell(py, level::ERROR, &text, error);
        }
        forked::leave(py, kept.as_ref())
    }

    /// Waits, without the GIL, until the client takes or sends bytes, or its time is up.
    pub(super) fn wait(
        &self,
        py: Python<'_>,
        exchange: &Exchange,
        what: WaitFor,
    ) -> Result<(), Gone> {
        if self.reactor.origin.is_elsewhere() {
            return Err(Gone);
        }
        self.pool
            .outside(|| py.detach(|| self.wait_detached(exchange, what)))
    }

    fn wait_detached(&self, exchange: &Exchange, what: WaitFor) -> Result<(), Gone> {
        // Somebody has to poll for this thread, and may have to learn what this thread found.
        self.nudge();
        let mut scratch = input::take_scratch();
        let outcome = exchange.wait(&self.reactor, what, &mut scratch);
        input::give_scratch(scratch);
        outcome
    }

    /// Takes the outcome of a send: waits for a slow client, raises for one that is gone.
    pub(super) fn settle(
        &self,
        py: Python<'_>,
        exchange: &Exchange,
        sent: Result<Sent, SendError>,
    ) -> PyResult<()> {
        match sent {
            Ok(Sent::Ok | Sent::Later) => Ok(()),
            Ok(Sent::Wait) => {
                while !exchange.has_room().map_err(gone)? {
                    self.wait(py, exchange, WaitFor::Room).map_err(gone)?;
                }
                Ok(())
            }
            Err(SendError::Gone) => Err(gone(Gone)),
            Err(SendError::Framing(error)) => Err(pyo3::exceptions::PyRuntimeError::new_err(
                format!("response body: {error}"),
            )),
        }
    }

    fn report(&self, py: Python<'_>) {
        for (level, text) in self.reactor.take_notices() {
            self.tell(py, level, &text, None);
        }
    }

    pub(super) fn tell(&self, py: Python<'_>, level: u8, text: &str, error: Option<PyErr>) {
        let exception = error.map(|error| error.into_value(py));
        // A logger that fails must not take the thread down with it.
        if let Some(Err(error)) = outlive(|| self.log.bind(py).call1((level, text, exception))) {
            error.write_unraisable(py, None);
        }
    }

    /// Said once per application: such a field is the server's business (RFC 9110, 7.6.1).
    pub(super) fn hop_by_hop(&self, py: Python<'_>, name: &str) {
        use std::sync::atomic::Ordering;
        if !self.told_hop_by_hop.swap(true, Ordering::Relaxed) {
            let text = format!(
                "Response field {name:?} was removed: the connection is the server's to manage (said once)"
            );
            self.tell(py, level::INFO, &text, None);
        }
    }
}

/// PEP 3333: an iterable's `close` is called however the response ended.
fn close(result: &Bound<'_, PyAny>) -> PyResult<()> {
    if result.is_exact_instance_of::<PyList>() || result.is_exact_instance_of::<PyTuple>() {
        return Ok(());
    }
    match result.getattr_opt(intern!(result.py(), "close"))? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}

/// What is the same in every environ of a listener.
fn environ_template(
    py: Python<'_>,
    config: &Config,
    scheme: &str,
    (address, _): &Address,
    draining: &Bound<'_, PyAny>,
) -> PyResult<EnvironTemplate> {
    let (name, port) = match address {
        Some(address) => (address.ip().to_string(), address.port().to_string()),
        // PEP 3333 wants both non-empty; a unix socket has neither.
        None => ("localhost".to_owned(), "0".to_owned()),
    };
    let constants = Constants {
        root_path: &config.root_path,
        scheme,
        server_name: &name,
        server_port: &port,
        server_software: concat!("ferrule/", env!("CARGO_PKG_VERSION")),
        multithread: config.threads > 1,
        multiprocess: config.multiprocess,
        errors: None,
        file_wrapper: py.get_type::<FileWrapper>().into_any(),
        draining: draining.clone(),
    };
    EnvironTemplate::new(py, &constants)
}

pub(super) fn gone(_: Gone) -> PyErr {
    ClientDisconnected::new_err("the client went away")
}

/// The bytes of one item of the application's iterable.
pub(super) fn with_item<R>(
    item: &Bound<'_, PyAny>,
    act: impl FnOnce(&[u8]) -> PyResult<R>,
) -> PyResult<R> {
    match item.cast::<PyBytes>() {
        Ok(bytes) => act(bytes.as_bytes()),
        Err(_) => {
            let name = item.get_type().name()?;
            Err(pyo3::exceptions::PyTypeError::new_err(format!(
                "a WSGI application yields bytes, not {name} (PEP 3333)"
            )))
        }
    }
}

/// Importable classes of this room.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<WsgiServer>()?;
    module.add_class::<FileWrapper>()
}
