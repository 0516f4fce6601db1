//! Every flood of the list in `h2::guard`, mounted without sockets: the attacker gets GOAWAY with
//! ENHANCE_YOUR_CALM, what is kept for it stays small, and honest clients that do a lot of the
//! same are left alone.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod h2_support;

use std::collections::VecDeque;

use ferrule_http::h2::frame::{Continuation, Headers};
use ferrule_http::h2::{Code, Settings, Waits};
use ferrule_http::{ErrorKind, Limits};
use h2_support::{
    GET, POST, Reply, Seen, Talk, data_frame, raw, reset_frame, settings_frame, window_frame,
};

/// Sends `round(n)` until the connection ends, and returns how many rounds it took. The server
/// writes as it would, and the attacker reads.
fn flood(talk: &mut Talk, mut round: impl FnMut(&mut Talk, u32) -> Vec<u8>) -> u32 {
    for number in 0..100_000 {
        let wire = round(talk, number);
        if let Err(error) = talk.try_send(&wire) {
            assert_eq!(error.code, Code::EnhanceYourCalm, "{error}");
            let replies = talk.replies();
            assert!(
                matches!(
                    replies.last(),
                    Some(Reply::GoAway(_, Code::EnhanceYourCalm))
                ),
                "{replies:?}"
            );
            return number;
        }
        talk.replies();
    }
    panic!("100,000 rounds were not too many");
}

#[test]
fn rapid_reset_ends_the_connection_and_work_in_flight_stays_bounded() {
    let mut talk = Talk::new();
    let rounds = flood(&mut talk, |talk, number| {
        let stream = 2 * number + 1;
        let mut wire = talk.headers_frame(stream, &GET, true);
        wire.extend(reset_frame(stream, Code::Cancel));
        wire
    });
    assert!(rounds <= 1000, "{rounds}");
    // No application has finished: never more streams than twice the limit.
    assert!(talk.connection.streams() <= 2 * 128);
    let requests = talk
        .seen()
        .into_iter()
        .filter(|seen| matches!(seen, Seen::Request(..)));
    assert!(requests.count() <= 2 * 128);
}

#[test]
fn cancelled_requests_count_until_their_applications_are_done() {
    let settings = Settings {
        max_streams: 10,
        ..Settings::default()
    };
    let mut talk = Talk::with(settings, &Limits::default());
    for stream in (1..200).step_by(2) {
        talk.headers(stream, &GET, true);
        talk.reset(stream, Code::Cancel);
        talk.replies();
    }
    assert_eq!(talk.connection.streams(), 20);
    talk.seen();
    talk.connection.release(1);
    talk.headers(201, &GET, true);
    assert_eq!(talk.asked().0, 201);
}

#[test]
fn made_you_reset_ends_the_connection() {
    // CVE-2025-8671: frames whose errors make the server reset streams that it works on.
    for fault in [
        |stream| raw(8, 0, stream, &[0; 4]),
        |stream| window_frame(stream, (1 << 31) - 1),
        |stream| data_frame(stream, b"x", false),
        |stream| raw(2, 0, stream, &[0; 3]),
    ] {
        let mut talk = Talk::new();
        let rounds = flood(&mut talk, |talk, number| {
            let stream = 2 * number + 1;
            let mut wire = talk.headers_frame(stream, &GET, true);
            wire.extend(fault(stream));
            wire
        });
        // The work stops at twice the limit of streams; after that they are only refused.
        assert!(rounds <= 1500, "{rounds}");
        assert!(talk.connection.streams() <= 2 * 128);
    }
}

#[test]
fn malformed_requests_without_end_end_the_connection() {
    let mut talk = Talk::new();
    let bad = [(":method", "GET"), ("x", "y")];
    let rounds = flood(&mut talk, |talk, number| {
        talk.headers_frame(2 * number + 1, &bad, true)
    });
    assert!((100..=1000).contains(&rounds), "{rounds}");
    assert_eq!(talk.connection.streams(), 0);
}

#[test]
fn a_client_that_cancels_half_of_its_requests_is_served() {
    let mut talk = Talk::new();
    for number in 0..5000 {
        let stream = 4 * number + 1;
        talk.headers(stream, &GET, true);
        talk.headers(stream + 2, &GET, true);
        talk.reset(stream, Code::Cancel);
        talk.respond(stream + 2, 200, &[], true).unwrap();
        talk.connection.release(stream);
        talk.connection.release(stream + 2);
        talk.replies();
        talk.seen();
    }
    assert_eq!(talk.connection.streams(), 0);
}

