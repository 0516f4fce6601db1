//! The WSGI environ (PEP 3333): one dict per request, copied from a template that holds what never
//! changes, with the request's own values laid over it.
//!
//! Bytes become strings as latin-1, one character per byte (PEP 3333, "Unicode Issues").
//!
//! This file must never know connections, threads or what the application does with its environ.

use std::sync::Arc;

use ferrule_http::fields::Known;
use ferrule_http::request::{Method, Request, Version};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

use crate::reactor::listener::Peer;

use crate::tls::Description;

/// Bytes of a head that a connection remembers at most; browsers send 500 to 2000.
const CACHED_BYTES: usize = 4096;

/// What is the same for every request of one listener.
pub(crate) struct Constants<'a, 'py> {
    /// Where the application is mounted, percent-decoded; `""` or `/` at the root.
    pub root_path: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Never empty, as PEP 3333 demands; a unix socket has to make them up.
    pub server_name: &'a str,
    pub server_port: &'a str,
    pub server_software: &'a str,
    pub multithread: bool,
    pub multiprocess: bool,
    /// `wsgi.errors`; `None` is `sys.stderr` as it is now.
    pub errors: Option<Bound<'py, PyAny>>,
    /// `wsgi.file_wrapper`
    pub file_wrapper: Bound<'py, PyAny>,
    /// `ferrule.draining`, a `threading.Event`.
    pub draining: Bound<'py, PyAny>,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) struct Client<'a> {
    pub peer: Peer,
    pub tls: Option<&'a Arc<Description>>,
}

/// Makes environs. One per listener.
pub(crate) struct EnvironTemplate {
    /// Has every key that is always there, so that filling in replaces values and moves nothing.
    template: Py<PyDict>,
    /// `SCRIPT_NAME` as bytes, without a slash at its end.
    script_name: Vec<u8>,
}

/// What the last head on a connection was, and the dicts that it made: with its fields alone, and
/// with its request line too.
///
/// Browsers and proxies repeat their fields on a connection, and pollers their whole heads; a
/// repeat costs one comparison and a copy of that dict. Applications get the copy, whose strings are immutable, so nothing that they
/// do to their environ comes back. To be dropped when the connection goes idle, while attached to
/// the interpreter.
#[derive(Default)]
pub(crate) struct HeaderCache {
    fields: Vec<u8>,
    line: Vec<u8>,
    /// Where a head is spelled out that cannot be compared as it came.
    spelled: Vec<u8>,
    peer: Option<Peer>,
    tls: Option<Arc<Description>>,
    /// The template that the dicts are copies of.
    template: Option<Py<PyDict>>,
    /// Made when the fields come for the second time: most connections ask once.
    of_fields: Option<Py<PyDict>>,
    /// Made when the whole head comes for the second time.
    of_head: Option<Py<PyDict>>,
}

impl EnvironTemplate {
    pub(crate) fn new(py: Python<'_>, constants: &Constants<'_, '_>) -> PyResult<Self> {
        let mut script_name = constants.root_path.trim_end_matches('/').to_owned();
        if !script_name.is_empty() && !script_name.starts_with('/') {
            script_name.insert(0, '/');
        }
        let script_name = script_name.into_bytes();
        let errors = match &constants.errors {
            Some(errors) => errors.clone(),
            None => py.import("sys")?.getattr("stderr")?,
        };
        let template = PyDict::new(py);
        let empty = PyString::new(py, "");
        template.set_item(intern!(py, "REQUEST_METHOD"), intern!(py, "GET"))?;
        template.set_item(intern!(py, "SCRIPT_NAME"), latin1(py, &script_name)?)?;
        template.set_item(intern!(py, "PATH_INFO"), &empty)?;
        template.set_item(intern!(py, "QUERY_STRING"), &empty)?;
        template.set_item(intern!(py, "SERVER_NAME"), constants.server_name)?;
        template.set_item(intern!(py, "SERVER_PORT"), constants.server_port)?;
        template.set_item(intern!(py, "SERVER_PROTOCOL"), intern!(py, "HTTP/1.1"))?;
        template.set_item(intern!(py, "SERVER_SOFTWARE"), constants.server_software)?;
        template.set_item(intern!(py, "REMOTE_ADDR"), &empty)?;
        template.set_item(intern!(py, "REMOTE_PORT"), &empty)?;
        template.set_item(intern!(py, "RAW_URI"), &empty)?;
        template.set_item(intern!(py, "REQUEST_URI"), &empty)?;
        template.set_item(intern!(py, "wsgi.version"), (1, 0))?;
        template.set_item(intern!(py, "wsgi.url_scheme"), constants.scheme)?;
        if constants.scheme == "https" {
            // As CGI programs know it.
            template.set_item(intern!(py, "HTTPS"), "on")?;
        }
        template.set_item(intern!(py, "wsgi.input"), py.None())?;
        template.set_item(intern!(py, "wsgi.errors"), errors)?;
        template.set_item(intern!(py, "wsgi.multithread"), constants.multithread)?;
        template.set_item(intern!(py, "wsgi.multiprocess"), constants.multiprocess)?;
        template.set_item(intern!(py, "wsgi.run_once"), false)?;
        template.set_item(intern!(py, "wsgi.input_terminated"), true)?;
        template.set_item(intern!(py, "wsgi.file_wrapper"), &constants.file_wrapper)?;
        template.set_item(intern!(py, "wsgi.early_hints"), py.None())?;
        template.set_item(intern!(py, "ferrule.draining"), &constants.draining)?;
        Ok(Self {
            template: template.unbind(),
            script_name,
        })
    }

