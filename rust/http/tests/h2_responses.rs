//! Responses: what the application gives and what goes out, and the end of streams and of
//! connections.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod h2_support;

use ferrule_http::Limits;
use ferrule_http::h1::encode::{Defaults, ResponseError};
use ferrule_http::h2::{Code, SendError, Settings, Waits};
use h2_support::{GET, POST, Reply, Seen, Talk, ask, head, owned};

const INITIAL_WINDOW_SIZE: u16 = 0x4;

#[test]
fn a_small_response_is_two_frames_of_one_write() {
    let mut talk = Talk::new();
    let extra = [
        (b"x-served-by".to_vec(), b"a".to_vec()),
        (b"Server".to_vec(), b"b".to_vec()),
    ];
    talk.defaults = Defaults::new(Some("ferrule"), true, &extra).unwrap();
    ask(&mut talk, 1);
    talk.respond(
        1,
        200,
        &[("Content-Type", "text/plain"), ("x-served-by", "c")],
        false,
    )
    .unwrap();
    assert_eq!(talk.connection.data(1, b"hello", true), Ok(5));
    talk.connection.release(1);
    let fields = [
        (":status", "200"),
        ("content-type", "text/plain"),
        ("x-served-by", "c"),
        ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("server", "b"),
    ];
    assert_eq!(
        talk.replies_within(65536),
        [
            Reply::Headers(1, owned(&fields), false),
            Reply::Data(1, b"hello".to_vec(), true)
        ]
    );
    assert_eq!(talk.connection.streams(), 0);
    assert!(!talk.connection.has_output());
}

#[test]
fn connection_fields_of_applications_stay_behind() {
    let mut talk = Talk::new();
    ask(&mut talk, 1);
    let fields = [
        ("connection", "close"),
        ("keep-alive", "x"),
        ("content-length", "0"),
    ];
    talk.respond(1, 200, &fields, true).unwrap();
    let expected = owned(&[(":status", "200"), ("content-length", "0")]);
    assert_eq!(talk.replies(), [Reply::Headers(1, expected, true)]);
}

#[test]
fn a_length_that_the_server_knows_is_announced() {
    let mut talk = Talk::new();
    ask(&mut talk, 1);
    let defaults = talk.defaults.clone();
    talk.connection
        .respond(1, &head(200, &[]), &defaults, Some(3), false)
        .unwrap();
    talk.connection.data(1, b"abc", true).unwrap();
    let expected = owned(&[(":status", "200"), ("content-length", "3")]);
    assert_eq!(talk.replies()[0], Reply::Headers(1, expected, false));
}

#[test]
fn responses_without_a_body_swallow_what_they_are_given() {
    let mut talk = Talk::new();
    let mut fields = GET.to_vec();
    fields[0].1 = "HEAD";
    talk.headers(1, &fields, true);
    talk.headers(3, &GET, true);
    talk.headers(5, &GET, true);
    talk.seen();
    for (stream, status, length) in [(1, 200, true), (3, 204, false), (5, 304, true)] {
        talk.respond(stream, status, &[("content-length", "5")], false)
            .unwrap();
        assert_eq!(talk.connection.data(stream, b"hel", false), Ok(3));
        assert_eq!(talk.connection.data(stream, b"lo", true), Ok(2));
        assert_eq!(
            talk.connection.data(stream, b"", true),
            Err(SendError::Order)
        );
        talk.connection.release(stream);
        let replies = talk.replies();
        let [Reply::Headers(_, fields, true)] = &replies[..] else {
            panic!("{replies:?}")
        };
        assert_eq!(fields.len(), 1 + usize::from(length), "{fields:?}");
    }
    assert_eq!(talk.connection.streams(), 0);
}

#[test]
fn interim_responses_come_before_the_head() {
    let mut talk = Talk::new();
    talk.headers(1, &POST, false);
    talk.connection.interim(1, 100, &[]).unwrap();
    talk.connection
        .interim(1, 103, &[(b"Link", b" </a.css>; rel=preload ")])
        .unwrap();
    talk.respond(1, 200, &[], true).unwrap();
    let hints = owned(&[(":status", "103"), ("link", "</a.css>; rel=preload")]);
    assert_eq!(
        talk.replies(),
        [
            Reply::Headers(1, owned(&[(":status", "100")]), false),
            Reply::Headers(1, hints, false),
            Reply::Headers(1, owned(&[(":status", "200")]), true),
        ]
    );
    assert_eq!(talk.connection.interim(1, 103, &[]), Err(SendError::Order));

    talk.headers(3, &GET, true);
    for (status, name, value, error) in [
        (101, "link", "a", ResponseError::BadStatus),
        (200, "link", "a", ResponseError::BadStatus),
        (103, "li nk", "a", ResponseError::BadName),
        (103, "connection", "a", ResponseError::BadName),
        (103, "content-length", "1", ResponseError::BadName),
        (103, "link", "a\r\nb: c", ResponseError::BadValue),
    ] {
        let fields = [(name.as_bytes(), value.as_bytes())];
        let outcome = talk.connection.interim(3, status, &fields);
        assert_eq!(outcome, Err(SendError::Response(error)), "{status} {name}");
    }
    assert_eq!(talk.replies(), []);
}

