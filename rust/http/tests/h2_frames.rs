//! The frames of the shared vectors: loaded, compared field by field and encoded again, or refused
//! with the expected code. And what holds for every frame.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod vectors;

use ferrule_http::h2::Code;
use ferrule_http::h2::frame::{
    Continuation, Data, Dependency, Frame, GoAway, HEAD_LEN, Head, Headers, MIN_MAX_FRAME_SIZE,
    Ping, Priority, PushPromise, RstStream, Setting, Settings, WindowUpdate,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use vectors::{directory, files, json, unhex};

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

fn octet(value: &Value) -> Option<u8> {
    value.as_u64().map(|octet| u8::try_from(octet).unwrap())
}

fn text(value: &Value) -> &[u8] {
    value.as_str().unwrap().as_bytes()
}

fn dependency(payload: &Value) -> Option<Dependency> {
    let stream = payload["stream_dependency"].as_u64()?;
    Some(Dependency {
        stream: u32::try_from(stream).unwrap(),
        exclusive: payload["exclusive"].as_bool().unwrap(),
        weight: u16::try_from(payload["weight"].as_u64().unwrap()).unwrap(),
    })
}

/// What a vector says that its frame is, and how we would encode it.
fn expected(frame: &Value) -> (Vec<u8>, Option<&[u8]>) {
    let payload = &frame["frame_payload"];
    let stream = number(&frame["stream_identifier"]);
    let flags = number(&frame["flags"]);
    let (end_stream, end_headers) = (flags & 0x1 != 0, flags & 0x4 != 0);
    let padding = octet(&payload["padding_length"]);
    let mut wire = Vec::new();
    let fragment = || text(&payload["header_block_fragment"]);
    match number(&frame["type"]) {
        0 => Data {
            stream,
            data: text(&payload["data"]),
            padding,
            end_stream,
        }
        .encode(&mut wire),
        1 => Headers {
            stream,
            dependency: dependency(payload),
            fragment: fragment(),
            padding,
            end_stream,
            end_headers,
        }
        .encode(&mut wire),
        2 => Priority {
            stream,
            dependency: dependency(payload).unwrap(),
        }
        .encode(&mut wire),
        3 => RstStream {
            stream,
            code: Code::from_wire(number(&payload["error_code"])),
        }
        .encode(&mut wire),
        4 => {
            let setting = |pair: &Value| Setting {
                id: u16::try_from(number(&pair[0])).unwrap(),
                value: number(&pair[1]),
            };
            let settings: Vec<_> = payload["settings"]
                .as_array()
                .unwrap()
                .iter()
                .map(setting)
                .collect();
            Settings::encode(&settings, &mut wire);
        }
        5 => PushPromise {
            stream,
            promised: number(&payload["promised_stream_id"]),
            fragment: fragment(),
            padding,
            end_headers,
        }
        .encode(&mut wire),
        6 => Ping {
            ack: flags & 0x1 != 0,
            opaque: text(&payload["opaque_data"]).try_into().unwrap(),
        }
        .encode(&mut wire),
        7 => GoAway {
            last_stream: number(&payload["last_stream_id"]),
            code: Code::from_wire(number(&payload["error_code"])),
            debug: text(&payload["additional_debug_data"]),
        }
        .encode(&mut wire),
        8 => WindowUpdate {
            stream,
            increment: number(&payload["window_size_increment"]),
        }
        .encode(&mut wire),
        9 => Continuation {
            stream,
            fragment: fragment(),
            end_headers,
        }
        .encode(&mut wire),
        other => panic!("no such frame: {other}"),
    }
    (wire, payload["padding"].as_str().map(str::as_bytes))
}

fn split(wire: &[u8]) -> (Head, &[u8]) {
    let (head, payload) = wire.split_first_chunk::<HEAD_LEN>().unwrap();
    (Head::load(head), payload)
}

#[test]
fn vectors_load_and_encode_or_fail_with_the_expected_code() {
    let Some(root) = directory("h2") else { return };
    let mut count = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let directory = entry.unwrap().path();
        if !directory.is_dir() {
            continue;
        }
        for file in files(&directory) {
            count += 1;
            let vector = json(&file);
            let name = file.display();
            let wire = unhex(vector["wire"].as_str().unwrap());
            let (head, payload) = split(&wire);
            if let Some(codes) = vector["error"].as_array() {
                // The frame-size vector says a length that no default setting allows.
                let code = if head.length > MIN_MAX_FRAME_SIZE {
                    Code::FrameSizeError
                } else {
                    // Short vectors keep the length that they claim.
                    let payload = &payload[..payload.len().min(head.length as usize)];
                    Frame::load(head, payload).unwrap_err().code()
                };
                let codes: Vec<_> = codes.iter().map(number).collect();
                assert!(codes.contains(&code.to_wire()), "{name}: {code:?}");
                continue;
            }
            let frame = &vector["frame"];
            assert_eq!(head.length, number(&frame["length"]), "{name}");
            assert_eq!(head.length as usize, payload.len(), "{name}");
            let (mut encoded, padding) = expected(frame);
            let loaded = Frame::load(head, payload).unwrap();
            // Ours pads with zeros, as section 6.1 demands of senders; the vectors do not.
            if let Some(padding) = padding {
                let at = encoded.len() - padding.len();
                assert!(encoded[at..].iter().all(|octet| *octet == 0), "{name}");
                encoded[at..].copy_from_slice(padding);
            }
            assert_eq!(encoded, wire, "{name}");
            let (head, payload) = split(&encoded);
            assert_eq!(loaded, Frame::load(head, payload).unwrap(), "{name}");
            assert!(!matches!(loaded, Frame::Unknown), "{name}");
        }
    }
    assert!(count >= 30, "{count} vectors");
}

/// Encodes a loaded frame; an unknown one has no encoding.
fn encode(frame: &Frame<'_>) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    match frame {
        Frame::Data(data) => data.encode(&mut wire),
        Frame::Headers(headers) => headers.encode(&mut wire),
        Frame::Priority(priority) => priority.encode(&mut wire),
        Frame::RstStream(reset) => reset.encode(&mut wire),
        Frame::Settings(settings) if settings.ack => Settings::encode_ack(&mut wire),
        Frame::Settings(settings) => {
            Settings::encode(&settings.iter().collect::<Vec<_>>(), &mut wire);
        }
        Frame::PushPromise(promise) => promise.encode(&mut wire),
        Frame::Ping(ping) => ping.encode(&mut wire),
        Frame::GoAway(goaway) => goaway.encode(&mut wire),
        Frame::WindowUpdate(update) => update.encode(&mut wire),
        Frame::Continuation(continuation) => continuation.encode(&mut wire),
        Frame::PriorityUpdate(update) => update.encode(&mut wire),
        Frame::Unknown => return None,
    }
    Some(wire)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_loads_encodes_to_a_frame_that_loads_the_same(
        kind in 0_u8..=0x11,
        flags in any::<u8>(),
        stream in prop_oneof![Just(0), 1_u32..5, any::<u32>()],
        payload in vec(any::<u8>(), 0..40),
    ) {
        let mut wire = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags];
        wire.extend_from_slice(&stream.to_be_bytes());
        wire.extend_from_slice(&payload);
        let (head, payload) = split(&wire);
        if let Ok(frame) = Frame::load(head, payload)
            && let Some(encoded) = encode(&frame)
        {
            let (head, payload) = split(&encoded);
            prop_assert_eq!(head.length as usize, payload.len());
            prop_assert_eq!(Frame::load(head, payload), Ok(frame));
        }
    }
}
