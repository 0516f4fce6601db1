//! The raw requests of gunicorn's test corpus, from outside this repository: `$FERRULE_VECTORS`,
//! or `../shared/vectors` beside it. Every case runs whole, byte by byte and split at every byte;
//! where Ferrule differs on purpose, the case is named here with the section that says so.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::path::PathBuf;

use ferrule_http::{ErrorKind, ErrorKind::*, Limits};
use serde_json::Value;
use support::{Outcome, every_way};

/// "Valid" there, refused here.
const REFUSED: &[(&str, ErrorKind, &str)] = &[
    (
        "005",
        BadTarget,
        "RFC 9112 section 3.2: no form of the target has a fragment",
    ),
    (
        "009",
        BadTarget,
        "RFC 9112 section 3.2: a fragment (and section 6.1: both framing fields)",
    ),
    (
        "025",
        UnknownTransferCoding,
        "RFC 9112 section 6.1: 501 for codings that are not understood",
    ),
    ("025_line", UnknownTransferCoding, "RFC 9112 section 6.1"),
    ("027", BadTarget, "RFC 3986 section 2: a target is ASCII"),
    (
        "028",
        SpaceBeforeColon,
        "RFC 9112 section 5.1; there with strip_header_spaces",
    ),
    (
        "029",
        UnknownTransferCoding,
        "RFC 9112 section 6.1; `identity` is gone since RFC 7230",
    ),
    ("030", UnknownTransferCoding, "RFC 9112 section 6.1"),
    (
        "031compat",
        LowercaseMethod,
        "RFC 9110 section 9.1: methods are case-sensitive; there with casefold_http_method",
    ),
    (
        "031compat2",
        LowercaseMethod,
        "RFC 9110 section 9.1: 501; there with permit_unconventional_http_method",
    ),
    (
        "040",
        AmbiguousFieldName,
        "RFC 9110 section 17.10: CGI-style names merge `_` and `-`",
    ),
    (
        "040_compat",
        AmbiguousFieldName,
        "RFC 9110 section 17.10; there with header_map = dangerous",
    ),
    (
        "compat_obs_fold",
        ObsoleteFold,
        "RFC 9112 section 5.2; there with permit_obsolete_folding",
    ),
    (
        "compat_obs_fold_huge",
        ObsoleteFold,
        "RFC 9112 section 5.2; there with permit_obsolete_folding",
    ),
    (
        "rfc9112_smuggle_gzip_chunked_01",
        UnknownTransferCoding,
        "RFC 9112 section 6.1",
    ),
    (
        "rfc9112_smuggle_te_identity_chunked_01",
        UnknownTransferCoding,
        "RFC 9112 section 6.1",
    ),
    (
        "rfc9112_target_absolute_userinfo_01",
        BadAuthority,
        "RFC 9110 section 4.2.4: userinfo is an error",
    ),
];

/// "Invalid" there, accepted here.
const ACCEPTED: &[(&str, &str)] = &[
    (
        "019",
        "product: which forwarding fields count is judged by whoever knows the peer, not by the parser",
    ),
    ("limit_header_default_01", "product: 0 turns a limit off"),
];

/// "Invalid" there because the input ends early: here the request is never complete.
const CUT_OFF: &[&str] = &["001", "rfc9112_chunked_missing_final_crlf_01"];

fn vectors() -> Option<Value> {
    let from_environment = std::env::var_os("FERRULE_VECTORS").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let path = from_environment
        .unwrap_or(beside)
        .join("h1/gunicorn_requests.json");
    match std::fs::read(&path) {
        Ok(json) => Some(serde_json::from_slice(&json).unwrap()),
        Err(error) => {
            eprintln!(
                "skipped: no vectors at {} ({error}); set FERRULE_VECTORS",
                path.display()
            );
            None
        }
    }
}

struct Case {
    name: String,
    wire: Vec<u8>,
    limits: Limits,
    expect: Value,
}

fn cases(kind: &str) -> Vec<Case> {
    let Some(vectors) = vectors() else {
        return Vec::new();
    };
    let cases: Vec<_> = vectors[kind].as_array().unwrap().iter().map(case).collect();
    assert!(!cases.is_empty());
    cases
}

fn case(case: &Value) -> Case {
    let config = &case["config"];
    // What the corpus assumes where a case says nothing.
    let mut limits = Limits {
        request_line: 4094,
        ..Limits::default()
    };
    let number = |name: &str| config[name].as_u64().map(|number| number as usize);
    limits.request_line = number("limit_request_line").unwrap_or(limits.request_line);
    limits.fields = number("limit_request_fields").unwrap_or(limits.fields);
    limits.field_size = number("limit_request_field_size").unwrap_or(limits.field_size);
    Case {
        name: case["name"].as_str().unwrap().into(),
        wire: latin1(&case["wire"]),
        limits,
        expect: case["expect"].clone(),
    }
}