#[test]
fn trailers_end_a_response_behind_its_data() {
    let mut talk = Talk::new();
    talk.settings(&[(INITIAL_WINDOW_SIZE, 3)]);
    talk.replies();
    ask(&mut talk, 1);
    talk.respond(1, 200, &[], false).unwrap();
    talk.connection.data(1, b"hello", false).unwrap();
    for (name, value, error) in [
        (
            &b"content-length"[..],
            &b"1"[..],
            ResponseError::ForbiddenTrailer,
        ),
        (b"grpc status", b"0", ResponseError::BadName),
        (b"grpc-status", b"0\n", ResponseError::BadValue),
        (b":status", b"0", ResponseError::BadName),
    ] {
        assert_eq!(
            talk.connection.trailers(1, &[(name, value)]),
            Err(error.into())
        );
    }
    talk.connection
        .trailers(1, &[(b"Grpc-Status", b"0")])
        .unwrap();
    assert_eq!(
        talk.connection.data(1, b"more", true),
        Err(SendError::Order)
    );
    talk.connection.release(1);
    let replies = talk.replies();
    assert_eq!(replies[1..], [Reply::Data(1, b"hel".to_vec(), false)]);
    talk.window_update(1, 100);
    let trailers = owned(&[("grpc-status", "0")]);
    assert_eq!(
        talk.replies(),
        [
            Reply::Data(1, b"lo".to_vec(), false),
            Reply::Headers(1, trailers.clone(), true)
        ]
    );
    assert_eq!(talk.connection.streams(), 0);

    ask(&mut talk, 3);
    talk.respond(3, 200, &[], false).unwrap();
    talk.connection
        .trailers(3, &[(b"grpc-status", b"0")])
        .unwrap();
    assert_eq!(talk.replies()[1], Reply::Headers(3, trailers, true));
    ask(&mut talk, 5);
    talk.respond(5, 200, &[], false).unwrap();
    talk.connection.trailers(5, &[]).unwrap();
    assert_eq!(talk.replies()[1], Reply::Data(5, vec![], true));
}

#[test]
fn a_body_that_misses_its_announced_length_is_reset() {
    for (pieces, error) in [
        (
            &[("hel", false), ("lo, world", false)][..],
            ResponseError::TooMuchBody,
        ),
        (&[("hel", false), ("l", true)], ResponseError::TooLittleBody),
        (&[("", true)], ResponseError::TooLittleBody),
    ] {
        let mut talk = Talk::new();
        ask(&mut talk, 1);
        talk.respond(1, 200, &[("content-length", "5")], false)
            .unwrap();
        let (last, first) = pieces.split_last().unwrap();
        for (piece, end) in first {
            talk.connection.data(1, piece.as_bytes(), *end).unwrap();
        }
        let outcome = talk.connection.data(1, last.0.as_bytes(), last.1);
        assert_eq!(outcome, Err(SendError::Response(error)));
        assert_eq!(
            talk.replies().last(),
            Some(&Reply::Reset(1, Code::InternalError))
        );
        assert_eq!(talk.connection.data(1, b"x", false), Err(SendError::Closed));
        talk.connection.release(1);
        assert_eq!(talk.connection.streams(), 0);
    }
    let mut talk = Talk::new();
    ask(&mut talk, 1);
    let refused = talk.respond(1, 200, &[("content-length", "5")], true);
    assert_eq!(
        refused,
        Err(SendError::Response(ResponseError::TooLittleBody))
    );
    talk.respond(1, 500, &[], true).unwrap();
    ask(&mut talk, 3);
    talk.respond(3, 200, &[("content-length", "5")], false)
        .unwrap();
    let outcome = talk.connection.trailers(3, &[(b"a", b"b")]);
    assert_eq!(
        outcome,
        Err(SendError::Response(ResponseError::TooLittleBody))
    );
    assert_eq!(
        talk.replies().last(),
        Some(&Reply::Reset(3, Code::InternalError))
    );
}

