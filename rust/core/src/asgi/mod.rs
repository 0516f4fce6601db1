//! ASGI inside a running asyncio loop: the reactor is polled when its descriptor is ready, requests run as tasks that
//! start at once. Everything here happens on the loop's thread with the GIL held.

mod awaitable;
mod cache;
mod channel;
mod context;
mod gathering;
mod handles;
pub(crate) mod headers;
mod message;
mod report;
mod scope;
mod task;

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::access_log::AccessLog;
use crate::config::Options;
use crate::exchange::Exchange;
use crate::gil::Guarded;
use crate::reactor::connection::{Conn, News, Waiter};
use crate::reactor::poller::Poller;
use crate::reactor::transport::Spoken;
use crate::reactor::{NEVER, Reactor, Ready, SCRATCH, Style, level, lock};
use crate::scoreboard::Scoreboard;
use crate::spare::Spare;
use crate::tls::TlsConfig;
use awaitable::Awaitable;
pub(crate) use channel::ClientDisconnected;
use gathering::Gathering;
use handles::Handles;
use message::Keys;
use scope::ScopeTemplate;
use task::{Running, Tasks};

/// Connections served per call of `poll`, and the time after which the rest waits for the loop's other work.
const TURN_CONNECTIONS: usize = 128;
const TURN_US: u64 = 10_000;
/// The turn's clock is read anew within it once it is this old.
const STALE_US: u64 = 1_000;

/// What a turn works with; taken out of its place while application code runs.
struct Turn {
    poller: Poller,
    scratch: Vec<u8>,
    batch: Vec<Ready>,
}

/// Buffers for reading bodies, kept between uses.
#[derive(Default)]
pub(crate) struct Buffers {
    pub body: Vec<u8>,
    pub scratch: Vec<u8>,
}

/// The server's own methods, as the loop calls them.
struct Methods {
    poll: Py<PyAny>,
    timer: Py<PyAny>,
    flush_log: Py<PyAny>,
}

pub(crate) struct AsgiCore {
    pub(crate) reactor: Reactor,
    pub(crate) done: Py<Awaitable>,
    app: Py<PyAny>,
    event_loop: Py<PyAny>,
    /// The context that every request's task copies.
    context: Py<PyAny>,
    log: Py<PyAny>,
    error_page: Option<Py<PyAny>>,
    task_stack: Py<PyAny>,
    scope: ScopeTemplate,
    tasks: Tasks,
    message_keys: Keys,
    spare: Spare<Handles>,
    gathering: Guarded<Gathering>,
    running: Mutex<Running>,
    turn: Mutex<Option<Turn>>,
    buffers: Mutex<Buffers>,
    /// `poll` is on the stack.
    polling: AtomicBool,
    /// A call of `poll` waits in the loop's queue.
    scheduled: AtomicBool,
    /// The loop's timer for the next deadline, and when it fires (ms); None once it has fired.
    timer: Mutex<Option<(u64, Py<PyAny>)>>,
    /// Of the server that owns this: None before it starts, and again once it is closed, because they own it too.
    methods: Guarded<RefCell<Option<Methods>>>,
    /// `_flush_log` waits in the loop's timers.
    flush_scheduled: AtomicBool,
    told_hop_by_hop: AtomicBool,
}

/// Serves an ASGI 3 application inside a running asyncio loop, on that loop's thread only.
#[pyclass(frozen, module = "ferrule._core")]
pub(crate) struct AsgiServer {
    core: Arc<AsgiCore>,
}

