//! Field lines to header blocks (RFC 7541 section 6).
//!
//! What repeats is indexed: a name that no table knows enters the dynamic table at once, a known
//! name with a new value when the same pair comes a second time. So a value that is different in
//! every response (a date, a length, a request id) never pushes out what is worth keeping.
//! Secrets are never indexed (section 7.1.3).
//!
//! Finding an entry is one hash and, nearly always, one comparison. The newest entry of each hash
//! is known, and each entry knows the one before it with the same hash; a chain ends where it
//! meets an entry that was evicted, so eviction has nothing to tidy up.

use super::huffman;
use super::integer;
use super::table::{Entry, OVERHEAD, STATIC, STATIC_LEN, Table};

/// The table we are willing to keep, whatever the peer offers: its default, with room for about
/// fifty response fields.
const MAX_TABLE: u32 = 4096;

/// Slots of each hash array. A table of 4096 octets holds 128 entries at most, usually half.
const SLOTS: usize = 128;

/// Cookies shorter than this are guessable, so their presence in a table would be an oracle;
/// longer ones have too much entropy to be probed (RFC 7541 section 7.1.3).
const SHORT_COOKIE: usize = 20;

/// How a literal is represented (RFC 7541 sections 6.2.1 to 6.2.3): prefix bits and tag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Literal {
    Indexed,
    Plain,
    Never,
}

impl Literal {
    const fn prefix(self) -> u32 {
        if matches!(self, Self::Indexed) { 6 } else { 4 }
    }

    const fn tag(self) -> u8 {
        match self {
            Self::Indexed => 0x40,
            Self::Plain => 0x00,
            Self::Never => 0x10,
        }
    }
}

/// The encoding side of a connection.
#[derive(Debug)]
pub struct Encoder {
    table: Table<Older>,
    /// Smallest and last table size since the last block, if it changed (section 4.2).
    update: Option<(u32, u32)>,
    /// Where name and value come together for the table.
    pair: Vec<u8>,
    newest: Box<Newest>,
    /// Hashes of pairs that came before. One lost to a collision costs octets, not correctness.
    seen: Box<[u32; SLOTS]>,
}

/// Ordinals of the entries last inserted under each hash of a whole pair, and of a name.
#[derive(Debug)]
struct Newest {
    pairs: [u32; SLOTS],
    names: [u32; SLOTS],
}

/// At an entry: ordinals of the ones before it with the same hashes.
#[derive(Clone, Copy, Debug)]
struct Older {
    pair: u32,
    name: u32,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder for a peer that has not changed SETTINGS_HEADER_TABLE_SIZE from its 4096.
    #[must_use]
    pub fn new() -> Self {
        Self {
            table: Table::new(MAX_TABLE),
            update: None,
            pair: Vec::new(),
            newest: Box::new(Newest {
                pairs: [0; SLOTS],
                names: [0; SLOTS],
            }),
            seen: Box::new([0; SLOTS]),
        }
    }

    /// Obeys the peer's SETTINGS_HEADER_TABLE_SIZE (octets) from the next block on.
    pub fn set_limit(&mut self, limit: u32) {
        let max = limit.min(MAX_TABLE);
        let smallest = self.update.map_or(max, |(smallest, _)| smallest.min(max));
        if self.update.is_some() || max as usize != self.table.max() {
            self.update = Some((smallest, max));
        }
    }

    /// Starts a header block: announces a changed table size.
    pub fn begin(&mut self, dst: &mut Vec<u8>) {
        let Some((smallest, last)) = self.update.take() else {
            return;
        };
        self.table.set_max(smallest);
        self.table.set_max(last);
        if smallest < last {
            integer::encode(dst, smallest, 5, 0x20);
        }
        integer::encode(dst, last, 5, 0x20);
    }

    /// Appends `:status`. Most responses have one that the static table holds.
    pub fn status(&mut self, dst: &mut Vec<u8>, status: u16) {
        if let Some((index, _)) = STATIC_STATUS.iter().find(|(_, held)| *held == status) {
            dst.push(0x80 | index);
            return;
        }
        let digit = |number: u16| b'0' + (number % 10) as u8;
        let digits = [digit(status / 100), digit(status / 10), digit(status)];
        self.field(dst, b":status", &digits);
    }

