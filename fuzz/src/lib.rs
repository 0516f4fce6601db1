//! What must hold for any bytes at all, one function per target. A function that returns is
//! content; one that panics has found a bug. libFuzzer calls them through `targets/`, and on a
//! stable toolchain `tests/random.rs` does, with mutated samples for a bounded time.

mod h2;
#[path = "../../rust/http/tests/support/mod.rs"]
mod support;

use ferrule_http::fields::{valid_name, valid_value};
use ferrule_http::h1::encode::{BodyWriter, Defaults, HeadOptions, ResponseHead};
use ferrule_http::h1::{Connection, Event};
use ferrule_http::{BodyLength, Known, Limits, Request, Version};
pub use h2::{h2, hpack};
use support::{Outcome, drive, whole};

/// A target and samples that reach deep into it.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub samples: &'static [&'static [u8]],
}

pub const TARGETS: &[Target] = &[
    Target {
        name: "head",
        run: head,
        samples: REQUESTS,
    },
    Target {
        name: "chunked",
        run: chunked,
        samples: CHUNKS,
    },
    Target {
        name: "connection",
        run: connection,
        samples: REQUESTS,
    },
    Target {
        name: "response",
        run: response,
        samples: RESPONSES,
    },
    Target {
        name: "scan",
        run: scan,
        samples: REQUESTS,
    },
    Target {
        name: "hpack",
        run: hpack,
        samples: h2::BLOCKS,
    },
    Target {
        name: "h2",
        run: h2,
        samples: h2::CONVERSATIONS,
    },
];

const REQUESTS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a/b?c=d HTTP/1.1\r\nHost: example.com:80\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"POST http://a/x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    b"OPTIONS * HTTP/1.0\r\nX_y: z\r\nContent-Type: a/b\r\n\r\n",
    b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nx: y\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding:chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-A-Rather-Long-Name-Of-A-Field-That-Fits-No-Block: and \t a value \t \r\nCookie: 1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
];

const CHUNKS: &[&[u8]] = &[
    b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    b"5;a=b;c=\"d\\\"e\" ; f\r\nhello\r\n000\r\nServer-Timing: x\r\nVary: *\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"0000000000000001\r\nx\r\n0\r\nHost: a\r\n\r\n",
];

const RESPONSES: &[&[u8]] = &[
    b"\x00content-type: text/plain\ncontent-length: 5\nconnection: close\nhello",
    b"\x0fdate: x\nserver: y\nx-a: b\ntransfer-encoding: chunked\nhello",
    b"\x35location: /\nset-cookie: a=b\nset-cookie: c=d\n\r\n: \r",
];

/// A head that is accepted says nothing that its own text does not say again.
pub fn head(data: &[u8]) {
    let (limits, mut request) = (Limits::default(), Request::new());
    let Ok(step) = Connection::new().next(&limits, data, &mut request) else {
        return;
    };
    if step.event != Event::Request {
        return;
    }
    let head = &data[..step.consumed];
    assert!(head.ends_with(b"\r\n\r\n") && head.ends_with(request.block.bytes()));
    for (known, name, value) in request.block.iter() {
        assert!(valid_name(name) && valid_value(value));
        assert!(!matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']));
        assert_eq!(known, Known::lookup(name));
        assert!(known == Known::Other || name.eq_ignore_ascii_case(known.name().as_bytes()));
    }
    assert!(request.block.count(Known::Host) == 1 || request.version == Version::Http10);
    assert!(
        request.block.count(Known::ContentLength) + request.block.count(Known::TransferEncoding)
            <= 1
    );
    let length = request
        .block
        .first(Known::ContentLength)
        .map(|value| String::from_utf8_lossy(value).parse());
    match (request.body, length) {
        (BodyLength::Exact(body), Some(Ok(declared))) => assert_eq!(body, declared),
        (BodyLength::None, None) => {}
        (BodyLength::Chunked, None) => {
            assert!(
                request
                    .block
                    .first(Known::TransferEncoding)
                    .is_some_and(|value| value.eq_ignore_ascii_case(b"chunked"))
            );
        }
        (body, length) => panic!("{body:?} of Content-Length {length:?}"),
    }

    // Written out again from what was understood, it is understood the same.
    let mut again = [request.method_bytes(), b" ", request.target_bytes()].concat();
    again.extend_from_slice(format!(" HTTP/1.{}\r\n", request.minor).as_bytes());
    for (_, name, value) in request.block.iter() {
        again.extend_from_slice(&[name, b":", value, b"\r\n"].concat());
    }
    again.extend_from_slice(b"\r\n");
    let bodiless = |outcome: Outcome| outcome.requests.into_iter().next();
    assert_eq!(
        bodiless(whole(&limits, &again)),
        bodiless(whole(&limits, head))
    );
}

/// A chunked body that is accepted has the bytes that a re-encoding of it has.
pub fn chunked(data: &[u8]) {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let wire = [head, data].concat();
    let limits = Limits {
        body: 1 << 20,
        ..Limits::default()
    };
    let outcome = whole(&limits, &wire);
    assert_eq!(drive(&limits, wire.chunks(1)), outcome);
    let Some(seen) = outcome.requests.first().filter(|seen| seen.complete) else {
        return;
    };
    assert!(seen.body.len() as u64 <= limits.body);

    let mut writer = chunked_writer();
    let mut again = head.to_vec();
    for piece in seen.body.chunks(7) {
        writer
            .data(&mut again, piece)
            .expect("chunks have any length");
    }
    let trailers: Vec<_> = seen
        .trailers
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect();
    writer
        .finish(&mut again, &trailers)
        .expect("what is accepted may be sent");
    assert_eq!(
        whole(&limits, &again).requests[..],
        *std::slice::from_ref(seen)
    );
}

fn chunked_writer() -> BodyWriter {
    let mut head = ResponseHead::new();
    head.start(200, None).expect("200 is a status");
    let defaults = Defaults::default();
    let writer = head.encode(&mut Vec::new(), &options(&defaults));
    assert!(writer.is_chunked());
    writer
}

fn options(defaults: &Defaults) -> HeadOptions<'_> {
    HeadOptions {
        version: Version::Http11,
        head_request: false,
        connect_request: false,
        keep_alive: true,
        body_length: None,
        defaults,
    }
}

