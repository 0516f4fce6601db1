//! The text of access lines: layout and escaping. Pure: bytes in, bytes out.
//!
//! Three promises: a line is one line whatever the client sent; nothing the client sent can end its
//! value, start another one or reach a terminal as a control sequence; and no line is longer than
//! the limit given, so that one line always fits an atomic pipe write.
//!
//! This file must never know sinks, clocks, requests or Python.

use super::date::{Stamp, padded};

/// What one response was, as plain values. Bytes are as the client sent them.
pub struct Entry<'a> {
    pub method: &'a [u8],
    pub path: &'a [u8],
    /// Without the `?`; `None` when the target had none.
    pub query: Option<&'a [u8]>,
    /// The request target as on the wire.
    pub target: &'a [u8],
    pub protocol: &'static str,
    pub user_agent: &'a [u8],
    pub referer: &'a [u8],
    pub ip: &'a [u8],
    pub status: u16,
    pub size: u64,
    pub duration_us: u64,
    pub queue_us: u64,
    pub request_id: u64,
    /// When the response was complete, milliseconds since 1970.
    pub unix_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `[INFO] Request method=GET path="/" status=200 ...`
    Kv,
    /// One JSON object per line.
    Json,
    /// Apache's combined log format.
    Combined,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Method,
    Path,
    Url,
    Query,
    Status,
    DurationMs,
    Size,
    Ip,
    UserAgent,
    Referer,
    Protocol,
    RequestId,
    Worker,
    QueueMs,
}

const FIELDS: [(&str, Field); 14] = [
    ("method", Field::Method),
    ("path", Field::Path),
    ("url", Field::Url),
    ("query", Field::Query),
    ("status", Field::Status),
    ("duration_ms", Field::DurationMs),
    ("size", Field::Size),
    ("ip", Field::Ip),
    ("user_agent", Field::UserAgent),
    ("referer", Field::Referer),
    ("protocol", Field::Protocol),
    ("request_id", Field::RequestId),
    ("worker", Field::Worker),
    ("queue_ms", Field::QueueMs),
];

impl Field {
    /// Whether its text is of the client's making and length.
    fn is_client_text(self) -> bool {
        matches!(
            self,
            Field::Method
                | Field::Path
                | Field::Url
                | Field::Query
                | Field::UserAgent
                | Field::Referer
        )
    }
}

/// More than any number, protocol or address with its quotes takes.
const FIXED_VALUE: usize = 64;
/// More than the head and tail of any line take: level, date, status, size.
const FIXED_LINE: usize = 160;
/// Values of client text in a combined line: method, target, referer, user agent.
const COMBINED_TEXTS: usize = 4;

/// How lines look; made once.
pub struct Layout {
    format: Format,
    /// Each with the text in front of its value.
    fields: Vec<(Field, Vec<u8>)>,
    worker: u64,
    /// Bytes of one line that client text may take.
    texts: usize,
    /// Bytes kept back for each client value still to come, so that a long path does not eat the
    /// user agent.
    reserve: usize,
    text_count: usize,
}

