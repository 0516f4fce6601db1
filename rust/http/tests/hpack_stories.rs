//! The HPACK stories of the shared vectors: every block of every story, whole and in pieces, and
//! our encoder's version of the same stories.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod vectors;

use std::path::Path;

use ferrule_http::HeaderBlock;
use ferrule_http::hpack::{Bounds, Decoder, Encoder, Line, Sink};
use serde_json::Value;
use vectors::{directory, files, json, unhex};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Keeps every line, pseudo-header fields included.
#[derive(Default)]
struct Lines(Vec<Line>);

impl Sink for Lines {
    fn line(&mut self, _: &mut HeaderBlock, line: Line) {
        self.0.push(line);
    }
}

const BOUNDS: Bounds = Bounds {
    list_size: 1 << 20,
    lines: 1000,
};

fn decode(decoder: &mut Decoder, wire: &[u8], fragment: usize) -> Fields {
    let mut block = HeaderBlock::new();
    let mut lines = Lines::default();
    decoder.begin(BOUNDS);
    for fragment in wire.chunks(fragment) {
        decoder.decode(fragment, &mut block, &mut lines).unwrap();
    }
    assert_eq!(decoder.end(), Ok(None));
    let resolve = |line: &Line| {
        (
            block.slice(line.name).to_vec(),
            block.slice(line.value).to_vec(),
        )
    };
    assert!(lines.0.iter().all(|line| line.traits.sound()));
    lines.0.iter().map(resolve).collect()
}

fn expected(case: &Value) -> Fields {
    let field = |field: &Value| {
        let (name, value) = field.as_object().unwrap().iter().next().unwrap();
        (
            name.clone().into_bytes(),
            value.as_str().unwrap().as_bytes().to_vec(),
        )
    };
    case["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(field)
        .collect()
}

fn cases(file: &Path) -> Vec<Value> {
    json(file)["cases"].as_array().unwrap().clone()
}

fn decode_all(story: &str, fragment: usize) {
    let Some(directory) = directory("hpack") else {
        return;
    };
    let files = files(&directory.join(story));
    assert!(!files.is_empty());
    for file in files {
        let mut decoder = Decoder::new(4096);
        let mut limit = 4096;
        for (number, case) in cases(&file).iter().enumerate() {
            if let Some(size) = case["header_table_size"].as_u64()
                && size != limit
            {
                limit = size;
                decoder.set_limit(u32::try_from(size).unwrap());
            }
            let wire = unhex(case["wire"].as_str().unwrap());
            let fields = decode(&mut decoder, &wire, fragment);
            assert_eq!(fields, expected(case), "{} block {number}", file.display());
        }
    }
}

#[test]
fn stories_decode_exactly_in_one_block() {
    for story in ["nghttp2", "nghttp2-16384-4096", "nghttp2-change-table-size"] {
        decode_all(story, usize::MAX);
    }
}

#[test]
fn stories_decode_exactly_in_split_blocks() {
    for story in ["nghttp2", "nghttp2-16384-4096", "nghttp2-change-table-size"] {
        for fragment in [1, 2, 3, 7, 64] {
            decode_all(story, fragment);
        }
    }
}

#[test]
fn encoded_stories_decode_with_another_implementation() {
    let Some(directory) = directory("hpack") else {
        return;
    };
    let (mut encoded, mut plain) = (0, 0);
    for file in files(&directory.join("raw-data")) {
        let mut encoder = Encoder::new();
        let mut theirs = hpack::Decoder::new();
        let mut ours = Decoder::new(4096);
        for case in &cases(&file) {
            let fields = expected(case);
            let mut wire = Vec::new();
            encoder.begin(&mut wire);
            for (name, value) in &fields {
                encoder.field(&mut wire, name, value);
                plain += name.len() + value.len();
            }
            encoded += wire.len();
            assert_eq!(theirs.decode(&wire).unwrap(), fields, "{}", file.display());
            assert_eq!(
                decode(&mut ours, &wire, usize::MAX),
                fields,
                "{}",
                file.display()
            );
        }
    }
    println!("{encoded} octets for {plain}");
    // nghttp2's encoder comes to 30 % on these stories; a broken table would show here.
    assert!(encoded * 3 < plain, "{encoded} octets for {plain}");
}