#[test]
fn responses_out_of_order_are_errors_of_the_application() {
    let mut talk = Talk::new();
    ask(&mut talk, 1);
    assert_eq!(talk.connection.data(1, b"x", false), Err(SendError::Order));
    assert_eq!(talk.connection.trailers(1, &[]), Err(SendError::Order));
    talk.respond(1, 200, &[], false).unwrap();
    assert_eq!(talk.respond(1, 200, &[], false), Err(SendError::Order));
    talk.connection.data(1, b"", true).unwrap();
    assert_eq!(talk.connection.data(1, b"", true), Err(SendError::Order));
    assert_eq!(talk.respond(3, 200, &[], false), Err(SendError::Closed));
    assert_eq!(talk.connection.data(3, b"x", false), Err(SendError::Closed));
    assert_eq!(talk.connection.room(3), 0);
    talk.connection.release(3);
    talk.connection.reset(3, Code::Cancel);
    talk.connection.consumed(3, 5);
}

#[test]
fn a_block_beyond_the_clients_frame_size_goes_on_in_continuations() {
    let mut talk = Talk::new();
    ask(&mut talk, 1);
    let value = "!".repeat(40_000);
    talk.respond(1, 200, &[("x-long", &value)], true).unwrap();
    let replies = talk.replies();
    assert_eq!(
        replies,
        [Reply::Headers(
            1,
            owned(&[(":status", "200"), ("x-long", &value)]),
            true
        )]
    );
}

#[test]
fn an_incomplete_response_is_reset_when_its_application_is_done() {
    let mut talk = Talk::new();
    ask(&mut talk, 1);
    ask(&mut talk, 3);
    talk.connection.release(1);
    talk.respond(3, 200, &[], false).unwrap();
    talk.connection.data(3, b"half", false).unwrap();
    talk.connection.release(3);
    let replies = talk.replies();
    assert_eq!(replies[0], Reply::Reset(1, Code::InternalError));
    assert_eq!(replies.last(), Some(&Reply::Reset(3, Code::InternalError)));
    assert_eq!(talk.connection.streams(), 0);
}

/// A request that was answered before its body had come.
fn answered_early() -> Talk {
    let mut talk = Talk::new();
    talk.headers(
        1,
        &[&POST[..], &[("content-length", "100000")]].concat(),
        false,
    );
    talk.data(1, b"some", false);
    talk.respond(1, 200, &[], false).unwrap();
    talk.connection.data(1, b"enough", true).unwrap();
    talk.connection.release(1);
    assert_eq!(talk.connection.waits_for_client(1), Waits::End);
    talk.seen();
    talk.replies();
    talk
}

#[test]
fn a_client_that_still_sends_after_the_response_is_told_to_stop_when_it_sends_much() {
    let mut talk = answered_early();
    for _ in 0..4 {
        talk.data(1, &[b'x'; 16_384], false);
        assert_eq!(talk.replies(), []);
    }
    talk.data(1, b"x", false);
    assert_eq!(talk.replies(), [Reply::Reset(1, Code::NoError)]);
    assert_eq!(talk.connection.streams(), 0);
    // What was on its way is dropped.
    talk.data(1, b"more", false);
    talk.window_update(1, 5);
    talk.headers(1, &[("x-trailer", "1")], true);
    assert_eq!(talk.seen(), []);
    assert_eq!(talk.replies(), []);
}

#[test]
fn a_request_that_was_answered_early_may_come_to_its_end() {
    for in_trailers in [false, true] {
        let mut talk = answered_early();
        for _ in 0..6 {
            talk.data(1, &[b'x'; 9_000], false);
        }
        talk.headers(3, &POST, false);
        talk.respond(3, 204, &[], true).unwrap();
        talk.connection.release(3);
        assert_eq!(talk.connection.streams(), 2);
        if in_trailers {
            talk.headers(3, &[("x-trailer", "1")], true);
        } else {
            talk.data(3, b"", true);
        }
        assert_eq!(talk.connection.streams(), 1);
        talk.connection.reset(1, Code::NoError);
        assert_eq!(talk.connection.streams(), 0, "its owner has no patience");
        assert_eq!(talk.connection.waits_for_client(1), Waits::Nothing);
    }
}

