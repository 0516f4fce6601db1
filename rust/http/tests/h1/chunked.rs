//! The chunked transfer coding: RFC 9112 section 7.1.

use ferrule_http::{ErrorKind, ErrorKind::*, Limits};

use crate::support::{Seen, accepted, refused};

fn wire(coding: &[u8]) -> Vec<u8> {
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        coding,
    ]
    .concat()
}

fn decoded(coding: &[u8]) -> Seen {
    accepted(&Limits::default(), &wire(coding))
}

fn refusal(coding: &[u8]) -> ErrorKind {
    refused(&Limits::default(), &wire(coding))
}

#[test]
fn sizes_are_one_to_sixteen_hex_digits() {
    for coding in [
        "5\r\nhello\r\n0\r\n\r\n",
        "0005\r\nhello\r\n000\r\n\r\n",
        "0000000000000005\r\nhello\r\n0\r\n\r\n",
    ] {
        assert_eq!(decoded(coding.as_bytes()).body, b"hello");
    }
    assert_eq!(decoded(b"A\r\n0123456789\r\n0\r\n\r\n").body, b"0123456789");
    assert_eq!(
        decoded(b"a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n").body,
        b"0123456789x"
    );
    let long = [
        format!("{:x}\r\n", 300).as_bytes(),
        &[b'z'; 300],
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    assert_eq!(decoded(&long).body, [b'z'; 300]);

    for (size, expected) in [
        ("", BadChunkSize),
        ("-5", BadChunkSize),
        ("+5", BadChunkSize),
        ("0x5", BadChunkSize),
        ("0X5", BadChunkSize),
        ("5_0", BadChunkSize),
        ("6_", BadChunkSize),
        (" 5", BadChunkSize),
        ("\t5", BadChunkSize),
        ("5 ", BadChunkSize),
        ("5\t", BadChunkSize),
        ("5 5", BadChunkSize),
        ("5g", BadChunkSize),
        ("g", BadChunkSize),
        ("5,", BadChunkSize),
        ("5.0", BadChunkSize),
        ("\u{0665}", BadChunkSize),
        (";a", BadChunkSize),
        (" ;a", BadChunkSize),
        ("00000000000000005", ChunkSizeOverflow),
        ("10000000000000005", ChunkSizeOverflow),
        ("5\0", BadChunkSize),
        ("5\n", BareLineFeed),
        ("5\rx", BareCarriageReturn),
        ("5\r", BareCarriageReturn),
    ] {
        let coding = format!("{size}\r\nhello\r\n0\r\n\r\n");
        assert_eq!(refusal(coding.as_bytes()), expected, "{size:?}");
    }
}

#[test]
fn sizes_that_overflow_in_sum_are_refused() {
    let coding = b"1\r\nx\r\nffffffffffffffff\r\n";
    assert_eq!(refusal(coding), ChunkSizeOverflow);
}

#[test]
fn bare_line_feeds_end_no_line_of_the_coding() {
    assert_eq!(refusal(b"5\nhello\n0\n\n"), BareLineFeed);
    assert_eq!(refusal(b"5\r\nhello\n0\r\n\r\n"), BadChunkEnd);
    assert_eq!(refusal(b"5\r\nhello\r\n0\r\n\n"), BareLineFeed);
    assert_eq!(refusal(b"5;a\nb\r\nhello\r\n0\r\n\r\n"), BareLineFeed);
    assert_eq!(refusal(b"0\r\nx: y\n\r\n"), BareLineFeed);
}

#[test]
fn data_ends_where_its_size_says() {
    for coding in [
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
    ] {
        assert_eq!(refusal(coding.as_bytes()), BadChunkEnd, "{coding:?}");
    }
    // Too short: the rest of the coding is data, what follows it is no CRLF.
    assert_eq!(refusal(b"6\r\nhello\r\n0\r\n\r\n"), BadChunkEnd);
}

#[test]
fn extensions_keep_to_their_grammar_and_are_ignored() {
    for extension in [
        ";a",
        "; a",
        ";a=b",
        ";a=\"b c\"",
        ";a;b=c;d",
        " ;a",
        "\t; a = b",
        "; some; parameters=stuff",
        ";a=\"\\\"\\\\\"",
        ";a=\"\u{e9}\t\"",
        ";chunk-signature=0123456789abcdef",
    ] {
        let coding = format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n");
        assert_eq!(decoded(coding.as_bytes()).body, b"hello", "{extension:?}");
    }
    for (extension, expected) in [
        (";", BadChunkExtension),
        ("; ", BadChunkExtension),
        (";;", BadChunkExtension),
        (";a;", BadChunkExtension),
        (";=b", BadChunkExtension),
        (";a=", BadChunkExtension),
        (";a=b c", BadChunkExtension),
        (";a ", BadChunkExtension),
        (";a=\"b", BadChunkExtension),
        (";a=\"b\"c", BadChunkExtension),
        (";a=\"b\u{1}\"", BadChunkExtension),
        (";a=\"b\\\u{7f}\"", BadChunkExtension),
        (";a\u{0}", BadChunkExtension),
        (";a=\u{e9}", BadChunkExtension),
        (";ext=val\rue", BareCarriageReturn),
    ] {
        let coding = format!("5{extension}\r\nhello\r\n0\r\n\r\n");
        assert_eq!(refusal(coding.as_bytes()), expected, "{extension:?}");
    }
    // The classic: a reader that ends the line at LF finds a second request in the extension.
    let hidden = b"5;\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(refusal(hidden), BadChunkExtension);
    assert_eq!(refusal(b"5;a=\"\nGET / HTTP/1.1\r\n"), BadChunkExtension);
}

#[test]
fn extensions_are_bounded_per_line_and_per_body() {
    let limits = Limits {
        chunk_line: 20,
        chunk_extensions: 50,
        ..Limits::default()
    };
    let fits = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(18));
    assert_eq!(accepted(&limits, &wire(fits.as_bytes())).body, b"hello");
    let over = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(19));
    assert_eq!(refused(&limits, &wire(over.as_bytes())), ChunkLineTooLong);
    let endless = format!("5;{}", "a".repeat(30));
    assert_eq!(
        refused(&limits, &wire(endless.as_bytes())),
        ChunkLineTooLong
    );

    // The digits count too.
    let limits_of_digits = Limits {
        chunk_line: 2,
        ..Limits::default()
    };
    assert_eq!(
        accepted(&limits_of_digits, &wire(b"05\r\nhello\r\n00\r\n\r\n")).body,
        b"hello"
    );
    assert_eq!(
        refused(&limits_of_digits, &wire(b"005\r\nhello\r\n0\r\n\r\n")),
        ChunkLineTooLong
    );

    // 10 bytes of extension per one-byte chunk: the sixth is too much.
    let chunk = "1;aaaaaaaaa\r\nx\r\n";
    let fits = format!("{}0\r\n\r\n", chunk.repeat(5));
    assert_eq!(accepted(&limits, &wire(fits.as_bytes())).body, b"xxxxx");
    assert_eq!(
        refused(&limits, &wire(chunk.repeat(6).as_bytes())),
        ChunkExtensionsTooLarge
    );
}

