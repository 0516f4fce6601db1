//! Every error of RFC 9113 sections 3 to 6 that a client can make, and what is none.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod h2_support;

use ferrule_http::Limits;
use ferrule_http::h2::{Code, PREFACE, Settings};
use h2_support::{
    GET, POST, Reply, Seen, Talk, data_frame, raw, reset_frame, settings_frame, window_frame,
};

#[test]
fn frames_on_ended_and_reset_streams_have_the_error_of_the_rfc() {
    // Half closed (remote).
    let mut talk = Talk::new();
    talk.headers(1, &GET, true);
    talk.seen();
    talk.data(1, b"x", true);
    assert_eq!(talk.saw(), Seen::Reset(1, Code::StreamClosed, false));
    talk.headers(3, &GET, true);
    talk.seen();
    talk.headers(3, &GET, true);
    assert_eq!(talk.saw(), Seen::Reset(3, Code::StreamClosed, false));
    talk.replies();

    // Closed by the client's RST_STREAM, before and after the application is done with it.
    talk.headers(5, &POST, false);
    talk.reset(5, Code::Cancel);
    talk.data(5, b"x", true);
    assert_eq!(talk.replies(), [Reply::Reset(5, Code::StreamClosed)]);
    talk.data(5, b"x", true);
    assert_eq!(talk.replies(), [], "told once");
    talk.headers(7, &POST, false);
    talk.reset(7, Code::Cancel);
    talk.connection.release(7);
    talk.headers(7, &GET, true);
    assert_eq!(talk.replies(), [Reply::Reset(7, Code::StreamClosed)]);
    talk.data(7, b"x", true);
    talk.reset(7, Code::Cancel);
    talk.window_update(7, 1);
    assert_eq!(talk.replies(), []);

    // Closed by END_STREAM from both sides.
    for frame in [data_frame(9, b"x", true), talk_headers(9)] {
        let mut talk = Talk::new();
        talk.headers(9, &GET, true);
        talk.respond(9, 200, &[], true).unwrap();
        talk.replies();
        talk.connection.release(9);
        talk.window_update(9, 1);
        talk.reset(9, Code::Cancel);
        assert_eq!(talk.fails(&frame), Code::StreamClosed);
    }
}

/// HEADERS of a client that has sent no other block.
fn talk_headers(stream: u32) -> Vec<u8> {
    // Three indexed lines and a name with a literal: GET, https, / and the authority.
    raw(1, 0x5, stream, b"\x82\x87\x84\x01\x01a")
}

