//! Cipher suites by the names that operators and applications use.

use rustls::crypto::ring::cipher_suite as ring;
use rustls::{CipherSuite, SupportedCipherSuite};

/// Everything that can be spoken: AEAD suites with forward secrecy. Both names of each; TLS 1.3 has only one.
const TABLE: [(SupportedCipherSuite, &str, &str); 9] = [
    (
        ring::TLS13_AES_256_GCM_SHA384,
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_256_GCM_SHA384",
    ),
    (
        ring::TLS13_AES_128_GCM_SHA256,
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_128_GCM_SHA256",
    ),
    (
        ring::TLS13_CHACHA20_POLY1305_SHA256,
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
    ),
    (
        ring::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    ),
    (
        ring::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ),
    (
        ring::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    (
        ring::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    ),
    (
        ring::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    ),
    (
        ring::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
];

/// The suites named, in that order; none named: all. A list without TLS 1.3 suites leaves those of TLS 1.3 as they are,
/// as OpenSSL's `ciphers` do.
pub(super) fn choose(names: &[String]) -> Result<Vec<SupportedCipherSuite>, String> {
    let all = || TABLE.iter().map(|(suite, ..)| *suite);
    if names.is_empty() {
        return Ok(all().collect());
    }
    let mut chosen: Vec<SupportedCipherSuite> = Vec::new();
    for name in names {
        let named = TABLE
            .iter()
            .find(|(_, openssl, iana)| name == openssl || name == iana);
        let Some((suite, ..)) = named else {
            let known: Vec<&str> = TABLE.iter().map(|(_, openssl, _)| *openssl).collect();
            return Err(format!(
                "ciphers: {name:?} is not one of {}",
                known.join(", ")
            ));
        };
        if !chosen.contains(suite) {
            chosen.push(*suite);
        }
    }
    let is_13 = |suite: &SupportedCipherSuite| suite.tls13().is_some();
    if !chosen.iter().any(is_13) {
        chosen.splice(0..0, all().filter(is_13));
    }
    Ok(chosen)
}

/// OpenSSL's name, as CGI variables have it.
pub(super) fn openssl_name(suite: u16) -> &'static str {
    TABLE
        .iter()
        .find(|(known, ..)| known.suite() == CipherSuite::from(suite))
        .map_or("", |(_, openssl, _)| openssl)
}