    /// Appends one field line. The name is sent in lower case (RFC 9113 section 8.2); name and
    /// value are otherwise the caller's to have checked.
    #[inline]
    pub fn field(&mut self, dst: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        let upper = name
            .iter()
            .fold(false, |upper, octet| upper | octet.is_ascii_uppercase());
        if upper {
            self.line(dst, &name.to_ascii_lowercase(), value);
        } else {
            self.line(dst, name, value);
        }
    }

    fn line(&mut self, dst: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        let name_hash = hash(SEED, name);
        let pair_hash = hash(name_hash, value);
        let (pair_slot, name_slot) = (pair_hash as usize % SLOTS, name_hash as usize % SLOTS);
        let newest = Older {
            pair: self.newest.pairs[pair_slot],
            name: self.newest.names[name_slot],
        };
        let same = |entry: &Entry<'_, Older>| entry.name() == name && entry.value() == value;
        if let Some(index) = self.find(newest.pair, |older| older.pair, same) {
            return integer::encode(dst, index, 7, 0x80);
        }
        let known = static_name(name, name_hash);
        if let Some(first) = known {
            if let Some(index) = static_pair(first, value) {
                return integer::encode(dst, index, 7, 0x80);
            }
            if secret(first, value) {
                return literal(dst, Literal::Never, first, name, value);
            }
        }
        let index = known.or_else(|| {
            self.find(
                newest.name,
                |older| older.name,
                |entry| entry.name() == name,
            )
        });
        let repeats = std::mem::replace(&mut self.seen[pair_slot], pair_hash) == pair_hash;
        let form = if (repeats || index.is_none()) && self.worth_keeping(name, value) {
            Literal::Indexed
        } else {
            Literal::Plain
        };
        literal(dst, form, index.unwrap_or(0), name, value);
        if form == Literal::Indexed {
            self.pair.clear();
            self.pair.extend_from_slice(name);
            self.pair.extend_from_slice(value);
            if let Some(ordinal) = self.table.insert(&self.pair, name.len(), newest) {
                self.newest.pairs[pair_slot] = ordinal;
                self.newest.names[name_slot] = ordinal;
            }
        }
    }

    /// One huge entry would push out everything else.
    fn worth_keeping(&self, name: &[u8], value: &[u8]) -> bool {
        name.len() + value.len() + OVERHEAD <= self.table.max() / 2
    }

