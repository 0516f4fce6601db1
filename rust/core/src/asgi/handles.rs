//! What an ASGI application gets with every request: the channel's bound methods `receive` and `send`, and the headers.

use std::cell::OnceCell;
use std::sync::Arc;

use ferrule_http::request::Request;
use pyo3::prelude::*;
use pyo3::{ffi, intern};

use super::AsgiCore;
use super::channel::Channel;
use super::headers::LazyHeaders;
use crate::exchange::Exchange;
use crate::spare::{self, is_unshared, is_unshared_method};

pub(super) struct Handles {
    pub channel: Py<Channel>,
    pub receive: Py<PyAny>,
    pub send: Py<PyAny>,
    pub headers: Py<LazyHeaders>,
    /// The done callback, once a task had to wait.
    finished: OnceCell<Py<PyAny>>,
}

impl Handles {
    /// The channel's done callback.
    pub(super) fn finished<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(finished) = self.finished.get() {
            return Ok(finished.bind(py).clone());
        }
        let finished = self.channel.bind(py).getattr(intern!(py, "_finished"))?;
        Ok(self
            .finished
            .get_or_init(|| finished.unbind())
            .bind(py)
            .clone())
    }

    /// For this request: used ones if there are any.
    pub(super) fn take(
        core: &Arc<AsgiCore>,
        py: Python<'_>,
        exchange: Exchange,
        request: &Arc<Request>,
    ) -> PyResult<Handles> {
        match core.spare.take(py) {
            Some(handles) => {
                handles.channel.get().renew(py, exchange);
                handles.headers.get().renew(py, Some(request.clone()));
                Ok(handles)
            }
            None => {
                let channel = Bound::new(py, Channel::new(core.clone(), exchange))?;
                Ok(Handles {
                    receive: channel.getattr(intern!(py, "receive"))?.unbind(),
                    send: channel.getattr(intern!(py, "send"))?.unbind(),
                    channel: channel.unbind(),
                    headers: Py::new(py, LazyHeaders::new(request.clone()))?,
                    finished: OnceCell::new(),
                })
            }
        }
    }
}

impl spare::Handles for Handles {
    /// The channel has the references of its bound methods too. The done callback may be on the stack.
    fn are_unshared(&self, py: Python<'_>) -> bool {
        let methods = 2 + ffi::Py_ssize_t::from(self.finished.get().is_some());
        is_unshared(&self.channel, 1 + methods, py)
            && is_unshared(&self.headers, 1, py)
            && is_unshared_method(&self.receive, py)
            && is_unshared_method(&self.send, py)
    }

    fn rest(&self, py: Python<'_>) {
        self.headers.get().renew(py, None);
    }
}
