//! The life of a connection: pipelining, keep-alive, other protocols, ends.

use ferrule_http::h1::{Connection, Event, State, Step};
use ferrule_http::{ErrorKind, Limits, Request};

use crate::support::{every_way, refused, whole};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn pipelined_requests_come_out_in_order() {
    let wire = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
        POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n\
        \r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n";
    let outcome = every_way(&Limits::default(), wire);
    let seen: Vec<_> = outcome
        .requests
        .iter()
        .map(|seen| (&seen.target[..], &seen.body[..]))
        .collect();
    assert_eq!(
        seen,
        [
            (&b"/1"[..], &b""[..]),
            (b"/2", b"abc"),
            (b"/3", b"def"),
            (b"/4", b"")
        ]
    );
    assert!(outcome.requests.iter().all(|seen| seen.complete));
    assert_eq!((outcome.error, outcome.cut_off), (None, false));
}

#[test]
fn pipelined_bytes_wait_until_the_response_is_complete() {
    let (mut connection, mut request, limits) =
        (Connection::new(), Request::new(), Limits::default());
    let wire = [GET, GET].concat();
    let step = connection.next(&limits, &wire, &mut request);
    assert_eq!(
        step,
        Ok(Step {
            consumed: GET.len(),
            event: Event::Request
        })
    );
    let rest = &wire[GET.len()..];
    assert_eq!(
        connection.next(&limits, rest, &mut request),
        Ok(Step {
            consumed: 0,
            event: Event::End
        })
    );
    for _ in 0..3 {
        assert_eq!(connection.state(), State::Done);
        assert_eq!(
            connection.next(&limits, rest, &mut request),
            Ok(Step {
                consumed: 0,
                event: Event::NeedMore
            })
        );
    }
    connection.next_cycle();
    assert_eq!(connection.state(), State::Idle);
    let step = connection.next(&limits, rest, &mut request);
    assert_eq!(
        step,
        Ok(Step {
            consumed: GET.len(),
            event: Event::Request
        })
    );
}

#[test]
fn a_response_cycle_cannot_be_skipped() {
    let (mut connection, mut request, limits) =
        (Connection::new(), Request::new(), Limits::default());
    connection
        .next(
            &limits,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n",
            &mut request,
        )
        .unwrap();
    connection.next_cycle();
    assert_eq!(
        (connection.state(), connection.body_remaining()),
        (State::Body, Some(2))
    );
}

#[test]
fn nothing_is_read_after_the_last_request() {
    for first in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        let outcome = every_way(&Limits::default(), &[first.as_bytes(), GET].concat());
        assert_eq!((outcome.requests.len(), outcome.error), (1, None));
        assert_eq!(outcome.left, GET);
    }
}

#[test]
fn a_used_request_is_cleared_for_the_next() {
    let wire = [&b"POST http://a/x?y HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nz"[..], GET].concat();
    let outcome = whole(&Limits::default(), &wire);
    let second = &outcome.requests[1];
    assert_eq!(
        (second.fields.len(), second.target.as_slice()),
        (1, &b"/"[..])
    );
    assert_eq!(
        (second.query.as_ref(), second.authority.as_ref()),
        (None, None)
    );
    assert!(!second.expect_continue && second.body.is_empty());
}

