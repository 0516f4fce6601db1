//! One asyncio task per request, started at once where the interpreter can (3.12+), and what happens when it ends.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use ferrule_http::request::Request;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::AsgiCore;
use super::channel::{Channel, ClientDisconnected};
use super::handles::Handles;
use crate::exchange::{Exchange, describe};
use crate::reactor::connection::Conn;
use crate::reactor::{level, lock};

/// Links of an exception's chain that are looked at.
const CHAIN_LIMIT: usize = 32;

/// A task that could not finish at once. It may outlive its exchange. (Its scope keeps the request anyway.)
pub(super) struct Run {
    pub task: Py<PyAny>,
    handles: Handles,
    request: Arc<Request>,
}

/// By the exchange's id.
pub(super) type Running = HashMap<u64, Run, BuildHasherDefault<Spread>>;

/// Spreads ids, which the server counts up itself: nobody can choose those that collide.
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What became of a task.
enum Outcome<'py> {
    Ended(Option<PyErr>),
    Waits(Bound<'py, PyAny>),
}

/// How tasks are made on this loop. Tasks copy the current context, and `poll` runs in the worker's base context.
pub(crate) struct Tasks {
    make: Py<PyAny>,
    keywords: Option<Py<PyDict>>,
    /// `asyncio.Task.done` and `.exception`, if tasks are of that very class.
    methods: Option<(Py<PyAny>, Py<PyAny>)>,
    cancelled: Py<PyAny>,
    /// What `Task.exception` raises of a task that has not ended.
    invalid_state: Py<PyAny>,
}

impl Tasks {
    pub(crate) fn new(py: Python<'_>, event_loop: &Bound<'_, PyAny>) -> PyResult<Tasks> {
        let asyncio = py.import("asyncio")?;
        let eager = py.version_info() >= (3, 12);
        let own_factory = !event_loop.call_method0("get_task_factory")?.is_none();
        // A loop with a task factory of its own makes its tasks itself.
        let (make, keywords, methods) = if eager && !own_factory {
            let keywords = PyDict::new(py);
            // Interned, as the names that asyncio looks up are: then comparing addresses finds them.
            keywords.set_item(intern!(py, "loop"), event_loop)?;
            keywords.set_item(intern!(py, "eager_start"), true)?;
            let class = asyncio.getattr("Task")?;
            let methods = (
                class.getattr("done")?.unbind(),
                class.getattr("exception")?.unbind(),
            );
            (class, Some(keywords.unbind()), Some(methods))
        } else {
            (event_loop.getattr("create_task")?, None, None)
        };
        Ok(Tasks {
            make: make.unbind(),
            keywords,
            methods,
            cancelled: asyncio.getattr("CancelledError")?.unbind(),
            invalid_state: asyncio.getattr("InvalidStateError")?.unbind(),
        })
    }

    /// A task for `coroutine` in a context of its own; with eager start it has run up to its first real wait.
    fn spawn<'py>(
        &self,
        py: Python<'py>,
        coroutine: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match &self.keywords {
            Some(keywords) => self
                .make
                .bind(py)
                .call(PyTuple::new(py, [coroutine])?, Some(keywords.bind(py))),
            None => self.make.bind(py).call1((coroutine,)),
        }
    }

    fn is_done(&self, task: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = task.py();
        match &self.methods {
            Some((done, _)) => done.bind(py).call1((task,))?.is_truthy(),
            None => task.call_method0(intern!(py, "done"))?.is_truthy(),
        }
    }

    /// Whether a task has ended, and how. `likely`: it is expected to have, and asking for the exception at once saves
    /// the question before it.
    fn look<'py>(&self, task: Bound<'py, PyAny>, likely: bool) -> PyResult<Outcome<'py>> {
        if !likely && !self.is_done(&task)? {
            return Ok(Outcome::Waits(task));
        }
        Ok(match self.outcome(&task) {
            Some(error) if likely && self.is_early(&error, &task)? => Outcome::Waits(task),
            outcome => Outcome::Ended(outcome),
        })
    }

    /// Whether `error` says that the task has not ended. It may be the task's own.
    #[cold]
    fn is_early(&self, error: &PyErr, task: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = task.py();
        Ok(error.is_instance(py, self.invalid_state.bind(py)) && !self.is_done(task)?)
    }

    /// The exception a finished task ended with.
    fn outcome(&self, task: &Bound<'_, PyAny>) -> Option<PyErr> {
        let py = task.py();
        let exception = match &self.methods {
            Some((_, exception)) => exception.bind(py).call1((task,)),
            None => task.call_method0(intern!(py, "exception")),
        };
        match exception {
            Ok(none) if none.is_none() => None,
            Ok(exception) => Some(PyErr::from_value(exception)),
            // A cancelled task raises CancelledError instead of returning it.
            Err(error) => Some(error),
        }
    }
}

