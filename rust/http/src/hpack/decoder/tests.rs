//! The decoder against the RFC's examples, broken blocks and its bounds.

use super::*;
use crate::hpack::Name;

/// Keeps every line as a field, pseudo-header fields included.
struct All;

impl Sink for All {
    fn line(&mut self, block: &mut HeaderBlock, line: Line) {
        let known = match line.traits.name {
            Name::Field(known) => known,
            Name::Pseudo(_) => Default::default(),
        };
        block.fields.push(crate::fields::Field {
            name: line.name,
            value: line.value,
            known,
        });
    }
}

const WIDE: Bounds = Bounds {
    list_size: 65536,
    lines: 100,
};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}

type Outcome = Result<(Vec<(String, String)>, Option<Excess>), Error>;

fn decode(decoder: &mut Decoder, wire: &[u8], bounds: Bounds, size: usize) -> Outcome {
    let mut block = HeaderBlock::new();
    decoder.begin(bounds);
    for fragment in wire.chunks(size.max(1)) {
        decoder.decode(fragment, &mut block, &mut All)?;
    }
    let excess = decoder.end()?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Ok((
        block
            .iter()
            .map(|(_, name, value)| (text(name), text(value)))
            .collect(),
        excess,
    ))
}

/// Decodes a block whole; one octet at a time must come to the same.
fn fields(decoder: &mut Decoder, split: &mut Decoder, wire: &[u8]) -> Vec<(String, String)> {
    let whole = decode(decoder, wire, WIDE, wire.len());
    assert_eq!(decode(split, wire, WIDE, 1), whole);
    let (fields, excess) = whole.unwrap();
    assert_eq!(excess, None);
    fields
}

fn failure(wire: &str) -> Error {
    decode(&mut Decoder::new(4096), &hex(wire), WIDE, usize::MAX).unwrap_err()
}

fn story(limit: u32, blocks: &[(&str, &str, usize)]) {
    let (mut decoder, mut split) = (Decoder::new(limit), Decoder::new(limit));
    for (wire, expected, size) in blocks {
        let fields = fields(&mut decoder, &mut split, &hex(wire));
        let lines: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(lines.join("|"), *expected);
        assert_eq!(decoder.table.size(), *size);
    }
}

#[test]
fn requests_of_the_rfc() {
    // RFC 7541 appendix C.3 and C.4: the same three requests without and with Huffman coding.
    let lines = [
        ":method=GET|:scheme=http|:path=/|:authority=www.example.com",
        ":method=GET|:scheme=http|:path=/|:authority=www.example.com|cache-control=no-cache",
        ":method=GET|:scheme=https|:path=/index.html|:authority=www.example.com|custom-key=custom-value",
    ];
    story(
        4096,
        &[
            ("828684410f7777772e6578616d706c652e636f6d", lines[0], 57),
            ("828684be58086e6f2d6361636865", lines[1], 110),
            (
                "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
                lines[2],
                164,
            ),
        ],
    );
    story(
        4096,
        &[
            ("828684418cf1e3c2e5f23a6ba0ab90f4ff", lines[0], 57),
            ("828684be5886a8eb10649cbf", lines[1], 110),
            (
                "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
                lines[2],
                164,
            ),
        ],
    );
}

#[test]
fn responses_of_the_rfc_with_eviction() {
    // RFC 7541 appendix C.6, with a table of 256 octets.
    let date = |second: u32| format!("date=Mon, 21 Oct 2013 20:13:{second} GMT");
    let location = "location=https://www.example.com";
    let cookie = "set-cookie=foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    story(
        256,
        &[
            (
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff\
             6e919d29ad171863c78f0b97c8e9ae82ae43d3",
                &format!(":status=302|cache-control=private|{}|{location}", date(21)),
                222,
            ),
            (
                "4883640effc1c0bf",
                &format!(":status=307|cache-control=private|{}|{location}", date(21)),
                222,
            ),
            (
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94\
             e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c0\
             03ed4ee5b1063d5007",
                &format!(
                    ":status=200|cache-control=private|{}|{location}|content-encoding=gzip|{cookie}",
                    date(22)
                ),
                215,
            ),
        ],
    );
}

