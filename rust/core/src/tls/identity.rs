//! Certificates and keys: from the PEM that operators have to what a handshake presents, chosen by the name asked for.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::Decode;
use pkcs8::der::pem::decode_vec;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_cert::Certificate;

const ENCRYPTED_BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
/// How OpenSSL marked keys under a password before PKCS#8.
const LEGACY_MARK: &str = "Proc-Type: 4,ENCRYPTED";

thread_local! {
    /// Which identity the last handshake step on this thread presented: rustls does not say it of a connection.
    static PRESENTED: Cell<usize> = const { Cell::new(0) };
}

/// Before a step: what earlier steps of the connection chose.
pub(super) fn present(identity: usize) {
    PRESENTED.set(identity);
}

/// The identity that the step just taken on this thread chose.
pub(super) fn presented() -> usize {
    PRESENTED.get()
}

/// One listener's certificates.
#[derive(Debug)]
pub(super) struct Identities {
    list: Vec<Arc<CertifiedKey>>,
    by_name: HashMap<String, usize>,
    /// `*.example.org` as `example.org`: the star stands for one label (RFC 6125, 6.4.3).
    by_parent: HashMap<String, usize>,
}

impl Identities {
    pub(super) fn new() -> Identities {
        Identities {
            list: Vec::new(),
            by_name: HashMap::new(),
            by_parent: HashMap::new(),
        }
    }

    /// Adds one; the first is what clients get that name no other. Returns when it expires, as unix time.
    pub(super) fn push(&mut self, names: &[String], key: CertifiedKey) -> Result<f64, String> {
        let index = self.list.len();
        if names.is_empty() && index > 0 {
            return Err("names: only the first certificate can do without".to_owned());
        }
        for name in names {
            let lower = name.trim_end_matches('.').to_ascii_lowercase();
            let (table, host) = match lower.strip_prefix("*.") {
                Some(parent) => (&mut self.by_parent, parent),
                None => (&mut self.by_name, lower.as_str()),
            };
            if rustls::pki_types::DnsName::try_from(host).is_err() {
                return Err(format!(
                    "names: {name:?} is no host name (an international one is written as xn--...)"
                ));
            }
            if table.insert(host.to_owned(), index).is_some() {
                return Err(format!("names: {name:?} is named twice"));
            }
        }
        let until = key.cert.first().map_or(Ok(f64::INFINITY), not_after)?;
        self.list.push(Arc::new(key));
        Ok(until)
    }

    pub(super) fn leaf(&self, index: usize) -> Option<&CertificateDer<'static>> {
        self.list.get(index)?.cert.first()
    }

    fn find(&self, name: &str) -> usize {
        let exact = self.by_name.get(name);
        let by_parent = || self.by_parent.get(name.split_once('.')?.1);
        exact.or_else(by_parent).copied().unwrap_or(0)
    }
}

impl ResolvesServerCert for Identities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let index = match hello.server_name() {
            Some(name) if self.list.len() > 1 => self.find(&name.to_ascii_lowercase()),
            _ => 0,
        };
        PRESENTED.set(index);
        self.list.get(index).cloned()
    }
}

/// A certificate with its chain, and its key.
pub(super) fn load(
    chain: &[u8],
    key: &[u8],
    password: Option<&str>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, String> {
    let chain = certificates(chain)?;
    if chain.is_empty() {
        return Err("no certificate in the certificate file (PEM is expected)".to_owned());
    }
    let key = private_key(key, password)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "the private key does not match the certificate".to_owned()
        }
        Error::InvalidCertificate(_) => "the certificate cannot be read".to_owned(),
        _ => "the private key is of no usable kind (RSA from 2048 bits, ECDSA P-256 and P-384, and Ed25519 are)"
            .to_owned(),
    })
}

pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| {
            format!(
                "the certificate file is no valid PEM ({})",
                describe(&error)
            )
        })
}

fn private_key(pem: &[u8], password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
    let text = String::from_utf8_lossy(pem);
    if text.contains(LEGACY_MARK) {
        return Err(
            "the private key is encrypted in OpenSSL's old format: convert it with `openssl pkcs8 -topk8`"
                .to_owned(),
        );
    }
    if let Some(start) = text.find(ENCRYPTED_BEGIN) {
        let rest = text.get(start..).unwrap_or_default();
        let end = rest.find(ENCRYPTED_END);
        let end = end.map_or(rest.len(), |end| end + ENCRYPTED_END.len());
        return decrypt(rest.get(..end).unwrap_or_default(), password);
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => "no private key in the key file (PEM is expected)".to_owned(),
        error => format!("the key file is no valid PEM ({})", describe(&error)),
    })
}

fn decrypt(pem: &str, password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
    let Some(password) = password else {
        return Err("the private key is encrypted and there is no password for it".to_owned());
    };
    let (_, der) = decode_vec(pem.as_bytes())
        .map_err(|error| format!("the key file is no valid PEM ({error})"))?;
    let sealed = EncryptedPrivateKeyInfoRef::from_der(&der).map_err(|_| {
        "the private key is encrypted in a way that is not supported: PBES2 with AES is".to_owned()
    })?;
    let key = sealed.decrypt(password).map_err(|_| {
        "the password does not open the private key (or its encryption is not PBES2 with AES)"
            .to_owned()
    })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

fn describe(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section does not end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a section begins with a broken line".to_owned(),
        pem::Error::Base64Decode(_) => "a section is not base64".to_owned(),
        other => other.to_string(),
    }
}

/// When a certificate expires, as unix time.
fn not_after(certificate: &CertificateDer<'_>) -> Result<f64, String> {
    let parsed = Certificate::from_der(certificate)
        .map_err(|error| format!("the certificate cannot be read ({error})"))?;
    let until = parsed.tbs_certificate().validity().not_after;
    Ok(until.to_unix_duration().as_secs_f64())
}