#[test]
fn connection_errors_have_the_code_of_the_rfc() {
    let setting = |id, value| settings_frame(&[(id, value)]);
    let rows: Vec<(&str, Code, Vec<u8>)> = vec![
        // Section 4.1 and 4.2.
        (
            "oversized frame",
            Code::FrameSizeError,
            raw(0, 0, 1, &[0; 16_385]),
        ),
        // Section 5.1: idle streams.
        (
            "DATA on an idle stream",
            Code::ProtocolError,
            data_frame(1, b"x", true),
        ),
        (
            "RST_STREAM on an idle stream",
            Code::ProtocolError,
            reset_frame(1, Code::Cancel),
        ),
        (
            "WINDOW_UPDATE on an idle stream",
            Code::ProtocolError,
            window_frame(1, 100),
        ),
        (
            "CONTINUATION on an idle stream",
            Code::ProtocolError,
            raw(9, 4, 1, b"\x82"),
        ),
        // Section 5.1.1.
        ("even stream", Code::ProtocolError, talk_headers(2)),
        (
            "lower stream",
            Code::ProtocolError,
            [talk_headers(5), talk_headers(3)].concat(),
        ),
        // Section 6.1 to 6.4.
        (
            "DATA on stream 0",
            Code::ProtocolError,
            data_frame(0, b"x", true),
        ),
        (
            "DATA with too much padding",
            Code::ProtocolError,
            [
                raw(1, 4, 1, b"\x82\x87\x84\x01\x01a"),
                raw(0, 8, 1, &[5, 0, 0, 0, 0]),
            ]
            .concat(),
        ),
        (
            "padded DATA without payload",
            Code::FrameSizeError,
            [raw(1, 4, 1, b"\x82\x87\x84\x01\x01a"), raw(0, 8, 1, &[])].concat(),
        ),
        ("HEADERS on stream 0", Code::ProtocolError, talk_headers(0)),
        (
            "HEADERS with too much padding",
            Code::ProtocolError,
            raw(1, 0xc, 1, &[9, 0x82]),
        ),
        (
            "HEADERS without its priority",
            Code::FrameSizeError,
            raw(1, 0x24, 1, &[0; 4]),
        ),
        (
            "PRIORITY on stream 0",
            Code::ProtocolError,
            raw(2, 0, 0, &[0; 5]),
        ),
        (
            "RST_STREAM on stream 0",
            Code::ProtocolError,
            reset_frame(0, Code::Cancel),
        ),
        (
            "RST_STREAM of three octets",
            Code::FrameSizeError,
            raw(3, 0, 1, &[0; 3]),
        ),
        // Section 6.5.
        (
            "SETTINGS on a stream",
            Code::ProtocolError,
            raw(4, 0, 1, &[]),
        ),
        (
            "SETTINGS of five octets",
            Code::FrameSizeError,
            raw(4, 0, 0, &[0; 5]),
        ),
        (
            "acknowledgement with settings",
            Code::FrameSizeError,
            raw(4, 1, 0, &[0; 6]),
        ),
        ("ENABLE_PUSH 2", Code::ProtocolError, setting(0x2, 2)),
        (
            "INITIAL_WINDOW_SIZE 2^31",
            Code::FlowControlError,
            setting(0x4, 1 << 31),
        ),
        (
            "MAX_FRAME_SIZE 16383",
            Code::ProtocolError,
            setting(0x5, 16_383),
        ),
        (
            "MAX_FRAME_SIZE 2^24",
            Code::ProtocolError,
            setting(0x5, 1 << 24),
        ),
        // Section 6.6 to 6.8.
        (
            "PUSH_PROMISE",
            Code::ProtocolError,
            raw(5, 4, 1, &[0, 0, 0, 2]),
        ),
        (
            "PING on a stream",
            Code::ProtocolError,
            raw(6, 0, 1, &[0; 8]),
        ),
        (
            "PING of six octets",
            Code::FrameSizeError,
            raw(6, 0, 0, &[0; 6]),
        ),
        (
            "GOAWAY on a stream",
            Code::ProtocolError,
            raw(7, 0, 1, &[0; 8]),
        ),
        (
            "GOAWAY of seven octets",
            Code::FrameSizeError,
            raw(7, 0, 0, &[0; 7]),
        ),
        // Section 6.9.
        (
            "WINDOW_UPDATE of 0",
            Code::ProtocolError,
            raw(8, 0, 0, &[0; 4]),
        ),
        (
            "WINDOW_UPDATE of three octets",
            Code::FrameSizeError,
            raw(8, 0, 0, &[0; 3]),
        ),
        (
            "window overflow",
            Code::FlowControlError,
            window_frame(0, (1 << 31) - 1),
        ),
        (
            "window overflow by SETTINGS",
            Code::FlowControlError,
            [
                talk_headers(1),
                window_frame(1, (1 << 31) - 65_536),
                setting(0x4, 65_536),
            ]
            .concat(),
        ),
        // Section 6.10 and 4.3.
        (
            "CONTINUATION alone",
            Code::ProtocolError,
            [talk_headers(1), raw(9, 4, 1, b"\x82")].concat(),
        ),
        (
            "DATA inside a block",
            Code::ProtocolError,
            [raw(1, 1, 1, b"\x82"), data_frame(1, b"x", true)].concat(),
        ),
        (
            "unknown frame inside a block",
            Code::ProtocolError,
            [raw(1, 1, 1, b"\x82"), raw(0x16, 0, 0, b"x")].concat(),
        ),
        (
            "CONTINUATION of another stream",
            Code::ProtocolError,
            [raw(1, 1, 1, b"\x82"), raw(9, 4, 3, b"\x84")].concat(),
        ),
        (
            "another HEADERS inside a block",
            Code::ProtocolError,
            [raw(1, 1, 1, b"\x82"), talk_headers(3)].concat(),
        ),
        // RFC 7541.
        (
            "bad index",
            Code::CompressionError,
            raw(1, 5, 1, b"\xff\x80"),
        ),
        (
            "index beyond the tables",
            Code::CompressionError,
            raw(1, 5, 1, b"\xbe"),
        ),
        (
            "block cut short",
            Code::CompressionError,
            raw(1, 5, 1, b"\x82\x04\x05/ab"),
        ),
        (
            "late size update",
            Code::CompressionError,
            raw(1, 5, 1, b"\x82\x20"),
        ),
        (
            "bad Huffman string",
            Code::CompressionError,
            raw(1, 5, 1, b"\x04\x81\x00"),
        ),
        // RFC 9218 section 7.1.
        (
            "PRIORITY_UPDATE on a stream",
            Code::ProtocolError,
            raw(0x10, 0, 1, &[0, 0, 0, 1]),
        ),
        (
            "PRIORITY_UPDATE about stream 0",
            Code::ProtocolError,
            raw(0x10, 0, 0, &[0; 4]),
        ),
        (
            "PRIORITY_UPDATE of three octets",
            Code::FrameSizeError,
            raw(0x10, 0, 0, &[0; 3]),
        ),
    ];
    for (name, code, wire) in rows {
        assert_eq!(Talk::new().fails(&wire), code, "{name}");
    }
}