    /// The environ of one request, a builtin dict that is the application's to change (PEP 3333).
    ///
    /// Allocates Python objects, which can run the garbage collector and with it any Python code:
    /// take `cache` out of the connection for this call rather than borrow it there.
    pub(crate) fn build<'py>(
        &self,
        py: Python<'py>,
        request: &Request,
        client: Client<'_>,
        input: &Bound<'py, PyAny>,
        early_hints: &Bound<'py, PyAny>,
        cache: Option<&mut HeaderCache>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let environ = match cache {
            Some(cache) => cache.environ(py, self, request, client)?,
            None => self.with_head(py, request, client)?,
        };
        environ.set_item(intern!(py, "wsgi.input"), input)?;
        environ.set_item(intern!(py, "wsgi.early_hints"), early_hints)?;
        Ok(environ)
    }

    /// A copy of the template with what the head and the connection say.
    fn with_head<'py>(
        &self,
        py: Python<'py>,
        request: &Request,
        client: Client<'_>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let environ = self.with_fields(py, request, client)?;
        self.set_line(&environ, request)?;
        Ok(environ)
    }

    /// A copy of the template with what the fields and the connection say.
    fn with_fields<'py>(
        &self,
        py: Python<'py>,
        request: &Request,
        client: Client<'_>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let environ = self.template.bind(py).copy()?;
        if let Peer::Inet(address) = &client.peer {
            let ip = latin1(py, client.peer.ip().as_bytes())?;
            environ.set_item(intern!(py, "REMOTE_ADDR"), ip)?;
            environ.set_item(intern!(py, "REMOTE_PORT"), decimal(py, address.port())?)?;
        }
        if let Some(tls) = client.tls {
            environ.update(tls.variables(py)?.as_mapping())?;
        }
        set_fields(&environ, request)?;
        Ok(environ)
    }

    /// What the request line says, over a dict that has none of it yet.
    fn set_line(&self, environ: &Bound<'_, PyDict>, request: &Request) -> PyResult<()> {
        let py = environ.py();
        if request.method != Method::Get {
            environ.set_item(intern!(py, "REQUEST_METHOD"), method(py, request)?)?;
        }
        match request.version {
            Version::Http11 => {}
            Version::Http10 => {
                environ.set_item(intern!(py, "SERVER_PROTOCOL"), intern!(py, "HTTP/1.0"))?;
            }
            Version::Http2 => {
                environ.set_item(intern!(py, "SERVER_PROTOCOL"), intern!(py, "HTTP/2.0"))?;
            }
        }
        self.set_target(environ, request)
    }

    /// `PATH_INFO` and what else comes from the request target.
    fn set_target(&self, environ: &Bound<'_, PyDict>, request: &Request) -> PyResult<()> {
        let py = environ.py();
        let target = request.target_bytes();
        let uri = latin1(py, target)?;
        environ.set_item(intern!(py, "RAW_URI"), &uri)?;
        environ.set_item(intern!(py, "REQUEST_URI"), &uri)?;
        let query = request.query_bytes();
        if !query.is_empty() {
            environ.set_item(intern!(py, "QUERY_STRING"), latin1(py, query)?)?;
        }
        let path = match request.path_bytes() {
            path if path.starts_with(b"/") => path,
            // `OPTIONS *` and CONNECT have an empty path (RFC 9112 section 3.3), which CGI spells
            // "/" where SCRIPT_NAME is empty. RAW_URI tells them apart.
            _ => b"/",
        };
        let decoded;
        let path = if path.contains(&b'%') {
            decoded = percent_decoded(path);
            decoded.as_slice()
        } else {
            path
        };
        let path = self.below_mount(path);
        let path_info = if path == target {
            uri
        } else {
            latin1(py, path)?
        };
        environ.set_item(intern!(py, "PATH_INFO"), path_info)
    }

    /// `path` without the mount point, where it has it: a proxy may have taken it off already.
    fn below_mount<'a>(&self, path: &'a [u8]) -> &'a [u8] {
        match path.strip_prefix(self.script_name.as_slice()) {
            Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
            _ => path,
        }
    }
}

