//! The limits of a head: exactly at the bound passes, one beyond is refused, 0 is off.

use ferrule_http::{ErrorKind, ErrorKind::*, Limits};

use crate::support::{accepted, every_way, refused};

#[test]
fn the_request_line_is_bounded_without_its_crlf() {
    let limits = Limits {
        request_line: 100,
        ..Limits::default()
    };
    let wire = |length: usize| {
        let target = "a".repeat(length - "GET / HTTP/1.1".len());
        format!("GET /{target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
    };
    accepted(&limits, &wire(100));
    assert_eq!(refused(&limits, &wire(101)), RequestLineTooLong);
    assert_eq!(refused(&limits, &[b'A'; 101]), RequestLineTooLong);
    assert_eq!(every_way(&limits, &[b'A'; 100]).error, None);
    assert_eq!(RequestLineTooLong.status(), 414);
    accepted(
        &Limits {
            request_line: 0,
            ..limits
        },
        &wire(5000),
    );
}

#[test]
fn a_field_line_is_bounded_with_its_crlf() {
    let limits = Limits {
        field_size: 50,
        ..Limits::default()
    };
    let wire = |length: usize| {
        let value = "v".repeat(length - "x: \r\n".len());
        format!("GET / HTTP/1.1\r\nHost: a\r\nx: {value}\r\n\r\n").into_bytes()
    };
    accepted(&limits, &wire(50));
    assert_eq!(refused(&limits, &wire(51)), FieldTooLarge);
    let endless = [b"GET / HTTP/1.1\r\n", &[b'n'; 49][..]].concat();
    assert_eq!(refused(&limits, &endless), FieldTooLarge);
    assert_eq!(FieldTooLarge.status(), 431);
    accepted(
        &Limits {
            field_size: 0,
            ..limits
        },
        &wire(5000),
    );
}

#[test]
fn the_number_of_fields_is_bounded() {
    let limits = Limits {
        fields: 5,
        ..Limits::default()
    };
    let wire = |fields: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "x: y\r\n".repeat(fields - 1)
        )
        .into_bytes()
    };
    assert_eq!(accepted(&limits, &wire(5)).fields.len(), 5);
    assert_eq!(refused(&limits, &wire(6)), TooManyFields);
    assert_eq!(TooManyFields.status(), 431);
    assert_eq!(
        accepted(
            &Limits {
                fields: 0,
                ..limits
            },
            &wire(150)
        )
        .fields
        .len(),
        150
    );
}

#[test]
fn the_head_is_bounded_with_its_empty_line() {
    let wire = b"GET / HTTP/1.1\r\nHost: a\r\nx: yyyyyyyyyyyyyyy\r\n\r\n";
    let limits = |head: usize| Limits {
        head,
        ..Limits::default()
    };
    accepted(&limits(wire.len()), wire);
    assert_eq!(refused(&limits(wire.len() - 1), wire), HeadTooLarge);
    for head in 1..wire.len() {
        assert_eq!(refused(&limits(head), wire), HeadTooLarge, "{head}");
    }
    assert_eq!(HeadTooLarge.status(), 431);
    accepted(&limits(0), wire);
}

#[test]
fn the_declared_body_is_bounded() {
    let wire = |length: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").into_bytes()
    };
    let limits = Limits {
        body: 10,
        ..Limits::default()
    };
    assert_eq!(every_way(&limits, &wire("10")).error, None);
    assert_eq!(refused(&limits, &wire("11")), BodyTooLarge);
    assert_eq!(
        refused(&limits, &wire("18446744073709551615")),
        BodyTooLarge
    );
    assert_eq!(
        every_way(&Limits::default(), &wire("18446744073709551615")).error,
        None
    );
}

#[test]
fn the_default_limits_are_those_of_the_settings() {
    let limits = Limits::default();
    assert_eq!(
        (limits.request_line, limits.fields, limits.field_size),
        (8190, 100, 8190)
    );
    assert_eq!((limits.head, limits.body), (65536, 0));
    let wire = |length: usize| {
        format!(
            "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
            "a".repeat(length - 14)
        )
        .into_bytes()
    };
    let whole = |wire: &[u8]| crate::support::whole(&limits, wire).error;
    assert_eq!(whole(&wire(8190)), None);
    assert_eq!(whole(&wire(8191)), Some(ErrorKind::RequestLineTooLong));
}
