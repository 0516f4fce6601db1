//! What requests are accepted, refused with a status, or reset as malformed: the field policy that
//! HTTP/2 shares with HTTP/1.1, and what HTTP/2 adds to it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod h2_support;

use ferrule_http::h2::frame::{Continuation, Dependency, Headers};
use ferrule_http::h2::{Code, Settings};
use ferrule_http::{BodyLength, ErrorKind, Limits};
use h2_support::{GET, POST, Reply, Seen, Talk, owned};

#[test]
fn a_get_request_is_seen_as_it_was_sent() {
    let mut talk = Talk::new();
    talk.headers(
        1,
        &[
            (":method", "GET"),
            (":path", "/a/b?c=d?e"),
            (":scheme", "https"),
            (":authority", "a.example:8443"),
            ("accept", "*/*"),
            ("x-empty", ""),
        ],
        true,
    );
    let (stream, asked) = talk.asked();
    assert_eq!(stream, 1);
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str()),
        ("GET", "/a/b?c=d?e")
    );
    assert_eq!(
        (asked.path.as_str(), asked.query.as_str()),
        ("/a/b", "c=d?e")
    );
    assert!(asked.https && asked.end_stream && !asked.expect_continue);
    assert_eq!(asked.body, BodyLength::None);
    let fields = [
        ("host", "a.example:8443"),
        ("accept", "*/*"),
        ("x-empty", ""),
    ];
    assert_eq!(asked.fields, owned(&fields));
}

#[test]
fn a_declared_length_and_a_body_of_unknown_length_are_seen() {
    let mut talk = Talk::new();
    let mut fields = POST.to_vec();
    fields.extend([("content-length", "5"), ("expect", "100-continue")]);
    talk.headers(1, &fields, false);
    let (_, asked) = talk.asked();
    assert_eq!(asked.body, BodyLength::Exact(5));
    assert!(asked.expect_continue && !asked.end_stream);
    talk.headers(3, &POST, false);
    assert_eq!(talk.asked().1.body, BodyLength::Chunked);
}

fn with<'a>(fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = GET.to_vec();
    all.extend_from_slice(fields);
    all
}

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    GET.into_iter()
        .filter(|(other, _)| *other != name)
        .collect()
}

fn replaced(name: &str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    GET.into_iter()
        .map(|(other, old)| {
            if other == name {
                (other, value)
            } else {
                (other, old)
            }
        })
        .collect()
}

