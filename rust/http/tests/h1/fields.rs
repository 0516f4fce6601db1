//! Field lines and Host: RFC 9112 sections 2.2, 3.2 and 5, RFC 9110 sections 5 and 7.2.

use ferrule_http::{ErrorKind, ErrorKind::*, Limits};

use crate::support::{accepted, refused};

/// A request with these field lines beside its Host.
fn wire(lines: &[u8]) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: a\r\n", lines, b"\r\n"].concat()
}

fn refusal(lines: &[u8]) -> ErrorKind {
    refused(&Limits::default(), &wire(lines))
}

/// The value of the field that follows Host.
fn value(lines: &[u8]) -> Vec<u8> {
    accepted(&Limits::default(), &wire(lines)).fields[1]
        .1
        .clone()
}

#[test]
fn a_name_is_a_token_that_ends_at_the_colon() {
    for byte in 0..=255u8 {
        let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let line = [b"x", &[byte][..], b"y: 1\r\n"].concat();
        match byte {
            b'\r' => assert_eq!(refusal(&line), BareCarriageReturn),
            b'\n' => assert_eq!(refusal(&line), BareLineFeed),
            b':' => assert_eq!(value(&line), b"y: 1"),
            _ if token => assert_eq!(value(&line), b"1"),
            b'\t' | b' ' | b'!'.. if byte != 0x7f => {
                assert_eq!(refusal(&line), BadFieldName, "{byte:#x}")
            }
            _ => assert_eq!(refusal(&line), ControlByte, "{byte:#x}"),
        }
    }
}

#[test]
fn a_value_has_no_control_byte_but_tab() {
    for byte in 0..=255u8 {
        // In the first block of the line and in a later one.
        for padding in [0, 70] {
            let text = [b"v", "w".repeat(padding).as_bytes(), &[byte], b"z"].concat();
            let line = [b"x: ", &text[..], b"\r\n"].concat();
            match byte {
                b'\r' => assert_eq!(refusal(&line), BareCarriageReturn),
                b'\n' => assert_eq!(refusal(&line), BareLineFeed),
                b'\t' | b' '..=0x7e | 0x80.. => assert_eq!(value(&line), text),
                _ => assert_eq!(refusal(&line), ControlByte, "{byte:#x}"),
            }
        }
    }
}

#[test]
fn white_space_around_a_value_is_no_part_of_it() {
    for line in [
        "x:v\r\n",
        "x: v\r\n",
        "x:\tv\r\n",
        "x: \t v\r\n",
        "x:v \r\n",
        "x: v\t \t\r\n",
    ] {
        assert_eq!(value(line.as_bytes()), b"v", "{line:?}");
    }
    for line in ["x:\r\n", "x: \r\n", "x: \t \t\r\n"] {
        assert_eq!(value(line.as_bytes()), b"", "{line:?}");
    }
    assert_eq!(value(b"x: a  b\r\n"), b"a  b");
}

#[test]
fn long_names_and_values_arrive_whole() {
    for length in [1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1000] {
        let line = format!("{}: {}\r\n", "n".repeat(length), "v".repeat(length));
        let seen = accepted(&Limits::default(), &wire(line.as_bytes()));
        assert_eq!(
            seen.fields[1],
            (
                "n".repeat(length).into_bytes(),
                "v".repeat(length).into_bytes()
            )
        );
    }
}

#[test]
fn broken_field_lines_are_refused() {
    let rows: &[(&[u8], ErrorKind)] = &[
        (b"x : v\r\n", SpaceBeforeColon),
        (b"x\t: v\r\n", SpaceBeforeColon),
        (b"Content-Length : 3\r\n", SpaceBeforeColon),
        (b"Transfer-Encoding : chunked\r\n", SpaceBeforeColon),
        (b"x: v\r\n folded\r\n", ObsoleteFold),
        (b"x: v\r\n\tfolded: y\r\n", ObsoleteFold),
        (b" x: v\r\n", ObsoleteFold),
        (b" \r\n", ObsoleteFold),
        (b": v\r\n", BadFieldName),
        (b":\r\n", BadFieldName),
        (b"x\r\n", MissingColon),
        (b"x v\r\n", MissingColon),
        (b"GET / HTTP/1.1\r\n", MissingColon),
        (b"x y: v\r\n", BadFieldName),
        (b"x\xc3\x9f: v\r\n", BadFieldName),
        (b"x(y): v\r\n", BadFieldName),
        (b"x: v\n", BareLineFeed),
        (b"x: v\n\r\n", BareLineFeed),
        (b"x: v\rw\r\n", BareCarriageReturn),
        (b"x: v\r\r\n", BareCarriageReturn),
        (b"\r \n", BareCarriageReturn),
        (b"x: v\0\r\n", ControlByte),
        (b"ba\0z: bar\r\n", ControlByte),
        // Response splitting as seen from the other side.
        (b"x: v\nContent-Length: 5\r\n", BareLineFeed),
    ];
    for (lines, expected) in rows {
        assert_eq!(
            refusal(lines),
            *expected,
            "{:?}",
            lines.escape_ascii().to_string()
        );
    }
}