#[test]
fn requests_beyond_the_stream_limit_end_the_connection() {
    let settings = Settings {
        max_streams: 1,
        ..Settings::default()
    };
    let mut talk = Talk::with(settings, &Limits::default());
    let rounds = flood(&mut talk, |talk, number| {
        talk.headers_frame(2 * number + 1, &GET, true)
    });
    assert!((500..=1500).contains(&rounds), "{rounds}");
    assert_eq!(talk.connection.streams(), 1);
}

#[test]
fn continuation_flood_ends_the_connection() {
    for fragment in [&b""[..], b"\x00"] {
        let mut talk = Talk::new();
        talk.send(&raw(1, 0, 1, b"\x82"));
        // Even within the octets of a block: a literal whose length says that all this belongs.
        talk.send(&raw(9, 0, 1, b"\x00\x01x\x7f\x81\x7f"));
        let rounds = flood(&mut talk, |_, _| {
            let mut wire = Vec::new();
            Continuation {
                stream: 1,
                fragment,
                end_headers: false,
            }
            .encode(&mut wire);
            wire
        });
        assert!(rounds <= 64, "{rounds}");
    }
}

#[test]
fn an_endless_block_of_large_fragments_ends_the_connection() {
    let mut talk = Talk::new();
    talk.send(&raw(1, 0, 1, b"\x82"));
    let fragment = [0x82; 16_384];
    let rounds = flood(&mut talk, |_, _| {
        let mut wire = Vec::new();
        Continuation {
            stream: 1,
            fragment: &fragment,
            end_headers: false,
        }
        .encode(&mut wire);
        wire
    });
    assert!(rounds <= 8, "{rounds} fragments for a list of 64 KiB");
}

#[test]
fn settings_ping_priority_and_unknown_floods_end_the_connection() {
    for (name, frame, most) in [
        ("SETTINGS", settings_frame(&[(0x4, 1000)]), 100),
        ("SETTINGS acknowledgements", raw(4, 1, 0, &[]), 100),
        ("PING", raw(6, 0, 0, &[0; 8]), 1000),
        ("PING acknowledgements", raw(6, 1, 0, &[0; 8]), 1000),
        ("PRIORITY", raw(2, 0, 3, &[0, 0, 0, 1, 1]), 1000),
        ("PRIORITY_UPDATE", raw(0x10, 0, 0, b"\0\0\0\x03u=1"), 1000),
        ("unknown frames", raw(0x77, 0, 0, &[0; 10]), 1000),
        ("GOAWAY", raw(7, 0, 0, &[0; 8]), 100),
    ] {
        let rounds = flood(&mut Talk::new(), |_, _| frame.clone());
        assert!((10..=most).contains(&rounds), "{name}: {rounds}");
    }
}

#[test]
fn empty_data_ends_the_connection() {
    for frame in [raw(0, 0, 1, &[]), raw(0, 8, 1, &[2, 0, 0])] {
        let mut talk = Talk::new();
        talk.headers(1, &POST, false);
        let rounds = flood(&mut talk, |_, _| frame.clone());
        assert!((10..=200).contains(&rounds), "{rounds}");
        let data = talk
            .seen()
            .into_iter()
            .filter(|seen| matches!(seen, Seen::Data(..)));
        assert_eq!(data.count(), 0, "and none of it reaches the application");
    }
}

#[test]
fn window_updates_octet_by_octet_end_the_connection() {
    let mut talk = Talk::new();
    talk.settings(&[(0x4, 0)]);
    talk.headers(1, &GET, true);
    talk.respond(1, 200, &[], false).unwrap();
    talk.connection.data(1, &[b'x'; 60_000], true).unwrap();
    let rounds = flood(&mut talk, |_, _| window_frame(1, 1));
    assert!((500..=3000).contains(&rounds), "{rounds}");
}

