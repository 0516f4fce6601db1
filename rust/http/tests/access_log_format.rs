//! Access lines: nothing a client sends can forge a line, break its format or reach a terminal.
//!
//! The formatter belongs to the core, which is an extension module and has no cargo tests of its
//! own; it is pure, so it is tested here.

#![allow(clippy::unwrap_used)]

#[path = "../../core/src/access_log/date.rs"]
mod date;
#[path = "../../core/src/access_log/format.rs"]
mod format;
#[path = "../../core/src/access_log/text.rs"]
mod text;

use format::{Entry, Layout};
use proptest::prelude::*;

const DEFAULT: [&str; 9] = [
    "method",
    "path",
    "query",
    "status",
    "duration_ms",
    "size",
    "ip",
    "user_agent",
    "referer",
];
const ALL: [&str; 14] = [
    "method",
    "path",
    "url",
    "query",
    "status",
    "duration_ms",
    "size",
    "ip",
    "user_agent",
    "referer",
    "protocol",
    "request_id",
    "worker",
    "queue_ms",
];
const LIMIT: usize = 4096;

fn entry() -> Entry<'static> {
    Entry {
        method: b"GET",
        path: b"/",
        query: None,
        target: b"/",
        protocol: "HTTP/1.1",
        user_agent: b"Mozilla/5.0",
        referer: b"https://example.com",
        ip: b"127.0.0.1",
        status: 200,
        size: 1234,
        duration_us: 12_345,
        queue_us: 1_005,
        request_id: 77,
        unix_ms: 1_763_636_820_042, // 2025-11-20 11:07:00.042 UTC
    }
}

fn line(format: &str, fields: &[&str], entry: &Entry<'_>) -> Vec<u8> {
    let layout = Layout::new(format, fields, 3, LIMIT).unwrap();
    layout.line(entry, &mut layout.scratch()).to_vec()
}

fn text(format: &str, fields: &[&str], entry: &Entry<'_>) -> String {
    String::from_utf8(line(format, fields, entry)).unwrap()
}

fn json(entry: &Entry<'_>) -> serde_json::Map<String, serde_json::Value> {
    let line = line("json", &ALL, entry);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    serde_json::from_slice(&line).unwrap()
}

#[test]
fn kv_has_the_documented_shape() {
    assert_eq!(
        text("kv", &DEFAULT, &entry()),
        "[INFO] Request method=GET path=\"/\" query=\"\" status=200 duration_ms=12 size=1234 ip=\"127.0.0.1\" \
         user_agent=\"Mozilla/5.0\" referer=\"https://example.com\"\n"
    );
}

#[test]
fn kv_has_every_field_in_the_order_asked_for() {
    let entry = Entry {
        query: Some(b"a=1"),
        ..entry()
    };
    assert_eq!(
        text(
            "kv",
            &[
                "worker",
                "queue_ms",
                "request_id",
                "protocol",
                "url",
                "status"
            ],
            &entry
        ),
        "[INFO] Request worker=3 queue_ms=1 request_id=77 protocol=HTTP/1.1 url=\"/?a=1\" status=200\n"
    );
    assert_eq!(text("kv", &[], &entry), "[INFO] Request\n");
}

#[test]
fn json_is_one_object_with_time_and_fractions_of_milliseconds() {
    let entry = Entry {
        query: Some(b"a=1"),
        ..entry()
    };
    assert_eq!(
        text(
            "json",
            &["url", "duration_ms", "queue_ms", "worker", "protocol"],
            &entry
        ),
        "{\"time\":\"2025-11-20T11:07:00.042Z\",\"level\":\"INFO\",\"message\":\"Request\",\"url\":\"/?a=1\",\
         \"duration_ms\":12.345,\"queue_ms\":1.005,\"worker\":3,\"protocol\":\"HTTP/1.1\"}\n"
    );
}

#[test]
fn combined_is_apaches() {
    let entry = Entry {
        target: b"/a?b",
        ..entry()
    };
    assert_eq!(
        text("combined", &DEFAULT, &entry),
        "127.0.0.1 - - [20/Nov/2025:11:07:00 +0000] \"GET /a?b HTTP/1.1\" 200 1234 \
         \"https://example.com\" \"Mozilla/5.0\"\n"
    );
    let bare = Entry {
        ip: b"",
        referer: b"",
        user_agent: b"",
        size: 0,
        ..entry
    };
    assert_eq!(
        text("combined", &DEFAULT, &bare),
        "- - - [20/Nov/2025:11:07:00 +0000] \"GET /a?b HTTP/1.1\" 200 - \"-\" \"-\"\n"
    );
}

