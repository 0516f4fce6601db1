//! What an ASGI application gets with every request: the channel's bound methods `receive` and `send`, and the headers.

use std::sync::Arc;

use ferrule_http::request::Request;
use pyo3::intern;
use pyo3::prelude::*;

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
}

impl Handles {
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
                })
            }
        }
    }
}

impl spare::Handles for Handles {
    /// The channel has the references of its two bound methods too.
    fn are_unshared(&self, py: Python<'_>) -> bool {
        is_unshared(&self.channel, 3, py)
            && is_unshared(&self.headers, 1, py)
            && is_unshared_method(&self.receive, py)
            && is_unshared_method(&self.send, py)
    }

    fn rest(&self, py: Python<'_>) {
        self.headers.get().renew(py, None);
    }
}