impl HeaderCache {
    fn environ<'py>(
        &mut self,
        py: Python<'py>,
        template: &EnvironTemplate,
        request: &Request,
        client: Client<'_>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let mut spelled = std::mem::take(&mut self.spelled);
        let environ = match cache_key(request, &mut spelled) {
            Some((line, fields)) => self.environ_of(py, template, request, line, fields, client),
            None => template.with_head(py, request, client),
        };
        self.spelled = spelled;
        environ
    }

    fn environ_of<'py>(
        &mut self,
        py: Python<'py>,
        template: &EnvironTemplate,
        request: &Request,
        line: &[u8],
        fields: &[u8],
        client: Client<'_>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let same = self.fields == fields
            && self.peer == Some(client.peer)
            && self.tls.as_ref().map(Arc::as_ptr) == client.tls.map(Arc::as_ptr)
            && self
                .template
                .as_ref()
                .is_some_and(|own| own.is(&template.template));
        let repeated = same && self.line == line;
        if repeated && let Some(dict) = &self.of_head {
            return dict.bind(py).copy();
        }
        let environ = match &self.of_fields {
            Some(dict) if same => dict.bind(py).copy()?,
            _ => {
                let environ = template.with_fields(py, request, client)?;
                self.of_fields = if same {
                    Some(environ.copy()?.unbind())
                } else {
                    None
                };
                environ
            }
        };
        template.set_line(&environ, request)?;
        if repeated {
            self.of_head = Some(environ.copy()?.unbind());
            return Ok(environ);
        }
        self.of_head = None;
        self.line.clear();
        self.line.extend_from_slice(line);
        if !same {
            self.fields.clear();
            self.fields.extend_from_slice(fields);
            self.peer = Some(client.peer);
            self.tls = client.tls.cloned();
            self.template = Some(template.template.clone_ref(py));
        }
        Ok(environ)
    }
}

/// The bytes that decide what an environ is, as request line and fields; `None` when they are not
/// worth keeping.
fn cache_key<'a>(request: &'a Request, spelled: &'a mut Vec<u8>) -> Option<(&'a [u8], &'a [u8])> {
    let head = request.block.bytes();
    if head.len() > CACHED_BYTES {
        return None;
    }
    if request.version == Version::Http2 {
        return spell(request, spelled);
    }
    let first = request.block.fields().first()?;
    head.split_at_checked(first.name.offset as usize)
}

/// Over HTTP/2 names and values lie in the block without anything between them, so that equal bytes
/// can be different fields: here each has its length before it. The zero bytes of these tell them
/// from a head of HTTP/1.
fn spell<'a>(request: &Request, spelled: &'a mut Vec<u8>) -> Option<(&'a [u8], &'a [u8])> {
    spelled.clear();
    spelled.extend_from_slice(request.method_bytes());
    spelled.push(0);
    spelled.extend_from_slice(request.target_bytes());
    let line = spelled.len();
    for (_, name, value) in request.block.iter() {
        spelled.extend_from_slice(&(name.len() as u32).to_le_bytes());
        spelled.extend_from_slice(&(value.len() as u32).to_le_bytes());
        spelled.extend_from_slice(name);
        spelled.extend_from_slice(value);
    }
    spelled.split_at_checked(line)
}

/// `CONTENT_TYPE`, `CONTENT_LENGTH` and the `HTTP_` variables (RFC 3875 section 4.1.18).
fn set_fields(environ: &Bound<'_, PyDict>, request: &Request) -> PyResult<()> {
    const {
        assert!(
            Known::COUNT <= u64::BITS as usize,
            "a set of known names is one word"
        )
    };
    let py = environ.py();
    let known_keys = known_keys(py);
    let mut seen = 0u64;
    for (known, name, value) in request.block.iter() {
        let other_key;
        let (key, repeated) = match known_keys.get(known as usize) {
            Some(key) if known != Known::Other => {
                let bit = 1u64 << known as u8;
                let repeated = seen & bit != 0;
                seen |= bit;
                (key.bind(py), repeated)
            }
            // `_` and `-` are the same in a variable's name: such a field could pass itself off
            // as one that a proxy has set.
            _ if name.contains(&b'_') => continue,
            _ => {
                other_key = variable(py, name)?;
                let repeated = environ.contains(&other_key)?;
                (&other_key, repeated)
            }
        };
        let value = latin1(py, value)?;
        if repeated {
            append(environ, key, known, value)?;
        } else {
            environ.set_item(key, value)?;
        }
    }
    Ok(())
}