#[test]
fn values_that_would_end_their_quotes_or_their_line_are_escaped() {
    let cases: [(&[u8], &str, &str); 9] = [
        (b"a\"b", "a\\\"b", "a\"b"),
        (b"a\\", "a\\\\", "a\\"),
        (b"a\r\n[INFO] b", "a\\x0d\\x0a[INFO] b", "a\r\n[INFO] b"),
        (
            b"\x1b[2J\x07\x00\x7f",
            "\\x1b[2J\\x07\\x00\\x7f",
            "\u{1b}[2J\u{7}\u{0}\u{7f}",
        ),
        ("grün ☃ 🦀".as_bytes(), "grün ☃ 🦀", "grün ☃ 🦀"),
        ("\u{9b}31m".as_bytes(), "\\xc2\\x9b31m", "\u{9b}31m"), // CSI as one character
        (
            "a\u{202e}b\u{2028}".as_bytes(),
            "a\\xe2\\x80\\xaeb\\xe2\\x80\\xa8",
            "a\u{202e}b\u{2028}",
        ),
        (
            b"\x9b\xff\xc3",
            "\\x9b\\xff\\xc3",
            "\u{fffd}\u{fffd}\u{fffd}",
        ), // not UTF-8
        ("\u{e0041}".as_bytes(), "\\xf3\\xa0\\x81\\x81", "\u{e0041}"),
    ];
    for (sent, in_kv, in_json) in cases {
        let entry = Entry {
            user_agent: sent,
            referer: sent,
            path: sent,
            ..entry()
        };
        assert_eq!(
            text("kv", &["path", "user_agent"], &entry),
            format!("[INFO] Request path=\"{in_kv}\" user_agent=\"{in_kv}\"\n")
        );
        assert!(text("combined", &[], &entry).ends_with(&format!(" \"{in_kv}\" \"{in_kv}\"\n")));
        assert_eq!(json(&entry)["referer"], in_json);
        assert!(
            text("json", &ALL, &entry)
                .chars()
                .all(|each| each == '\n' || !each.is_control())
        );
    }
}

#[test]
fn a_method_that_is_no_plain_word_is_quoted() {
    for (method, shown) in [
        (&b"GET\" status=500"[..], "\"GET\\\" status=500\""),
        (b"M'!#$", "\"M'!#$\""),
        (b"", "\"\""),
        (b"VERSION-CONTROL", "VERSION-CONTROL"),
    ] {
        let line = text("kv", &["method", "status"], &Entry { method, ..entry() });
        assert_eq!(line, format!("[INFO] Request method={shown} status=200\n"));
    }
}

#[test]
fn long_values_are_cut_so_that_a_line_fits_one_pipe_write() {
    let long = vec![b'a'; 9000];
    let quotes = vec![b'"'; 9000];
    for value in [&long, &quotes] {
        let entry = Entry {
            method: value,
            path: value,
            query: Some(value),
            target: value,
            user_agent: value,
            referer: value,
            ..entry()
        };
        for format in ["kv", "json", "combined"] {
            let line = line(format, &ALL, &entry);
            assert!(line.len() <= LIMIT, "{format}: {}", line.len());
            assert!(
                line.len() > LIMIT / 2,
                "{format} wastes the line: {}",
                line.len()
            );
        }
        assert!(
            json(&entry)["user_agent"]
                .as_str()
                .unwrap()
                .ends_with("...")
        );
    }
}

#[test]
fn a_long_path_leaves_room_for_the_user_agent() {
    let long = vec![b'a'; 9000];
    let line = text(
        "kv",
        &DEFAULT,
        &Entry {
            path: &long,
            ..entry()
        },
    );
    assert!(line.contains("aaa...\" query=\"\" status=200"), "{line}");
    assert!(
        line.ends_with("user_agent=\"Mozilla/5.0\" referer=\"https://example.com\"\n"),
        "{line}"
    );
    // A value is cut only when the line is full.
    let fits = vec![b'a'; 1500];
    assert!(
        !text(
            "kv",
            &DEFAULT,
            &Entry {
                path: &fits,
                ..entry()
            }
        )
        .contains("...")
    );
}