#[test]
fn states_follow_the_bytes() {
    let (mut connection, mut request, limits) =
        (Connection::new(), Request::new(), Limits::default());
    assert_eq!(connection.state(), State::Idle);
    connection.next(&limits, b"", &mut request).unwrap();
    assert_eq!(connection.state(), State::Idle);
    let step = connection.next(&limits, b"\r\n", &mut request).unwrap();
    assert_eq!(
        (step.consumed, connection.state()),
        (2, State::Idle),
        "a stray empty line begins no request"
    );
    connection.next(&limits, b"P", &mut request).unwrap();
    assert_eq!(connection.state(), State::Head);
    assert_eq!(
        connection.end_of_input().unwrap_err().kind,
        ErrorKind::Incomplete
    );

    let mut connection = Connection::new();
    connection.next(&limits, b"P", &mut request).unwrap();
    assert_eq!(
        connection.state(),
        State::Head,
        "though it may yet become an HTTP/2 preface"
    );
    let wire = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab";
    let step = connection.next(&limits, wire, &mut request).unwrap();
    assert_eq!(
        (step.event, connection.body_remaining()),
        (Event::Request, Some(4))
    );
    let step = connection
        .next(&limits, &wire[step.consumed..], &mut request)
        .unwrap();
    assert_eq!(
        (step.event, connection.body_remaining()),
        (Event::Body(0..2), Some(2))
    );
    assert_eq!(
        connection.end_of_input().unwrap_err().kind,
        ErrorKind::Incomplete
    );
    connection.next(&limits, b"cd", &mut request).unwrap();
    assert_eq!(
        connection.next(&limits, b"", &mut request).unwrap().event,
        Event::End
    );
    assert_eq!(
        (connection.state(), connection.body_remaining()),
        (State::Done, None)
    );
    connection.end_of_input().unwrap();
}

#[test]
fn a_partial_head_keeps_its_complete_lines() {
    let (mut connection, mut request, limits) =
        (Connection::new(), Request::new(), Limits::default());
    let wire = b"GET / HTTP/1.1\r\nHost: a\r\nx: y";
    connection.next(&limits, wire, &mut request).unwrap();
    assert_eq!(request.block.fields().len(), 1);
    let wire = [&wire[..], b"z\r\n\r\n"].concat();
    let step = connection.next(&limits, &wire, &mut request).unwrap();
    assert_eq!(
        step,
        Step {
            consumed: wire.len(),
            event: Event::Request
        }
    );
    assert_eq!(request.block.get(1).unwrap().2, b"yz");
}

#[test]
fn an_http2_preface_is_reported_to_the_caller() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let limits = Limits::default();
    assert_eq!(refused(&limits, preface), ErrorKind::Http2Preface);
    for at in 1..preface.len() {
        let outcome = whole(&limits, &preface[..at]);
        assert_eq!(
            (outcome.error, outcome.left.len()),
            (None, at),
            "a piece of it tells nothing yet"
        );
    }
    // Almost: an HTTP/1.1 line that says 2.0.
    assert_eq!(
        refused(&limits, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"),
        ErrorKind::UnsupportedVersion
    );
    // Only the first bytes of a connection can be one.
    assert_eq!(
        refused(&limits, &[GET, preface].concat()),
        ErrorKind::UnsupportedVersion
    );
    assert_eq!(
        refused(&limits, &[b"\r\n", &preface[..]].concat()),
        ErrorKind::UnsupportedVersion
    );
}

#[test]
fn tls_on_a_clear_text_port_is_told_so() {
    let limits = Limits::default();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    assert_eq!(refused(&limits, hello), ErrorKind::TlsOnClearText);
    assert_eq!(refused(&limits, b"\x16\x02"), ErrorKind::ControlByte);
    assert_eq!(
        refused(&limits, &[GET, hello].concat()),
        ErrorKind::ControlByte
    );
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Connection>() <= 96, "{}", size_of::<Connection>());
}

#[test]
fn trailers_are_given_once_and_not_to_the_next_request() {
    let (mut connection, mut request, limits) =
        (Connection::new(), Request::new(), Limits::default());
    let wire = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: y\r\n\r\n";
    let step = connection.next(&limits, wire, &mut request).unwrap();
    assert!(connection.trailers().is_none());
    let step = connection
        .next(&limits, &wire[step.consumed..], &mut request)
        .unwrap();
    assert_eq!(step.event, Event::End);
    assert_eq!(connection.trailers().unwrap().get(0).unwrap().1, b"x");
    assert!(connection.trailers().is_none());
    connection.next_cycle();
    connection.next(&limits, GET, &mut request).unwrap();
    connection.next(&limits, b"", &mut request).unwrap();
    assert!(connection.trailers().is_none());
}
