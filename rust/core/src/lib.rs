//! `ferrule._core`: the module, nothing else.

mod access_log;
mod asgi;
mod block;
mod config;
mod error_page;
mod exchange;
mod forked;
mod gil;
mod heap;
mod lifeline;
mod reactor;
mod scoreboard;
mod sendfile;
mod spare;
mod tls;
mod wsgi;

use pyo3::prelude::*;

#[pymodule(gil_used = true)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    gil::check(module.py())?;
    forked::watch(module)?;
    module.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    module.add("SCOREBOARD_VERSION", scoreboard::SCOREBOARD_VERSION)?;
    module.add("SCOREBOARD_LAYOUT", scoreboard::layout(module.py())?)?;
    module.add_class::<config::Options>()?;
    module.add_class::<tls::TlsConfig>()?;
    module.add_class::<access_log::AccessLog>()?;
    module.add_class::<scoreboard::Scoreboard>()?;
    module.add_function(wrap_pyfunction!(lifeline::leave_with, module)?)?;
    asgi::register(module)?;
    wsgi::register(module)
}
