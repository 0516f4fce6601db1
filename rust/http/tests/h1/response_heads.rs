//! Response heads: what the application gives, and what goes out (RFC 9110 sections 6.6, 7.6, 8.6
//! and 15, RFC 9112 section 6).

use ferrule_http::Version::{self, Http10, Http11};
use ferrule_http::h1::encode::{
    Defaults, HeadOptions, ResponseError, ResponseError::*, ResponseHead, encode_continue,
    encode_interim, encode_simple, reason_phrase,
};

fn options(defaults: &Defaults) -> HeadOptions<'_> {
    HeadOptions {
        version: Http11,
        head_request: false,
        connect_request: false,
        keep_alive: true,
        body_length: None,
        defaults,
    }
}

fn head(status: u16, fields: &[(&str, &str)]) -> ResponseHead {
    let mut head = ResponseHead::new();
    head.start(status, None).unwrap();
    for (name, value) in fields {
        head.push(name.as_bytes(), value.as_bytes()).unwrap();
    }
    head
}

fn encoded(head: &ResponseHead, how: &HeadOptions<'_>) -> (String, bool) {
    let mut out = Vec::new();
    let writer = head.encode(&mut out, how);
    (String::from_utf8(out).unwrap(), writer.keep_alive())
}

#[test]
fn framing_follows_status_method_version_and_length() {
    let none = Defaults::default();
    let length = "content-length: 5\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    let close = "connection: close\r\n";
    type Row = (
        u16,
        bool,
        Version,
        Option<&'static str>,
        Option<u64>,
        String,
        bool,
    );
    let rows: &[Row] = &[
        // status, HEAD, version, the application's length, the server's, lines, keep-alive
        (200, false, Http11, None, None, chunked.into(), true),
        (200, false, Http11, None, Some(5), length.into(), true),
        (200, false, Http11, Some("5"), None, length.into(), true),
        (200, false, Http11, Some("5"), Some(9), length.into(), true),
        (200, false, Http10, None, None, close.into(), false),
        (
            200,
            false,
            Http10,
            None,
            Some(5),
            format!("{length}connection: keep-alive\r\n"),
            true,
        ),
        (
            200,
            false,
            Http10,
            Some("5"),
            None,
            format!("{length}connection: keep-alive\r\n"),
            true,
        ),
        (200, true, Http11, None, None, String::new(), true),
        (200, true, Http11, Some("5"), None, length.into(), true),
        (200, true, Http11, None, Some(5), length.into(), true),
        (
            200,
            true,
            Http10,
            None,
            None,
            "connection: keep-alive\r\n".into(),
            true,
        ),
        (204, false, Http11, None, None, String::new(), true),
        (204, false, Http11, Some("5"), Some(5), String::new(), true),
        (204, true, Http11, Some("0"), None, String::new(), true),
        (304, false, Http11, None, None, String::new(), true),
        (304, false, Http11, None, Some(0), String::new(), true),
        (304, false, Http11, Some("5"), None, length.into(), true),
        (
            404,
            false,
            Http11,
            None,
            Some(0),
            "content-length: 0\r\n".into(),
            true,
        ),
    ];
    for (status, head_request, version, given, known, lines, keep_alive) in rows {
        let fields: Vec<_> = given
            .iter()
            .map(|length| ("Content-Length", *length))
            .collect();
        let how = HeadOptions {
            version: *version,
            head_request: *head_request,
            connect_request: false,
            body_length: *known,
            ..options(&none)
        };
        let expected = format!(
            "HTTP/1.1 {status} {}\r\n{lines}\r\n",
            reason_phrase(*status)
        );
        let row = format!("{status} {head_request} {version:?} {given:?} {known:?}");
        assert_eq!(
            encoded(&head(*status, &fields), &how),
            (expected, *keep_alive),
            "{row}"
        );
    }
}

