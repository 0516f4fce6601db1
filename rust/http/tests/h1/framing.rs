//! Where a request ends: RFC 9112 section 6. The table of causes is beside the decision itself;
//! here the whole way is driven, with the attacks by name.

use ferrule_http::{BodyLength, ErrorKind, ErrorKind::*, Limits};

use crate::support::{accepted, every_way, refused};

fn refusal(line: &str, lines: &str, body: &str) -> ErrorKind {
    refused(
        &Limits::default(),
        format!("{line}\r\nHost: a\r\n{lines}\r\n{body}").as_bytes(),
    )
}

#[test]
fn a_body_is_as_long_as_its_head_says() {
    for (lines, rest, length, body) in [
        ("", "", BodyLength::None, ""),
        ("Content-Length: 0\r\n", "", BodyLength::Exact(0), ""),
        (
            "Content-Length: 5\r\n",
            "hello",
            BodyLength::Exact(5),
            "hello",
        ),
        (
            "content-LENGTH:\t0005 \r\n",
            "hello",
            BodyLength::Exact(5),
            "hello",
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            BodyLength::Chunked,
            "hello",
        ),
        (
            "transfer-encoding:Chunked\r\n",
            "0\r\n\r\n",
            BodyLength::Chunked,
            "",
        ),
    ] {
        for method in ["GET", "POST", "DELETE", "HEAD", "OPTIONS"] {
            let wire = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n{rest}");
            let seen = accepted(&Limits::default(), wire.as_bytes());
            assert_eq!(
                (seen.length, seen.body.as_slice()),
                (length, body.as_bytes()),
                "{wire:?}"
            );
        }
    }
}

#[test]
fn smuggling_by_two_framing_fields_is_refused() {
    // CVE-2019-16785/16786/16789/16792, CVE-2020-10108/10109, CVE-2022-24801, CVE-2024-1135,
    // CVE-2024-6827 and their kin: whatever two readers could frame differently.
    for (lines, expected) in [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            TransferEncodingAndContentLength,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            TransferEncodingAndContentLength,
        ),
        (
            "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
            TransferEncodingAndContentLength,
        ),
        (
            "Content-Length: 5\r\nTransfer-Encoding:\r\n",
            TransferEncodingAndContentLength,
        ),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            DuplicateContentLength,
        ),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            DuplicateContentLength,
        ),
        (
            "Content-Length: 5\r\ncontent-length:\r\n",
            DuplicateContentLength,
        ),
        ("Content-Length: 5, 5\r\n", BadContentLength),
        ("Content-Length: 5,\r\n", BadContentLength),
        ("Content-Length: +5\r\n", BadContentLength),
        ("Content-Length: -5\r\n", BadContentLength),
        ("Content-Length: 0x5\r\n", BadContentLength),
        ("Content-Length: 5_0\r\n", BadContentLength),
        ("Content-Length: 5 0\r\n", BadContentLength),
        ("Content-Length: 5.0\r\n", BadContentLength),
        ("Content-Length: \"5\"\r\n", BadContentLength),
        ("Content-Length:\r\n", BadContentLength),
        ("Content-Length: \u{0665}\r\n", BadContentLength),
        ("Content-Length: 18446744073709551616\r\n", BadContentLength),
        (
            "Content-Length: 99999999999999999999999999\r\n",
            BadContentLength,
        ),
        (
            "Transfer-Encoding: chunked, chunked\r\n",
            BadTransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            BadTransferEncoding,
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            BadTransferEncoding,
        ),
        ("Transfer-Encoding: chunked, gzip\r\n", BadTransferEncoding),
        ("Transfer-Encoding: xchunked\r\n", BadTransferEncoding),
        ("Transfer-Encoding: chunked;q=1\r\n", BadTransferEncoding),
        ("Transfer-Encoding: \"chunked\"\r\n", BadTransferEncoding),
        ("Transfer-Encoding: chunked ,\r\n", BadTransferEncoding),
        ("Transfer-Encoding: ,chunked\r\n", BadTransferEncoding),
        ("Transfer-Encoding:\r\n", BadTransferEncoding),
        ("Transfer-Encoding: identity\r\n", BadTransferEncoding),
        ("Transfer-Encoding: gzip\r\n", BadTransferEncoding),
        ("Transfer-Encoding: \u{b}chunked\r\n", ControlByte),
        ("Transfer-Encoding\u{b}: chunked\r\n", ControlByte),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            UnknownTransferCoding,
        ),
        (
            "Transfer-Encoding: identity, chunked\r\n",
            UnknownTransferCoding,
        ),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            UnknownTransferCoding,
        ),
    ] {
        assert_eq!(
            refusal("POST / HTTP/1.1", lines, "5\r\nhello\r\n0\r\n\r\n"),
            expected,
            "{lines:?}"
        );
    }
    assert_eq!(UnknownTransferCoding.status(), 501);
    assert_eq!(
        refusal("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n", ""),
        TransferEncodingInHttp10
    );
}

#[test]
fn a_body_that_does_not_arrive_whole_is_never_complete() {
    for wire in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: y\r\n",
    ] {
        let outcome = every_way(&Limits::default(), wire.as_bytes());
        assert_eq!(outcome.error, None);
        assert!(!outcome.requests[0].complete && outcome.cut_off, "{wire:?}");
    }
}
