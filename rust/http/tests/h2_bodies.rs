//! Request bodies: delivery, declared lengths, flow control; and blocks in many fragments.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod h2_support;

use ferrule_http::Limits;
use ferrule_http::h2::frame::{Continuation, Data, Headers};
use ferrule_http::h2::{Code, PREFACE, Settings};
use h2_support::{GET, POST, Reply, Seen, Talk, data_frame, owned};

#[test]
fn a_body_arrives_in_pieces_with_its_end() {
    let mut talk = Talk::new();
    talk.headers(1, &POST, false);
    talk.data(1, b"hello, ", false);
    talk.data(1, b"world", true);
    assert_eq!(
        talk.seen()[1..],
        [
            Seen::Data(1, b"hello, ".to_vec(), false),
            Seen::Data(1, b"world".to_vec(), true)
        ]
    );
    talk.headers(3, &POST, false);
    talk.data(3, b"", true);
    assert_eq!(talk.seen()[1..], [Seen::Data(3, vec![], true)]);
}

#[test]
fn data_is_delivered_before_its_frame_is_complete() {
    let mut talk = Talk::new();
    talk.headers(1, &POST, false);
    talk.seen();
    let mut wire = Vec::new();
    Data {
        stream: 1,
        data: b"hello",
        padding: Some(3),
        end_stream: true,
    }
    .encode(&mut wire);
    talk.send(&wire[..9]);
    assert_eq!(talk.seen(), []);
    talk.send(&wire[9..12]);
    assert_eq!(talk.saw(), Seen::Data(1, b"he".to_vec(), false));
    talk.send(&wire[12..14]);
    assert_eq!(talk.saw(), Seen::Data(1, b"ll".to_vec(), false));
    talk.send(&wire[14..]);
    assert_eq!(talk.saw(), Seen::Data(1, b"o".to_vec(), true));
}

#[test]
fn trailers_end_a_body() {
    let mut talk = Talk::new();
    talk.headers(1, &POST, false);
    talk.data(1, b"hello", false);
    talk.headers(1, &[("x-checksum", "1")], true);
    assert_eq!(
        talk.seen()[2..],
        [Seen::Trailers(1, owned(&[("x-checksum", "1")]))]
    );

    for (stream, trailers) in [
        (3, ("content-length", "5")),
        (5, (":path", "/")),
        (7, ("connection", "close")),
        (9, ("x-a", "a\r\nb")),
    ] {
        talk.headers(stream, &POST, false);
        talk.headers(stream, &[trailers], true);
        assert_eq!(
            talk.seen()[1..],
            [Seen::Reset(stream, Code::ProtocolError, false)]
        );
    }
    talk.headers(11, &POST, false);
    talk.headers(11, &[("x-a", "1")], false);
    assert_eq!(
        talk.seen()[1..],
        [Seen::Reset(11, Code::ProtocolError, false)]
    );
}

#[test]
fn a_body_that_misses_its_declared_length_is_reset() {
    let declared = [&POST[..], &[("content-length", "5")]].concat();
    let mut talk = Talk::new();
    talk.headers(1, &declared, false);
    talk.data(1, b"hello!", false);
    talk.headers(3, &declared, false);
    talk.data(3, b"hell", true);
    talk.headers(5, &declared, false);
    talk.data(5, b"hell", false);
    talk.headers(5, &[("x-trailer", "1")], true);
    talk.headers(7, &declared, false);
    talk.data(7, b"", true);
    let resets: Vec<_> = talk
        .seen()
        .into_iter()
        .filter(|seen| matches!(seen, Seen::Reset(..)))
        .collect();
    let expected = [1, 3, 5, 7].map(|stream| Seen::Reset(stream, Code::ProtocolError, false));
    assert_eq!(resets, expected);
    talk.headers(9, &declared, false);
    talk.data(9, b"hello", true);
    assert_eq!(talk.seen()[1..], [Seen::Data(9, b"hello".to_vec(), true)]);
}