impl Layout {
    /// `format` is `kv`, `json` or `combined`; `fields` are names in their order of appearance
    /// (`combined` has its own and ignores them); `limit` bounds the bytes of a line, its newline
    /// included.
    ///
    /// The error says in one line what is wrong with `format` or `fields`.
    pub fn new<S: AsRef<str>>(
        format: &str,
        fields: &[S],
        worker: u64,
        limit: usize,
    ) -> Result<Self, String> {
        let format = match format {
            "kv" => Format::Kv,
            "json" => Format::Json,
            "combined" => Format::Combined,
            other => {
                return Err(format!(
                    "access log format {other:?} is none of kv, json, combined"
                ));
            }
        };
        let mut chosen: Vec<(Field, Vec<u8>)> = Vec::with_capacity(fields.len());
        for name in fields {
            let name = name.as_ref();
            let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) else {
                let known: Vec<_> = FIELDS.iter().map(|(known, _)| *known).collect();
                return Err(format!(
                    "access log field {name:?} is none of {}",
                    known.join(", ")
                ));
            };
            if chosen.iter().any(|(other, _)| other == field) {
                return Err(format!("access log field {name:?} is given twice"));
            }
            let prefix = match format {
                Format::Json => format!(",\"{name}\":"),
                Format::Kv | Format::Combined => format!(" {name}="),
            };
            chosen.push((*field, prefix.into_bytes()));
        }
        let text_count = match format {
            Format::Combined => COMBINED_TEXTS,
            _ => chosen
                .iter()
                .filter(|(field, _)| field.is_client_text())
                .count(),
        };
        let fixed: usize = chosen
            .iter()
            .map(|(_, prefix)| prefix.len() + FIXED_VALUE)
            .sum();
        let texts = limit.saturating_sub(FIXED_LINE + fixed);
        let reserve = texts / (2 * text_count.max(1));
        Ok(Self {
            format,
            fields: chosen,
            worker,
            texts,
            reserve,
            text_count,
        })
    }

    /// Whether lines name the user agent or the referer, which cost a search among the fields.
    pub fn wants_client_fields(&self) -> bool {
        let named =
            |(field, _): &(Field, Vec<u8>)| matches!(field, Field::UserAgent | Field::Referer);
        self.format == Format::Combined || self.fields.iter().any(named)
    }

    /// Append the line of `entry`, newline included.
    pub fn line(&self, out: &mut Vec<u8>, entry: &Entry<'_>, stamp: &mut Stamp) {
        let mut room = Room {
            left: self.texts,
            reserve: self.reserve,
            to_come: self.text_count,
        };
        match self.format {
            Format::Kv => {
                out.extend_from_slice(b"[INFO] Request");
                for (field, prefix) in &self.fields {
                    out.extend_from_slice(prefix);
                    self.value(out, *field, entry, Escape::Hex, &mut room);
                }
                out.push(b'\n');
            }
            Format::Json => {
                out.extend_from_slice(b"{\"time\":\"");
                stamp.rfc3339(out, entry.unix_ms);
                out.extend_from_slice(b"\",\"level\":\"INFO\",\"message\":\"Request\"");
                for (field, prefix) in &self.fields {
                    out.extend_from_slice(prefix);
                    self.value(out, *field, entry, Escape::Json, &mut room);
                }
                out.extend_from_slice(b"}\n");
            }
            Format::Combined => combined(out, entry, stamp, &mut room),
        }
    }

    /// Append the line that says how many lines the sink did not take.
    pub fn dropped(&self, out: &mut Vec<u8>, count: u64) {
        match self.format {
            Format::Json => {
                out.extend_from_slice(
                    b"{\"level\":\"WARNING\",\"message\":\"Access log lines dropped\",\"count\":",
                );
                number(out, count);
                out.extend_from_slice(b"}\n");
            }
            Format::Kv | Format::Combined => {
                out.extend_from_slice(b"[WARNING] Access log lines dropped count=");
                number(out, count);
                out.push(b'\n');
            }
        }
    }

    fn value(
        &self,
        out: &mut Vec<u8>,
        field: Field,
        entry: &Entry<'_>,
        escape: Escape,
        room: &mut Room,
    ) {
        match field {
            Field::Method if escape == Escape::Hex && is_word(entry.method) => {
                let limit = room.next();
                let method = entry.method.get(..limit).unwrap_or(entry.method);
                room.used(method.len());
                out.extend_from_slice(method);
            }
            Field::Method => quoted(out, &[entry.method], escape, room),
            Field::Path => quoted(out, &[entry.path], escape, room),
            Field::Url => match entry.query {
                Some(query) => quoted(out, &[entry.path, b"?", query], escape, room),
                None => quoted(out, &[entry.path], escape, room),
            },
            Field::Query => quoted(out, &[entry.query.unwrap_or_default()], escape, room),
            Field::UserAgent => quoted(out, &[entry.user_agent], escape, room),
            Field::Referer => quoted(out, &[entry.referer], escape, room),
            Field::Ip => {
                out.push(b'"');
                escaped(out, entry.ip, escape, FIXED_VALUE - 2);
                out.push(b'"');
            }
            Field::Protocol if escape == Escape::Json => {
                out.push(b'"');
                out.extend_from_slice(entry.protocol.as_bytes());
                out.push(b'"');
            }
            Field::Protocol => out.extend_from_slice(entry.protocol.as_bytes()),
            Field::Status => number(out, u64::from(entry.status)),
            Field::DurationMs => milliseconds(out, entry.duration_us, escape),
            Field::QueueMs => milliseconds(out, entry.queue_us, escape),
            Field::Size => number(out, entry.size),
            Field::RequestId => number(out, entry.request_id),
            Field::Worker => number(out, self.worker),
        }
    }
}

/// `%h - - %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`
fn combined(out: &mut Vec<u8>, entry: &Entry<'_>, stamp: &mut Stamp, room: &mut Room) {
    match entry.ip {
        b"" => out.push(b'-'),
        ip => _ = escaped(out, ip, Escape::Hex, FIXED_VALUE),
    }
    out.extend_from_slice(b" - - [");
    stamp.apache(out, entry.unix_ms);
    out.extend_from_slice(b"] \"");
    text(out, &[entry.method], Escape::Hex, room);
    out.push(b' ');
    text(out, &[entry.target], Escape::Hex, room);
    out.push(b' ');
    out.extend_from_slice(entry.protocol.as_bytes());
    out.extend_from_slice(b"\" ");
    number(out, u64::from(entry.status));
    out.push(b' ');
    match entry.size {
        0 => out.push(b'-'),
        size => number(out, size),
    }
    for value in [entry.referer, entry.user_agent] {
        out.push(b' ');
        quoted(
            out,
            &[if value.is_empty() { b"-" } else { value }],
            Escape::Hex,
            room,
        );
    }
    out.push(b'\n');
}