#[test]
fn malformed_requests_are_reset_and_the_connection_goes_on() {
    let rows: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("no path", without(":path")),
        ("neither authority nor host", without(":authority")),
        ("empty path", replaced(":path", "")),
        ("empty method", replaced(":method", "")),
        ("method that is no token", replaced(":method", "GE T")),
        ("relative path", replaced(":path", "a")),
        ("absolute path", replaced(":path", "https://a.example/")),
        ("asterisk path of a GET", replaced(":path", "*")),
        ("space in the path", replaced(":path", "/a b")),
        ("fragment in the path", replaced(":path", "/a#b")),
        ("non-ASCII path", replaced(":path", "/\u{e4}")),
        ("other scheme", replaced(":scheme", "ftp")),
        (
            "authority with userinfo",
            replaced(":authority", "user@a.example"),
        ),
        (
            "authority list",
            replaced(":authority", "a.example,b.example"),
        ),
        ("empty authority", replaced(":authority", "")),
        ("unknown pseudo-header field", with(&[(":unknown", "1")])),
        ("response pseudo-header field", with(&[(":status", "200")])),
        ("repeated method", with(&[(":method", "GET")])),
        ("repeated path", with(&[(":path", "/")])),
        (
            "protocol without CONNECT",
            with(&[(":protocol", "websocket")]),
        ),
        ("pseudo-header field after a regular one", {
            let mut fields = vec![("x-a", "1")];
            fields.extend(GET);
            fields
        }),
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "timeout=5")])),
        (
            "proxy-connection",
            with(&[("proxy-connection", "keep-alive")]),
        ),
        (
            "transfer-encoding",
            with(&[("transfer-encoding", "chunked")]),
        ),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te other than trailers", with(&[("te", "gzip")])),
        (
            "te with more than trailers",
            with(&[("te", "trailers, gzip")]),
        ),
        ("host that differs", with(&[("host", "b.example")])),
        (
            "two hosts",
            with(&[("host", "a.example"), ("host", "a.example")]),
        ),
        ("host that is none", with(&[("host", "a/b")])),
        (
            "two content-lengths",
            with(&[("content-length", "0"), ("content-length", "0")]),
        ),
        ("signed content-length", with(&[("content-length", "+0")])),
        (
            "content-length of a list",
            with(&[("content-length", "0, 0")]),
        ),
        (
            "content-length beyond the end",
            with(&[("content-length", "1")]),
        ),
        (
            "two content-types",
            with(&[("content-type", "a/b"), ("content-type", "a/b")]),
        ),
        (
            "underscore spelling of a framing field",
            with(&[("content_length", "0")]),
        ),
        (
            "underscore spelling of host",
            with(&[("_host", "b.example")]),
        ),
        ("CR in a value", with(&[("x-a", "a\rb")])),
        ("LF in a value", with(&[("x-a", "a\nx-b: c")])),
        ("NUL in a value", with(&[("x-a", "a\0b")])),
        ("leading space in a value", with(&[("x-a", " a")])),
        ("trailing tab in a value", with(&[("x-a", "a\t")])),
        ("empty name", with(&[("", "a")])),
        ("space in a name", with(&[("x a", "a")])),
        ("colon in a name", with(&[("x:a", "a")])),
        ("CRLF in the path", replaced(":path", "/\r\nx: y")),
    ];
    let mut talk = Talk::new();
    let mut stream = 1;
    for (name, fields) in rows {
        talk.headers(stream, &fields, true);
        assert_eq!(
            talk.saw(),
            Seen::Reset(stream, Code::ProtocolError, false),
            "{name}"
        );
        assert_eq!(
            talk.replies(),
            [Reply::Reset(stream, Code::ProtocolError)],
            "{name}"
        );
        stream += 2;
    }
    talk.headers(stream, &GET, true);
    assert_eq!(talk.asked().0, stream);
}

#[test]
fn an_upper_case_name_is_malformed() {
    // Our encoder sends lower case, so this block is written by hand: a literal X: 1.
    let mut talk = Talk::new();
    let mut block = talk.block(&GET);
    block.extend_from_slice(b"\x00\x01X\x011");
    let mut wire = Vec::new();
    headers(1, &block, true).encode(&mut wire);
    talk.send(&wire);
    assert_eq!(talk.saw(), Seen::Reset(1, Code::ProtocolError, false));
}

fn headers(stream: u32, fragment: &[u8], end_headers: bool) -> Headers<'_> {
    Headers {
        stream,
        dependency: None,
        fragment,
        padding: None,
        end_stream: true,
        end_headers,
    }
}

#[test]
fn what_is_allowed_is_not_malformed() {
    for (name, fields) in [
        ("te: trailers", with(&[("te", "trailers")])),
        (
            "host equal to the authority",
            with(&[("host", "a.example")]),
        ),
        (
            "host with the default port",
            with(&[("host", "A.EXAMPLE:443")]),
        ),
        ("host alone", {
            let mut fields = without(":authority");
            fields.push(("host", "a.example"));
            fields
        }),
        ("content-length 0", with(&[("content-length", "0")])),
        ("an extension method", replaced(":method", "PROPFIND")),
        ("obs-text in a value", with(&[("x-a", "\u{e4}")])),
        ("a token of odd octets", with(&[("x!#$%&'*+-.^_`|~9", "a")])),
    ] {
        let mut talk = Talk::new();
        talk.headers(1, &fields, true);
        let (_, asked) = talk.asked();
        let hosts = asked
            .fields
            .iter()
            .filter(|(name, _)| name == "host")
            .count();
        assert_eq!(hosts, 1, "{name}");
    }
    let mut talk = Talk::new();
    let options = [
        (":method", "OPTIONS"),
        (":scheme", "http"),
        (":path", "*"),
        ("host", "a"),
    ];
    talk.headers(1, &options, true);
    assert_eq!(talk.asked().1.path, "*");
}

