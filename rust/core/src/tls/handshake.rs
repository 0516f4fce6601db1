//! One TLS connection until its handshake is complete: what was received is collected here, and every step that may cost
//! more than a look is a `Job` for the executor.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustls::Error;
use rustls::server::UnbufferedServerConnection;

use super::config::Setup;
use super::describe::Description;
use super::identity;
use super::session::{Next, RECORD, Session, alert, step};

/// Bytes that a handshake may take in all. Client certificates with their chains take a few thousand.
const LONGEST: usize = 64 * 1024;
const HEADER: usize = 5;
/// First byte of a record that carries a handshake (RFC 8446, 5.1), as the first record of a connection does.
const HANDSHAKE: u8 = 22;

pub(crate) struct Handshake {
    setup: Arc<Setup>,
    progress: Progress,
    /// Received and not yet done with.
    incoming: Vec<u8>,
    /// How much of `incoming` was found to be whole records, and was given to a job before.
    seen: usize,
    received: usize,
}

enum Progress {
    /// Nothing was made yet: a client that says nothing costs nothing.
    Fresh,
    Waiting(Box<UnbufferedServerConnection>, usize),
    /// With the executor.
    Away,
}

/// One step, to be taken on any thread.
pub(crate) struct Job {
    setup: Arc<Setup>,
    rustls: Option<Box<UnbufferedServerConnection>>,
    identity: usize,
    incoming: Vec<u8>,
}

/// What came of a step.
pub(crate) struct Outcome {
    /// What the client is to be sent.
    pub reply: Vec<u8>,
    pub step: Step,
}

pub(crate) enum Step {
    /// The client's turn. Goes back into the handshake.
    More(Half),
    Done(Established),
    Failed(String),
}

pub(crate) struct Half {
    rustls: Box<UnbufferedServerConnection>,
    identity: usize,
    incoming: Vec<u8>,
    used: usize,
}

/// A handshake that is complete.
pub(crate) struct Established {
    pub session: Session,
    pub description: Arc<Description>,
    /// Data that came with the last of the handshake.
    pub data: Vec<u8>,
    /// The client's choice by ALPN.
    pub is_http2: bool,
}

impl Handshake {
    pub(crate) fn new(setup: Arc<Setup>) -> Handshake {
        Handshake {
            setup,
            progress: Progress::Fresh,
            incoming: Vec::new(),
            seen: 0,
            received: 0,
        }
    }

    pub(crate) fn timeout_ms(&self) -> u64 {
        self.setup.handshake_timeout_ms
    }

    pub(crate) fn is_away(&self) -> bool {
        matches!(self.progress, Progress::Away)
    }

    /// Whether the client has said anything.
    pub(crate) fn has_begun(&self) -> bool {
        self.received > 0
    }

    /// Whether a connection that begins with `first` can be TLS.
    pub(crate) fn is_tls(first: u8) -> bool {
        first == HANDSHAKE
    }

    /// Takes what was received, and gives a step if there is one to take. Err: this is too much for a handshake.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Option<Job>, ()> {
        self.received = self.received.saturating_add(bytes.len());
        if self.received > LONGEST {
            return Err(());
        }
        self.incoming.extend_from_slice(bytes);
        let before = self.seen;
        loop {
            let rest = self.incoming.get(self.seen..).unwrap_or_default();
            let Some(&[_, _, _, high, low]) = rest.first_chunk::<HEADER>() else {
                break;
            };
            let length = usize::from(u16::from_be_bytes([high, low]));
            // One that is too long is for rustls to refuse.
            if rest.len() < HEADER.saturating_add(length.min(RECORD)) {
                break;
            }
            self.seen = self
                .seen
                .saturating_add(HEADER)
                .saturating_add(length)
                .min(self.incoming.len());
        }
        if self.seen == before {
            return Ok(None);
        }
        let (rustls, identity) = match std::mem::replace(&mut self.progress, Progress::Away) {
            Progress::Waiting(rustls, identity) => (Some(rustls), identity),
            _ => (None, 0),
        };
        Ok(Some(Job {
            setup: self.setup.clone(),
            rustls,
            identity,
            incoming: std::mem::take(&mut self.incoming),
        }))
    }

    /// Goes on after a step.
    pub(crate) fn resume(&mut self, half: Half) {
        self.seen = self.seen.saturating_sub(half.used);
        self.incoming = half.incoming;
        self.progress = Progress::Waiting(half.rustls, half.identity);
    }
}

impl Job {
    /// Takes the step. A panic within ends one connection only.
    pub(crate) fn run(self) -> Outcome {
        let failed = |why: &str| Outcome {
            reply: Vec::new(),
            step: Step::Failed(why.to_owned()),
        };
        catch_unwind(AssertUnwindSafe(|| self.advance()))
            .unwrap_or_else(|_| failed("internal error"))
    }

    fn advance(self) -> Outcome {
        let Job {
            setup,
            rustls,
            mut identity,
            mut incoming,
        } = self;
        let mut reply = Vec::new();
        let fail = |reply, error: Error| Outcome {
            reply,
            step: Step::Failed(error.to_string()),
        };
        let made = match rustls {
            Some(rustls) => Ok(rustls),
            None => UnbufferedServerConnection::new(setup.rustls.clone()).map(Box::new),
        };
        let mut rustls = match made {
            Ok(rustls) => rustls,
            Err(error) => return fail(reply, error),
        };
        identity::present(identity);
        let mut data = Vec::new();
        let mut at = 0usize;
        let mut closed = false;
        loop {
            let received = incoming.get_mut(at..).unwrap_or_default();
            let (used, next) = step(&mut rustls, received, &mut reply, |plain| {
                data.extend_from_slice(plain)
            });
            match next {
                Ok(Next::Again) => at = at.saturating_add(used),
                Ok(Next::Wait) => {
                    at = at.saturating_add(used);
                    break;
                }
                Ok(Next::Closed) => {
                    closed = true;
                    break;
                }
                Err(error) => {
                    alert(&mut rustls, received, &mut reply);
                    return fail(reply, error);
                }
            }
        }
        identity = identity::presented();
        let used = at.min(incoming.len());
        incoming.drain(..used);
        if rustls.is_handshaking() {
            let half = Half {
                rustls,
                identity,
                incoming,
                used,
            };
            return Outcome {
                reply,
                step: Step::More(half),
            };
        }
        let version = rustls.protocol_version().map_or(0, u16::from);
        let suite = rustls
            .negotiated_cipher_suite()
            .map_or(0, |suite| u16::from(suite.suite()));
        let client = rustls
            .peer_certificates()
            .map(|chain| chain.to_vec())
            .unwrap_or_default();
        let established = Established {
            description: setup.describe(identity, version, suite, client),
            is_http2: rustls.alpn_protocol() == Some(b"h2"),
            session: Session::new(rustls, incoming, closed),
            data,
        };
        Outcome {
            reply,
            step: Step::Done(established),
        }
    }
}