#[pymethods]
impl AsgiServer {
    #[new]
    #[pyo3(signature = (app, options, event_loop, *, listeners, context, state, extensions, log, error_page, task_stack, access_log, scoreboard, tls=Vec::new(), protocols=Vec::new()))]
    #[allow(clippy::too_many_arguments)] // keyword-only from Python
    fn new(
        py: Python<'_>,
        app: Py<PyAny>,
        options: &Bound<'_, Options>,
        event_loop: Py<PyAny>,
        listeners: Vec<i32>,
        context: Py<PyAny>,
        state: Option<Py<PyDict>>,
        extensions: &Bound<'_, PyDict>,
        log: Py<PyAny>,
        error_page: Option<Py<PyAny>>,
        task_stack: Py<PyAny>,
        access_log: Option<Py<AccessLog>>,
        scoreboard: Option<Py<Scoreboard>>,
        tls: Vec<Option<Py<TlsConfig>>>,
        protocols: Vec<String>,
    ) -> PyResult<Self> {
        let options = options.get();
        let config = options.config.clone();
        let scope = ScopeTemplate::new(py, &config.root_path, state, extensions)?;
        let tasks = Tasks::new(py, event_loop.bind(py))?;
        let spoken = Spoken::of(listeners.len(), config.protocol, &protocols, tls)?;
        let (reactor, poller) = Reactor::new(
            config,
            options.defaults()?,
            Style::Streaming,
            &listeners,
            spoken,
            access_log,
            scoreboard,
        )?;
        let turn = Turn {
            poller,
            scratch: vec![0; SCRATCH],
            batch: Vec::new(),
        };
        Ok(AsgiServer {
            core: Arc::new(AsgiCore {
                reactor,
                done: Py::new(py, Awaitable::done())?,
                app,
                event_loop,
                context,
                log,
                error_page,
                task_stack,
                scope,
                tasks,
                message_keys: Keys::new(py),
                spare: Spare::default(),
                gathering: Guarded::default(),
                running: Mutex::default(),
                turn: Mutex::new(Some(turn)),
                buffers: Mutex::default(),
                polling: AtomicBool::new(false),
                scheduled: AtomicBool::new(false),
                timer: Mutex::default(),
                methods: Guarded::default(),
                flush_scheduled: AtomicBool::new(false),
                told_hop_by_hop: AtomicBool::new(false),
            }),
        })
    }

    fn fileno(&self) -> i32 {
        self.core.reactor.handle.raw_fd()
    }

    /// One turn: called by the loop when the descriptor is ready, when a deadline has passed, and by itself.
    fn poll(&self, py: Python<'_>) -> PyResult<()> {
        self.core.poll(py)
    }

    /// Called by the loop's timer for the next deadline.
    fn _timer(&self, py: Python<'_>) -> PyResult<()> {
        let fired = lock(&self.core.timer).take();
        drop(fired);
        self.core.poll(py)
    }

    /// Called by the loop's timer.
    fn _flush_log(&self, py: Python<'_>) -> PyResult<()> {
        self.core.flush_scheduled.store(false, Ordering::Relaxed);
        self.core.catch_up();
        self.core.write_log(py)
    }

    fn start(slf: &Bound<'_, Self>) -> PyResult<()> {
        let core = &slf.get().core;
        let methods = Methods {
            poll: slf.getattr(intern!(slf.py(), "poll"))?.unbind(),
            timer: slf.getattr(intern!(slf.py(), "_timer"))?.unbind(),
            flush_log: slf.getattr(intern!(slf.py(), "_flush_log"))?.unbind(),
        };
        let before = core.methods.get(slf.py()).replace(Some(methods));
        drop(before);
        core.reactor.start_accepting()?;
        Ok(())
    }

    fn drain(&self, py: Python<'_>, grace: f64) -> PyResult<()> {
        self.core.reactor.drain(crate::reactor::grace(grace));
        self.core.keep_turning(py)
    }

    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        self.core.send_gathered(py);
        self.core.reactor.abort();
        let tasks: Vec<Py<PyAny>> = lock(&self.core.running)
            .values()
            .map(|run| run.task.clone_ref(py))
            .collect();
        for task in tasks {
            task.call_method0(py, intern!(py, "cancel"))?;
        }
        self.core.keep_turning(py)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.core.send_gathered(py);
        let timer = lock(&self.core.timer).take();
        if let Some((_, timer)) = timer {
            timer.call_method0(py, intern!(py, "cancel"))?;
        }
        let methods = self.core.methods.get(py).take();
        drop(methods);
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.core.reactor.connections() == 0 && lock(&self.core.running).is_empty()
    }

    fn in_flight(&self) -> usize {
        self.core.reactor.in_flight()
    }

    fn connections(&self) -> usize {
        self.core.reactor.connections()
    }
}

impl AsgiCore {
    fn poll(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        if self.reactor.origin.is_elsewhere() {
            self.leave_child(py, None);
        }
        self.scheduled.store(false, Ordering::Relaxed);
        if self.methods.get(py).borrow().is_none() {
            return Ok(());
        }
        if self.polling.swap(true, Ordering::Relaxed) {
            // An application runs a loop within the loop; the outer call goes on when it is back.
            return Ok(());
        }
        let outcome = context::enter(self.context.bind(py)).and_then(|entered| {
            let outcome = self.turn(py);
            drop(entered);
            outcome
        });
        self.polling.store(false, Ordering::Relaxed);
        self.keep_turning(py)?;
        outcome
    }