/// One character per byte.
fn latin1(text: &Value) -> Vec<u8> {
    text.as_str()
        .unwrap()
        .chars()
        .map(|char| u8::try_from(u32::from(char)).unwrap())
        .collect()
}

/// `wire` with a Host field after every HTTP/1.1 request line that is followed by none.
fn with_hosts(wire: &[u8]) -> Vec<u8> {
    const END: &[u8] = b" HTTP/1.1\r\n";
    let mut out = Vec::new();
    let mut rest = wire;
    while let Some(at) = rest.windows(END.len()).position(|window| window == END) {
        let (line, after) = rest.split_at(at + END.len());
        let head = after
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map_or(after, |end| &after[..end]);
        out.extend_from_slice(line);
        if !head
            .to_ascii_lowercase()
            .windows(5)
            .any(|window| window == b"host:")
        {
            out.extend_from_slice(b"Host: added\r\n");
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}

/// The request after a PROXY protocol header, which the listener takes off before HTTP begins.
fn without_proxy_header(wire: &[u8]) -> &[u8] {
    if wire.starts_with(b"PROXY ") {
        &wire[wire
            .windows(2)
            .position(|window| window == b"\r\n")
            .unwrap()
            + 2..]
    } else if wire.starts_with(b"\r\n\r\n\0\r\nQUIT\n") {
        &wire[16 + usize::from(u16::from_be_bytes([wire[14], wire[15]]))..]
    } else {
        wire
    }
}

fn assert_as_expected(case: &Case, outcome: &Outcome) {
    let name = &case.name;
    assert_eq!(outcome.error, None, "{name}");
    let expected = case.expect.as_array().unwrap();
    assert_eq!(outcome.requests.len(), expected.len(), "{name}");
    for (seen, expected) in outcome.requests.iter().zip(expected) {
        assert_eq!(seen.method, expected["method"].as_str().unwrap(), "{name}");
        assert_eq!(seen.target, latin1(&expected["target"]), "{name}");
        assert_eq!(
            u64::from(seen.minor),
            expected["version"][1].as_u64().unwrap(),
            "{name}"
        );
        let fields: Vec<_> = seen
            .fields
            .iter()
            .filter(|(_, value)| value != b"added")
            .map(|(name, value)| (name.to_ascii_uppercase(), value.clone()))
            .collect();
        let expected_fields: Vec<_> = expected["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (latin1(&pair[0]), latin1(&pair[1])))
            .collect();
        assert_eq!(fields, expected_fields, "{name}");
        let body = &expected["body"];
        if body.is_null() {
            continue;
        }
        let body = latin1(body);
        // One case declares a longer body than it has, and expects what there is.
        assert!(seen.complete || outcome.cut_off, "{name}");
        assert_eq!(seen.body, body, "{name}");
    }
}

#[test]
fn valid_requests_are_seen_as_expected_or_refused_on_purpose() {
    let mut refused = 0;
    for case in cases("valid") {
        let wire = without_proxy_header(&case.wire);
        if wire != case.wire {
            // On a listener that asked for no PROXY header, it is no HTTP.
            assert!(
                every_way(&case.limits, &case.wire).error.is_some(),
                "{}",
                case.name
            );
        }
        let mut outcome = every_way(&case.limits, wire);
        if outcome.error == Some(MissingHost) {
            // RFC 9112 section 3.2. Again with what else the request says.
            outcome = every_way(&case.limits, &with_hosts(wire));
        }
        match REFUSED.iter().find(|(name, ..)| *name == case.name) {
            Some((name, kind, _)) => {
                assert_eq!(outcome.error, Some(*kind), "{name}");
                refused += 1;
            }
            None => assert_as_expected(&case, &outcome),
        }
    }
    if vectors().is_some() {
        assert_eq!(
            refused,
            REFUSED.len(),
            "a case named above is not in the corpus"
        );
    }
}

#[test]
fn invalid_requests_are_refused() {
    for case in cases("invalid") {
        let name = case.name.as_str();
        for wire in [case.wire.clone(), with_hosts(&case.wire)] {
            let outcome = every_way(&case.limits, &wire);
            if CUT_OFF.contains(&name) {
                assert!(
                    outcome.cut_off && !outcome.requests.iter().any(|seen| seen.complete),
                    "{name}"
                );
            } else if !ACCEPTED.iter().any(|(accepted, _)| *accepted == name) {
                assert!(outcome.error.is_some(), "{name}: {}", support::lossy(&wire));
            } else if outcome.error != Some(MissingHost) {
                assert_eq!(outcome.error, None, "{name}");
            }
        }
    }
}