#[test]
fn what_is_wrong_with_a_request_is_told_after_its_response_too() {
    let wrong: [fn(&mut Talk); 3] = [
        |talk| talk.data(1, b"short", true),
        |talk| talk.headers(1, &[(":method", "GET")], true),
        |talk| talk.headers(1, &[("a", "b")], false),
    ];
    for send in wrong {
        let mut talk = answered_early();
        send(&mut talk);
        assert_eq!(talk.replies(), [Reply::Reset(1, Code::ProtocolError)]);
        assert_eq!(talk.connection.streams(), 0);
    }
}

#[test]
fn a_reset_from_the_client_ends_the_response() {
    let mut talk = Talk::new();
    talk.settings(&[(INITIAL_WINDOW_SIZE, 5)]);
    talk.replies();
    ask(&mut talk, 1);
    talk.respond(1, 200, &[], false).unwrap();
    talk.connection.data(1, b"hello, world", true).unwrap();
    talk.replies();
    talk.reset(1, Code::Cancel);
    assert_eq!(talk.saw(), Seen::Reset(1, Code::Cancel, true));
    assert_eq!(talk.connection.data(1, b"x", false), Err(SendError::Closed));
    assert_eq!(
        talk.connection.streams(),
        1,
        "until the application is done"
    );
    assert!(!talk.connection.waits_for_window());
    talk.connection.release(1);
    assert_eq!(talk.connection.streams(), 0);
    assert_eq!(talk.replies(), []);
}

#[test]
fn a_drain_announces_itself_then_names_the_last_stream() {
    let mut talk = Talk::new();
    ask(&mut talk, 1);
    talk.connection.drain();
    let replies = talk.replies();
    let [
        Reply::GoAway(last, Code::NoError),
        Reply::Ping(false, opaque),
    ] = replies[..]
    else {
        panic!("{replies:?}")
    };
    assert_eq!(last, (1 << 31) - 1);
    // A request that crossed the first GOAWAY is served.
    ask(&mut talk, 3);
    talk.ping(true, opaque);
    assert_eq!(talk.replies(), [Reply::GoAway(3, Code::NoError)]);
    // One that crossed the second is not, and costs nothing; the compression stays in step.
    talk.headers(5, &[&POST[..], &[("x-new", "1")]].concat(), false);
    talk.data(5, b"hello", true);
    assert_eq!(talk.seen(), []);
    assert_eq!(talk.replies(), []);
    assert!(!talk.connection.is_done());
    for stream in [1, 3] {
        talk.respond(stream, 200, &[], true).unwrap();
        talk.connection.release(stream);
    }
    assert!(talk.connection.is_done());
    talk.connection.drain();
    assert_eq!(
        talk.replies().len(),
        2,
        "the two responses and no third GOAWAY"
    );
}

#[test]
fn a_drain_of_a_silent_client_takes_its_second_step_when_told_to() {
    let mut talk = Talk::new();
    talk.connection.drain();
    talk.connection.drain();
    let replies = talk.replies();
    assert_eq!(replies.len(), 3);
    assert_eq!(replies[2], Reply::GoAway(0, Code::NoError));
    assert!(talk.connection.is_done());
}

#[test]
fn a_client_that_leaves_is_served_to_the_end() {
    let mut talk = Talk::new();
    ask(&mut talk, 1);
    talk.go_away(Code::NoError);
    assert_eq!(talk.saw(), Seen::GoAway(Code::NoError, 0));
    assert!(!talk.connection.is_done());
    talk.respond(1, 200, &[], true).unwrap();
    talk.connection.release(1);
    assert!(talk.connection.is_done());
}

#[test]
fn settings_of_the_operator_are_announced() {
    let settings = Settings {
        max_streams: 7,
        window: 100_000,
        connection_window: 200_000,
        max_frame_size: 20_000,
        max_header_list: 10_000,
        connect_protocol: false,
    };
    let mut talk = Talk::silent(settings, &Limits::default());
    let replies = talk.replies();
    let Reply::Settings(announced) = &replies[0] else {
        panic!("{replies:?}")
    };
    for setting in [
        (0x3, 7),
        (0x4, 100_000),
        (0x5, 20_000),
        (0x6, 10_000),
        (0x9, 1),
    ] {
        assert!(announced.contains(&setting), "{setting:?}");
    }
    assert_eq!(announced.len(), 5, "{announced:?}");
    assert_eq!(replies[1], Reply::WindowUpdate(0, 200_000 - 65_535));
    assert_eq!(talk.connection.input_capacity(), 20_009);
}