    fn turn(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let turn = lock(&self.turn).take();
        match turn {
            Some(mut turn) => {
                let outcome = self.reactor.survive(|| self.take_turn(py, &mut turn));
                *lock(&self.turn) = Some(turn);
                // What a panic left undone is for the next turn.
                outcome.unwrap_or_else(|| self.schedule(py))
            }
            None => Ok(()),
        }
    }

    fn take_turn(self: &Arc<Self>, py: Python<'_>, turn: &mut Turn) -> PyResult<()> {
        let Turn {
            poller,
            scratch,
            batch,
        } = turn;
        self.send_gathered(py);
        let mut more = self.reactor.turn(poller, Some(Duration::ZERO), batch)?;
        let gathering = self.gathering.get(py);
        let began = self.reactor.precise_us();
        let mut now = began;
        let is_long = |now: u64| now.saturating_sub(began) >= TURN_US;
        let mut served = 0usize;
        loop {
            let several = batch.len() > 1;
            gathering.begin(now);
            let mut done = 0usize;
            for conn in batch.iter() {
                gathering.serve(conn.key, several);
                self.serve_guarded(py, conn, scratch);
                now = self.reactor.precise_us();
                if now.saturating_sub(self.reactor.turn_us()) >= STALE_US {
                    self.reactor.tick();
                }
                if gathering.served(now) {
                    self.send_gathered(py);
                }
                done = done.saturating_add(1);
                served = served.saturating_add(1);
                if is_long(now) {
                    break;
                }
            }
            batch.drain(..done);
            self.send_gathered(py);
            if !batch.is_empty() {
                // Still claimed; they go first next time.
                more = true;
                break;
            }
            if served >= TURN_CONNECTIONS || !self.reactor.again(batch) || is_long(now) {
                break;
            }
        }
        if more || !batch.is_empty() {
            self.schedule(py)?;
        }
        Ok(())
    }

    /// What fails closes its connection; the worker lives.
    fn serve_guarded(self: &Arc<Self>, py: Python<'_>, conn: &Arc<Conn>, scratch: &mut [u8]) {
        match self.reactor.guard(conn, || self.serve(py, conn, scratch)) {
            Some(Ok(())) => return,
            Some(Err(error)) => {
                self.tell(py, level::ERROR, "Internal error", Some(error));
                self.reactor.break_off(conn);
            }
            None => {}
        }
        while conn.release().is_some() {}
    }

    fn serve(
        self: &Arc<Self>,
        py: Python<'_>,
        conn: &Arc<Conn>,
        scratch: &mut [u8],
    ) -> PyResult<()> {
        let mut bits = conn.begin();
        loop {
            let (launch, news) = {
                let mut io = conn.io();
                io.on_ready(&self.reactor, conn, bits, scratch);
                io.take_launch_or_news()
            };
            if let Some(news) = news {
                self.deliver(py, conn, news)?;
            }
            if let Some(id) = launch {
                self.launch(py, conn, id)?;
            }
            match conn.release() {
                None => return Ok(()),
                Some(further) => bits = further,
            }
        }
    }

    fn deliver(self: &Arc<Self>, py: Python<'_>, conn: &Arc<Conn>, news: News) -> PyResult<()> {
        for waiter in news.wake {
            wake(py, waiter)?;
        }
        for expired in news.timed_out {
            self.tell_where(py, &expired);
            self.cancel(py, expired.id)?;
        }
        if self.reactor.config.cancel_on_disconnect {
            for id in news.hung_up {
                self.cancel(py, id)?;
            }
        }
        for id in news.launch.into_iter().chain(news.launches) {
            self.launch(py, conn, id)?;
        }
        Ok(())
    }

    fn cancel(&self, py: Python<'_>, id: u64) -> PyResult<()> {
        let task = lock(&self.running)
            .get(&id)
            .map(|run| run.task.clone_ref(py));
        if let Some(task) = task {
            task.call_method0(py, intern!(py, "cancel"))?;
        }
        Ok(())
    }

    /// Before an application's call from outside `poll`: the time of the last turn may be long ago.
    pub(crate) fn catch_up(&self) {
        if !self.polling.load(Ordering::Relaxed) {
            self.reactor.tick();
        }
    }

    /// Sends the responses that were left for later.
    fn send_gathered(&self, py: Python<'_>) {
        let gathering = self.gathering.get(py);
        // A child that the application forked has a copy of what its parent will send.
        if !gathering.is_empty() && !self.reactor.origin.is_elsewhere() {
            gathering.send(&self.reactor);
        }
    }