#[test]
fn stream_errors_have_the_code_of_the_rfc_and_leave_the_connection_alone() {
    for (name, code, wire) in [
        (
            "PRIORITY of four octets",
            Code::FrameSizeError,
            raw(2, 0, 1, &[0; 4]),
        ),
        (
            "PRIORITY on itself",
            Code::ProtocolError,
            raw(2, 0, 1, &[0, 0, 0, 1, 5]),
        ),
        (
            "WINDOW_UPDATE of 0",
            Code::ProtocolError,
            raw(8, 0, 1, &[0; 4]),
        ),
        (
            "window overflow",
            Code::FlowControlError,
            window_frame(1, (1 << 31) - 1),
        ),
    ] {
        let mut talk = Talk::new();
        talk.headers(1, &POST, false);
        talk.seen();
        talk.send(&wire);
        assert_eq!(talk.saw(), Seen::Reset(1, code, false), "{name}");
        assert_eq!(talk.replies(), [Reply::Reset(1, code)], "{name}");
        talk.headers(3, &GET, true);
        assert_eq!(talk.asked().0, 3, "{name}");
    }
}

#[test]
fn what_means_nothing_is_ignored() {
    let mut talk = Talk::new();
    // Unknown frames, settings and flags; the reserved bit of a stream number; PRIORITY anywhere.
    talk.send(&raw(0x16, 0xff, 7, &[0; 100]));
    talk.send(&raw(0xff, 0, 0, &[]));
    talk.settings(&[(0xff, 1)]);
    assert_eq!(talk.replies(), [Reply::SettingsAck]);
    talk.send(&raw(6, 0xfe, 1 << 31, &[7; 8]));
    assert_eq!(talk.replies(), [Reply::Ping(true, [7; 8])]);
    talk.send(&raw(6, 1, 0, &[7; 8]));
    talk.send(&raw(2, 0, 9, &[0, 0, 0, 1, 5]));
    talk.settings_ack();
    assert_eq!(talk.replies(), []);
    talk.headers(1, &GET, true);
    assert_eq!(talk.asked().0, 1);
}

#[test]
fn the_preface_is_checked_octet_by_octet() {
    let mut talk = Talk::silent(Settings::default(), &Limits::default());
    assert!(talk.connection.in_head());
    for octet in PREFACE {
        talk.send(&[*octet]);
    }
    talk.settings(&[]);
    assert!(!talk.connection.in_head());
    for at in 0..PREFACE.len() {
        let mut bad = *PREFACE;
        bad[at] ^= 0x20;
        let mut talk = Talk::silent(Settings::default(), &Limits::default());
        assert_eq!(talk.fails(&bad), Code::ProtocolError);
    }
}

#[test]
fn settings_come_first() {
    for first in [
        talk_headers(1),
        raw(6, 0, 0, &[0; 8]),
        raw(4, 1, 0, &[]),
        raw(0x16, 0, 0, &[]),
    ] {
        let mut talk = Talk::silent(Settings::default(), &Limits::default());
        talk.send(PREFACE);
        assert_eq!(talk.fails(&first), Code::ProtocolError);
    }
}

#[test]
fn streams_beyond_the_limit_are_refused_until_there_is_room() {
    let settings = Settings {
        max_streams: 2,
        ..Settings::default()
    };
    let mut talk = Talk::with(settings, &Limits::default());
    talk.headers(1, &GET, true);
    talk.headers(3, &GET, true);
    talk.headers(5, &[&POST[..], &[("x-new", "1")]].concat(), false);
    assert_eq!(
        talk.seen()[2..],
        [Seen::Reset(5, Code::RefusedStream, false)]
    );
    assert_eq!(talk.replies(), [Reply::Reset(5, Code::RefusedStream)]);
    talk.data(5, b"on its way", true);
    assert_eq!(talk.replies(), []);
    talk.respond(1, 200, &[], true).unwrap();
    talk.headers(7, &[&GET[..], &[("x-new", "1")]].concat(), true);
    assert_eq!(talk.asked().0, 7, "an answered stream is not open any more");
}
