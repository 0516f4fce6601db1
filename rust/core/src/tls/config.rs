//! `TlsConfig`: what one listener presents and demands, checked when it is made, and replaced as a whole.
//! Knows no files: Python reads them, and says which of them an error is about.

use std::sync::{Arc, Mutex};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use ring::digest;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};

use super::describe::{Description, Descriptions};
use super::identity::{self, Identities};
use super::suites;
use super::tickets::Tickets;
use crate::config::milliseconds;
use crate::reactor::lock;

/// Names, certificate chain, private key, password.
type Identity = (Vec<String>, Vec<u8>, Vec<u8>, Option<String>);

/// What handshakes work by. Never changes: a connection keeps what it began with.
pub(crate) struct Setup {
    pub(super) rustls: Arc<ServerConfig>,
    pub(crate) handshake_timeout_ms: u64,
    identities: Arc<Identities>,
    descriptions: Descriptions,
    not_after: Vec<f64>,
}

impl Setup {
    /// What applications may know of a connection.
    pub(super) fn describe(
        &self,
        identity: usize,
        version: u16,
        suite: u16,
        client: Vec<CertificateDer<'static>>,
    ) -> Arc<Description> {
        let server = self.identities.leaf(identity).cloned();
        self.descriptions
            .get(identity, version, suite, server, client)
    }
}

/// What one TLS listener presents and demands. Immutable but for `replace`.
#[pyclass(frozen, module = "ferrule._core")]
pub(crate) struct TlsConfig {
    current: Mutex<Arc<Setup>>,
}

#[pymethods]
impl TlsConfig {
    #[new]
    #[pyo3(signature = (*, identities, client_ca, client_cert, ciphers, min_version, alpn, handshake_timeout, ticket_key=None))]
    #[allow(clippy::too_many_arguments)] // keyword-only from Python
    fn new(
        py: Python<'_>,
        identities: Vec<Identity>,
        client_ca: Option<Vec<u8>>,
        client_cert: &str,
        ciphers: Vec<String>,
        min_version: &str,
        alpn: Vec<String>,
        handshake_timeout: f64,
        ticket_key: Option<Vec<u8>>,
    ) -> PyResult<Self> {
        let handshake_timeout_ms = milliseconds("handshake_timeout", handshake_timeout)?;
        // The password of a key is made to take long; a worker that renews its certificates serves meanwhile.
        let setup = py.detach(|| {
            set_up(
                &identities,
                client_ca.as_deref(),
                client_cert,
                &ciphers,
                min_version,
                &alpn,
                handshake_timeout_ms,
                ticket_key.as_deref(),
            )
        });
        let setup = setup.map_err(PyValueError::new_err)?;
        Ok(TlsConfig {
            current: Mutex::new(Arc::new(setup)),
        })
    }

    #[getter]
    fn not_after(&self) -> Vec<f64> {
        self.current().not_after.clone()
    }

    /// Later handshakes use what `other` has; live connections go on.
    fn replace(&self, other: &Bound<'_, TlsConfig>) {
        let new = other.get().current();
        *lock(&self.current) = new;
    }
}

impl TlsConfig {
    pub(crate) fn current(&self) -> Arc<Setup> {
        lock(&self.current).clone()
    }
}

#[allow(clippy::too_many_arguments)] // one parameter per setting
fn set_up(
    identities: &[Identity],
    client_ca: Option<&[u8]>,
    client_cert: &str,
    ciphers: &[String],
    min_version: &str,
    alpn: &[String],
    handshake_timeout_ms: u64,
    ticket_key: Option<&[u8]>,
) -> Result<Setup, String> {
    let provider = Arc::new(CryptoProvider {
        cipher_suites: suites::choose(ciphers)?,
        ..provider::default_provider()
    });
    let versions = match min_version {
        "1.2" => vec![&TLS13, &TLS12],
        "1.3" => vec![&TLS13],
        _ => return Err(format!("min_version: {min_version:?} is not 1.2 or 1.3")),
    };
    if identities.is_empty() {
        return Err("identities: at least one certificate is needed".to_owned());
    }
    let mut list = Identities::new();
    let mut not_after = Vec::with_capacity(identities.len());
    for (index, (names, chain, key, password)) in identities.iter().enumerate() {
        let until = identity::load(chain, key, password.as_deref(), &provider)
            .and_then(|key| list.push(names, key))
            .map_err(|why| format!("identities[{index}]: {why}"))?;
        not_after.push(until);
    }
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(|_| "ciphers: none of them can be used with these versions".to_owned())?;
    let builder = match (client_cert, client_ca) {
        ("none", _) => builder.with_no_client_auth(),
        ("optional" | "required", None) => {
            return Err(format!(
                "client_ca: needed with client_cert {client_cert:?}"
            ));
        }
        (demand @ ("optional" | "required"), Some(pem)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots(pem)?, provider);
            let verifier = match demand {
                "optional" => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            let verifier = verifier
                .build()
                .map_err(|error| format!("client_ca: {error}"))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => {
            return Err(format!(
                "client_cert: {client_cert:?} is not none, optional or required"
            ));
        }
    };
    let identities = Arc::new(list);
    let mut config = builder.with_cert_resolver(identities.clone());
    config.alpn_protocols = alpn.iter().map(|name| name.clone().into_bytes()).collect();
    let mut trust = digest::Context::new(&digest::SHA256);
    trust.update(client_cert.as_bytes());
    trust.update(client_ca.unwrap_or_default());
    config.ticketer = Arc::new(Tickets::new(ticket_key, trust.finish().as_ref().to_vec())?);
    // Tickets do for both versions, and the server keeps no sessions.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // A client that wants to resume twice at once makes a second connection for it; each ticket costs every client.
    config.send_tls13_tickets = 1;
    Ok(Setup {
        rustls: Arc::new(config),
        handshake_timeout_ms,
        identities,
        descriptions: Descriptions::default(),
        not_after,
    })
}

fn roots(pem: &[u8]) -> Result<Arc<RootCertStore>, String> {
    let certificates = identity::certificates(pem)
        .map_err(|why| why.replace("the certificate file", "client_ca: the file"))?;
    let mut store = RootCertStore::empty();
    // A bundle of a system may hold one that nobody can use; one that holds no other is a mistake.
    let (added, _) = store.add_parsable_certificates(certificates);
    if added == 0 {
        return Err("client_ca: no usable certificate in the file (PEM is expected)".to_owned());
    }
    Ok(Arc::new(store))
}
