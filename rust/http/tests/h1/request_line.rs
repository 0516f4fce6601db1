//! Request lines: RFC 9112 section 3, RFC 9110 sections 2.5 and 9.1.

use ferrule_http::{ErrorKind, ErrorKind::*, Limits};

use crate::support::{Seen, accepted, refused};

/// A request with this line and whatever else makes it right.
fn wire(line: &[u8]) -> Vec<u8> {
    [line, b"\r\nHost: example.com\r\n\r\n"].concat()
}

fn seen(line: &[u8]) -> Seen {
    accepted(&Limits::default(), &wire(line))
}

#[test]
fn every_token_in_upper_case_is_a_method() {
    for method in [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "OPTIONS",
        "PATCH",
        "TRACE",
        "PROPFIND",
        "M-SEARCH",
        "-BLARGH",
        "A",
        "GETGET",
        "GE",
        "PURGE",
        "!#$%&'*+-.^_`|~0",
    ] {
        assert_eq!(
            seen(format!("{method} / HTTP/1.1").as_bytes()).method,
            method
        );
    }
}

#[test]
fn other_methods_are_refused() {
    let rows: &[(&[u8], ErrorKind)] = &[
        (b" / HTTP/1.1", BadMethod),
        (b"G\"T / HTTP/1.1", BadMethod),
        (b"bla:rgh /foo HTTP/1.1", BadMethod),
        (b"GET: / HTTP/1.1", BadMethod),
        (b"GE(T / HTTP/1.1", BadMethod),
        (b"GET\xc3\x9f / HTTP/1.1", BadMethod),
        (b"\xffGET / HTTP/1.1", BadMethod),
        (b"G\tT / HTTP/1.1", BadMethod),
        (b"GET\t/ HTTP/1.1", BadMethod),
        (b"GET\0 / HTTP/1.1", ControlByte),
        (b"\x01GET / HTTP/1.1", ControlByte),
        (b"G\x7fT / HTTP/1.1", ControlByte),
        // Proxies judge `GET`; `get` is another method, and nobody promised the application one.
        (b"get / HTTP/1.1", LowercaseMethod),
        (b"Get / HTTP/1.1", LowercaseMethod),
        (b"-blargh / HTTP/1.1", LowercaseMethod),
    ];
    for (line, expected) in rows {
        assert_eq!(
            refused(&Limits::default(), &wire(line)),
            *expected,
            "{:?}",
            line.escape_ascii().to_string()
        );
    }
}

#[test]
fn one_space_stands_between_the_words() {
    let rows: &[(&[u8], ErrorKind)] = &[
        (b"GET  / HTTP/1.1", BadRequestLine),
        (b"GET /  HTTP/1.1", BadRequestLine),
        (b"GET / HTTP/1.1 ", BadRequestLine),
        (b" GET / HTTP/1.1", BadMethod),
        (b"GET /a b HTTP/1.1", BadRequestLine),
        (b"GET HTTP/1.1", BadRequestLine),
        (b"GET  HTTP/1.1", BadRequestLine),
        (b" HTTP/1.1", BadRequestLine),
        (b"HTTP/1.1", BadMethod),
        (b"GET / HTTP/1.1\tx", BadVersion),
        (b"GET /\tHTTP/1.1", BadRequestLine),
        (b"GET", BadRequestLine),
        (b"GET /", BadRequestLine),
        (b"a", BadRequestLine),
    ];
    for (line, expected) in rows {
        assert_eq!(
            refused(&Limits::default(), &wire(line)),
            *expected,
            "{:?}",
            line.escape_ascii().to_string()
        );
    }
}