#[test]
fn behind_a_2xx_answer_to_connect_there_is_no_framing_and_no_further_response() {
    let none = Defaults::default();
    for (status, version, given, known) in [
        (200, Http11, None, None),
        (200, Http11, Some("5"), None),
        (200, Http11, None, Some(5)),
        (204, Http11, None, Some(0)),
        (299, Http10, Some("5"), None),
    ] {
        let fields: Vec<_> = given
            .iter()
            .map(|length| ("Content-Length", *length))
            .collect();
        let how = HeadOptions {
            version,
            connect_request: true,
            body_length: known,
            ..options(&none)
        };
        let expected = format!(
            "HTTP/1.1 {status} {}\r\nconnection: close\r\n\r\n",
            reason_phrase(status)
        );
        assert_eq!(encoded(&head(status, &fields), &how), (expected, false));
    }
    // A refusal is a response like any other.
    let how = HeadOptions {
        connect_request: true,
        body_length: Some(5),
        ..options(&none)
    };
    let expected = "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 5\r\n\r\n".to_owned();
    assert_eq!(encoded(&head(405, &[]), &how), (expected, true));
}

#[test]
fn a_body_is_checked_against_its_length_before_anything_is_sent() {
    let announced = head(200, &[("Content-Length", "5")]);
    for (length, more, outcome) in [
        (5, false, Ok(())),
        (5, true, Ok(())),
        (0, true, Ok(())),
        (4, true, Ok(())),
        (4, false, Err(TooLittleBody)),
        (0, false, Err(TooLittleBody)),
        (6, false, Err(TooMuchBody)),
        (6, true, Err(TooMuchBody)),
    ] {
        assert_eq!(
            announced.check_length(length, more),
            outcome,
            "{length} {more}"
        );
    }
    assert_eq!(head(200, &[]).check_length(6, false), Ok(()));
}

#[test]
fn a_connection_that_ends_says_close() {
    let none = Defaults::default();
    let how = HeadOptions {
        keep_alive: false,
        body_length: Some(0),
        ..options(&none)
    };
    let expected = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert_eq!(encoded(&head(200, &[]), &how), (expected.into(), false));

    let closing = head(200, &[("Connection", "x, Close")]);
    assert!(closing.wants_close());
    let how = HeadOptions {
        keep_alive: true,
        ..how
    };
    assert_eq!(encoded(&closing, &how), (expected.into(), false));
}

#[test]
fn hop_by_hop_fields_of_the_application_are_left_out_and_named() {
    for name in [
        "Connection",
        "keep-alive",
        "Proxy-Connection",
        "Transfer-Encoding",
        "TE",
        "Upgrade",
        "HTTP2-Settings",
    ] {
        let head = head(200, &[("a", "1"), (name, "keep-alive"), ("b", "2")]);
        assert_eq!(head.hop_by_hop(), Some(name.to_ascii_lowercase().as_str()));
        let fields: Vec<_> = head.fields().collect();
        assert_eq!(fields, [(&b"a"[..], &b"1"[..]), (b"b", b"2")]);
        let none = Defaults::default();
        let how = HeadOptions {
            body_length: Some(1),
            ..options(&none)
        };
        assert_eq!(
            encoded(&head, &how).0,
            "HTTP/1.1 200 OK\r\na: 1\r\nb: 2\r\ncontent-length: 1\r\n\r\n"
        );
    }
    assert_eq!(
        head(200, &[("x", "y"), ("connection", "close")]).hop_by_hop(),
        None
    );
}

#[test]
fn log_opt_out_is_obeyed_and_not_sent() {
    let opted_out = head(200, &[("Server-Log-Access", " Off "), ("x", "y")]);
    assert!(!opted_out.log_access());
    assert_eq!(opted_out.fields().len(), 1);
    assert!(head(200, &[("server-log-access", "on")]).log_access());
    assert!(head(200, &[]).log_access());
}

#[test]
fn responses_cannot_be_split() {
    let mut head = ResponseHead::new();
    head.start(200, None).unwrap();
    for byte in 0..=255u8 {
        let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let name = head.push(&[b'x', byte, b'y'], b"v");
        assert_eq!(name, if token { Ok(()) } else { Err(BadName) }, "{byte:#x}");
        let fine = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        let value = head.push(b"x", &[b'a', byte, b'b']);
        assert_eq!(
            value,
            if fine { Ok(()) } else { Err(BadValue) },
            "{byte:#x}"
        );
        let reason = ResponseHead::new().start(200, Some(&[b'a', byte]));
        assert_eq!(
            reason,
            if fine { Ok(()) } else { Err(BadReason) },
            "{byte:#x}"
        );
    }
    assert_eq!(head.push(b"", b"v"), Err(BadName));
    assert_eq!(head.push(b"x:", b"v"), Err(BadName));
    // A control byte in a known, classified field is one too.
    assert_eq!(head.push(b"connection", b"close\r\nx: y"), Err(BadValue));
    assert_eq!(head.push(b"content-length", b"5\r\n"), Err(BadValue));
}