    /// Whether the end of a connection's response may be left for later.
    pub(crate) fn gathers(&self, py: Python<'_>, conn: &Conn) -> bool {
        let turn = self.polling.load(Ordering::Relaxed);
        if !turn && self.methods.get(py).borrow().is_none() {
            // There is no later turn.
            return false;
        }
        let takes = self
            .gathering
            .get(py)
            .takes(conn.key, turn, self.reactor.turn_us());
        if turn && conn.is_shared() {
            // A stream's response ends at once, and deadlines run from there.
            self.reactor.tick();
        }
        takes
    }

    pub(crate) fn gather(&self, py: Python<'_>, exchange: Exchange) {
        self.gathering.get(py).add(exchange);
    }

    /// After something was done outside `poll`, and at the end of `poll`: what is left is said, written, scheduled.
    pub(crate) fn keep_turning(&self, py: Python<'_>) -> PyResult<()> {
        // A child that the application forked has copies of what its parent will say and write.
        if self.polling.load(Ordering::Relaxed) || self.reactor.origin.is_elsewhere() {
            return Ok(());
        }
        self.report(py);
        self.write_log(py)?;
        let gathering = self.gathering.get(py);
        if gathering.is_due(self.reactor.turn_us()) {
            self.send_gathered(py);
        }
        if self.reactor.has_work() || !gathering.is_empty() {
            self.schedule(py)?;
        }
        self.arm_timer(py)
    }

    fn schedule(&self, py: Python<'_>) -> PyResult<()> {
        if self.scheduled.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(poll) = self.method(py, |methods| &methods.poll) {
            self.event_loop
                .bind(py)
                .call_method1(intern!(py, "call_soon"), (poll,))?;
            // Not before: a call that failed is to be made again.
            self.scheduled.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// One of the server's own methods, while it serves.
    fn method(&self, py: Python<'_>, which: impl Fn(&Methods) -> &Py<PyAny>) -> Option<Py<PyAny>> {
        let methods = self.methods.get(py).borrow();
        methods.as_ref().map(|methods| which(methods).clone_ref(py))
    }

    /// Keeps one timer of the loop at the next deadline.
    fn arm_timer(&self, py: Python<'_>) -> PyResult<()> {
        let at = self.reactor.next_timer();
        let armed = lock(&self.timer).as_ref().map(|(at, _)| *at);
        // A timer that fires too early only looks and is armed anew; so it is moved only when it would be late. Loops
        // whose clock counts milliseconds (libuv) fire that early now and then, so only firing itself disarms it.
        if at == NEVER || armed.is_some_and(|armed| armed <= at) {
            return Ok(());
        }
        let Some(timer) = self.method(py, |methods| &methods.timer) else {
            return Ok(());
        };
        let delay = at.saturating_sub(self.reactor.now()).max(1) as f64 / 1000.0;
        let timer = self
            .event_loop
            .bind(py)
            .call_method1(intern!(py, "call_later"), (delay, timer))?;
        let before = lock(&self.timer).replace((at, timer.unbind()));
        if let Some((_, before)) = before {
            before.call_method0(py, intern!(py, "cancel"))?;
        }
        Ok(())
    }

    pub(crate) fn new_future(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self
            .event_loop
            .bind(py)
            .call_method0(intern!(py, "create_future"))?
            .unbind())
    }

    pub(crate) fn take_buffers(&self) -> Buffers {
        std::mem::take(&mut *lock(&self.buffers))
    }

    pub(crate) fn give_buffers(&self, mut buffers: Buffers) {
        buffers.body.clear();
        *lock(&self.buffers) = buffers;
    }

    /// Writes access lines as far as that is worth it; a timer sees to the rest.
    fn write_log(&self, py: Python<'_>) -> PyResult<()> {
        let Some(log) = &self.reactor.access_log else {
            return Ok(());
        };
        if let Some(left) = log.get().flush_due(self.reactor.now())
            && !self.flush_scheduled.swap(true, Ordering::Relaxed)
            && let Some(flush_log) = self.method(py, |methods| &methods.flush_log)
        {
            let delay = left as f64 / 1000.0;
            self.event_loop
                .bind(py)
                .call_method1(intern!(py, "call_later"), (delay, flush_log))?;
        }
        Ok(())
    }
}

/// Completes a future that nobody has cancelled meanwhile.
fn wake(py: Python<'_>, waiter: Waiter) -> PyResult<()> {
    let future = waiter.bind(py);
    if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
        future.call_method1(intern!(py, "set_result"), (py.None(),))?;
    }
    Ok(())
}

/// Importable classes of this room.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<AsgiServer>()?;
    module.add(
        "ClientDisconnected",
        module.py().get_type::<ClientDisconnected>(),
    )?;
    awaitable::shorten(module.py());
    headers::register(module.py())
}