#[test]
fn minor_versions_of_http_1_are_served_and_nothing_else() {
    for (version, minor) in [("1.0", 0), ("1.1", 1), ("1.2", 2), ("1.9", 9)] {
        let seen = seen(format!("GET / HTTP/{version}").as_bytes());
        assert_eq!(
            (seen.minor, seen.keep_alive),
            (minor, minor > 0),
            "{version}"
        );
    }
    for (version, expected) in [
        ("HTTP/2.0", UnsupportedVersion),
        ("HTTP/3.0", UnsupportedVersion),
        ("HTTP/9.9", UnsupportedVersion),
        ("HTTP/0.9", UnsupportedVersion),
        ("HTTP/2", BadVersion),
        ("HTTP/1", BadVersion),
        ("HTTP/1.", BadVersion),
        ("HTTP/.1", BadVersion),
        ("HTTP/1.10", BadVersion),
        ("HTTP/11.1", BadVersion),
        ("HTTP/111", BadVersion),
        ("HTTP/0.99", BadVersion),
        ("HTTP/1,1", BadVersion),
        ("HTTP/+1.1", BadVersion),
        ("HTTP/1.a", BadVersion),
        ("http/1.1", BadVersion),
        ("Http/1.1", BadVersion),
        ("HTTPS/1.1", BadVersion),
        ("FTP/1.1", BadVersion),
        ("HTTP/1.1x", BadVersion),
        ("xHTTP/1.1", BadVersion),
        ("HTTP /1.1", BadRequestLine),
    ] {
        let line = format!("GET / {version}");
        assert_eq!(
            refused(&Limits::default(), &wire(line.as_bytes())),
            expected,
            "{line}"
        );
    }
    assert_eq!(UnsupportedVersion.status(), 505);
}

#[test]
fn an_origin_form_splits_at_the_first_question_mark() {
    for (target, path, query) in [
        ("/", "/", None),
        ("/?", "/", Some("")),
        ("/?a", "/", Some("a")),
        ("/a?b?c", "/a", Some("b?c")),
        ("//double//slash", "//double//slash", None),
        ("/%00%2f..", "/%00%2f..", None),
        ("/a:b@c!$&'()*+,;=", "/a:b@c!$&'()*+,;=", None),
        // Not URI characters, but sent by browsers and harmless.
        (
            "/with_\"quotes\"?foo=\"bar\"",
            "/with_\"quotes\"",
            Some("foo=\"bar\""),
        ),
        ("/<>\\^`{|}", "/<>\\^`{|}", None),
        ("/http://other/", "/http://other/", None),
    ] {
        let seen = seen(format!("GET {target} HTTP/1.1").as_bytes());
        assert_eq!(seen.target, target.as_bytes());
        assert_eq!(seen.path, path.as_bytes(), "{target}");
        assert_eq!(seen.query.as_deref(), query.map(str::as_bytes), "{target}");
        assert_eq!(seen.authority, None);
    }
}

#[test]
fn a_question_mark_is_found_wherever_it_stands_in_a_long_target() {
    for at in 1..100 {
        let target = format!("/{}?{}", "p".repeat(at - 1), "q?".repeat(40));
        let seen = seen(format!("GET {target} HTTP/1.1").as_bytes());
        assert_eq!(seen.path, &target.as_bytes()[..at]);
        assert_eq!(seen.query.as_deref(), Some(&target.as_bytes()[at + 1..]));
    }
}

#[test]
fn no_target_has_controls_spaces_fragments_or_non_ascii_bytes() {
    for byte in 0..=255u8 {
        // At the front, and far enough for another block.
        for padding in [0, 40] {
            let target = [b"/", "a".repeat(padding).as_bytes(), &[byte], b"z"].concat();
            let line = [b"GET ", &target[..], b" HTTP/1.1"].concat();
            match byte {
                b'\n' => assert_eq!(refused(&Limits::default(), &wire(&line)), BareLineFeed),
                b'\r' => assert_eq!(
                    refused(&Limits::default(), &wire(&line)),
                    BareCarriageReturn
                ),
                b' ' => assert_eq!(refused(&Limits::default(), &wire(&line)), BadRequestLine),
                b'\t' | b'#' | 0x80.. => {
                    assert_eq!(refused(&Limits::default(), &wire(&line)), BadTarget)
                }
                0..0x20 | 0x7f => {
                    assert_eq!(refused(&Limits::default(), &wire(&line)), ControlByte)
                }
                _ => assert_eq!(seen(&line).target, target),
            }
        }
    }
}

#[test]
fn an_absolute_form_gives_authority_path_and_query() {
    for (target, path, query) in [
        ("http://example.com", "/", None),
        ("http://example.com/", "/", None),
        ("HTTP://example.com/a?b", "/a", Some("b")),
        ("http://example.com?b", "/", Some("b")),
        ("http://EXAMPLE.com:80/a", "/a", None),
        ("https://example.com:443/a//b?c/d?e", "/a//b", Some("c/d?e")),
        ("https://example.com/", "/", None),
    ] {
        let seen = seen(format!("GET {target} HTTP/1.1").as_bytes());
        assert_eq!(seen.path, path.as_bytes(), "{target}");
        assert_eq!(seen.query.as_deref(), query.map(str::as_bytes), "{target}");
        let authority = String::from_utf8(seen.authority.unwrap()).unwrap();
        assert!(
            authority.to_lowercase().starts_with("example.com"),
            "{authority}"
        );
    }
    let v6 = b"GET http://[::1]:8080/foo HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n";
    assert_eq!(
        accepted(&Limits::default(), v6).authority.as_deref(),
        Some(&b"[::1]:8080"[..])
    );
}