#[test]
fn dates_follow_the_calendar() {
    let dates = [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_999, "2000-02-29T00:00:00.999Z"),
        (951_868_800_000, "2000-03-01T00:00:00.000Z"),
        (1_709_251_199_000, "2024-02-29T23:59:59.000Z"),
        (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (253_402_300_799_000, "9999-12-31T23:59:59.000Z"),
    ];
    for (unix_ms, expected) in dates {
        assert_eq!(json(&Entry { unix_ms, ..entry() })["time"], expected);
    }
}

#[test]
fn lines_of_different_seconds_share_a_stamp_without_sharing_a_date() {
    let layout = Layout::new("json", &["status"], 0, LIMIT).unwrap();
    let (mut out, mut scratch) = (Vec::new(), layout.scratch());
    for unix_ms in [1_000, 1_999, 2_000] {
        out.extend_from_slice(layout.line(&Entry { unix_ms, ..entry() }, &mut scratch));
    }
    let text = String::from_utf8(out).unwrap();
    for time in ["00:00:01.000Z", "00:00:01.999Z", "00:00:02.000Z"] {
        assert_eq!(text.matches(time).count(), 1, "{text}");
    }
}

/// Values are copied eight bytes at a time, with a step back at the end.
#[test]
fn a_byte_that_needs_an_escape_is_seen_at_every_place_of_values_of_every_length() {
    let layout = Layout::new("kv", &["path"], 0, LIMIT).unwrap();
    let mut scratch = layout.scratch();
    for length in 0..70 {
        let plain = vec![b'a'; length];
        let mut expected = format!("[INFO] Request path=\"{}\"\n", "a".repeat(length));
        let mut made = |path: &[u8]| {
            let line = layout.line(&Entry { path, ..entry() }, &mut scratch);
            String::from_utf8(line.to_vec()).unwrap()
        };
        assert_eq!(made(&plain), expected);
        for place in 0..length {
            for (byte, escaped) in [
                (b'"', "\\\""),
                (0x1f, "\\x1f"),
                (0x7f, "\\x7f"),
                (0xff, "\\xff"),
            ] {
                let mut path = plain.clone();
                path[place] = byte;
                expected = format!(
                    "[INFO] Request path=\"{}{escaped}{}\"\n",
                    "a".repeat(place),
                    "a".repeat(length - place - 1)
                );
                assert_eq!(made(&path), expected);
            }
        }
    }
}

#[test]
fn numbers_have_all_their_digits() {
    for size in (0..20)
        .flat_map(|power| [10u64.pow(power) - 1, 10u64.pow(power)])
        .chain([u64::MAX])
    {
        assert_eq!(
            text("kv", &["size"], &Entry { size, ..entry() }),
            format!("[INFO] Request size={size}\n")
        );
    }
}

#[test]
fn the_report_of_dropped_lines_names_their_count() {
    for (format, expected) in [
        ("kv", "[WARNING] Access log lines dropped count=123\n"),
        ("combined", "[WARNING] Access log lines dropped count=123\n"),
        (
            "json",
            "{\"level\":\"WARNING\",\"message\":\"Access log lines dropped\",\"count\":123}\n",
        ),
    ] {
        let layout = Layout::new(format, &DEFAULT, 0, LIMIT).unwrap();
        assert_eq!(layout.dropped(123), expected);
    }
}

#[test]
fn unknown_and_repeated_names_are_refused_by_name() {
    let error = |format, fields: &[&str]| Layout::new(format, fields, 0, LIMIT).err().unwrap();
    assert!(error("xml", &DEFAULT).contains("\"xml\""));
    assert!(error("kv", &["method", "host"]).contains("\"host\""));
    assert!(error("json", &["path", "path"]).contains("twice"));
}

#[test]
fn client_fields_are_looked_up_only_when_they_are_shown() {
    let wants = |format, fields: &[&str]| {
        Layout::new(format, fields, 0, LIMIT)
            .unwrap()
            .wants_client_fields()
    };
    assert!(
        wants("kv", &["referer"])
            && wants("json", &["user_agent"])
            && wants("combined", &["method"])
    );
    assert!(!wants(
        "kv",
        &["method", "url", "status", "duration_ms", "size"]
    ));
}

#[derive(Debug)]
struct Sent {
    method: Vec<u8>,
    path: Vec<u8>,
    query: Option<Vec<u8>>,
    user_agent: Vec<u8>,
    referer: Vec<u8>,
    numbers: [u64; 4],
}