#[test]
fn a_head_that_ends_in_bare_line_feeds_is_refused() {
    assert_eq!(
        refused(&Limits::default(), b"GET / HTTP/1.1\nHost: a\n\n"),
        BareLineFeed
    );
    assert_eq!(
        refused(&Limits::default(), b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
        BareLineFeed
    );
    assert_eq!(
        refused(&Limits::default(), b"GET / HTTP/1.1\r\nHost: a\r\n\rX"),
        BareCarriageReturn
    );
}

#[test]
fn underscore_spellings_of_framing_and_routing_fields_are_refused() {
    for name in [
        "content_length",
        "Content_Length",
        "TRANSFER_ENCODING",
        "transfer_encoding",
        "_host",
        "host_",
    ] {
        assert_eq!(
            refusal(format!("{name}: 0\r\n").as_bytes()),
            AmbiguousFieldName,
            "{name}"
        );
    }
    // All others are for the application's interface to keep (ASGI) or drop (WSGI).
    assert_eq!(value(b"x_forwarded_for: 1\r\n"), b"1");
    assert_eq!(value(b"some_name: 1\r\n"), b"1");
}

#[test]
fn a_repeated_content_type_is_refused_and_other_repeats_are_kept() {
    assert_eq!(
        refusal(b"Content-Type: a/b\r\ncontent-type: a/b\r\n"),
        DuplicateContentType
    );
    let seen = accepted(
        &Limits::default(),
        &wire(b"Cookie: a\r\nX: 1\r\nCookie: b\r\n"),
    );
    assert_eq!(seen.fields.len(), 4);
    assert_eq!(
        (seen.fields[1].1.as_slice(), seen.fields[3].1.as_slice()),
        (&b"a"[..], &b"b"[..])
    );
}

#[test]
fn http_1_1_has_exactly_one_host() {
    let limits = Limits::default();
    assert_eq!(refused(&limits, b"GET / HTTP/1.1\r\n\r\n"), MissingHost);
    assert_eq!(
        refused(&limits, b"GET / HTTP/1.2\r\nX: y\r\n\r\n"),
        MissingHost
    );
    assert_eq!(refusal(b"Host: a\r\n"), DuplicateHost);
    assert_eq!(refusal(b"hOST: b\r\n"), DuplicateHost);
    assert_eq!(
        refused(&limits, b"GET http://a/ HTTP/1.1\r\n\r\n"),
        MissingHost
    );
    accepted(&limits, b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(
        refused(&limits, b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
        DuplicateHost
    );
}

#[test]
fn host_is_a_host_and_perhaps_a_port() {
    for host in [
        "a",
        "example.com:8080",
        "[::1]:80",
        "127.0.0.1",
        "0.0.0.0=5000",
        "a_b",
    ] {
        accepted(
            &Limits::default(),
            format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(),
        );
    }
    for host in [
        "", " ", "a, b", "a,b", "a b", "u@a", "a/b", "a:b", "http://a", "a:99999", "[::1", "a?",
        "a#b", "\u{e9}",
    ] {
        for version in ["1.0", "1.1"] {
            let wire = format!("GET / HTTP/{version}\r\nHost: {host}\r\n\r\n");
            assert_eq!(
                refused(&Limits::default(), wire.as_bytes()),
                BadHost,
                "{host:?}"
            );
        }
    }
}

#[test]
fn expectations_other_than_100_continue_are_refused() {
    let with = |expect: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: {expect}\r\n\r\nhi")
    };
    assert!(accepted(&Limits::default(), with("100-continue").as_bytes()).expect_continue);
    assert!(accepted(&Limits::default(), with("100-Continue").as_bytes()).expect_continue);
    for expect in ["", "200-ok", "100-continue, x", "100-continue;q=1", "100"] {
        assert_eq!(
            refused(&Limits::default(), with(expect).as_bytes()),
            UnknownExpectation,
            "{expect}"
        );
    }
    assert_eq!(UnknownExpectation.status(), 417);
    // RFC 9110 section 10.1.1: ignored without content and from HTTP/1.0.
    let limits = Limits::default();
    assert!(
        !accepted(
            &limits,
            b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"
        )
        .expect_continue
    );
    let http10 = b"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi";
    assert!(!accepted(&limits, http10).expect_continue);
    let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n";
    assert!(accepted(&limits, chunked).expect_continue);
}

#[test]
fn connection_options_are_a_list_and_close_wins() {
    for (version, lines, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Close\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.1", "Connection: x\r\nConnection: , close\r\n", false),
        ("1.1", "Connection: not-close, closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: Keep-Alive, x\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
        ("1.0", "Connection: close\r\n", false),
        ("1.0", "Keep-Alive: 300\r\n", false),
    ] {
        let wire = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(
            accepted(&Limits::default(), wire.as_bytes()).keep_alive,
            keep_alive,
            "{wire:?}"
        );
    }
}

#[test]
fn only_a_websocket_upgrade_is_seen() {
    let both = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    for (line, lines, expected) in [
        ("GET / HTTP/1.1", both, true),
        (
            "GET / HTTP/1.1",
            "Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n",
            true,
        ),
        (
            "GET / HTTP/1.1",
            "Upgrade: h2c, websocket\r\nConnection: upgrade\r\n",
            true,
        ),
        ("GET / HTTP/1.1", "Upgrade: websocket\r\n", false),
        ("GET / HTTP/1.1", "Connection: upgrade\r\n", false),
        (
            "GET / HTTP/1.1",
            "Upgrade: h2c\r\nConnection: upgrade, HTTP2-Settings\r\n",
            false,
        ),
        (
            "GET / HTTP/1.1",
            "Upgrade: websocket2\r\nConnection: upgrade\r\n",
            false,
        ),
        ("POST / HTTP/1.1", both, false),
        ("GET / HTTP/1.0", both, false),
    ] {
        let wire = format!("{line}\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(
            accepted(&Limits::default(), wire.as_bytes()).websocket,
            expected,
            "{wire:?}"
        );
    }
    let with_body = format!("GET / HTTP/1.1\r\nHost: a\r\n{both}Content-Length: 1\r\n\r\nx");
    assert!(!accepted(&Limits::default(), with_body.as_bytes()).websocket);
}
