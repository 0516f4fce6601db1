//! The static Huffman code (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: codes are numbered by length, then by symbol, so the lengths alone make
//! every table here, at compile time. Decoding looks up twelve bits at once and gets one or two
//! symbols; the rare codes longer than that are found by comparing with the end of each length.

use super::Error;

/// Code length in bits of each octet and, last, of EOS (RFC 7541 appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const SHORTEST: usize = 5;
const LONGEST: usize = 30;
const EOS: u16 = 256;

/// Bits of the wide lookup: two of the commonest symbols (5 and 6 bits) fit, and its 16 KiB stay
/// in the first-level cache beside everything else that a request touches.
const WIDE: usize = 12;

/// The canonical code, seen from the decoder: per length, which codes it has.
struct Canonical {
    /// Symbols in code order.
    symbols: [u16; 257],
    /// First code of each length.
    first: [u32; LONGEST + 1],
    /// Rank in `symbols` of that code.
    rank: [u16; LONGEST + 1],
    /// End of each length's codes, left-aligned to thirty bits. Non-decreasing.
    limit: [u32; LONGEST + 1],
    /// Code of each symbol.
    codes: [u32; 257],
}

const CANONICAL: Canonical = canonical();

const fn canonical() -> Canonical {
    let mut all = Canonical {
        symbols: [0; 257],
        first: [0; LONGEST + 1],
        rank: [0; LONGEST + 1],
        limit: [0; LONGEST + 1],
        codes: [0; 257],
    };
    let mut code = 0_u32;
    let mut rank = 0;
    let mut length = SHORTEST;
    while length <= LONGEST {
        all.first[length] = code;
        all.rank[length] = rank as u16;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                all.symbols[rank] = symbol as u16;
                all.codes[symbol] = code;
                code += 1;
                rank += 1;
            }
            symbol += 1;
        }
        all.limit[length] = code << (LONGEST - length);
        code <<= 1;
        length += 1;
    }
    all
}

/// Symbol and length of the code that begins the thirty bits of `window`.
const fn search(window: u32, shortest: usize) -> (u16, u32) {
    let mut length = shortest;
    while length < LONGEST && window >= CANONICAL.limit[length] {
        length += 1;
    }
    let code = window >> (LONGEST - length);
    let rank = CANONICAL.rank[length] as u32 + (code - CANONICAL.first[length]);
    // The code is complete: every window lies below the last limit, so the rank is in the table.
    (CANONICAL.symbols[rank as usize], length as u32)
}

/// What twelve bits begin with: one symbol, two, or (`count` 0) a longer code.
#[derive(Clone, Copy)]
struct Wide {
    symbols: [u8; 2],
    /// Bits of the first symbol in the low half, of all in the high half.
    bits: u8,
    count: u8,
}

impl Wide {
    #[inline]
    const fn first_bits(self) -> u32 {
        (self.bits & 0x0f) as u32
    }

    #[inline]
    const fn all_bits(self) -> u32 {
        (self.bits >> 4) as u32
    }
}

static WIDE_TABLE: [Wide; 1 << WIDE] = wide_table();

const fn wide_table() -> [Wide; 1 << WIDE] {
    let mut table = [Wide {
        symbols: [0; 2],
        bits: 0,
        count: 0,
    }; 1 << WIDE];
    let mut index = 0;
    while index < table.len() {
        let window = (index as u32) << (LONGEST - WIDE);
        let (one, bits) = search(window, SHORTEST);
        if bits as usize <= WIDE {
            let (two, more) = search((window << bits) & ((1 << LONGEST) - 1), SHORTEST);
            let pair = (bits + more) as usize <= WIDE;
            let all = if pair { bits + more } else { bits };
            table[index] = Wide {
                symbols: [one as u8, if pair { two as u8 } else { 0 }],
                bits: (bits | all << 4) as u8,
                count: 1 + pair as u8,
            };
        }
        index += 1;
    }
    table
}

/// The next code of the bits in `window` (left-aligned, at least thirty of them meaningful).
#[inline]
fn next_symbol(window: u64) -> (u16, u32) {
    let wide = WIDE_TABLE[(window >> (64 - WIDE)) as usize];
    if wide.count > 0 {
        (u16::from(wide.symbols[0]), wide.first_bits())
    } else {
        search((window >> (64 - LONGEST)) as u32, WIDE + 1)
    }
}