impl Sent {
    fn entry(&self) -> Entry<'_> {
        Entry {
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref(),
            target: &self.path,
            user_agent: &self.user_agent,
            referer: &self.referer,
            size: self.numbers[0],
            duration_us: self.numbers[1],
            request_id: self.numbers[2],
            unix_ms: self.numbers[3],
            ..entry()
        }
    }
}

/// Any bytes, hostile characters, and text, of any length up to far beyond a line.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<Vec<u8>>(),
        ".{0,40}".prop_map(String::into_bytes),
        prop::sample::select(vec![
            "\"",
            "\\",
            "\\\"",
            "\n",
            "\r\n",
            "\u{85}",
            "\u{2028}",
            "\u{202e}",
            "\u{1b}[31m",
            "\u{9b}",
            "\u{0}",
            "' ",
            "=",
            "}",
            "\\x",
            "\\u12",
            "\" status=200",
            "\u{e0001}",
            "\u{d7ff}",
            "\u{10ffff}",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        (any::<u8>(), 0..3000usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn sent() -> impl Strategy<Value = Sent> {
    (
        hostile(),
        hostile(),
        prop::option::of(hostile()),
        hostile(),
        hostile(),
        any::<[u64; 4]>(),
    )
        .prop_map(|(method, path, query, user_agent, referer, numbers)| Sent {
            method,
            path,
            query,
            user_agent,
            referer,
            numbers,
        })
}

/// The keys of a kv line, split as a log processor does; `None` when the line is malformed.
fn keys(line: &str) -> Option<Vec<&str>> {
    let mut rest = line.strip_prefix("[INFO] Request")?.strip_suffix('\n')?;
    let mut keys = Vec::new();
    while !rest.is_empty() {
        let (key, value) = rest.strip_prefix(' ')?.split_once('=')?;
        let end = match value.strip_prefix('"') {
            None => value.find(' ').unwrap_or(value.len()),
            Some(quoted) => {
                let mut escaped = false;
                let closing = quoted.char_indices().find(|(_, each)| {
                    let closes = *each == '"' && !escaped;
                    escaped = *each == '\\' && !escaped;
                    closes
                })?;
                closing.0 + 2
            }
        };
        keys.push(key);
        rest = &value[end..];
    }
    Some(keys)
}

/// Whether the newline at its end is all that a viewer could take for a control.
fn is_one_harmless_line(line: &str) -> bool {
    line.strip_suffix('\n').is_some_and(|line| {
        !line
            .chars()
            .any(|each| each.is_control() || ('\u{2028}'..='\u{202e}').contains(&each))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_kv_line_is_one_line_with_exactly_its_fields(sent in sent()) {
        let line = text("kv", &ALL, &sent.entry());
        prop_assert!(line.len() <= LIMIT);
        prop_assert!(is_one_harmless_line(&line), "{line:?}");
        prop_assert_eq!(keys(&line), Some(ALL.to_vec()), "{:?}", line);
    }

    #[test]
    fn every_json_line_is_one_json_object_with_exactly_its_fields(sent in sent()) {
        let line = text("json", &ALL, &sent.entry());
        prop_assert!(line.len() <= LIMIT);
        prop_assert!(is_one_harmless_line(&line), "{line:?}");
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(object.len(), ALL.len() + 3);
        prop_assert_eq!(&object["request_id"], &serde_json::Value::from(sent.numbers[2]));
        if let Ok(whole) = std::str::from_utf8(&sent.user_agent) {
            let shown = object["user_agent"].as_str().unwrap();
            let start = shown.strip_suffix("...").unwrap_or(shown);
            prop_assert!(shown == whole || whole.starts_with(start), "{:?} for {:?}", shown, whole);
        }
    }

    #[test]
    fn every_combined_line_is_one_line_with_three_quoted_parts(sent in sent()) {
        let line = text("combined", &[], &sent.entry());
        prop_assert!(line.len() <= LIMIT);
        prop_assert!(is_one_harmless_line(&line), "{line:?}");
        let quotes = line.replace("\\\\", "").replace("\\\"", "").matches('"').count();
        prop_assert_eq!(quotes, 6, "{}", line);
    }

    #[test]
    fn no_line_outgrows_a_smaller_limit_either(sent in sent(), limit in 1500..4096usize) {
        for format in ["kv", "json", "combined"] {
            let layout = Layout::new(format, &ALL, u64::MAX, limit).unwrap();
            let length = layout.line(&sent.entry(), &mut layout.scratch()).len();
            prop_assert!(length <= limit, "{length} of {limit}");
        }
    }
}
