//! The `scope` of an HTTP request (ASGI HTTP spec 2.5), copied from a template that holds what never changes.

use std::sync::Mutex;

use ferrule_http::request::{Method, Request, Version};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use super::cache::{Cache, Found};
use super::headers::LazyHeaders;
use crate::reactor::connection::Conn;
use crate::reactor::listener::Peer;
use crate::reactor::{Reactor, lock};

/// Version of the HTTP part of the ASGI specification that is implemented.
const SPEC_VERSION: &str = "2.5";

pub(crate) struct ScopeTemplate {
    /// Every key, so that filling in replaces values and never grows the dict.
    template: Py<PyDict>,
    state: Option<Py<PyDict>>,
    /// `extensions` of connections in clear text.
    extensions: Py<PyDict>,
    root_path: String,
    /// `server` by listener, where the listener is bound to one address.
    servers: Mutex<Vec<Option<Py<PyAny>>>>,
    cache: Cache,
}

impl ScopeTemplate {
    pub(crate) fn new(
        py: Python<'_>,
        root_path: &str,
        state: Option<Py<PyDict>>,
        extensions: &Bound<'_, PyDict>,
    ) -> PyResult<ScopeTemplate> {
        let asgi = PyDict::new(py);
        asgi.set_item("version", "3.0")?;
        asgi.set_item("spec_version", SPEC_VERSION)?;
        let template = PyDict::new(py);
        template.set_item(intern!(py, "type"), intern!(py, "http"))?;
        template.set_item(intern!(py, "asgi"), asgi)?;
        template.set_item(intern!(py, "http_version"), intern!(py, "1.1"))?;
        template.set_item(intern!(py, "method"), py.None())?;
        template.set_item(intern!(py, "scheme"), intern!(py, "http"))?;
        template.set_item(intern!(py, "path"), py.None())?;
        template.set_item(intern!(py, "raw_path"), py.None())?;
        template.set_item(intern!(py, "query_string"), PyBytes::new(py, b""))?;
        template.set_item(intern!(py, "root_path"), root_path)?;
        template.set_item(intern!(py, "headers"), py.None())?;
        template.set_item(intern!(py, "client"), py.None())?;
        template.set_item(intern!(py, "server"), py.None())?;
        template.set_item(intern!(py, "extensions"), extensions)?;
        if state.is_some() {
            template.set_item(intern!(py, "state"), py.None())?;
        }
        let root_path = root_path.trim_end_matches('/').to_owned();
        Ok(ScopeTemplate {
            template: template.unbind(),
            state,
            extensions: extensions.clone().unbind(),
            root_path,
            servers: Mutex::default(),
            cache: Cache::new(),
        })
    }