/// One more value of a field (RFC 9110 section 5.3; for cookies RFC 9113 section 8.2.3).
#[cold]
fn append<'py>(
    environ: &Bound<'py, PyDict>,
    key: &Bound<'py, PyString>,
    known: Known,
    value: Bound<'py, PyString>,
) -> PyResult<()> {
    let py = environ.py();
    let separator = match known {
        Known::Cookie => intern!(py, "; "),
        _ => intern!(py, ","),
    };
    let joined = match environ.get_item(key)? {
        Some(earlier) => earlier.add(separator)?.add(value)?,
        None => value.into_any(),
    };
    environ.set_item(key, joined)
}

/// The interned variable name for each well-known field name, by its number.
fn known_keys(py: Python<'_>) -> &[Py<PyString>] {
    static KEYS: PyOnceLock<Vec<Py<PyString>>> = PyOnceLock::new();
    KEYS.get_or_init(py, || {
        let key = |index| {
            let known = Known::from_index(index);
            let name = known.name().replace('-', "_").to_ascii_uppercase();
            let key = match known {
                // The two that CGI names without the prefix.
                Known::ContentType | Known::ContentLength => name,
                _ => format!("HTTP_{name}"),
            };
            PyString::intern(py, &key).unbind()
        };
        (0..Known::COUNT as u8).map(key).collect()
    })
}

/// `HTTP_X_NAME` for `x-name`.
fn variable<'py>(py: Python<'py>, name: &[u8]) -> PyResult<Bound<'py, PyString>> {
    const PREFIX: &[u8] = b"HTTP_";
    /// Longer than nearly all names in use.
    const SHORT: usize = 64;
    let upper = |byte: &u8| match byte {
        b'-' => b'_',
        byte => byte.to_ascii_uppercase(),
    };
    let mut short = [0; SHORT];
    let length = PREFIX.len() + name.len();
    match short.get_mut(..length) {
        Some(text) => {
            let bytes = PREFIX.iter().copied().chain(name.iter().map(upper));
            text.iter_mut()
                .zip(bytes)
                .for_each(|(slot, byte)| *slot = byte);
            latin1(py, text)
        }
        None => {
            let mut text = Vec::with_capacity(length);
            text.extend_from_slice(PREFIX);
            text.extend(name.iter().map(upper));
            latin1(py, &text)
        }
    }
}

fn method<'py>(py: Python<'py>, request: &Request) -> PyResult<Bound<'py, PyString>> {
    let known = match request.method {
        Method::Get => intern!(py, "GET"),
        Method::Head => intern!(py, "HEAD"),
        Method::Post => intern!(py, "POST"),
        Method::Put => intern!(py, "PUT"),
        Method::Delete => intern!(py, "DELETE"),
        Method::Options => intern!(py, "OPTIONS"),
        Method::Patch => intern!(py, "PATCH"),
        Method::Connect => intern!(py, "CONNECT"),
        Method::Trace => intern!(py, "TRACE"),
        Method::Other => return latin1(py, request.method_bytes()),
    };
    Ok(known.clone())
}

/// Escapes resolved; an incomplete one stands for itself, as with `urllib.parse.unquote`.
fn percent_decoded(path: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let escaped = match (byte, after) {
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    Some((high << 4 | low) as u8)
                }
                _ => None,
            },
            _ => None,
        };
        decoded.push(escaped.unwrap_or(*byte));
    }
    decoded
}

fn decimal(py: Python<'_>, number: u16) -> PyResult<Bound<'_, PyString>> {
    let mut digits = [0; 5];
    let mut start = digits.len();
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        start -= 1;
        if rest == 0 {
            break;
        }
    }
    latin1(py, digits.get(start..).unwrap_or_default())
}

/// The string of one character per byte.
#[inline]
fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: `bytes` is valid for its length, which fits `Py_ssize_t` as every slice's does, and
    // is only read; a null error handler means "strict". The result is a new reference to a `str`,
    // or null with an exception set, which is what `from_owned_ptr_or_err` takes.
    unsafe {
        let text = ffi::PyUnicode_DecodeLatin1(
            bytes.as_ptr().cast(),
            bytes.len().cast_signed(),
            std::ptr::null(),
        );
        Bound::from_owned_ptr_or_err(py, text).map(|text| text.cast_into_unchecked())
    }
}