#[test]
fn an_absolute_form_that_disagrees_with_host_is_refused() {
    for target in [
        "http://example.org/",
        "http://example.com:8080/",
        "http://example.com:443/",
        "https://example.com:80/",
        "http://www.example.com/",
    ] {
        let line = format!("GET {target} HTTP/1.1");
        assert_eq!(
            refused(&Limits::default(), &wire(line.as_bytes())),
            HostMismatch,
            "{target}"
        );
    }
}

#[test]
fn broken_absolute_forms_are_refused() {
    for (target, expected) in [
        ("http:///a", BadAuthority),
        ("http://", BadAuthority),
        ("http://?q", BadAuthority),
        // RFC 9110 section 4.2.4: userinfo hides the authority.
        ("http://user@example.com/", BadAuthority),
        ("http://user:pw@example.com/", BadAuthority),
        ("http://example.com:port/", BadAuthority),
        ("http://example.com,example.org/", BadAuthority),
        ("http://[::1/", BadAuthority),
        ("http:/example.com/", BadTarget),
        ("http:example.com", BadTarget),
        ("ftp://example.com/", BadTarget),
        ("s://]ufd/:", BadTarget),
        ("javascript:alert(1)", BadTarget),
        ("foo/bar", BadTarget),
        ("example.com:443", BadTarget),
        ("?a=b", BadTarget),
        ("*a", BadTarget),
        ("\\", BadTarget),
    ] {
        let line = format!("GET {target} HTTP/1.1");
        assert_eq!(
            refused(&Limits::default(), &wire(line.as_bytes())),
            expected,
            "{target}"
        );
    }
}

#[test]
fn the_asterisk_is_for_options_only() {
    assert_eq!(seen(b"OPTIONS * HTTP/1.1").path, b"*");
    assert_eq!(
        refused(&Limits::default(), &wire(b"GET * HTTP/1.1")),
        AsteriskForm
    );
    assert_eq!(
        refused(&Limits::default(), &wire(b"OPTIONS ** HTTP/1.1")),
        BadTarget
    );
    assert_eq!(
        refused(&Limits::default(), &wire(b"OPTIONS *?a HTTP/1.1")),
        BadTarget
    );
}

#[test]
fn connect_takes_host_and_port_only() {
    let seen = accepted(
        &Limits::default(),
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
    );
    assert_eq!(
        (seen.path.as_slice(), seen.query),
        (&b"example.com:443"[..], None)
    );
    accepted(
        &Limits::default(),
        b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n",
    );
    for target in [
        "/",
        "*",
        "example.com",
        "example.com:",
        "http://example.com:443",
        "a:443/",
        "u@a:443",
        "a:443?b",
    ] {
        let line = format!("CONNECT {target} HTTP/1.1");
        assert_eq!(
            refused(&Limits::default(), &wire(line.as_bytes())),
            ConnectTarget,
            "{target}"
        );
    }
}

#[test]
fn one_empty_line_may_stand_before_a_request_and_no_more() {
    let get = wire(b"GET / HTTP/1.1");
    accepted(&Limits::default(), &[b"\r\n", &get[..]].concat());
    assert_eq!(
        refused(&Limits::default(), &[b"\r\n\r\n", &get[..]].concat()),
        BadRequestLine
    );
    assert_eq!(
        refused(&Limits::default(), &[b"\n", &get[..]].concat()),
        BareLineFeed
    );
    assert_eq!(
        refused(&Limits::default(), &[b"\r", &get[..]].concat()),
        BareCarriageReturn
    );
    assert_eq!(
        refused(&Limits::default(), &[b"\r\n\n", &get[..]].concat()),
        BareLineFeed
    );
    assert_eq!(
        refused(&Limits::default(), &[b" \r\n", &get[..]].concat()),
        BadRequestLine
    );
}