/// Everything that a connection says is a function of the bytes, not of how they arrive. The last
/// bytes of the data choose limits and cuts.
pub fn connection(data: &[u8]) {
    let (wire, choices) = data.split_at(data.len().saturating_sub(8));
    let choice = |i: usize| choices.get(i).copied().map_or(0, usize::from);
    let limits = match choice(0) % 3 {
        0 => Limits {
            request_line: choice(1) % 64,
            fields: choice(2) % 6,
            field_size: choice(3) % 64,
            head: choice(4),
            body: (choice(5) % 16) as u64,
            chunk_line: choice(6) % 16,
            chunk_extensions: choice(7) % 32,
        },
        _ => Limits::default(),
    };
    let outcome = whole(&limits, wire);
    assert_eq!(drive(&limits, wire.chunks(1)), outcome);
    assert_eq!(drive(&limits, wire.chunks(1 + choice(5) % 50)), outcome);
    for i in 1..8 {
        let (front, back) = wire.split_at((choice(i) * 3).min(wire.len()));
        assert_eq!(drive(&limits, [front, back]), outcome);
    }
}

/// Whatever an application gives, what goes out is one message with the fields that were taken.
/// The data: a byte of choices, lines of fields, and what is left is the body.
pub fn response(data: &[u8]) {
    let Some((choices, mut rest)) = data.split_first() else {
        return;
    };
    let mut head = ResponseHead::new();
    let status = [200, 204, 304, 404][usize::from(choices & 3)];
    head.start(status, None).expect("a final status");
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(line.len());
        let taken = head.push(&line[..colon], line.get(colon + 1..).unwrap_or_default());
        assert!(taken.is_err() || valid_name(&line[..colon]));
    }
    let mut defaults = Defaults::new(Some("ferrule"), true, &[]).expect("a valid name");
    defaults.refresh(784_111_777);
    let how = HeadOptions {
        version: if choices & 4 == 0 {
            Version::Http11
        } else {
            Version::Http10
        },
        head_request: choices & 8 != 0,
        connect_request: choices & 64 != 0,
        keep_alive: choices & 16 == 0,
        body_length: (choices & 32 != 0).then_some(rest.len() as u64),
        ..options(&defaults)
    };
    let mut out = Vec::new();
    let mut writer = head.encode(&mut out, &how);
    let status_line = format!("HTTP/1.1 {status} ");
    assert!(out.starts_with(status_line.as_bytes()) && out.ends_with(b"\r\n\r\n"));
    let chunked = writer.is_chunked();
    let mut sent = writer.data(&mut out, rest);
    sent = sent.and_then(|()| writer.finish(&mut out, &[]));
    assert!(sent.is_ok() || !writer.keep_alive());

    // Read back as a request: the same grammar, so a split response would show.
    let start = out
        .iter()
        .position(|byte| *byte == b'\n')
        .expect("a status line")
        + 1;
    let wire = [b"POST / HTTP/1.1\r\nHost: fuzz\r\n", &out[start..]].concat();
    let outcome = whole(
        &Limits {
            fields: 0,
            field_size: 0,
            head: 0,
            ..Limits::default()
        },
        &wire,
    );
    let Some(seen) = outcome.requests.first() else {
        // Fields that no request may repeat, or that only requests are judged by.
        let judged = [Known::Host, Known::ContentType, Known::Expect];
        assert!(
            head.fields()
                .any(|(name, _)| judged.contains(&Known::lookup(name)) || name.contains(&b'_'))
        );
        return;
    };
    let given: Vec<_> = head
        .fields()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    assert_eq!(seen.fields[1..=given.len()], given[..]);
    let tunnel = how.connect_request && (200..300).contains(&status);
    assert!(!tunnel || !chunked && !writer.keep_alive());
    let bodiless = how.head_request || tunnel || matches!(status, 204 | 304);
    if sent.is_ok() && !bodiless && (chunked || head.content_length().or(how.body_length).is_some())
    {
        assert!(seen.complete && seen.body == rest && outcome.left.is_empty());
    }
}

/// Every level of the scanner leads to the same request or the same error.
pub fn scan(data: &[u8]) {
    ferrule_http::fuzzing::levels_agree(data);
}