#[test]
fn connect_has_an_authority_and_nothing_else() {
    let mut talk = Talk::new();
    talk.headers(
        1,
        &[(":method", "CONNECT"), (":authority", "a.example:443")],
        false,
    );
    let (_, asked) = talk.asked();
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("CONNECT", "a.example:443")
    );
    for (stream, fields) in [
        (3, vec![(":method", "CONNECT"), (":authority", "a.example")]),
        (5, vec![(":method", "CONNECT"), ("host", "a.example:443")]),
        (
            7,
            vec![
                (":method", "CONNECT"),
                (":authority", "a.example:443"),
                (":path", "/"),
            ],
        ),
        (
            9,
            vec![
                (":method", "CONNECT"),
                (":authority", "a.example:443"),
                (":scheme", "http"),
            ],
        ),
    ] {
        talk.headers(stream, &fields, false);
        assert_eq!(talk.saw(), Seen::Reset(stream, Code::ProtocolError, false));
    }
}

#[test]
fn extended_connect_is_a_request_with_a_protocol() {
    let mut talk = Talk::silent(Settings::default(), &Limits::default());
    let Reply::Settings(settings) = talk.replies().remove(0) else {
        panic!()
    };
    assert!(
        settings.contains(&(0x8, 1)),
        "SETTINGS_ENABLE_CONNECT_PROTOCOL is announced"
    );

    let mut talk = Talk::new();
    let chat = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/chat?a=b"),
        (":authority", "a.example"),
        ("sec-websocket-version", "13"),
    ];
    talk.headers(1, &chat, false);
    let (_, asked) = talk.asked();
    assert_eq!(asked.protocol.as_deref(), Some("websocket"));
    assert_eq!(
        (asked.path.as_str(), asked.query.as_str()),
        ("/chat", "a=b")
    );
    assert_eq!(asked.body, BodyLength::Chunked);
    for missing in [":scheme", ":path", ":authority"] {
        let fields: Vec<_> = chat
            .into_iter()
            .filter(|(name, _)| *name != missing)
            .collect();
        let mut talk = Talk::new();
        talk.headers(1, &fields, false);
        assert_eq!(
            talk.saw(),
            Seen::Reset(1, Code::ProtocolError, false),
            "{missing}"
        );
    }
}

#[test]
fn cookie_crumbs_become_one_field_in_the_place_of_the_first() {
    let mut talk = Talk::new();
    let crumbs = [
        ("cookie", "a=1"),
        ("accept", "*/*"),
        ("cookie", "b=2"),
        ("cookie", "c=3; d=4"),
    ];
    talk.headers(1, &with(&crumbs), true);
    let expected = [
        ("host", "a.example"),
        ("cookie", "a=1; b=2; c=3; d=4"),
        ("accept", "*/*"),
    ];
    assert_eq!(talk.asked().1.fields, owned(&expected));
}

