//! The settings the core works by: converted once from what Python gives, then only read.
//! Knows nothing of flags, files or environment variables; `python/ferrule/config.py` does.

use std::time::Duration;

use ferrule_http::error::ErrorKind;
use ferrule_http::h1::encode::Defaults;
use ferrule_http::h2;
use ferrule_http::limits::Limits;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// What the core needs of the settings. Times in seconds, sizes in bytes, 0 = off.
#[pyclass(frozen, module = "ferrule._core")]
pub struct Options {
    pub(crate) config: Config,
    /// Configured response fields, already checked.
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    server_header: Option<String>,
    date_header: bool,
}

/// Which protocols are spoken (`--http`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// What the client asks for.
    Auto,
    Http1,
    Http2,
}

impl Protocol {
    /// By its name in the settings.
    pub(crate) fn named(name: &str) -> Option<Protocol> {
        match name {
            "auto" => Some(Protocol::Auto),
            "1" => Some(Protocol::Http1),
            "2" => Some(Protocol::Http2),
            _ => None,
        }
    }

    /// Whether a connection whose first bytes are `no_http1` speaks HTTP/2, or is to be told so in HTTP/2.
    pub(crate) fn is_http2(self, no_http1: ErrorKind) -> bool {
        match self {
            Protocol::Auto => no_http1 == ErrorKind::Http2Preface,
            Protocol::Http1 => false,
            Protocol::Http2 => true,
        }
    }
}

#[derive(Clone)]
pub(crate) struct Config {
    pub protocol: Protocol,
    pub h2: h2::Settings,
    pub threads: usize,
    pub connections: usize,
    pub limit_concurrency: usize,
    pub keep_alive_ms: u64,
    pub header_timeout_ms: u64,
    pub write_timeout_ms: u64,
    pub request_timeout_ms: u64,
    pub body_min_rate: u64,
    pub body_memory: u64,
    pub body_memory_total: u64,
    pub cancel_on_disconnect: bool,
    pub sendfile: bool,
    pub multiprocess: bool,
    pub root_path: String,
    pub health_path: Option<Vec<u8>>,
    pub ready_path: Option<Vec<u8>>,
    pub limits: Limits,
}

/// Seconds to whole milliseconds; anything above 0 stays above 0, so that it cannot turn into "off".
pub(crate) fn milliseconds(name: &str, seconds: f64) -> PyResult<u64> {
    if seconds == 0.0 {
        return Ok(0);
    }
    let time = Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err(format!("{name}: {seconds} is no time in seconds")))?;
    Ok(u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1))
}

#[pymethods]
impl Options {
    #[new]
    #[pyo3(signature = (*, threads, connections, limit_concurrency, keep_alive, header_timeout, write_timeout,
        body_min_rate, limit_request_line, limit_request_fields, limit_request_field_size, limit_request_head,
        limit_request_body, body_memory, body_memory_total, request_timeout, cancel_on_disconnect, root_path,
        server_header, date_header, headers, sendfile, multiprocess, health_path, ready_path, http, h2_max_streams,
        h2_window, h2_connection_window, h2_max_frame_size, h2_max_header_list))]
    #[allow(clippy::too_many_arguments)] // keyword-only from Python: one parameter per setting
    fn new(
        threads: usize,
        connections: usize,
        limit_concurrency: usize,
        keep_alive: f64,
        header_timeout: f64,
        write_timeout: f64,
        body_min_rate: u64,
        limit_request_line: usize,
        limit_request_fields: usize,
        limit_request_field_size: usize,
        limit_request_head: usize,
        limit_request_body: u64,
        body_memory: u64,
        body_memory_total: u64,
        request_timeout: f64,
        cancel_on_disconnect: bool,
        root_path: String,
        server_header: Option<String>,
        date_header: bool,
        headers: Vec<(Vec<u8>, Vec<u8>)>,
        sendfile: bool,
        multiprocess: bool,
        health_path: Option<String>,
        ready_path: Option<String>,
        http: &str,
        h2_max_streams: u32,
        h2_window: u32,
        h2_connection_window: u32,
        h2_max_frame_size: u32,
        h2_max_header_list: u32,
    ) -> PyResult<Self> {
        let protocol = Protocol::named(http)
            .ok_or_else(|| PyValueError::new_err(format!("http: {http} is not auto, 1 or 2")))?;
        let limits = Limits {
            request_line: limit_request_line,
            fields: limit_request_fields,
            field_size: limit_request_field_size,
            head: limit_request_head,
            body: limit_request_body,
            ..Limits::default()
        };
        let options = Options {
            config: Config {
                protocol,
                h2: h2::Settings {
                    max_streams: h2_max_streams,
                    window: h2_window,
                    connection_window: h2_connection_window,
                    max_frame_size: h2_max_frame_size,
                    max_header_list: h2_max_header_list,
                    // WebSocket over HTTP/2 is not served.
                    connect_protocol: false,
                },
                threads: threads.max(1),
                connections,
                limit_concurrency,
                keep_alive_ms: milliseconds("keep_alive", keep_alive)?,
                header_timeout_ms: milliseconds("header_timeout", header_timeout)?,
                write_timeout_ms: milliseconds("write_timeout", write_timeout)?,
                request_timeout_ms: milliseconds("request_timeout", request_timeout)?,
                body_min_rate,
                body_memory,
                body_memory_total,
                cancel_on_disconnect,
                sendfile,
                multiprocess,
                root_path,
                health_path: health_path.map(String::into_bytes),
                ready_path: ready_path.map(String::into_bytes),
                limits,
            },
            headers,
            server_header,
            date_header,
        };
        options.defaults()?;
        Ok(options)
    }
}

impl Options {
    /// The response fields that every response gets unless the application gave its own.
    pub(crate) fn defaults(&self) -> PyResult<Defaults> {
        Defaults::new(
            self.server_header.as_deref(),
            self.date_header,
            &self.headers,
        )
        .map_err(|error| PyValueError::new_err(format!("headers: {error}")))
    }
}