    pub(crate) fn build<'py>(
        &self,
        py: Python<'py>,
        cx: &Reactor,
        conn: &Conn,
        request: &Request,
        headers: &Bound<'py, LazyHeaders>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = match self.cache.find(py, conn.listener, request) {
            Found::Scope(known) => known.copy()?,
            Found::Nothing => self.fill(py, cx, conn, request)?,
            Found::Keep(place) => {
                let scope = self.fill(py, cx, conn, request)?;
                if !cx.listens_everywhere(conn.listener) {
                    self.cache
                        .keep(place, conn.listener, request, scope.copy()?);
                }
                scope
            }
        };
        scope.set_item(intern!(py, "headers"), headers)?;
        if let Peer::Inet(peer) = &conn.peer {
            let client = self
                .cache
                .client(py, peer, || PyString::new(py, conn.peer.ip().as_str()))?;
            scope.set_item(intern!(py, "client"), client)?;
        }
        if let Some(tls) = conn.tls() {
            let extensions = tls.extensions(py, self.extensions.bind(py))?;
            scope.set_item(intern!(py, "extensions"), extensions)?;
        }
        if let Some(state) = &self.state {
            scope.set_item(intern!(py, "state"), state.bind(py).copy()?)?;
        }
        Ok(scope)
    }

    /// What the request line and the listener decide.
    fn fill<'py>(
        &self,
        py: Python<'py>,
        cx: &Reactor,
        conn: &Conn,
        request: &Request,
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = self.template.bind(py).copy()?;
        scope.set_item(intern!(py, "method"), method(py, request))?;
        match request.version {
            Version::Http11 => {}
            Version::Http10 => scope.set_item(intern!(py, "http_version"), intern!(py, "1.0"))?,
            Version::Http2 => scope.set_item(intern!(py, "http_version"), intern!(py, "2"))?,
        }
        let raw_path = request.path_bytes();
        scope.set_item(intern!(py, "path"), self.path(py, raw_path))?;
        scope.set_item(intern!(py, "raw_path"), PyBytes::new(py, raw_path))?;
        let query = request.query_bytes();
        if !query.is_empty() {
            scope.set_item(intern!(py, "query_string"), PyBytes::new(py, query))?;
        }
        scope.set_item(intern!(py, "server"), self.server(py, cx, conn)?)?;
        if cx.speaks_tls(conn.listener) {
            scope.set_item(intern!(py, "scheme"), intern!(py, "https"))?;
        }
        Ok(scope)
    }

    /// `(host, port)`, or `(path, None)` of a unix socket.
    fn server<'py>(
        &self,
        py: Python<'py>,
        cx: &Reactor,
        conn: &Conn,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(Some(known)) = lock(&self.servers).get(conn.listener) {
            return Ok(known.bind(py).clone());
        }
        let (address, path) = conn.local_address(cx);
        let server = match (address, path) {
            (Some(address), _) => (address.ip().to_string(), address.port())
                .into_pyobject(py)?
                .into_any(),
            (None, Some(path)) => (path, py.None()).into_pyobject(py)?.into_any(),
            (None, None) => py.None().into_bound(py),
        };
        if !cx.listens_everywhere(conn.listener) {
            let mut servers = lock(&self.servers);
            if servers.len() <= conn.listener {
                servers.resize_with(conn.listener.saturating_add(1), || None);
            }
            if let Some(entry) = servers.get_mut(conn.listener)
                && entry.is_none()
            {
                *entry = Some(server.clone().unbind());
            }
        }
        Ok(server)
    }

    /// The decoded path. A root path that the proxy in front has removed is put before it (as uvicorn does).
    fn path<'py>(&self, py: Python<'py>, raw: &[u8]) -> Bound<'py, PyString> {
        let plain = if raw.is_ascii() && !raw.contains(&b'%') {
            std::str::from_utf8(raw).ok()
        } else {
            None
        };
        match plain {
            Some(path) if self.root_path.is_empty() => PyString::new(py, path),
            _ => {
                let decoded = percent_decode(raw);
                let decoded = String::from_utf8_lossy(&decoded);
                let below = decoded
                    .strip_prefix(&self.root_path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                if below {
                    PyString::new(py, &decoded)
                } else {
                    PyString::new(py, &format!("{}{decoded}", self.root_path))
                }
            }
        }
    }
}

/// Decodes `%XX`; what is no valid escape stays as it is.
pub(crate) fn percent_decode(raw: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%'
            && let [high, low, tail @ ..] = after
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            decoded.push(high << 4 | low);
            rest = tail;
        } else {
            decoded.push(byte);
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn method<'py>(py: Python<'py>, request: &Request) -> Bound<'py, PyString> {
    match request.method {
        Method::Get => intern!(py, "GET").clone(),
        Method::Head => intern!(py, "HEAD").clone(),
        Method::Post => intern!(py, "POST").clone(),
        Method::Put => intern!(py, "PUT").clone(),
        Method::Delete => intern!(py, "DELETE").clone(),
        Method::Options => intern!(py, "OPTIONS").clone(),
        Method::Patch => intern!(py, "PATCH").clone(),
        // Tokens are ASCII; ASGI wants the method upper-cased.
        _ => PyString::new(
            py,
            &String::from_utf8_lossy(request.method_bytes()).to_ascii_uppercase(),
        ),
    }
}
