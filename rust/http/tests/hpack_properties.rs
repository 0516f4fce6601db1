//! What holds for every header list and for every sequence of octets.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use ferrule_http::HeaderBlock;
use ferrule_http::hpack::{Bounds, Decoder, Encoder, Error, Excess, Line, Sink, huffman};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Default)]
struct Lines(Vec<Line>);

impl Sink for Lines {
    fn line(&mut self, _: &mut HeaderBlock, line: Line) {
        self.0.push(line);
    }
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;
type Outcome = Result<(Fields, Option<Excess>), Error>;

/// Decodes a block cut at the given places (in per mille of its length).
fn decode(decoder: &mut Decoder, wire: &[u8], cuts: &[usize], bounds: Bounds) -> Outcome {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| wire.len() * cut / 1000).collect();
    ends.push(wire.len());
    ends.sort_unstable();
    let mut block = HeaderBlock::new();
    let mut lines = Lines::default();
    let mut start = 0;
    decoder.begin(bounds);
    for end in ends {
        decoder.decode(&wire[start..end], &mut block, &mut lines)?;
        start = end;
    }
    let excess = decoder.end()?;
    assert!(block.bytes().len() <= bounds.list_size);
    let resolve = |line: &Line| {
        (
            block.slice(line.name).to_vec(),
            block.slice(line.value).to_vec(),
        )
    };
    Ok((lines.0.iter().map(resolve).collect(), excess))
}

const BOUNDS: Bounds = Bounds {
    list_size: 1 << 20,
    lines: 1000,
};

/// Few different names and values, so that they repeat; some of them odd.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-c]{1,2}".prop_map(String::into_bytes),
        2 => "[ -~]{0,40}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..300),
        1 => Just(b"content-type".to_vec()),
        1 => Just(b"cookie".to_vec()),
    ]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    text().prop_map(|name| name.to_ascii_lowercase())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_we_encode_decodes_to_the_same_with_us_and_with_another_implementation(
        blocks in vec((vec((name(), text()), 0..12), prop::option::of(0_u32..6000)), 1..20),
        cuts in vec(0_usize..1000, 0..4),
    ) {
        let mut encoder = Encoder::new();
        let mut ours = Decoder::new(4096);
        let mut theirs = hpack::Decoder::new();
        for (fields, limit) in blocks {
            if let Some(limit) = limit {
                encoder.set_limit(limit);
                ours.set_limit(limit);
            }
            let mut wire = Vec::new();
            encoder.begin(&mut wire);
            for (name, value) in &fields {
                encoder.field(&mut wire, name, value);
            }
            prop_assert_eq!(decode(&mut ours, &wire, &cuts, BOUNDS), Ok((fields.clone(), None)));
            prop_assert_eq!(theirs.decode(&wire).unwrap(), fields);
        }
    }

    #[test]
    fn arbitrary_octets_decode_the_same_however_they_are_split(
        blocks in vec(vec(any::<u8>(), 0..200), 1..8),
        cuts in vec(0_usize..1000, 0..8),
        list_size in 0_usize..3000,
        lines in 0_usize..20,
    ) {
        let bounds = Bounds { list_size, lines };
        let mut whole = Decoder::new(4096);
        let mut split = Decoder::new(4096);
        for wire in blocks {
            let expected = decode(&mut whole, &wire, &[], bounds);
            let outcome = decode(&mut split, &wire, &cuts, bounds);
            // A block that is too long and bad as well may show either first.
            if expected != Err(Error::TooLong) {
                prop_assert_eq!(&outcome, &expected);
            }
            if outcome.is_err() || expected.is_err() {
                break;
            }
        }
    }

    #[test]
    fn huffman_strings_survive_the_round_trip(text in vec(any::<u8>(), 0..400)) {
        let mut wire = Vec::new();
        huffman::encode(&text, &mut wire);
        prop_assert_eq!(wire.len(), huffman::encoded_len(&text));
        let mut out = Vec::new();
        prop_assert_eq!(huffman::decode(&wire, &mut out), Ok(()));
        prop_assert_eq!(out, text);
    }

    #[test]
    fn a_huffman_string_that_decodes_is_the_only_one_for_its_text(wire in vec(any::<u8>(), 0..60)) {
        let mut text = Vec::new();
        if huffman::decode(&wire, &mut text).is_ok() {
            let mut again = Vec::new();
            huffman::encode(&text, &mut again);
            prop_assert_eq!(again, wire);
        }
    }
}