fn small_windows() -> Talk {
    let settings = Settings {
        window: 1000,
        connection_window: 65_535,
        ..Settings::default()
    };
    Talk::with(settings, &Limits::default())
}

#[test]
fn windows_open_as_the_application_consumes() {
    let mut talk = small_windows();
    talk.headers(1, &POST, false);
    talk.data(1, &[b'x'; 1000], false);
    assert_eq!(talk.replies(), []);
    talk.connection.consumed(1, 499);
    assert_eq!(talk.replies(), []);
    talk.connection.consumed(1, 1);
    assert_eq!(talk.replies(), [Reply::WindowUpdate(1, 500)]);
    talk.data(1, &[b'x'; 500], true);
    // An ended stream needs no window; more than was received cannot be consumed.
    talk.connection.consumed(1, 1_000_000);
    assert_eq!(talk.replies(), []);
}

#[test]
fn a_window_taken_up_by_unread_bodies_is_lent_again_and_paid_back() {
    let settings = Settings {
        connection_window: 65_535,
        ..Settings::default()
    };
    let mut talk = Talk::with(settings, &Limits::default());
    talk.headers(1, &POST, false);
    talk.headers(3, &POST, false);
    let frame = [0; 16_384];
    for _ in 0..2 {
        talk.data(1, &frame, false);
    }
    assert_eq!(talk.connection.blocked_by_held(), 0);
    talk.data(1, &frame, false);
    talk.data(1, &frame[..16_383], false);
    assert_eq!(talk.connection.blocked_by_held(), 65_535);
    talk.replies();

    talk.connection.lend(u32::MAX);
    assert_eq!(talk.replies(), [Reply::WindowUpdate(0, 65_535)]);
    assert_eq!(talk.connection.lent(), 65_535);
    assert_eq!(talk.connection.blocked_by_held(), 0);
    talk.data(3, &frame, true);
    talk.connection.consumed(3, frame.len());
    assert_eq!(talk.connection.lent(), 65_535 - 16_384);

    // What was lent comes back before the window opens further.
    talk.connection.consumed(1, 65_535 - 16_384);
    assert_eq!(talk.connection.lent(), 0);
    assert_eq!(talk.replies(), []);
}

#[test]
fn more_data_than_a_window_is_an_error_of_the_stream_or_the_connection() {
    let mut talk = small_windows();
    talk.headers(1, &POST, false);
    talk.headers(3, &POST, false);
    talk.seen();
    talk.data(1, &[b'x'; 1001], false);
    assert_eq!(talk.saw(), Seen::Reset(1, Code::FlowControlError, false));
    talk.data(3, &[b'x'; 1000], false);
    assert_eq!(talk.saw(), Seen::Data(3, vec![b'x'; 1000], false));

    let settings = Settings {
        connection_window: 65_535,
        ..Settings::default()
    };
    let mut talk = Talk::with(settings, &Limits::default());
    talk.headers(1, &POST, false);
    for _ in 0..4 {
        talk.data(1, &[b'x'; 16_000], false);
    }
    assert_eq!(
        talk.fails(&data_frame(1, &[b'x'; 1536], false)),
        Code::FlowControlError
    );
}

#[test]
fn until_settings_are_acknowledged_the_default_window_holds() {
    let settings = Settings {
        window: 100,
        ..Settings::default()
    };
    let mut talk = Talk::silent(settings, &Limits::default());
    talk.send(PREFACE);
    talk.settings(&[]);
    talk.headers(1, &POST, false);
    talk.data(1, &[b'x'; 5000], false);
    talk.headers(3, &POST, false);
    talk.settings_ack();
    talk.headers(5, &POST, false);
    talk.seen();
    for (stream, octets) in [(3, 101), (5, 101), (1, 1)] {
        talk.data(stream, &vec![b'x'; octets], false);
        assert_eq!(
            talk.saw(),
            Seen::Reset(stream, Code::FlowControlError, false),
            "{stream}"
        );
    }
}

