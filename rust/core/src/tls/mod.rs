//! TLS by rustls: what listeners present and demand (`config`), handshakes off the serving threads (`handshake`,
//! `executor`), bytes sealed and opened (`session`), and what applications may know of it (`describe`).
//! Knows no sockets and no HTTP.

mod config;
mod describe;
mod executor;
mod handshake;
mod identity;
mod session;
mod suites;
mod tickets;

pub(crate) use config::TlsConfig;
pub(crate) use describe::Description;
pub(crate) use executor::Executor;
pub(crate) use handshake::{Established, Handshake, Outcome, Step};
pub(crate) use session::{OVERHEAD, RECORD, Session};
