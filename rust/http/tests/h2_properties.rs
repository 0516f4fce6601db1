//! What holds for every conversation: the split of the octets changes nothing, no octets and no
//! application make it panic, and windows and memory are always given back.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod h2_support;

use std::collections::VecDeque;

use ferrule_http::Limits;
use ferrule_http::h2::frame::{Frame, HEAD_LEN, Head};
use ferrule_http::h2::{Code, Connection, Event, PREFACE, Settings, Waits};
use h2_support::{GET, POST, Talk, head, raw, reset_frame, settings_frame, window_frame};
use proptest::collection::vec;
use proptest::prelude::*;

/// A frame of a client that mostly knows what it does.
#[derive(Clone, Debug)]
enum Step {
    Get,
    Post(u8),
    Malformed,
    Data {
        back: u8,
        octets: u16,
        padding: Option<u8>,
        end: bool,
    },
    Trailers {
        back: u8,
    },
    Reset {
        back: u8,
    },
    Window {
        back: Option<u8>,
        increment: u32,
    },
    Settings(u16, u32),
    Ping,
    Raw {
        kind: u8,
        flags: u8,
        stream: u8,
        payload: Vec<u8>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let back = 0_u8..6;
    prop_oneof![
        4 => Just(Step::Get),
        6 => any::<u8>().prop_map(Step::Post),
        1 => Just(Step::Malformed),
        10 => (back.clone(), 0_u16..3000, prop::option::of(any::<u8>()), any::<bool>())
            .prop_map(|(back, octets, padding, end)| Step::Data { back, octets, padding, end }),
        1 => back.clone().prop_map(|back| Step::Trailers { back }),
        1 => back.clone().prop_map(|back| Step::Reset { back }),
        3 => (prop::option::of(back), 1_u32..100_000)
            .prop_map(|(back, increment)| Step::Window { back, increment }),
        1 => (1_u16..10, prop_oneof![0_u32..3, 16_384_u32..70_000])
            .prop_map(|(id, value)| Step::Settings(id, value)),
        1 => Just(Step::Ping),
        1 => (0_u8..0x12, any::<u8>(), 0_u8..9, vec(any::<u8>(), 0..20))
            .prop_map(|(kind, flags, stream, payload)| Step::Raw { kind, flags, stream, payload }),
    ]
}

/// The octets of a script, preface included.
fn script(steps: &[Step]) -> Vec<Vec<u8>> {
    let mut client = Talk::new();
    let mut pieces = vec![PREFACE.to_vec(), settings_frame(&[])];
    let mut next = 1_u32;
    for step in steps {
        // One of the last streams, if there is one.
        let stream = |back: u8| next.saturating_sub(2 + 2 * u32::from(back)).max(1);
        pieces.push(match step {
            Step::Get | Step::Post(_) | Step::Malformed => {
                let number = format!("/{}", next % 7);
                let mut fields = GET.to_vec();
                fields[3].1 = &number;
                match step {
                    Step::Post(kind) => {
                        fields[0] = POST[0];
                        let extra = [
                            ("priority", "u=1, i"),
                            ("content-length", "1000"),
                            ("expect", "x"),
                            ("cookie", "a=b"),
                        ];
                        fields.push(extra[usize::from(*kind) % 4]);
                    }
                    Step::Malformed => fields[2].1 = "a b",
                    _ => {}
                }
                let wire = client.headers_frame(next, &fields, matches!(step, Step::Get));
                next += 2;
                wire
            }
            Step::Data {
                back,
                octets,
                padding,
                end,
            } => {
                let octets = vec![b'x'; usize::from(*octets)];
                let mut wire = Vec::new();
                ferrule_http::h2::frame::Data {
                    stream: stream(*back),
                    data: &octets,
                    padding: *padding,
                    end_stream: *end,
                }
                .encode(&mut wire);
                wire
            }
            Step::Trailers { back } => {
                client.headers_frame(stream(*back), &[("x-trailer", "1")], true)
            }
            Step::Reset { back } => reset_frame(stream(*back), Code::Cancel),
            Step::Window {
                back: Some(back),
                increment,
            } => window_frame(stream(*back), *increment),
            Step::Window {
                back: None,
                increment,
            } => window_frame(0, *increment),
            Step::Settings(id, value) => settings_frame(&[(*id, *value)]),
            Step::Ping => raw(6, 0, 0, &[7; 8]),
            Step::Raw {
                kind,
                flags,
                stream,
                payload,
            } => raw(*kind, *flags, u32::from(*stream), payload),
        });
    }
    pieces
}

/// Everything that a connection says about some octets: events, with data of a stream joined, and
/// what it would send.
fn hear(wire: &[u8], pieces: &[usize]) -> (Vec<String>, Vec<u8>) {
    let mut connection = Connection::new(Settings::default(), &Limits::default());
    let mut events = VecDeque::new();
    let mut heard: Vec<String> = Vec::new();
    let mut joined: Option<(u32, Vec<u8>, bool)> = None;
    let mut buffer = Vec::new();
    let mut rest = wire;
    let mut sizes = pieces.iter().cycle();
    let mut failure = None;
    while !rest.is_empty() && failure.is_none() {
        let (piece, others) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        rest = others;
        buffer.extend_from_slice(piece);
        let outcome = connection.receive(&buffer, 0, &mut events);
        for event in events.drain(..) {
            if let Event::Data {
                stream,
                range,
                end_stream,
            } = &event
            {
                let data = &buffer[range.clone()];
                match &mut joined {
                    Some((other, octets, end)) if other == stream && !*end => {
                        octets.extend_from_slice(data);
                        *end = *end_stream;
                    }
                    _ => {
                        heard.extend(joined.take().map(|data| format!("{data:?}")));
                        joined = Some((*stream, data.to_vec(), *end_stream));
                    }
                }
            } else {
                heard.extend(joined.take().map(|data| format!("{data:?}")));
                heard.push(format!("{event:?}"));
            }
        }
        match outcome {
            Ok(taken) => {
                buffer.drain(..taken);
            }
            Err(error) => failure = Some(error),
        }
    }
    heard.extend(joined.take().map(|data| format!("{data:?}")));
    heard.extend(failure.map(|error| format!("{error:?}")));
    let mut out = Vec::new();
    connection.poll_output(&mut out, usize::MAX, &mut events);
    (heard, out)
}

/// What an application does, decided by octets.
fn act(connection: &mut Connection, streams: &mut Vec<u32>, choice: u8, octet: u8) {
    let Some(stream) = streams
        .get(usize::from(octet) % streams.len().max(1))
        .copied()
    else {
        return;
    };
    let defaults = ferrule_http::h1::encode::Defaults::default();
    let body = vec![b'x'; usize::from(octet) * 300];
    match choice % 12 {
        0..=2 => {
            let head = head(if octet < 20 { 204 } else { 200 }, &[("x-a", "b")]);
            let length = (octet > 200).then_some(body.len() as u64);
            let _ = connection.respond(stream, &head, &defaults, length, octet == 77);
        }
        3..=5 => {
            let _ = connection.data(stream, &body, octet > 128);
        }
        6 => {
            let _ = connection.trailers(stream, &[(b"x-trailer", b"1")]);
        }
        7 => connection.consumed(stream, body.len()),
        8 => connection.reset(stream, Code::Cancel),
        9 => {
            let _ = connection.interim(stream, 103, &[(b"link", b"a")]);
        }
        10 => {
            connection.room(stream);
        }
        _ => {
            connection.release(stream);
            streams.retain(|other| *other != stream);
        }
    }
}

/// Counts what the client sees of the connection's receive window.
fn windows(out: &[u8]) -> (u64, u64) {
    let (mut granted, mut data) = (0, 0);
    let mut rest = out;
    while let Some((head, payload)) = rest.split_first_chunk::<HEAD_LEN>() {
        let head = Head::load(head);
        let (payload, others) = payload.split_at(head.length as usize);
        rest = others;
        match Frame::load(head, payload).unwrap() {
            Frame::WindowUpdate(update) if update.stream == 0 => {
                granted += u64::from(update.increment);
            }
            Frame::Data(frame) => data += frame.data.len() as u64,
            _ => {}
        }
    }
    assert!(rest.is_empty());
    (granted, data)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_octets_gives_the_same_events_and_the_same_answers(
        steps in vec(step(), 1..40),
        pieces in vec(1_usize..400, 1..10),
    ) {
        let wire = script(&steps).concat();
        let whole = hear(&wire, &[usize::MAX]);
        prop_assert_eq!(hear(&wire, &pieces), whole.clone());
        prop_assert_eq!(hear(&wire, &[1]), whole);
    }

    #[test]
    fn no_octets_make_it_panic(
        steps in vec(step(), 0..10),
        noise in vec(any::<u8>(), 0..200),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        pieces in vec(1_usize..100, 1..4),
    ) {
        let mut wire = script(&steps).concat();
        wire.extend_from_slice(&noise);
        for (index, flip) in flips {
            let at = 24 + index.index(wire.len() - 24);
            wire[at] ^= flip;
        }
        hear(&wire, &pieces);
    }

    #[test]
    fn windows_and_memory_come_back_whatever_client_and_application_do(
        steps in vec((step(), vec(any::<(u8, u8)>(), 0..6)), 1..60),
        window in 1_u32..5000,
    ) {
        let settings = Settings { window, connection_window: 65_535, ..Settings::default() };
        let mut connection = Connection::new(settings, &Limits::default());
        let mut events = VecDeque::new();
        let (mut streams, mut all) = (Vec::new(), Vec::new());
        let (mut received, mut granted, mut sent) = (0_u64, 0, 0);
        let (steps, actions): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
        let mut actions = actions.into_iter();
        let mut out = Vec::new();
        for (number, piece) in script(&steps).into_iter().enumerate() {
            let failed = connection.receive(&piece, 0, &mut events).is_err();
            if failed {
                // Everything still answers, and says that it is over.
                prop_assert!(connection.is_done());
                connection.poll_output(&mut out, 100, &mut events);
                prop_assert!(!connection.has_output());
                return Ok(());
            }
            if number > 1 && piece[3] == 0 {
                received += piece.len() as u64 - 9;
            }
            for event in events.drain(..) {
                match event {
                    Event::Request { stream, .. } | Event::Refused { stream, .. }
                        if !all.contains(&stream) =>
                    {
                        streams.push(stream);
                        all.push(stream);
                    }
                    _ => {}
                }
            }
            for (choice, octet) in actions.next().unwrap_or_default() {
                act(&mut connection, &mut streams, choice, octet);
            }
            out.clear();
            connection.poll_output(&mut out, 10_000, &mut events);
            let (more, data) = windows(&out);
            granted += more;
            sent += data;
        }
        // All applications end, and the client opens every window.
        for stream in streams {
            connection.release(stream);
        }
        for stream in std::iter::once(0).chain(all.iter().copied()) {
            if connection.receive(&window_frame(stream, 1 << 30), 0, &mut events).is_err() {
                // It was inside a header block.
                return Ok(());
            }
        }
        while connection.has_output() {
            out.clear();
            connection.poll_output(&mut out, 10_000, &mut events);
            let (more, data) = windows(&out);
            granted += more;
            sent += data;
        }
        prop_assert_eq!(connection.data_sent(), sent);
        for stream in all {
            if connection.waits_for_client(stream) == Waits::End {
                connection.reset(stream, Code::NoError);
            }
        }
        prop_assert!(!connection.waits_for_window());
        prop_assert_eq!(connection.streams(), 0);
        // Section 6.9: what the client may still send is at least half of the window.
        prop_assert!(65_535 + granted - received >= 65_535 / 2, "{received} of 65535 + {granted}");
    }
}