#[test]
fn padding_is_paid_back_at_once() {
    let settings = Settings {
        window: 2048,
        connection_window: 65_535,
        ..Settings::default()
    };
    let mut talk = Talk::with(settings, &Limits::default());
    talk.headers(1, &POST, false);
    for _ in 0..300 {
        let mut wire = Vec::new();
        Data {
            stream: 1,
            data: b"x",
            padding: Some(255),
            end_stream: false,
        }
        .encode(&mut wire);
        talk.send(&wire);
    }
    // 300 octets of data and 76,800 of padding: more than the stream window and the connection window.
    assert_eq!(talk.seen().len(), 301);
    let update = |reply: &Reply| match reply {
        Reply::WindowUpdate(1, increment) => *increment,
        _ => 0,
    };
    let paid: u32 = talk.replies().iter().map(update).sum();
    assert!((76_800 - 1024..=76_800).contains(&paid), "{paid}");
}

#[test]
fn released_and_refused_streams_give_their_windows_back() {
    let settings = Settings {
        connection_window: 65_535,
        window: 30_000,
        ..Settings::default()
    };
    let mut talk = Talk::with(settings, &Limits::default());
    let mut stream = 1;
    for _ in 0..20 {
        // Unread and complete, unread and incomplete, reset by the client.
        for end in [true, false, false] {
            talk.headers(stream, &POST, false);
            talk.data(stream, &[b'x'; 10_000], end);
            if stream % 3 == 0 {
                talk.reset(stream, Code::Cancel);
            }
            talk.connection.release(stream);
            stream += 2;
        }
        // Malformed, and refused.
        talk.headers(stream, &[(":method", "POST")], false);
        talk.data(stream, &[b'x'; 10_000], true);
        talk.headers(stream + 2, &[&POST[..], &[("expect", "x")]].concat(), false);
        talk.data(stream + 2, &[b'x'; 10_000], true);
        talk.connection.release(stream + 2);
        stream += 4;
        talk.replies();
        talk.seen();
    }
    assert_eq!(talk.connection.streams(), 0);
}

#[test]
fn a_stream_given_up_inside_a_frame_gives_all_of_it_back() {
    let settings = Settings {
        connection_window: 65_535,
        ..Settings::default()
    };
    let mut talk = Talk::with(settings, &Limits::default());
    for stream in (1..40).step_by(2) {
        talk.headers(stream, &POST, false);
        let wire = data_frame(stream, &[b'x'; 16_000], true);
        talk.send(&wire[..100]);
        talk.connection.release(stream);
        talk.send(&wire[100..]);
        let seen = talk.seen();
        assert_eq!(seen[1..], [Seen::Data(stream, vec![b'x'; 91], false)]);
        talk.replies();
    }
}

#[test]
fn a_block_may_come_in_many_fragments() {
    let mut talk = Talk::new();
    let block = talk.block(&[&GET[..], &[("x-long", &"v".repeat(100))]].concat());
    let mut wire = Vec::new();
    Headers {
        stream: 1,
        dependency: None,
        fragment: &[],
        padding: Some(0),
        end_stream: true,
        end_headers: false,
    }
    .encode(&mut wire);
    let last = block.len() / 2 - 1;
    for (number, fragment) in block.chunks(2).enumerate().take(last) {
        assert!(number < 64);
        Continuation {
            stream: 1,
            fragment,
            end_headers: false,
        }
        .encode(&mut wire);
    }
    talk.send(&wire);
    assert!(talk.connection.in_head());
    wire.clear();
    Continuation {
        stream: 1,
        fragment: &block[2 * last..],
        end_headers: true,
    }
    .encode(&mut wire);
    talk.send(&wire);
    assert!(!talk.connection.in_head());
    assert_eq!(talk.asked().1.fields.len(), 2);
}