    /// Index of the first entry that matches, along the chain that begins at `ordinal`.
    #[inline]
    fn find(
        &self,
        mut ordinal: u32,
        older: impl Fn(Older) -> u32,
        matches: impl Fn(&Entry<'_, Older>) -> bool,
    ) -> Option<u32> {
        loop {
            let distance = self.table.distance(ordinal)?;
            let entry = self.table.get(distance)?;
            if matches(&entry) {
                return Some(STATIC_LEN + 1 + distance as u32);
            }
            let next = older(entry.note);
            // Ordinals wrap; a chain that does not lead further back has ended.
            if self.table.distance(next)? <= distance {
                return None;
            }
            ordinal = next;
        }
    }
}

fn literal(dst: &mut Vec<u8>, form: Literal, index: u32, name: &[u8], value: &[u8]) {
    integer::encode(dst, index, form.prefix(), form.tag());
    if index == 0 {
        string(dst, name);
    }
    string(dst, value);
}

/// Huffman-coded where that is shorter.
fn string(dst: &mut Vec<u8>, text: &[u8]) {
    let coded = huffman::encoded_len(text);
    // A string of 4 GiB cannot be sent; nothing that long gets past the limits of a response head.
    if coded < text.len() {
        integer::encode(dst, coded as u32, 7, 0x80);
        huffman::encode(text, dst);
    } else {
        integer::encode(dst, text.len() as u32, 7, 0);
        dst.extend_from_slice(text);
    }
}

const AUTHORIZATION: u32 = 23;
const COOKIE: u32 = 32;
const PROXY_AUTHORIZATION: u32 = 49;
const SET_COOKIE: u32 = 55;

/// Whether a line must not enter any table on its way, by the static index of its name.
fn secret(name: u32, value: &[u8]) -> bool {
    match name {
        AUTHORIZATION | PROXY_AUTHORIZATION => true,
        COOKIE | SET_COOKIE => value.len() < SHORT_COOKIE,
        _ => false,
    }
}

const SEED: u32 = 0x9e37_79b9;

/// A quick hash of `octets`, chained from `state`. Collisions cost compression only, so a peer
/// gains nothing by making them.
const fn hash(state: u32, octets: &[u8]) -> u32 {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let mut sum = state as u64 ^ octets.len() as u64;
    if let Some(last) = octets.last_chunk::<8>() {
        let mut rest = octets;
        while let Some((eight, others)) = rest.split_first_chunk::<8>() {
            sum = (sum.rotate_left(23) ^ u64::from_le_bytes(*eight)).wrapping_mul(FACTOR);
            rest = others;
        }
        // The last eight octets again, whether or not they were part of the loop.
        sum = (sum.rotate_left(23) ^ u64::from_le_bytes(*last)).wrapping_mul(FACTOR);
    } else if let (Some(first), Some(last)) = (octets.first_chunk::<4>(), octets.last_chunk::<4>())
    {
        let both = (u32::from_le_bytes(*first) as u64) << 32 | u32::from_le_bytes(*last) as u64;
        sum = (sum.rotate_left(23) ^ both).wrapping_mul(FACTOR);
    } else {
        let mut rest = octets;
        while let Some((&octet, others)) = rest.split_first() {
            sum = (sum.rotate_left(23) ^ octet as u64).wrapping_mul(FACTOR);
            rest = others;
        }
    }
    (sum ^ sum >> 32) as u32
}

/// Open-addressed: first static index of each name, by its hash; 0: free.
static STATIC_NAMES: [u8; SLOTS] = static_names();

const fn static_names() -> [u8; SLOTS] {
    let mut slots = [0; SLOTS];
    let mut index = 1;
    while index <= STATIC.len() {
        let name = static_name_at(index);
        if index == 1 || !equal(name, static_name_at(index - 1)) {
            let mut slot = hash(SEED, name) as usize % SLOTS;
            while slots[slot] != 0 {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = index as u8;
        }
        index += 1;
    }
    slots
}

const fn static_name_at(index: usize) -> &'static [u8] {
    let (pair, name_len) = STATIC[index - 1];
    pair.split_at(name_len).0
}

const fn equal(one: &[u8], two: &[u8]) -> bool {
    if one.len() != two.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != two[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Lowest static index with this name.
fn static_name(name: &[u8], hash: u32) -> Option<u32> {
    let mut slot = hash as usize % SLOTS;
    // More than half of the slots are free, so the walk ends after a step or two.
    loop {
        let index = STATIC_NAMES[slot];
        if index == 0 {
            return None;
        }
        if static_name_at(usize::from(index)) == name {
            return Some(u32::from(index));
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// Static index of the pair with this value, among the entries of a name, which stand side by
/// side.
fn static_pair(first: u32, value: &[u8]) -> Option<u32> {
    let run = usize::from(*STATIC_RUNS.get(first as usize)?);
    let named = STATIC.iter().skip(first as usize - 1).take(run);
    let same =
        |(_, (pair, name_len)): &(u32, &(&[u8], usize))| pair.get(*name_len..) == Some(value);
    (first..).zip(named).find(same).map(|(index, _)| index)
}

/// Static indexes of the statuses.
const STATIC_STATUS: [(u8, u16); 7] = [
    (8, 200),
    (9, 204),
    (10, 206),
    (11, 304),
    (12, 400),
    (13, 404),
    (14, 500),
];

/// At the first static index of each name: how many entries have it.
static STATIC_RUNS: [u8; STATIC.len() + 1] = static_runs();

const fn static_runs() -> [u8; STATIC.len() + 1] {
    let mut runs = [1; STATIC.len() + 1];
    let mut index = STATIC.len() - 1;
    while index > 0 {
        if equal(static_name_at(index), static_name_at(index + 1)) {
            runs[index] += runs[index + 1];
        }
        index -= 1;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_static_name_is_found() {
        for (position, (pair, name_len)) in STATIC.iter().enumerate() {
            let name = &pair[..*name_len];
            let first = static_name(name, hash(SEED, name)).unwrap();
            assert!(first as usize <= position + 1);
            assert_eq!(
                static_pair(first, &pair[*name_len..]),
                Some(position as u32 + 1)
            );
        }
        assert_eq!(static_name(b"x-none", hash(SEED, b"x-none")), None);
    }

    fn block(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        for (name, value) in fields {
            encoder.field(&mut out, name.as_bytes(), value.as_bytes());
        }
        out
    }

    #[test]
    fn what_repeats_shrinks_to_one_octet() {
        let mut encoder = Encoder::new();
        let fields = [
            (":status", "200"),
            ("content-type", "text/html; charset=utf-8"),
            ("x-served-by", "cache-7"),
            ("server", "ferrule"),
        ];
        let first = block(&mut encoder, &fields);
        let second = block(&mut encoder, &fields);
        let third = block(&mut encoder, &fields);
        assert!(first.len() > second.len() || second.len() > third.len());
        assert_eq!(third.len(), fields.len());
        assert!(third.iter().all(|octet| octet & 0x80 != 0));
    }

    #[test]
    fn a_value_that_never_repeats_pushes_nothing_out() {
        let mut encoder = Encoder::new();
        for _ in 0..2 {
            block(&mut encoder, &[("content-type", "application/json")]);
        }
        for number in 0..1000 {
            let date = format!("number {number}");
            block(&mut encoder, &[("etag", &date), ("x-request-id", &date)]);
        }
        assert_eq!(
            block(&mut encoder, &[("content-type", "application/json")]).len(),
            1
        );
        // x-request-id lends its name: one index octet and the value.
        let line = block(&mut encoder, &[("x-request-id", "0")]);
        assert_eq!(line.len(), 1 + 1 + 2 - usize::from(line[0] & 0x0f != 0x0f));
    }

    #[test]
    fn secrets_are_never_indexed() {
        let mut encoder = Encoder::new();
        let lines = [
            (
                "authorization",
                "Basic dXNlcjpwYXNzd29yZC1vZi1zb21lLWxlbmd0aA==",
            ),
            (
                "proxy-authorization",
                "Basic dXNlcjpwYXNzd29yZC1vZi1zb21lLWxlbmd0aA==",
            ),
            ("cookie", "pin=1234"),
            ("set-cookie", "pin=1234"),
        ];
        for _ in 0..3 {
            for line in lines {
                let out = block(&mut encoder, &[line]);
                assert_eq!(out[0] & 0xf0, 0x10, "{line:?}");
            }
        }
        assert!(encoder.table.is_empty());
        let long = ("set-cookie", "session=0123456789abcdef; path=/; httponly");
        block(&mut encoder, &[long]);
        block(&mut encoder, &[long]);
        assert_eq!(block(&mut encoder, &[long]).len(), 1);
    }

    #[test]
    fn names_are_sent_in_lower_case() {
        let mut encoder = Encoder::new();
        let upper = block(
            &mut encoder,
            &[("Content-Type", "text/plain"), ("X-One", "1")],
        );
        let mut encoder = Encoder::new();
        let lower = block(
            &mut encoder,
            &[("content-type", "text/plain"), ("x-one", "1")],
        );
        assert_eq!(upper, lower);
    }

    #[test]
    fn a_changed_table_size_is_announced_once() {
        let mut encoder = Encoder::new();
        block(&mut encoder, &[("x-one", "1")]);
        encoder.set_limit(0);
        encoder.set_limit(65536);
        // The smallest size in between, then the last one, which is our own maximum.
        assert_eq!(block(&mut encoder, &[]), [0x20, 0x3f, 0xe1, 0x1f]);
        assert!(encoder.table.is_empty());
        assert_eq!(block(&mut encoder, &[]), []);
        encoder.set_limit(100);
        assert_eq!(block(&mut encoder, &[]), [0x3f, 0x45]);
        encoder.set_limit(100);
        assert_eq!(block(&mut encoder, &[]), []);
    }

    #[test]
    fn statuses_are_those_of_the_static_table_or_literals() {
        let mut encoder = Encoder::new();
        for status in 100..1000 {
            let (mut short, mut long) = (Vec::new(), Vec::new());
            encoder.status(&mut short, status);
            Encoder::new().field(&mut long, b":status", status.to_string().as_bytes());
            assert_eq!(short, long, "{status}");
        }
    }

    #[test]
    fn with_a_table_of_nothing_all_is_literal() {
        let mut encoder = Encoder::new();
        encoder.set_limit(0);
        for _ in 0..3 {
            let out = block(&mut encoder, &[("x-one", "1")]);
            assert_eq!(
                out.iter().filter(|octet| **octet == 0).count(),
                1,
                "{out:?}"
            );
            assert!(encoder.table.is_empty());
        }
    }
}