#[test]
fn the_body_limit_counts_decoded_bytes() {
    let limits = Limits {
        body: 10,
        ..Limits::default()
    };
    assert_eq!(
        accepted(&limits, &wire(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")).body,
        b"helloworld"
    );
    assert_eq!(refused(&limits, &wire(b"b\r\n")), BodyTooLarge);
    assert_eq!(
        refused(&limits, &wire(b"5\r\nhello\r\n6\r\n")),
        BodyTooLarge
    );
    assert_eq!(
        refused(&limits, &wire(b"ffffffffffffffff\r\n")),
        BodyTooLarge
    );
    assert_eq!(BodyTooLarge.status(), 413);
}

#[test]
fn trailers_are_fields_that_do_not_frame_route_or_authenticate() {
    let seen =
        decoded(b"5\r\nhello\r\n0\r\nVary: *\r\nContent-Type: text/plain\r\nX: \t y \r\n\r\n");
    let trailers: Vec<_> = seen
        .trailers
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .collect();
    assert_eq!(
        trailers,
        [
            (&b"Vary"[..], &b"*"[..]),
            (b"Content-Type", b"text/plain"),
            (b"X", b"y")
        ]
    );

    let rows: &[(&[u8], ErrorKind)] = &[
        (b"Content-Length: 5\r\n", ForbiddenTrailer),
        (b"Transfer-Encoding: chunked\r\n", ForbiddenTrailer),
        (b"Host: b\r\n", ForbiddenTrailer),
        (b"Authorization: x\r\n", ForbiddenTrailer),
        (b"Proxy-Authorization: x\r\n", ForbiddenTrailer),
        (b"Cookie: x\r\n", ForbiddenTrailer),
        (b"X-Forwarded-For: 1.2.3.4\r\n", ForbiddenTrailer),
        (b"Connection: close\r\n", ForbiddenTrailer),
        (b"Expect: 100-continue\r\n", ForbiddenTrailer),
        (b"fine: x\r\nHOST: b\r\n", ForbiddenTrailer),
        (b"content_length: 5\r\n", AmbiguousFieldName),
        (b"x : y\r\n", SpaceBeforeColon),
        (b" x: y\r\n", ObsoleteFold),
        (b"x: y\r\n z\r\n", ObsoleteFold),
        (b"x\r\n", MissingColon),
        (b"x: \0\r\n", ControlByte),
        (b"x: y\rz\r\n", BareCarriageReturn),
        (b"\r", BareCarriageReturn),
    ];
    for (trailers, expected) in rows {
        let coding = [b"0\r\n", *trailers, b"\r\n"].concat();
        assert_eq!(
            refusal(&coding),
            *expected,
            "{:?}",
            trailers.escape_ascii().to_string()
        );
    }
}

#[test]
fn trailers_are_bounded_like_heads() {
    let limits = Limits {
        fields: 3,
        field_size: 30,
        head: 200,
        ..Limits::default()
    };
    let coding = |trailers: &str| wire(format!("0\r\n{trailers}\r\n").as_bytes());
    assert_eq!(
        accepted(&limits, &coding(&"a: b\r\n".repeat(3)))
            .trailers
            .len(),
        3
    );
    assert_eq!(
        refused(&limits, &coding(&"a: b\r\n".repeat(4))),
        TooManyFields
    );
    accepted(&limits, &coding(&format!("a: {}\r\n", "b".repeat(25))));
    assert_eq!(
        refused(&limits, &coding(&format!("a: {}\r\n", "b".repeat(26)))),
        FieldTooLarge
    );
    let limits = Limits {
        head: 100,
        ..Limits::default()
    };
    let over = format!("a: {}\r\n", "b".repeat(40)).repeat(3);
    assert_eq!(refused(&limits, &coding(&over)), HeadTooLarge);
}
