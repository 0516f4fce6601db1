//! Response bodies: what was announced is what is sent, or the connection ends.

use ferrule_http::Version::{self, Http10, Http11};
use ferrule_http::h1::encode::{BodyWriter, Defaults, HeadOptions, ResponseError::*, ResponseHead};

fn writer(status: u16, length: Option<u64>, version: Version, head_request: bool) -> BodyWriter {
    let mut head = ResponseHead::new();
    head.start(status, None).unwrap();
    let how = HeadOptions {
        version,
        head_request,
        connect_request: false,
        keep_alive: true,
        body_length: length,
        defaults: &Defaults::default(),
    };
    head.encode(&mut Vec::new(), &how)
}

#[test]
fn a_counted_body_is_held_to_its_length() {
    let mut out = Vec::new();
    let mut exact = writer(200, Some(5), Http11, false);
    exact.data(&mut out, b"he").unwrap();
    assert_eq!((exact.remaining(), exact.is_chunked()), (Some(3), false));
    exact.data(&mut out, b"").unwrap();
    exact.data(&mut out, b"llo").unwrap();
    exact.finish(&mut out, &[]).unwrap();
    assert_eq!(out, b"hello");
    assert!(exact.keep_alive());
}

#[test]
fn too_much_body_is_not_sent_and_ends_the_connection() {
    let mut out = Vec::new();
    let mut exact = writer(200, Some(5), Http11, false);
    exact.data(&mut out, b"hell").unwrap();
    assert_eq!(exact.data(&mut out, b"o!"), Err(TooMuchBody));
    assert_eq!(
        out, b"hell",
        "the client must see a broken response, not a complete one"
    );
    assert!(!exact.keep_alive());
    let mut none = writer(200, Some(0), Http11, false);
    assert_eq!(none.before(&mut out, u64::MAX), Err(TooMuchBody));
}

#[test]
fn too_little_body_ends_the_connection() {
    let mut out = Vec::new();
    let mut exact = writer(200, Some(5), Http11, false);
    exact.data(&mut out, b"hell").unwrap();
    assert_eq!(exact.finish(&mut out, &[]), Err(TooLittleBody));
    assert!(!exact.keep_alive());
}

#[test]
fn an_unknown_length_is_chunked() {
    let mut out = Vec::new();
    let mut chunked = writer(200, None, Http11, false);
    assert!(chunked.is_chunked());
    chunked.data(&mut out, b"hello").unwrap();
    chunked.data(&mut out, b"").unwrap();
    chunked.data(&mut out, &[b'x'; 26]).unwrap();
    chunked.finish(&mut out, &[]).unwrap();
    assert_eq!(
        out,
        [&b"5\r\nhello\r\n1a\r\n"[..], &[b'x'; 26], b"\r\n0\r\n\r\n"].concat()
    );
    assert!(chunked.keep_alive());
}

#[test]
fn bytes_sent_by_the_caller_are_framed_around() {
    for (len, size) in [
        (1, "1"),
        (15, "f"),
        (16, "10"),
        (255, "ff"),
        (1 << 20, "100000"),
        (u64::MAX, "ffffffffffffffff"),
    ] {
        let mut out = Vec::new();
        let mut chunked = writer(200, None, Http11, false);
        assert_eq!(chunked.before(&mut out, len), Ok(true));
        out.extend_from_slice(b"[file]");
        chunked.after(&mut out);
        chunked.finish(&mut out, &[]).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("{size}\r\n[file]\r\n0\r\n\r\n")
        );
    }
    let mut out = Vec::new();
    let mut chunked = writer(200, None, Http11, false);
    assert_eq!(chunked.before(&mut out, 0), Ok(true));
    chunked.after(&mut out);
    assert!(out.is_empty(), "an empty chunk would end the body");
}

#[test]
fn to_http_1_0_an_unknown_length_ends_with_the_connection() {
    let mut out = Vec::new();
    let mut until_close = writer(200, None, Http10, false);
    assert!(!until_close.keep_alive() && !until_close.is_chunked());
    until_close.data(&mut out, b"hello").unwrap();
    until_close.finish(&mut out, &[]).unwrap();
    assert_eq!(out, b"hello");
}

#[test]
fn bodiless_responses_swallow_whatever_is_sent() {
    for (status, head_request) in [(200, true), (204, false), (304, false), (404, true)] {
        for length in [None, Some(3)] {
            let mut out = Vec::new();
            let mut none = writer(status, length, Http11, head_request);
            assert!(none.is_bodiless());
            assert_eq!(none.before(&mut out, 5), Ok(false));
            none.data(&mut out, b"hello").unwrap();
            none.after(&mut out);
            none.finish(&mut out, &[(b"x", b"y")]).unwrap();
            assert!(out.is_empty() && none.keep_alive());
        }
    }
}

#[test]
fn trailers_end_a_chunked_body_and_no_other() {
    let mut out = Vec::new();
    writer(200, None, Http11, false)
        .finish(&mut out, &[(b"server-timing", b"db"), (b"x", b"y")])
        .unwrap();
    assert_eq!(out, b"0\r\nserver-timing: db\r\nx: y\r\n\r\n");
    out.clear();
    writer(200, Some(0), Http11, false)
        .finish(&mut out, &[(b"x", b"y")])
        .unwrap();
    assert!(out.is_empty());
}

#[test]
fn bad_trailers_are_refused_before_the_end_is_written() {
    let rows: &[(&[u8], &[u8], _)] = &[
        (b"a b", b"c", BadName),
        (b"a", b"b\r\nc: d", BadValue),
        (b"Content-Length", b"5", ForbiddenTrailer),
        (b"set-cookie", b"a=b", ForbiddenTrailer),
        (b"Transfer-Encoding", b"x", ForbiddenTrailer),
    ];
    for (name, value, expected) in rows {
        let mut out = Vec::new();
        let mut chunked = writer(200, None, Http11, false);
        assert_eq!(chunked.finish(&mut out, &[(name, value)]), Err(*expected));
        assert!(out.is_empty() && !chunked.keep_alive());
    }
}
