//! What a WSGI application gets with every request: `wsgi.input`, and the responder's bound methods `start_response` and
//! `early_hints`.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;

use super::WsgiCore;
use super::input::Input;
use super::response::Responder;
use crate::exchange::Exchange;
use crate::spare::{self, is_unshared, is_unshared_method};

pub(super) struct Handles {
    pub input: Py<Input>,
    pub responder: Py<Responder>,
    pub start_response: Py<PyAny>,
    pub early_hints: Py<PyAny>,
}

impl Handles {
    /// For this request: used ones if there are any.
    pub(super) fn take(
        py: Python<'_>,
        core: &Arc<WsgiCore>,
        exchange: &Exchange,
    ) -> PyResult<Handles> {
        match core.spare.take(py) {
            Some(handles) => {
                handles.input.get().renew(py, exchange);
                handles.responder.get().renew(py, exchange);
                Ok(handles)
            }
            None => {
                let responder = Bound::new(py, Responder::new(core.clone(), exchange.clone()))?;
                Ok(Handles {
                    input: Py::new(py, Input::new(core.clone(), exchange.clone()))?,
                    start_response: responder.getattr(intern!(py, "start_response"))?.unbind(),
                    early_hints: responder.getattr(intern!(py, "early_hints"))?.unbind(),
                    responder: responder.unbind(),
                })
            }
        }
    }
}

impl spare::Handles for Handles {
    /// The responder has the references of its two bound methods too.
    fn are_unshared(&self, py: Python<'_>) -> bool {
        is_unshared(&self.input, 1, py)
            && is_unshared(&self.responder, 3, py)
            && is_unshared_method(&self.start_response, py)
            && is_unshared_method(&self.early_hints, py)
    }

    /// They keep the exchange until they are given another: it is over, and its connection's memory is shared anyway.
    fn rest(&self, _py: Python<'_>) {}
}
