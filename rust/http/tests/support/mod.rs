//! Drives a `Connection` over bytes cut up in every way. Knows what a request says, never which
//! requests are right.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use ferrule_http::h1::{Connection, Event, State};
use ferrule_http::{BodyLength, ErrorKind, HeaderBlock, Limits, Request};

/// A request as an application would see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub target: Vec<u8>,
    pub path: Vec<u8>,
    pub query: Option<Vec<u8>>,
    pub authority: Option<Vec<u8>>,
    pub minor: u8,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub length: BodyLength,
    pub keep_alive: bool,
    pub expect_continue: bool,
    pub websocket: bool,
    pub body: Vec<u8>,
    pub trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// `End` was reached.
    pub complete: bool,
}

/// All that a connection said about some bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub requests: Vec<Seen>,
    pub error: Option<ErrorKind>,
    /// Bytes that were not consumed.
    pub left: Vec<u8>,
    /// What the end of input would mean now.
    pub cut_off: bool,
}

/// Feeds the pieces of `wire` one after the other, answering each complete request at once.
pub fn drive<'a>(limits: &Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut connection = Connection::new();
    let mut request = Request::new();
    let mut outcome = Outcome::default();
    let mut buffer: Vec<u8> = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let step = match connection.next(limits, &buffer, &mut request) {
                Ok(step) => step,
                Err(error) => {
                    assert_eq!(connection.state(), State::Closed);
                    let again =
                        connection.next(limits, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &mut request);
                    assert_eq!(again, Err(error), "an error is final");
                    outcome.error = Some(error.kind);
                    return outcome;
                }
            };
            assert!(step.consumed <= buffer.len());
            match step.event {
                Event::NeedMore => {}
                Event::Request => {
                    assert_eq!(connection.state(), State::Body);
                    outcome.requests.push(see(&request));
                }
                Event::Body(ref range) => {
                    assert!(!range.is_empty() && range.end <= step.consumed);
                    let seen = outcome
                        .requests
                        .last_mut()
                        .expect("a body follows a request");
                    seen.body.extend_from_slice(&buffer[range.clone()]);
                }
                Event::End => {
                    assert_eq!(connection.state(), State::Done);
                    let seen = outcome
                        .requests
                        .last_mut()
                        .expect("an end follows a request");
                    seen.complete = true;
                    seen.trailers = connection
                        .trailers()
                        .map(|block| pairs(&block))
                        .unwrap_or_default();
                    connection.next_cycle();
                }
            }
            buffer.drain(..step.consumed);
            if step.event == Event::NeedMore {
                break;
            }
        }
    }
    outcome.left = buffer;
    outcome.cut_off = connection.end_of_input().is_err();
    outcome
}

pub fn whole(limits: &Limits, wire: &[u8]) -> Outcome {
    drive(limits, [wire])
}

/// Whole, byte by byte, and at every split in two: all must agree, and the agreed is returned.
/// A few very long requests are split at every 17th byte, which still meets every alignment.
pub fn every_way(limits: &Limits, wire: &[u8]) -> Outcome {
    let outcome = whole(limits, wire);
    let bytewise = drive(limits, wire.chunks(1));
    assert_eq!(
        bytewise,
        outcome,
        "byte by byte differs from whole: {:?}",
        lossy(wire)
    );
    let step = if wire.len() > 4096 { 17 } else { 1 };
    for at in (1..wire.len()).step_by(step) {
        let split = drive(limits, [&wire[..at], &wire[at..]]);
        assert_eq!(
            split,
            outcome,
            "split at {at} differs from whole: {:?}",
            lossy(wire)
        );
    }
    outcome
}

/// The cause for which `wire` is refused, the same however it is split and whatever follows.
#[track_caller]
pub fn refused(limits: &Limits, wire: &[u8]) -> ErrorKind {
    let error = every_way(limits, wire).error;
    let Some(kind) = error else {
        panic!("not refused: {:?}", lossy(wire))
    };
    let trailing = [wire, b"GET /trailing HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    assert_eq!(
        whole(limits, &trailing).error,
        Some(kind),
        "with trailing bytes: {:?}",
        lossy(wire)
    );
    kind
}

/// The one complete request that `wire` is, the same however it is split and whatever follows.
#[track_caller]
pub fn accepted(limits: &Limits, wire: &[u8]) -> Seen {
    let outcome = every_way(limits, wire);
    assert_eq!(outcome.error, None, "{:?}", lossy(wire));
    assert_eq!(
        (outcome.requests.len(), outcome.left.len()),
        (1, 0),
        "{:?}",
        lossy(wire)
    );
    let seen = outcome.requests[0].clone();
    assert!(seen.complete, "not complete: {:?}", lossy(wire));
    let trailing = whole(limits, &[wire, b"\x01garbage"].concat());
    assert_eq!(
        trailing.requests,
        outcome.requests,
        "with trailing bytes: {:?}",
        lossy(wire)
    );
    seen
}

fn see(request: &Request) -> Seen {
    let block = &request.block;
    Seen {
        method: String::from_utf8_lossy(request.method_bytes()).into_owned(),
        target: request.target_bytes().to_vec(),
        path: request.path_bytes().to_vec(),
        query: request.query.map(|span| block.slice(span).to_vec()),
        authority: request
            .absolute_authority
            .map(|span| block.slice(span).to_vec()),
        minor: request.minor,
        fields: pairs(block),
        length: request.body,
        keep_alive: request.keep_alive,
        expect_continue: request.expect_continue,
        websocket: request.upgrade_websocket,
        ..Seen::default()
    }
}

pub fn pairs(block: &HeaderBlock) -> Vec<(Vec<u8>, Vec<u8>)> {
    block
        .iter()
        .map(|(_, name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}

pub fn lossy(wire: &[u8]) -> String {
    String::from_utf8_lossy(wire).into_owned()
}
