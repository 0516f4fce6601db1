//! Properties over generated input: what any valid request and any bytes at all must satisfy.

use ferrule_http::h1::encode::{Defaults, HeadOptions, ResponseHead};
use ferrule_http::{Known, Limits, Version};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::support::{drive, every_way, whole};

/// Cuts `wire` at the given places.
fn cut<'a>(wire: &'a [u8], at: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = at.iter().map(|index| index.index(wire.len() + 1)).collect();
    places.extend([0, wire.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &wire[pair[0]..pair[1]])
        .collect()
}

prop_compose! {
    fn field()(name in "[a-zA-Z0-9!#$%&'*+.^`|~-]{1,40}", value in "[ -~\t]{0,90}") -> (String, String) {
        (format!("x-{name}"), value)
    }
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Exact(Vec<u8>),
    Chunks(Vec<Vec<u8>>),
}

fn body() -> impl Strategy<Value = Body> {
    let bytes = || prop::collection::vec(any::<u8>(), 1..60);
    prop_oneof![
        Just(Body::None),
        bytes().prop_map(Body::Exact),
        prop::collection::vec(bytes(), 0..5).prop_map(Body::Chunks),
    ]
}

#[derive(Clone, Debug)]
struct Valid {
    method: &'static str,
    target: String,
    fields: Vec<(String, String)>,
    body: Body,
}

prop_compose! {
    fn valid()(
        method in select(vec!["GET", "POST", "PUT", "M-SEARCH"]),
        target in "/[a-z0-9%/.~?&=_-]{0,80}",
        fields in prop::collection::vec(field(), 0..12),
        body in body(),
    ) -> Valid {
        Valid { method, target, fields, body }
    }
}

impl Valid {
    fn wire(&self) -> Vec<u8> {
        let mut wire = format!(
            "{} {} HTTP/1.1\r\nHost: example.com\r\n",
            self.method, self.target
        )
        .into_bytes();
        for (name, value) in &self.fields {
            wire.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
        }
        match &self.body {
            Body::None => wire.extend_from_slice(b"\r\n"),
            Body::Exact(body) => {
                wire.extend_from_slice(
                    format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(),
                );
                wire.extend_from_slice(body);
            }
            Body::Chunks(chunks) => {
                wire.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks {
                    wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                    wire.extend_from_slice(chunk);
                    wire.extend_from_slice(b"\r\n");
                }
                wire.extend_from_slice(b"0\r\n\r\n");
            }
        }
        wire
    }

    fn body(&self) -> Vec<u8> {
        match &self.body {
            Body::None => Vec::new(),
            Body::Exact(body) => body.clone(),
            Body::Chunks(chunks) => chunks.concat(),
        }
    }
}

/// Bytes that look like HTTP just enough to go deep.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&'static [u8]> = vec![
        b"GET ",
        b"POST ",
        b"OPTIONS * ",
        b"CONNECT a:1 ",
        b"/",
        b"/a?b",
        b"http://a",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b" HTTP/2.0\r\n",
        b"Host: a\r\n",
        b"host:b\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 3_0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"transfer-encoding: gzip, chunked\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"0\r\n",
        b"ffffffffffffffff\r\n",
        b"1;a=\"b\"\r\nx\r\n",
        b";",
        b"\"",
        b"x: y\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01",
    ];
    let piece = prop_oneof![
        9 => select(pieces).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn valid_requests_arrive_as_sent_however_they_are_cut(
        requests in prop::collection::vec(valid(), 1..4),
        at in prop::collection::vec(any::<Index>(), 0..12),
    ) {
        let wire: Vec<u8> = requests.iter().flat_map(Valid::wire).collect();
        let outcome = drive(&Limits::default(), cut(&wire, &at));
        prop_assert_eq!(outcome.error, None);
        prop_assert!(outcome.left.is_empty() && !outcome.cut_off);
        prop_assert_eq!(outcome.requests.len(), requests.len());
        for (seen, sent) in outcome.requests.iter().zip(&requests) {
            prop_assert!(seen.complete);
            prop_assert_eq!(&seen.method, sent.method);
            prop_assert_eq!(&seen.target, sent.target.as_bytes());
            prop_assert_eq!(&seen.body, &sent.body());
            for ((name, value), (sent_name, sent_value)) in seen.fields[1..].iter().zip(&sent.fields) {
                prop_assert_eq!(name, sent_name.as_bytes());
                prop_assert_eq!(value, sent_value.trim_matches([' ', '\t']).as_bytes());
            }
        }
    }

    #[test]
    fn arbitrary_bytes_meet_the_same_fate_however_they_are_cut(
        wire in prop::collection::vec(any::<u8>(), 0..300),
        at in prop::collection::vec(any::<Index>(), 0..8),
    ) {
        let limits = Limits::default();
        prop_assert_eq!(drive(&limits, cut(&wire, &at)), whole(&limits, &wire));
    }

    #[test]
    fn nearly_http_meets_the_same_fate_at_every_cut(wire in nearly_http()) {
        every_way(&Limits::default(), &wire);
    }

    #[test]
    fn tight_limits_meet_the_same_fate_at_every_cut(
        wire in nearly_http(),
        (request_line, fields, field_size, head) in (0usize..40, 0usize..5, 0usize..40, 0usize..120),
        (body, chunk_line, chunk_extensions) in (0u64..5, 0usize..10, 0usize..12),
    ) {
        let limits = Limits { request_line, fields, field_size, head, body, chunk_line, chunk_extensions };
        every_way(&limits, &wire);
    }

    #[test]
    fn one_changed_byte_never_panics_and_never_depends_on_the_cut(
        sent in valid(), at in any::<Index>(), byte in any::<u8>(),
    ) {
        let mut wire = sent.wire();
        let at = at.index(wire.len());
        wire[at] = byte;
        every_way(&Limits::default(), &wire);
    }

    #[test]
    fn known_names_are_found_and_only_they(name in "[a-zA-Z-]{1,30}") {
        let known = Known::lookup(name.as_bytes());
        if known != Known::Other {
            prop_assert_eq!(known.name(), name.to_ascii_lowercase());
        }
    }

    /// Whatever the application gives: the head is refused, or it is exactly the lines that it
    /// says, and ends where a parser would look for its end.
    #[test]
    fn no_response_field_makes_a_line_of_its_own(
        fields in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..8), prop::collection::vec(any::<u8>(), 0..12)), 0..6),
    ) {
        let mut head = ResponseHead::new();
        head.start(200, None).unwrap();
        for (name, value) in &fields {
            let _refused = head.push(name, value);
        }
        let mut out = Vec::new();
        let how = HeadOptions {
            version: Version::Http11, head_request: false, connect_request: false, keep_alive: true, body_length: Some(0),
            defaults: &Defaults::default(),
        };
        let _writer = head.encode(&mut out, &how);
        let text = out.escape_ascii().to_string();
        prop_assert_eq!(text.matches("\\r\\n\\r\\n").count(), 1);
        prop_assert!(text.ends_with("\\r\\n\\r\\n"));
        // Status line, fields, Content-Length, perhaps Connection, and the empty line.
        let lines = 3 + head.fields().len() + usize::from(head.wants_close());
        prop_assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), lines);
        prop_assert_eq!(out.iter().filter(|byte| **byte == b'\r').count(), lines);
    }
}