#[test]
fn a_refused_field_leaves_the_head_as_it_was() {
    let mut head = head(200, &[("a", "1"), ("content-length", "5")]);
    let before: Vec<_> = head
        .fields()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    assert_eq!(head.push(b"b c", b"2"), Err(BadName));
    assert_eq!(head.push(b"b", b"2\n"), Err(BadValue));
    assert_eq!(
        head.push(b"Content-Length", b"5"),
        Err(DuplicateContentLength)
    );
    let after: Vec<_> = head
        .fields()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    assert_eq!((after, head.content_length()), (before, Some(5)));
    for length in ["", "-1", "+1", "1,1", "0x1", "18446744073709551616"] {
        let mut head = ResponseHead::new();
        head.start(200, None).unwrap();
        assert_eq!(
            head.push(b"content-length", length.as_bytes()),
            Err(BadContentLength),
            "{length:?}"
        );
        assert_eq!(head.content_length(), None);
    }
}

#[test]
fn statuses_are_final_and_have_three_digits() {
    let mut head = ResponseHead::new();
    for status in [0, 1, 99, 100, 101, 103, 199, 1000, u16::MAX] {
        assert_eq!(head.start(status, None), Err(BadStatus), "{status}");
    }
    for status in [200, 299, 418, 599, 999] {
        head.start(status, None).unwrap();
        assert_eq!(head.status(), status);
    }
}

#[test]
fn the_reason_is_the_applications_or_the_standard_one() {
    let none = Defaults::default();
    let how = HeadOptions {
        body_length: Some(0),
        ..options(&none)
    };
    for (status, reason, line) in [
        (200, None, "HTTP/1.1 200 OK"),
        (200, Some("OK"), "HTTP/1.1 200 OK"),
        (200, Some("Fine"), "HTTP/1.1 200 Fine"),
        (200, Some(""), "HTTP/1.1 200 "),
        (404, None, "HTTP/1.1 404 Not Found"),
        (418, None, "HTTP/1.1 418 "),
        (799, Some("Custom \u{e9}"), "HTTP/1.1 799 Custom \u{e9}"),
    ] {
        let mut head = ResponseHead::new();
        head.start(status, reason.map(str::as_bytes)).unwrap();
        assert!(
            encoded(&head, &how).0.starts_with(&format!("{line}\r\n")),
            "{status} {reason:?}"
        );
    }
}

#[test]
fn a_reused_head_remembers_nothing() {
    let mut head = head(
        200,
        &[
            ("connection", "close"),
            ("te", "x"),
            ("content-length", "5"),
            ("date", "x"),
            ("server-log-access", "off"),
        ],
    );
    head.start(204, None).unwrap();
    assert_eq!(
        (head.content_length(), head.wants_close(), head.hop_by_hop()),
        (None, false, None)
    );
    assert!(head.log_access() && head.fields().len() == 0);
    let defaults = Defaults::new(None, true, &[]).unwrap();
    assert!(encoded(&head, &options(&defaults)).0.contains("\r\ndate: "));
}