/// Appends the decoded octets of `input` to `dst`.
///
/// # Errors
/// [`Error::Huffman`] for EOS inside the string, padding of eight bits or more, and padding other
/// than ones; `dst` is then as it was.
pub fn decode(input: &[u8], dst: &mut Vec<u8>) -> Result<(), Error> {
    let start = dst.len();
    // No code is shorter than five bits; a pair is always written whole, hence one octet more.
    dst.resize(start + input.len() * 8 / SHORTEST + 2, 0);
    let decoded = dst.get_mut(start..).and_then(|out| decode_into(input, out));
    dst.truncate(start + decoded.unwrap_or(0));
    decoded.map(|_| ()).ok_or(Error::Huffman)
}

/// The decoded length, or `None` for a malformed string. `out` holds at least two octets more
/// than the longest decoding of `input`.
fn decode_into(input: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut rest = input;
    // Left-aligned. Bits below the first `have` are zero or already those of `rest`, so that
    // reading the same octets into them again changes nothing.
    let mut bits = 0_u64;
    let mut have = 0_u32;
    let mut length = 0;
    loop {
        if rest.len() >= 8 {
            let eight = rest.first_chunk::<8>()?;
            bits |= u64::from_be_bytes(*eight) >> have;
        } else if let Some(eight) = input.last_chunk::<8>() {
            // The last octets of the string, without those before `rest`.
            bits |= u64::from_be_bytes(*eight)
                .checked_shl(64 - 8 * rest.len() as u32)
                .unwrap_or(0)
                >> have;
        } else {
            bits |= short(rest) >> have;
        }
        let taken = ((63 - have) / 8).min(rest.len().min(8) as u32);
        rest = rest.get(taken as usize..)?;
        have += taken * 8;
        if have < LONGEST as u32 {
            break;
        }
        while have >= WIDE as u32 {
            let wide = WIDE_TABLE[(bits >> (64 - WIDE)) as usize];
            if wide.count > 0 {
                *out.get_mut(length..)?.first_chunk_mut::<2>()? = wide.symbols;
                length += usize::from(wide.count);
                bits <<= wide.all_bits();
                have -= wide.all_bits();
            } else if have >= LONGEST as u32 {
                let (symbol, taken) = search((bits >> (64 - LONGEST)) as u32, WIDE + 1);
                if symbol == EOS {
                    return None;
                }
                *out.get_mut(length)? = symbol as u8;
                length += 1;
                bits <<= taken;
                have -= taken;
            } else {
                break;
            }
        }
    }
    // The last bits, followed by ones as if the padding had no end: a code that reaches beyond
    // them is the padding itself.
    while have > 0 {
        let (symbol, taken) = next_symbol(bits | u64::MAX >> have);
        if taken > have {
            let padding_is_ones = bits.leading_ones() >= have;
            return (have < 8 && padding_is_ones).then_some(length);
        }
        if symbol == EOS {
            return None;
        }
        *out.get_mut(length)? = symbol as u8;
        length += 1;
        bits <<= taken;
        have -= taken;
    }
    Some(length)
}

/// Up to seven octets, left-aligned.
fn short(octets: &[u8]) -> u64 {
    octets
        .iter()
        .rev()
        .fold(0, |bits, &octet| bits >> 8 | u64::from(octet) << 56)
}

/// Length in octets of the encoding of `input`.
#[must_use]
pub fn encoded_len(input: &[u8]) -> usize {
    let bits: usize = input
        .iter()
        .map(|&octet| usize::from(LENGTHS[usize::from(octet)]))
        .sum();
    bits.div_ceil(8)
}

static CODES: [u32; 257] = CANONICAL.codes;

