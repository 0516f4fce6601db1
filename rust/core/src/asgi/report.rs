//! What the operator is told, through the worker's log.

use std::sync::atomic::Ordering;

use pyo3::prelude::*;

use super::AsgiCore;
use crate::forked;
use crate::reactor::fragile::outlive;
use crate::reactor::{Expired, level, lock};

impl AsgiCore {
    pub(super) fn report(&self, py: Python<'_>) {
        for (level, text) in self.reactor.take_notices() {
            self.tell(py, level, &text, None);
        }
    }

    /// Nothing of the worker is a child's that the application forked: neither the loop nor any client.
    pub(crate) fn leave_child(&self, py: Python<'_>, error: Option<PyErr>) -> ! {
        let kept = error.as_ref().map(|error| error.clone_ref(py));
        if forked::is_stray(py, error.as_ref()) {
            self.tell(py, level::ERROR, forked::STRAY, error);
        }
        forked::leave(py, kept.as_ref())
    }

    pub(crate) fn tell(&self, py: Python<'_>, level: u8, text: &str, error: Option<PyErr>) {
        let exception = error.map(|error| error.into_value(py));
        // A logger that fails must not take the connection down with it; it has told stderr itself.
        if let Some(Err(error)) = outlive(|| self.log.bind(py).call1((level, text, exception))) {
            error.write_unraisable(py, None);
        }
    }

    /// Said once per application: such a field is the server's business (RFC 9110, 7.6.1).
    pub(crate) fn hop_by_hop(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        if !self.told_hop_by_hop.swap(true, Ordering::Relaxed) {
            let text = format!(
                "Response field {name:?} was removed: the connection is the server's to manage (said once)"
            );
            self.tell(py, level::INFO, &text, None);
        }
        Ok(())
    }

    /// Logs the stack in which a request that ran out of time is stuck.
    pub(super) fn tell_where(&self, py: Python<'_>, expired: &Expired) {
        let task = lock(&self.running)
            .get(&expired.id)
            .map(|run| run.task.clone_ref(py));
        let Some(task) = task else {
            return;
        };
        let stack = self
            .task_stack
            .bind(py)
            .call1((task,))
            .and_then(|text| text.extract::<String>());
        match stack {
            Ok(stack) => self.tell(
                py,
                level::ERROR,
                &format!(
                    "Request timed out, its task is stuck {}\n{stack}",
                    expired.what
                ),
                None,
            ),
            Err(error) => {
                let text = format!("Request timed out {}", expired.what);
                self.tell(py, level::ERROR, &text, Some(error));
            }
        }
    }
}
