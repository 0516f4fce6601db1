//! What applications may know of a TLS connection: the ASGI TLS extension, and the CGI variables of WSGI.
//! Made when somebody looks, and once for all connections that look the same.

use std::sync::{Arc, Mutex};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList};
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::pem::{LineEnding, encode_string};

use super::suites;
use crate::reactor::lock;

const TLS_1_3: u16 = 0x0304;

/// One connection, or all that look like it.
pub(crate) struct Description {
    identity: usize,
    version: u16,
    suite: u16,
    server: Option<CertificateDer<'static>>,
    /// The client's certificate and its chain; empty if it gave none.
    client: Vec<CertificateDer<'static>>,
    extensions: PyOnceLock<Py<PyDict>>,
    variables: PyOnceLock<Py<PyDict>>,
}

/// Those without client certificates, of which there are few.
#[derive(Default)]
pub(super) struct Descriptions(Mutex<Vec<Arc<Description>>>);

impl Descriptions {
    pub(super) fn get(
        &self,
        identity: usize,
        version: u16,
        suite: u16,
        server: Option<CertificateDer<'static>>,
        client: Vec<CertificateDer<'static>>,
    ) -> Arc<Description> {
        let Descriptions(shared) = self;
        let mut shared = lock(shared);
        let same = |known: &&Arc<Description>| {
            (known.identity, known.version, known.suite) == (identity, version, suite)
        };
        if let Some(known) = shared.iter().find(same).filter(|_| client.is_empty()) {
            return known.clone();
        }
        let is_shared = client.is_empty();
        let new = Arc::new(Description {
            identity,
            version,
            suite,
            server,
            client,
            extensions: PyOnceLock::new(),
            variables: PyOnceLock::new(),
        });
        if is_shared {
            shared.push(new.clone());
        }
        new
    }
}

impl Description {
    /// `scope["extensions"]`: what `base` has, and `tls` (ASGI TLS extension 0.2).
    pub(crate) fn extensions<'py>(
        &self,
        py: Python<'py>,
        base: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let make = || {
            let chain = self.client.iter().map(pem);
            let tls = PyDict::new(py);
            tls.set_item("server_cert", self.server.as_ref().map(pem))?;
            tls.set_item(
                "client_cert_chain",
                PyList::new(py, chain.collect::<Vec<_>>())?,
            )?;
            let name = self.client.first().and_then(parse);
            let name = name.map(|cert| cert.tbs_certificate().subject().to_string());
            tls.set_item("client_cert_name", name)?;
            // A certificate that does not hold ends the handshake.
            tls.set_item("client_cert_error", py.None())?;
            tls.set_item("tls_version", self.version)?;
            tls.set_item("cipher_suite", self.suite)?;
            let extensions = base.copy()?;
            extensions.set_item(intern!(py, "tls"), tls)?;
            Ok::<_, PyErr>(extensions.unbind())
        };
        Ok(self.extensions.get_or_try_init(py, make)?.bind(py).clone())
    }

    /// `SSL_` variables by the names of Apache's mod_ssl, which applications know.
    pub(crate) fn variables<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let make = || {
            let variables = PyDict::new(py);
            let protocol = match self.version {
                TLS_1_3 => "TLSv1.3",
                _ => "TLSv1.2",
            };
            variables.set_item(intern!(py, "SSL_PROTOCOL"), protocol)?;
            variables.set_item(intern!(py, "SSL_CIPHER"), suites::openssl_name(self.suite))?;
            let verified = match self.client.is_empty() {
                true => "NONE",
                false => "SUCCESS",
            };
            variables.set_item(intern!(py, "SSL_CLIENT_VERIFY"), verified)?;
            if let Some(certificate) = self.client.first() {
                variables.set_item("SSL_CLIENT_CERT", pem(certificate))?;
                if let Some(parsed) = parse(certificate) {
                    let parsed = parsed.tbs_certificate();
                    variables.set_item("SSL_CLIENT_S_DN", parsed.subject().to_string())?;
                    variables.set_item("SSL_CLIENT_I_DN", parsed.issuer().to_string())?;
                    let serial = hex(parsed.serial_number().as_bytes());
                    variables.set_item("SSL_CLIENT_M_SERIAL", serial)?;
                }
            }
            Ok::<_, PyErr>(variables.unbind())
        };
        Ok(self.variables.get_or_try_init(py, make)?.bind(py).clone())
    }
}

fn pem(certificate: &CertificateDer<'static>) -> String {
    // Fails for lengths that no certificate has.
    encode_string("CERTIFICATE", LineEnding::LF, certificate).unwrap_or_default()
}

fn parse(certificate: &CertificateDer<'static>) -> Option<Certificate> {
    Certificate::from_der(certificate).ok()
}

/// Upper-case, without the zero byte that only says that the number is positive.
fn hex(number: &[u8]) -> String {
    let digits = match number {
        [0, rest @ ..] if !rest.is_empty() => rest,
        number => number,
    };
    digits.iter().map(|byte| format!("{byte:02X}")).collect()
}