#[test]
fn a_download_acknowledged_frame_by_frame_is_served() {
    // Parts of every size, which what is left of the windows cuts at every place. A full window is on its way before
    // the client reads, a few frames at a time.
    for part in [7, 300, 1000, 16_384, 70_000] {
        let mut talk = Talk::new();
        talk.headers(1, &GET, true);
        talk.respond(1, 200, &[], false).unwrap();
        let part = vec![b'x'; part];
        let mut rest = &part[..0];
        let mut on_the_way = VecDeque::new();
        for _ in 0..20_000 {
            loop {
                if rest.is_empty() {
                    rest = &part;
                }
                let taken = talk.connection.data(1, rest, false).unwrap();
                rest = &rest[taken..];
                let before = on_the_way.len();
                on_the_way.extend(talk.replies().iter().filter_map(|reply| match reply {
                    Reply::Data(_, data, _) => Some(u32::try_from(data.len()).unwrap()),
                    _ => None,
                }));
                if on_the_way.len() == before {
                    break;
                }
            }
            let mut updates = Vec::new();
            for octets in on_the_way.drain(..on_the_way.len().min(4)) {
                updates.extend(window_frame(0, octets));
                updates.extend(window_frame(1, octets));
            }
            talk.send(&updates);
            if part.len() > 1000 {
                // As gRPC clients do to measure bandwidth.
                talk.ping(false, [0; 8]);
            }
        }
    }
}

#[test]
fn a_peer_that_makes_us_write_and_does_not_read_is_dropped() {
    for frame in [raw(6, 0, 0, &[0; 8]), settings_frame(&[])] {
        let mut talk = Talk::new();
        let mut rounds = 0;
        loop {
            // Slow enough for every budget: only what is not read counts.
            talk.now += 1000;
            if let Err(error) = talk.try_send(&frame) {
                assert_eq!(error.code, Code::EnhanceYourCalm);
                break;
            }
            rounds += 1;
            assert!(rounds <= 1000);
        }
        let mut out = Vec::new();
        talk.connection.poll_output(&mut out, 1, &mut talk.events);
        assert!(out.len() < 20_000, "{} octets were waiting", out.len());
    }
}

#[test]
fn a_steady_trickle_is_no_flood() {
    let mut talk = Talk::new();
    for _ in 0..10_000 {
        talk.now += 1000;
        talk.ping(false, [0; 8]);
        talk.settings(&[]);
        talk.window_update(0, 1);
        talk.send(&raw(0x77, 0, 0, &[]));
        talk.replies();
    }
}

fn headers(fragment: &[u8]) -> Headers<'_> {
    Headers {
        stream: 1,
        dependency: None,
        fragment,
        padding: None,
        end_stream: true,
        end_headers: true,
    }
}

#[test]
fn hpack_and_header_count_bombs_are_refused_in_bounded_memory() {
    // One entry of 4,000 octets, then as many references to it as fit a frame (CVE-2016-6581).
    let mut talk = Talk::new();
    let mut block = talk.block(&GET);
    block.extend_from_slice(b"\x40\x01k\x7f\xa1\x1e");
    block.extend_from_slice(&[b'v'; 4000]);
    block.extend_from_slice(&[0xbe; 12_000]);
    let mut wire = Vec::new();
    headers(&block).encode(&mut wire);
    talk.send(&wire);
    assert_eq!(talk.saw(), Seen::Refused(1, ErrorKind::HeadTooLarge));

    // Sixteen thousand one-octet lines (CVE-2026-49975).
    for line in [0xbe_u8, 0x90] {
        let mut talk = Talk::new();
        let mut block = talk.block(&GET);
        block.extend_from_slice(b"\x40\x01k\x00");
        block.extend_from_slice(&vec![line; 16_000]);
        let mut wire = Vec::new();
        headers(&block).encode(&mut wire);
        talk.send(&wire);
        assert!(matches!(
            talk.saw(),
            Seen::Refused(1, ErrorKind::HeadTooLarge | ErrorKind::TooManyFields)
        ));
    }
}

#[test]
fn a_client_that_never_opens_its_windows_pins_bounded_memory() {
    // CVE-2019-9517, and the zero-window half of CVE-2026-49975.
    let mut talk = Talk::new();
    talk.settings(&[(0x4, 0)]);
    let mut taken = 0;
    for stream in (1..=399).step_by(2) {
        talk.headers(stream, &GET, true);
        if talk.respond(stream, 200, &[], false).is_ok() {
            for _ in 0..10 {
                taken += talk
                    .connection
                    .data(stream, &[b'x'; 65_536], false)
                    .unwrap();
            }
        }
        talk.replies();
    }
    assert!(taken <= 4 << 20, "{taken} octets were queued");
    assert_eq!(
        talk.connection.waits_for_client(1),
        Waits::Window,
        "so the owner's time limit applies"
    );
    assert_eq!(talk.connection.data_sent(), 0);
}