/// Appends the encoding of `input`, padded with ones to a whole octet, to `dst`.
pub fn encode(input: &[u8], dst: &mut Vec<u8>) {
    let mut bits = 0_u64;
    let mut have = 0_u32;
    for &octet in input {
        let length = u32::from(LENGTHS[usize::from(octet)]);
        bits = bits << length | u64::from(CODES[usize::from(octet)]);
        have += length;
        if have >= 32 {
            have -= 32;
            dst.extend_from_slice(&((bits >> have) as u32).to_be_bytes());
        }
    }
    // Pad to 32 bits with ones, then keep the octets that hold something.
    let padded = (bits << (32 - have) | u64::MAX >> (32 + have)) as u32;
    let octets = have.div_ceil(8) as usize;
    dst.extend(padded.to_be_bytes().into_iter().take(octets));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(text, &mut out);
        assert_eq!(out.len(), encoded_len(text));
        out
    }

    fn decoded(wire: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = b"kept".to_vec();
        let result = decode(wire, &mut out);
        assert_eq!(&out[..4], b"kept");
        if result.is_err() {
            assert_eq!(out.len(), 4);
        }
        result.map(|()| out.split_off(4))
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        // Spot checks over every region of appendix B.
        let rows = [
            (b'0', 0x0),
            (b'a', 0x3),
            (b'%', 0x15),
            (b':', 0x5c),
            (b'&', 0xf8),
            (b'!', 0x3f8),
            (b'+', 0x7fb),
            (b'#', 0xffa),
            (0, 0x1ff8),
            (b'\\', 0x7fff0),
            (195, 0x7fff1),
            (128, 0xfffe6),
            (1, 0x7f_ffd8),
            (9, 0xff_ffea),
            (199, 0x1ff_ffec),
            (192, 0x3ff_ffe0),
            (203, 0x7ff_ffde),
            (2, 0xfff_ffe2),
            (249, 0xfff_fffe),
            (22, 0x3fff_fffe),
        ];
        for (octet, code) in rows {
            assert_eq!(CODES[usize::from(octet)], code, "octet {octet}");
        }
        assert_eq!(CODES[256], 0x3fff_ffff);
    }

    #[test]
    fn examples_of_the_rfc() {
        // RFC 7541 appendix C.4.1 and C.6.1.
        let wire = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(encoded(b"www.example.com"), wire);
        assert_eq!(decoded(&wire).unwrap(), b"www.example.com");
        assert_eq!(encoded(b"302"), [0x64, 0x02]);
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    #[test]
    fn every_pair_of_octets_survives_the_round_trip() {
        for one in 0..=255 {
            for two in 0..=255 {
                let text = [one, two, one];
                assert_eq!(decoded(&encoded(&text)).unwrap(), text);
            }
        }
    }

    #[test]
    fn long_strings_of_every_alignment_survive_the_round_trip() {
        let text: Vec<u8> = (0..4096_u32).map(|n| (n * 7919 % 251) as u8).collect();
        for length in (0..200).chain([1000, 4096]) {
            assert_eq!(decoded(&encoded(&text[..length])).unwrap(), &text[..length]);
            let plain: Vec<u8> = text[..length]
                .iter()
                .map(|octet| b'a' + octet % 26)
                .collect();
            assert_eq!(decoded(&encoded(&plain)).unwrap(), plain);
        }
    }

    #[test]
    fn bad_padding_is_an_error() {
        assert_eq!(decoded(&[0x07]).unwrap(), b"0"); // 00000 then three ones
        assert_eq!(decoded(&[0x00]), Err(Error::Huffman)); // 00000 then three zeros
        assert_eq!(decoded(&[0x06]), Err(Error::Huffman)); // last padding bit is zero
        assert_eq!(decoded(&[0xff]), Err(Error::Huffman)); // eight bits of padding
        assert_eq!(decoded(&[0x07, 0xff]), Err(Error::Huffman)); // eleven bits of padding
        assert_eq!(decoded(&[0x1f, 0xff]), Err(Error::Huffman)); // 'a', then eleven ones
        let mut wire = encoded(b"an honest string of a certain length");
        wire.push(0xff);
        assert_eq!(decoded(&wire), Err(Error::Huffman));
    }

    #[test]
    fn eos_is_an_error_wherever_it_stands() {
        assert_eq!(decoded(&[0xff; 4]), Err(Error::Huffman));
        assert_eq!(decoded(&[0xff; 40]), Err(Error::Huffman));
        // '0' (00000), EOS (thirty ones), then '0' again and padding.
        assert_eq!(
            decoded(&[0x07, 0xff, 0xff, 0xff, 0xe0, 0x7f]),
            Err(Error::Huffman)
        );
    }
}