impl AsgiCore {
    /// Starts the application on a request.
    pub(super) fn launch(
        self: &Arc<Self>,
        py: Python<'_>,
        conn: &Arc<Conn>,
        id: u64,
    ) -> PyResult<()> {
        let exchange = Exchange {
            conn: conn.clone(),
            id,
        };
        let Some(request) = exchange.take_up() else {
            exchange.leave(&self.reactor);
            return Ok(());
        };
        let handles = Handles::take(self, py, exchange, &request)?;
        let headers = handles.headers.bind(py);
        let scope = self
            .scope
            .build(py, &self.reactor, conn, &request, headers)?;
        let called =
            self.app
                .bind(py)
                .call1((scope, handles.receive.bind(py), handles.send.bind(py)));
        let task = called.and_then(|coroutine| self.tasks.spawn(py, coroutine));
        let channel = handles.channel.get();
        let outcome = match task {
            Err(error) => Outcome::Ended(Some(error)),
            Ok(task) => self.tasks.look(task, channel.is_complete(py))?,
        };
        if self.reactor.origin.is_elsewhere() {
            let error = match outcome {
                Outcome::Ended(error) => error,
                Outcome::Waits(_) => None,
            };
            self.leave_child(py, error);
        }
        match outcome {
            Outcome::Ended(error) => self.over(py, handles, request, error),
            Outcome::Waits(task) => {
                channel.exchange(py).release_held(&self.reactor);
                let finished = handles.finished(py)?;
                task.call_method1(intern!(py, "add_done_callback"), (finished,))?;
                let run = Run {
                    task: task.unbind(),
                    handles,
                    request,
                };
                lock(&self.running).insert(id, run);
            }
        }
        Ok(())
    }

    /// A task that had to wait has ended.
    pub(super) fn task_done(
        self: &Arc<Self>,
        py: Python<'_>,
        channel: &Channel,
        task: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.catch_up();
        let run = lock(&self.running).remove(&channel.exchange(py).id);
        let error = self.tasks.outcome(task);
        if self.reactor.origin.is_elsewhere() {
            self.leave_child(py, error);
        }
        if let Some(Run {
            task,
            handles,
            request,
        }) = run
        {
            drop(task);
            self.over(py, handles, request, error);
        }
        self.keep_turning(py)
    }

    /// The application is done with a request: well, or not. The exchange may be over long since; `request` is what it
    /// was about.
    fn over(&self, py: Python<'_>, handles: Handles, request: Arc<Request>, error: Option<PyErr>) {
        let channel = handles.channel.get();
        self.conclude(py, channel, &request, error);
        channel.exchange(py).leave(&self.reactor);
        self.spare.give(py, handles);
        self.reactor.give_request(request);
    }

    fn conclude(&self, py: Python<'_>, channel: &Channel, request: &Request, error: Option<PyErr>) {
        if error.is_none() && channel.is_complete(py) {
            return;
        }
        // The application may have taken its time, and deadlines run from the end of its response.
        self.reactor.tick();
        let exchange = channel.exchange(py);
        let mut open = exchange.is_open();
        if open && channel.has_told_disconnect(py) {
            // The client had ended its side. The application was told so, and left it at that: no fault of its own.
            exchange.give_up(&self.reactor);
            open = false;
        }
        let Some(error) = error else {
            if open {
                let what = if channel.has_started(py) {
                    "returned before its response was complete: http.response.body with more_body False is due"
                } else {
                    "returned without a response: http.response.start is due"
                };
                self.tell(
                    py,
                    level::ERROR,
                    &format!("ASGI application {what} {}", describe(request)),
                    None,
                );
                exchange.fail(&self.reactor, None);
            }
            return;
        };
        let cancelled = error.is_instance(py, self.tasks.cancelled.bind(py));
        if open && cancelled && self.reactor.config.cancel_on_disconnect && exchange.has_hung_up() {
            // As it was asked for. A client that has only ended its side sees the connection end instead of a response.
            exchange.give_up(&self.reactor);
            return;
        }
        if !open && self.follows_from_the_end(&error, py) {
            // The client is gone, or its time was up: the application was told, and has ended.
            return;
        }
        if !open && channel.has_told_disconnect(py) {
            // Frameworks raise an exception of their own when `receive` says so: for an upload that was given up.
            let text = format!(
                "ASGI application ended after its client had gone away {} exception=\"{}\"",
                describe(request),
                error.to_string().escape_debug()
            );
            self.tell(py, level::INFO, &text, None);
            return;
        }
        let page = self.error_page.as_ref().filter(|_| open).and_then(|page| {
            let exception = error.clone_ref(py).into_value(py);
            crate::error_page::render(py, page, exception, request)
        });
        self.tell(
            py,
            level::ERROR,
            &format!("Exception in ASGI application {}", describe(request)),
            Some(error),
        );
        exchange.fail(&self.reactor, page.as_deref());
    }

    /// Whether an exception is how an application takes the end of its client: the one that `send` raised, another
    /// raised from it or while handling it (frameworks have exceptions of their own for that), or cancellation.
    fn follows_from_the_end(&self, error: &PyErr, py: Python<'_>) -> bool {
        if error.is_instance(py, self.tasks.cancelled.bind(py)) {
            return true;
        }
        let mut next = Some(error.value(py).clone().into_any());
        // Chains are short; one made into a ring must not hold the worker.
        for _ in 0..CHAIN_LIMIT {
            let Some(exception) = next.filter(|exception| !exception.is_none()) else {
                return false;
            };
            if exception.is_instance_of::<ClientDisconnected>() {
                return true;
            }
            let earlier = |name| exception.getattr(name).ok().filter(|one| !one.is_none());
            next =
                earlier(intern!(py, "__cause__")).or_else(|| earlier(intern!(py, "__context__")));
        }
        false
    }
}