#[test]
fn defaults_are_added_once() {
    let extra = [(b"X-Frame-Options".to_vec(), b"DENY".to_vec())];
    let mut defaults = Defaults::new(Some("ferrule"), true, &extra).unwrap();
    defaults.refresh(784_111_777);
    let how = HeadOptions {
        body_length: Some(0),
        ..options(&defaults)
    };
    let (date, server, frame) = (
        "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        "server: ferrule\r\n",
        "X-Frame-Options: DENY\r\n",
    );
    let length = "content-length: 0\r\n";
    for (fields, lines) in [
        (&[][..], format!("{length}{date}{server}{frame}")),
        (
            &[("Date", "now")],
            format!("Date: now\r\n{length}{server}{frame}"),
        ),
        (
            &[("SERVER", "x")],
            format!("SERVER: x\r\n{length}{date}{frame}"),
        ),
        (
            &[("x-frame-options", "SAMEORIGIN")],
            format!("x-frame-options: SAMEORIGIN\r\n{length}{date}{server}"),
        ),
        (
            &[("x-other", "1")],
            format!("x-other: 1\r\n{length}{date}{server}{frame}"),
        ),
        (
            &[("date", "a"), ("server", "b"), ("x-frame-options", "c")],
            format!("date: a\r\nserver: b\r\nx-frame-options: c\r\n{length}"),
        ),
    ] {
        assert_eq!(
            encoded(&head(200, fields), &how).0,
            format!("HTTP/1.1 200 OK\r\n{lines}\r\n"),
            "{fields:?}"
        );
    }
}

#[test]
fn values_are_sent_without_surrounding_white_space() {
    let head = head(200, &[("x", " \ta b\t ")]);
    assert_eq!(head.fields().next().unwrap().1, b"a b");
}

#[test]
fn interim_responses_carry_their_fields_and_no_framing() {
    let mut out = Vec::new();
    encode_continue(&mut out);
    assert_eq!(out, b"HTTP/1.1 100 Continue\r\n\r\n");
    out.clear();
    encode_interim(
        &mut out,
        103,
        &[(b"link", b"</a>; rel=preload"), (b"link", b"</b>")],
    )
    .unwrap();
    assert_eq!(
        out,
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\nlink: </b>\r\n\r\n"
    );
    out.clear();
    let rows: &[(u16, &[u8], &[u8], ResponseError)] = &[
        (200, b"link", b"x", BadStatus),
        (101, b"link", b"x", BadStatus),
        (99, b"link", b"x", BadStatus),
        (103, b"li nk", b"x", BadName),
        (103, b"Content-Length", b"5", BadName),
        (103, b"Transfer-Encoding", b"chunked", BadName),
        (103, b"connection", b"close", BadName),
        (103, b"link", b"x\r\n\r\nHTTP/1.1 200 OK", BadValue),
    ];
    for (status, name, value, expected) in rows {
        assert_eq!(
            encode_interim(&mut out, *status, &[(name, value)]),
            Err(*expected)
        );
        assert!(out.is_empty(), "nothing is written");
    }
}

#[test]
fn simple_answers_are_complete_plain_text() {
    let defaults = Defaults::new(Some("ferrule"), false, &[]).unwrap();
    let how = HeadOptions {
        keep_alive: false,
        ..options(&defaults)
    };
    let text = |status, detail: &str, extra: &[(&str, &str)], how: &HeadOptions<'_>| {
        let mut out = Vec::new();
        let keep_alive = encode_simple(&mut out, status, detail, extra, how);
        (String::from_utf8(out).unwrap(), keep_alive)
    };
    let (answer, keep_alive) = text(400, "no Host field", &[], &how);
    assert_eq!(
        answer,
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 31\r\n\
         connection: close\r\nserver: ferrule\r\n\r\n400 Bad Request: no Host field\n"
    );
    assert!(!keep_alive);
    let (answer, keep_alive) = text(
        503,
        "",
        &[("retry-after", "1")],
        &HeadOptions {
            keep_alive: true,
            ..how
        },
    );
    assert!(
        answer.contains("\r\nretry-after: 1\r\n")
            && answer.ends_with("\r\n\r\n503 Service Unavailable\n")
    );
    assert!(keep_alive && !answer.contains("connection:"));
    // To HEAD: the same head, no body.
    let (answer, _) = text(
        200,
        "ok",
        &[],
        &HeadOptions {
            head_request: true,
            connect_request: false,
            ..how
        },
    );
    assert!(answer.contains("content-length: 11\r\n") && answer.ends_with("\r\n\r\n"));
    // Detail is text, not bytes of a peer: but if it were, it could not forge a line.
    let (answer, _) = text(400, "a\r\nb", &[("bad name", "x"), ("x", "a\r\nb")], &how);
    assert!(answer.ends_with("\r\n\r\n400 Bad Request: a??b\n") && !answer.contains("bad name"));
    let (answer, _) = text(100, "x", &[], &how);
    assert!(answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
}