/// How much of a line is left to client text.
struct Room {
    left: usize,
    reserve: usize,
    to_come: usize,
}

impl Room {
    /// Bytes that the next client value may take.
    fn next(&mut self) -> usize {
        self.to_come = self.to_come.saturating_sub(1);
        self.left.saturating_sub(self.reserve * self.to_come)
    }

    fn used(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// `\xNN` for each byte, as Apache does.
    Hex,
    /// `\uNNNN`, and U+FFFD for what is not UTF-8, so that the line is JSON (RFC 8259 section 7).
    Json,
}

fn quoted(out: &mut Vec<u8>, parts: &[&[u8]], escape: Escape, room: &mut Room) {
    out.push(b'"');
    text(out, parts, escape, room);
    out.push(b'"');
}

/// One client value, of several parts.
fn text(out: &mut Vec<u8>, parts: &[&[u8]], escape: Escape, room: &mut Room) {
    // The quotes count as text, so that the room is what the line really has.
    let limit = room.next().saturating_sub(2);
    let start = out.len();
    for part in parts {
        let used = out.len() - start;
        if !escaped(out, part, escape, limit.saturating_sub(used)) {
            break;
        }
    }
    room.used(out.len() - start + 2);
}

/// Marks a value that was cut.
const CUT: &[u8] = b"...";

/// Append `value` in at most `limit` bytes (a smaller limit than [`CUT`] gives nothing). Returns
/// whether it went in whole.
fn escaped(out: &mut Vec<u8>, value: &[u8], escape: Escape, limit: usize) -> bool {
    // Almost every value is plain ASCII and short.
    if value.len() <= limit && value.iter().all(|byte| PLAIN[usize::from(*byte)]) {
        out.extend_from_slice(value);
        return true;
    }
    let end = out.len() + limit;
    // Where the text must be cut back to if it turns out too long: the last place with room for the
    // mark.
    let mut cut_at = out.len();
    let mut rest = value;
    while let Some(byte) = rest.first().copied() {
        let taken = if PLAIN[usize::from(byte)] {
            out.push(byte);
            1
        } else {
            escape_one(out, rest, escape)
        };
        if out.len() > end {
            out.truncate(cut_at);
            if out.len() + CUT.len() <= end {
                out.extend_from_slice(CUT);
            }
            return false;
        }
        if out.len() + CUT.len() <= end {
            cut_at = out.len();
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    true
}

/// Append the first character (or stray byte) of `rest`, which is not plain; returns the bytes it
/// took of `rest`.
#[cold]
fn escape_one(out: &mut Vec<u8>, rest: &[u8], escape: Escape) -> usize {
    let character = first_character(rest);
    let taken = character.map_or(1, char::len_utf8);
    let bytes = rest.get(..taken).unwrap_or_default();
    match (character, escape) {
        (Some('"'), _) => out.extend_from_slice(b"\\\""),
        (Some('\\'), _) => out.extend_from_slice(b"\\\\"),
        (Some(visible), _) if !is_deceptive(visible) => out.extend_from_slice(bytes),
        (_, Escape::Hex) => {
            for byte in bytes {
                out.extend_from_slice(b"\\x");
                hex(out, u32::from(*byte), 2);
            }
        }
        (Some(hidden), Escape::Json) => {
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(b"\\u");
                hex(out, u32::from(*unit), 4);
            }
        }
        (None, Escape::Json) => out.extend_from_slice(b"\\ufffd"),
    }
    taken
}

fn first_character(bytes: &[u8]) -> Option<char> {
    let head = bytes.get(..4).unwrap_or(bytes);
    let valid = match std::str::from_utf8(head) {
        Ok(valid) => valid,
        Err(error) => std::str::from_utf8(head.get(..error.valid_up_to())?).ok()?,
    };
    valid.chars().next()
}

/// Characters that a terminal or viewer acts upon instead of showing them: controls (C1 ones start
/// sequences as ESC does), line and paragraph separators, marks that reorder or hide text.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Bytes that need no escape in any format.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        table[byte] = byte != b'"' as usize && byte != b'\\' as usize;
        byte += 1;
    }
    table
};

/// Whether a method may stand without quotes.
fn is_word(method: &[u8]) -> bool {
    !method.is_empty()
        && method
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn hex(out: &mut Vec<u8>, value: u32, digits: u32) {
    for place in (0..digits).rev() {
        let digit = (value >> (4 * place)) & 0xf;
        out.push(char::from_digit(digit, 16).map_or(b'0', |digit| digit as u8));
    }
}

/// Whole milliseconds for people, three decimals for machines.
fn milliseconds(out: &mut Vec<u8>, us: u64, escape: Escape) {
    number(out, us / 1000);
    if escape == Escape::Json {
        out.push(b'.');
        padded(out, us % 1000, 3);
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        start -= 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}
