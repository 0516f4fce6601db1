//! The text of access lines: layout and escaping. Pure: bytes in, bytes out.
//!
//! Three promises: a line is one line whatever the client sent; nothing the client sent can end its
//! value, start another one or reach a terminal as a control sequence; and no line is longer than
//! the limit given, so that one line always fits an atomic pipe write.
//!
//! This file must never know sinks, clocks, requests or Python.

use super::date::Stamp;
use super::text::{Piece, Text, is_plain};

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
    /// As the server has written it: at most 45 characters, none to be escaped.
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

/// What a field shows of an entry, and how.
#[derive(Clone, Copy)]
enum Value {
    Number(fn(&Entry<'_>) -> u64),
    /// Given in microseconds.
    Milliseconds(fn(&Entry<'_>) -> u64),
    /// The number of the worker, which no entry knows.
    Worker,
    /// Text of the server's making.
    Own(for<'a> fn(&Entry<'a>) -> &'a [u8], Quotes),
    /// Text of the client's making and length.
    Client(for<'a> fn(&Entry<'a>) -> &'a [u8]),
    Method,
    Url,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Always,
    InJson,
}

const FIELDS: [(&str, Value); 14] = [
    ("method", Value::Method),
    ("path", Value::Client(|entry| entry.path)),
    ("url", Value::Url),
    (
        "query",
        Value::Client(|entry| entry.query.unwrap_or_default()),
    ),
    ("status", Value::Number(|entry| u64::from(entry.status))),
    (
        "duration_ms",
        Value::Milliseconds(|entry| entry.duration_us),
    ),
    ("size", Value::Number(|entry| entry.size)),
    ("ip", Value::Own(|entry| entry.ip, Quotes::Always)),
    ("user_agent", Value::Client(|entry| entry.user_agent)),
    ("referer", Value::Client(|entry| entry.referer)),
    (
        "protocol",
        Value::Own(|entry| entry.protocol.as_bytes(), Quotes::InJson),
    ),
    ("request_id", Value::Number(|entry| entry.request_id)),
    ("worker", Value::Worker),
    ("queue_ms", Value::Milliseconds(|entry| entry.queue_us)),
];

impl Value {
    /// Whether it always stands in quotes.
    fn is_quoted(self, format: Format) -> bool {
        match self {
            Value::Number(_) | Value::Milliseconds(_) | Value::Worker => false,
            Value::Own(_, Quotes::Always) | Value::Client(_) | Value::Url => true,
            Value::Own(_, Quotes::InJson) | Value::Method => format == Format::Json,
        }
    }

    /// Whether its text is of the client's making and length.
    fn is_client_text(self) -> bool {
        matches!(self, Value::Client(_) | Value::Method | Value::Url)
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
    /// Each with the text in front of its value, the opening quote included.
    fields: Vec<(Value, Piece)>,
    wants_client_fields: bool,
    worker: u64,
    /// Bytes of one line that client text may take.
    texts: usize,
    /// Bytes kept back for each client value still to come, so that a long path does not eat the
    /// user agent.
    reserve: usize,
    text_count: usize,
    limit: usize,
}

/// What making lines needs and keeps from one to the next.
pub struct Scratch {
    text: Text,
    stamp: Stamp,
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
        let mut chosen: Vec<(Value, Piece)> = Vec::with_capacity(fields.len());
        for (place, name) in fields.iter().map(AsRef::as_ref).enumerate() {
            let Some((_, value)) = FIELDS.iter().find(|(known, _)| *known == name) else {
                let known: Vec<_> = FIELDS.iter().map(|(known, _)| *known).collect();
                return Err(format!(
                    "access log field {name:?} is none of {}",
                    known.join(", ")
                ));
            };
            let before = fields.get(..place).unwrap_or_default();
            if before.iter().any(|other| other.as_ref() == name) {
                return Err(format!("access log field {name:?} is given twice"));
            }
            let quote = if value.is_quoted(format) { "\"" } else { "" };
            let prefix = match format {
                Format::Json => format!(",\"{name}\":{quote}"),
                Format::Kv | Format::Combined => format!(" {name}={quote}"),
            };
            let prefix = Piece::new(prefix.as_bytes())
                .ok_or_else(|| format!("access log field {name:?} has too long a name"))?;
            chosen.push((*value, prefix));
        }
        let named = |name: &S| matches!(name.as_ref(), "user_agent" | "referer");
        let wants_client_fields = format == Format::Combined || fields.iter().any(named);
        let text_count = match format {
            Format::Combined => COMBINED_TEXTS,
            _ => chosen
                .iter()
                .filter(|(value, _)| value.is_client_text())
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
            wants_client_fields,
            worker,
            texts,
            reserve,
            text_count,
            limit,
        })
    }

    /// Whether lines name the user agent or the referer, which cost a search among the fields.
    pub fn wants_client_fields(&self) -> bool {
        self.wants_client_fields
    }

    /// What [`line`](Self::line) works with.
    pub fn scratch(&self) -> Scratch {
        Scratch {
            text: Text::new(self.limit),
            stamp: Stamp::default(),
        }
    }

    /// The line of `entry`, newline included.
    pub fn line<'a>(&self, entry: &Entry<'_>, scratch: &'a mut Scratch) -> &'a [u8] {
        let Scratch { text, stamp } = scratch;
        text.truncate(0);
        let mut room = Room {
            left: self.texts,
            reserve: self.reserve,
            to_come: self.text_count,
        };
        match self.format {
            Format::Combined => combined(text, entry, stamp, &mut room),
            Format::Kv => {
                text.put(b"[INFO] Request");
                self.values(text, entry, Escape::Hex, &mut room);
                text.push(b'\n');
            }
            Format::Json => {
                text.put(b"{\"time\":\"");
                text.put(stamp.rfc3339(entry.unix_ms));
                text.push(b'.');
                text.padded(entry.unix_ms % 1000, 3);
                text.put(b"Z\",\"level\":\"INFO\",\"message\":\"Request\"");
                self.values(text, entry, Escape::Json, &mut room);
                text.put(b"}\n");
            }
        }
        text.as_bytes()
    }

    /// The line that says how many lines the sink did not take.
    pub fn dropped(&self, count: u64) -> String {
        match self.format {
            Format::Json => format!(
                "{{\"level\":\"WARNING\",\"message\":\"Access log lines dropped\",\"count\":{count}}}\n"
            ),
            Format::Kv | Format::Combined => {
                format!("[WARNING] Access log lines dropped count={count}\n")
            }
        }
    }

    /// Append all fields, each behind its prefix.
    fn values(&self, text: &mut Text, entry: &Entry<'_>, escape: Escape, room: &mut Room) {
        for (value, prefix) in &self.fields {
            text.piece(prefix);
            match value {
                Value::Number(of) => text.number(of(entry)),
                Value::Milliseconds(of) => milliseconds(text, of(entry), escape),
                Value::Worker => text.number(self.worker),
                Value::Own(of, quotes) => {
                    text.put(of(entry));
                    if *quotes == Quotes::Always || escape == Escape::Json {
                        text.push(b'"');
                    }
                }
                Value::Client(of) => {
                    let value = of(entry);
                    if !room.take_plain(text, value) {
                        client(text, &[value], escape, room);
                    }
                    text.push(b'"');
                }
                Value::Method => method(text, entry.method, escape, room),
                Value::Url => {
                    match entry.query {
                        Some(query) => client(text, &[entry.path, b"?", query], escape, room),
                        None => client(text, &[entry.path], escape, room),
                    }
                    text.push(b'"');
                }
            }
        }
    }
}

/// `%h - - %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`
fn combined(text: &mut Text, entry: &Entry<'_>, stamp: &mut Stamp, room: &mut Room) {
    match entry.ip {
        b"" => text.push(b'-'),
        ip => text.put(ip),
    }
    text.put(b" - - [");
    text.put(stamp.apache(entry.unix_ms));
    text.put(b"] \"");
    client(text, &[entry.method], Escape::Hex, room);
    text.push(b' ');
    client(text, &[entry.target], Escape::Hex, room);
    text.push(b' ');
    text.put(entry.protocol.as_bytes());
    text.put(b"\" ");
    text.number(u64::from(entry.status));
    text.push(b' ');
    match entry.size {
        0 => text.push(b'-'),
        size => text.number(size),
    }
    for value in [entry.referer, entry.user_agent] {
        text.push(b' ');
        quoted(
            text,
            if value.is_empty() { b"-" } else { value },
            Escape::Hex,
            room,
        );
    }
    text.push(b'\n');
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

    /// The usual case of [`client`], a value that is plain and within what is kept back for it, without
    /// the division of the room. Returns whether it was one.
    #[inline]
    fn take_plain(&mut self, text: &mut Text, value: &[u8]) -> bool {
        // Its quotes count as text.
        let bytes = value.len() + 2;
        let usual = bytes <= self.reserve && text.put_plain(value);
        if usual {
            self.to_come = self.to_come.saturating_sub(1);
            self.used(bytes);
        }
        usual
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// `\xNN` for each byte, as Apache does.
    Hex,
    /// `\uNNNN`, and U+FFFD for what is not UTF-8, so that the line is JSON (RFC 8259 section 7).
    Json,
}

fn quoted(text: &mut Text, value: &[u8], escape: Escape, room: &mut Room) {
    text.push(b'"');
    client(text, &[value], escape, room);
    text.push(b'"');
}

/// One client value, of several parts, without its quotes.
#[inline(never)]
fn client(text: &mut Text, parts: &[&[u8]], escape: Escape, room: &mut Room) {
    // The quotes count as text, so that the room is what the line really has.
    let limit = room.next().saturating_sub(2);
    let start = text.len();
    for part in parts {
        let used = text.len() - start;
        if !escaped(text, part, escape, limit.saturating_sub(used)) {
            break;
        }
    }
    room.used(text.len() - start + 2);
}

/// Marks a value that was cut.
const CUT: &[u8] = b"...";

/// Append `value` in at most `limit` bytes (a smaller limit than [`CUT`] gives nothing). Returns
/// whether it went in whole.
#[inline]
fn escaped(text: &mut Text, value: &[u8], escape: Escape, limit: usize) -> bool {
    // Almost every value is plain ASCII and short.
    (value.len() <= limit && text.put_plain(value)) || escaped_or_cut(text, value, escape, limit)
}

#[cold]
fn escaped_or_cut(text: &mut Text, value: &[u8], escape: Escape, limit: usize) -> bool {
    let end = text.len() + limit;
    // Where the text must be cut back to if it turns out too long: the last place with room for the
    // mark.
    let mut cut_at = text.len();
    let mut rest = value;
    while let Some(byte) = rest.first().copied() {
        let taken = if is_plain(byte) {
            text.push(byte);
            1
        } else {
            escape_one(text, rest, escape)
        };
        if text.len() > end {
            text.truncate(cut_at);
            if text.len() + CUT.len() <= end {
                text.put(CUT);
            }
            return false;
        }
        if text.len() + CUT.len() <= end {
            cut_at = text.len();
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    true
}

/// Append the first character (or stray byte) of `rest`, which is not plain; returns the bytes it
/// took of `rest`.
fn escape_one(text: &mut Text, rest: &[u8], escape: Escape) -> usize {
    let character = first_character(rest);
    let taken = character.map_or(1, char::len_utf8);
    let bytes = rest.get(..taken).unwrap_or_default();
    match (character, escape) {
        (Some('"'), _) => text.put(b"\\\""),
        (Some('\\'), _) => text.put(b"\\\\"),
        (Some(visible), _) if !is_deceptive(visible) => text.put(bytes),
        (_, Escape::Hex) => {
            for byte in bytes {
                text.put(b"\\x");
                text.hex(u32::from(*byte), 2);
            }
        }
        (Some(hidden), Escape::Json) => {
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                text.put(b"\\u");
                text.hex(u32::from(*unit), 4);
            }
        }
        (None, Escape::Json) => text.put(b"\\ufffd"),
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

/// A method: where the format leaves the choice, without quotes if it is a plain word.
#[inline(never)]
fn method(text: &mut Text, method: &[u8], escape: Escape, room: &mut Room) {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if escape == Escape::Json {
        client(text, &[method], escape, room);
        text.push(b'"');
    } else if method.is_empty() || !method.iter().all(is_word) {
        quoted(text, method, escape, room);
    } else {
        let limit = room.next();
        let method = method.get(..limit).unwrap_or(method);
        room.used(method.len());
        text.put(method);
    }
}

/// Whole milliseconds for people, three decimals for machines.
#[inline]
fn milliseconds(text: &mut Text, us: u64, escape: Escape) {
    text.number(us / 1000);
    if escape == Escape::Json {
        text.push(b'.');
        text.padded(us % 1000, 3);
    }
}