#[test]
fn requests_beyond_a_limit_are_refused_with_its_status() {
    let long = "v".repeat(8190);
    let path = format!("/{long}");
    let names: Vec<String> = (0..100).map(|number| format!("x-{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    let large: Vec<(&str, &str)> = names
        .iter()
        .take(10)
        .map(|name| (name.as_str(), &long[..8000]))
        .collect();
    let rows = [
        (414, ErrorKind::RequestLineTooLong, {
            let mut fields = GET.to_vec();
            fields[3].1 = &path;
            fields
        }),
        (431, ErrorKind::FieldTooLarge, with(&[("x-a", &long)])),
        (431, ErrorKind::TooManyFields, with(&many)),
        (431, ErrorKind::HeadTooLarge, with(&large)),
        (
            417,
            ErrorKind::UnknownExpectation,
            with(&[("expect", "the-unexpected")]),
        ),
        (501, ErrorKind::LowercaseMethod, replaced(":method", "get")),
    ];
    let mut talk = Talk::new();
    let mut stream = 1;
    for (status, kind, fields) in rows {
        // The largest of these need CONTINUATION.
        let block = talk.block(&fields);
        let mut wire = Vec::new();
        let mut fragments = block.chunks(16384);
        let first = fragments.next().unwrap();
        headers(stream, first, block.len() <= 16384).encode(&mut wire);
        let count = fragments.len();
        for (number, fragment) in fragments.enumerate() {
            let end_headers = number + 1 == count;
            Continuation {
                stream,
                fragment,
                end_headers,
            }
            .encode(&mut wire);
        }
        talk.send(&wire);
        assert_eq!(talk.saw(), Seen::Refused(stream, kind));
        assert_eq!(kind.status(), status);
        // And the stream takes an answer.
        talk.respond(stream, status, &[], true).unwrap();
        assert!(matches!(&talk.replies()[..], [Reply::Headers(_, _, true)]));
        talk.connection.release(stream);
        stream += 2;
    }
    assert_eq!(talk.connection.streams(), 0);
    talk.headers(stream, &with(&many[..99]), true);
    assert_eq!(
        talk.asked().1.fields.len(),
        100,
        "as many fields as allowed"
    );
}

#[test]
fn cookies_have_a_bound_of_their_own() {
    let mut talk = Talk::new();
    talk.headers(1, &with(&[("cookie", "a=1"); 256]), true);
    assert_eq!(talk.asked().1.fields.len(), 2);
    talk.headers(3, &with(&[("cookie", "a=1"); 257]), true);
    assert_eq!(talk.saw(), Seen::Refused(3, ErrorKind::TooManyFields));
    let limits = Limits {
        fields: 3,
        ..Limits::default()
    };
    let mut talk = Talk::with(Settings::default(), &limits);
    talk.headers(
        1,
        &with(&[("cookie", "a=1"), ("cookie", "b=1"), ("x-a", "1")]),
        true,
    );
    assert_eq!(talk.asked().1.fields.len(), 3);
    talk.headers(
        3,
        &with(&[("cookie", "a=1"), ("x-a", "1"), ("x-b", "1")]),
        true,
    );
    assert_eq!(talk.saw(), Seen::Refused(3, ErrorKind::TooManyFields));
}

#[test]
fn a_declared_body_beyond_the_limit_is_refused() {
    let limits = Limits {
        body: 10,
        ..Limits::default()
    };
    let mut talk = Talk::with(Settings::default(), &limits);
    let mut fields = POST.to_vec();
    fields.push(("content-length", "11"));
    talk.headers(1, &fields, false);
    assert_eq!(talk.saw(), Seen::Refused(1, ErrorKind::BodyTooLarge));
    talk.data(1, b"hello world", true);
    assert_eq!(
        talk.seen(),
        [],
        "the body of a refused request goes nowhere"
    );

    talk.headers(3, &POST, false);
    talk.data(3, b"0123456789", false);
    talk.data(3, b"x", false);
    talk.data(3, b"y", true);
    let seen = talk.seen();
    assert_eq!(
        seen[1..],
        [
            Seen::Data(3, b"0123456789".to_vec(), false),
            Seen::Refused(3, ErrorKind::BodyTooLarge)
        ]
    );
}

#[test]
fn the_priority_of_http_1_style_trees_is_ignored_but_not_a_dependency_on_itself() {
    let mut talk = Talk::new();
    for (stream, on) in [(1, 3), (3, 3)] {
        let block = talk.block(&GET);
        let mut wire = Vec::new();
        Headers {
            dependency: Some(Dependency {
                stream: on,
                exclusive: false,
                weight: 16,
            }),
            ..headers(stream, &block, true)
        }
        .encode(&mut wire);
        talk.send(&wire);
    }
    let seen = talk.seen();
    assert!(matches!(seen[0], Seen::Request(1, _)));
    assert_eq!(seen[1], Seen::Reset(3, Code::ProtocolError, false));
    // The block was decoded all the same: the compression is still in step.
    talk.headers(5, &GET, true);
    assert_eq!(talk.asked().0, 5);
}