#[test]
fn literals_that_are_not_indexed_leave_the_table_alone() {
    // RFC 7541 appendix C.2.2 and C.2.3.
    story(
        4096,
        &[
            ("040c2f73616d706c652f70617468", ":path=/sample/path", 0),
            ("100870617373776f726406736563726574", "password=secret", 0),
        ],
    );
}

#[test]
fn a_name_index_may_point_at_the_entry_that_the_line_evicts() {
    let mut wire = hex("4001610162"); // a: b, into the table of 40 octets
    wire.extend(hex("7e0563636363 63")); // its name again, with a longer value
    story(
        40,
        &[(
            &wire
                .iter()
                .map(|octet| format!("{octet:02x}"))
                .collect::<String>(),
            "a=b|a=ccccc",
            38,
        )],
    );
}

#[test]
fn broken_blocks_are_errors() {
    assert_eq!(failure("80"), Error::Index);
    assert_eq!(failure("be"), Error::Index);
    assert_eq!(failure("ff80ffffff0f"), Error::Index);
    assert_eq!(failure("7f0001 61"), Error::Index);
    assert_eq!(failure("ffffffffffff"), Error::Integer);
    assert_eq!(failure("0001"), Error::Truncated);
    assert_eq!(failure("000161"), Error::Truncated);
    assert_eq!(failure("ff"), Error::Truncated);
    assert_eq!(failure("00017f82ff"), Error::Truncated);
    assert_eq!(failure("00 01 61 82 ff ff"), Error::Huffman);
}

#[test]
fn size_updates_come_first_at_most_twice_and_within_the_limit() {
    assert_eq!(failure("8220"), Error::SizeUpdate);
    assert_eq!(failure("202020"), Error::SizeUpdate);
    assert_eq!(failure("3fe21f"), Error::SizeUpdate);
    story(4096, &[("203fe11f82", ":method=GET", 0)]);
}

#[test]
fn a_lowered_limit_demands_an_update() {
    let mut decoder = Decoder::new(4096);
    decoder.set_limit(100);
    assert_eq!(
        decode(&mut decoder, &hex("82"), WIDE, 9),
        Err(Error::SizeUpdate)
    );
    let mut decoder = Decoder::new(4096);
    decoder.set_limit(100);
    assert!(decode(&mut decoder, &hex("3f4582"), WIDE, 9).is_ok());
    decoder.set_limit(4096);
    assert!(decode(&mut decoder, &hex("82"), WIDE, 9).is_ok());
}

#[test]
fn an_expanding_block_is_cut_at_the_list_size_and_the_table_stays_in_step() {
    let mut decoder = Decoder::new(4096);
    let mut bomb = hex("40016b 7f800f");
    bomb.extend([b'v'; 2047]);
    bomb.extend([0xbe; 16000]);
    bomb.extend(hex("400178 0179"));
    let bounds = Bounds {
        list_size: 20_000,
        lines: usize::MAX,
    };
    let (fields, excess) = decode(&mut decoder, &bomb, bounds, 16384).unwrap();
    assert_eq!(excess, Some(Excess::ListSize));
    assert_eq!(fields.len(), 9);
    let (fields, _) = decode(&mut decoder, &hex("be"), WIDE, 9).unwrap();
    assert_eq!(fields, [("x".to_owned(), "y".to_owned())]);
}

#[test]
fn too_many_lines_are_cut() {
    let bounds = Bounds {
        list_size: 65536,
        lines: 10,
    };
    let (fields, excess) = decode(&mut Decoder::new(4096), &[0x82; 11], bounds, 16384).unwrap();
    assert_eq!((fields.len(), excess), (10, Some(Excess::Lines)));
}

#[test]
fn a_block_far_beyond_the_list_size_is_not_read_to_its_end() {
    let bounds = Bounds {
        list_size: 100,
        lines: 10,
    };
    let outcome = decode(&mut Decoder::new(4096), &[0x82; 201], bounds, 1);
    assert_eq!(outcome, Err(Error::TooLong));
}
