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

/// What twelve bits begin with: one symbol, two, or none, and then they begin a longer code.
#[derive(Clone, Copy)]
struct Wide {
    /// In their order from the low half on.
    symbols: u16,
    /// Bits of the symbols: of their codes, and of themselves.
    code_bits: u8,
    symbol_bits: u8,
}

static WIDE_TABLE: [Wide; 1 << WIDE] = wide_table();

const fn wide_table() -> [Wide; 1 << WIDE] {
    let mut table = [Wide {
        symbols: 0,
        code_bits: 0,
        symbol_bits: 0,
    }; 1 << WIDE];
    let mut index = 0;
    while index < table.len() {
        let window = (index as u32) << (LONGEST - WIDE);
        let (one, bits) = search(window, SHORTEST);
        if bits as usize <= WIDE {
            let (two, more) = search((window << bits) & ((1 << LONGEST) - 1), SHORTEST);
            table[index] = if (bits + more) as usize <= WIDE {
                Wide {
                    symbols: one | two << 8,
                    code_bits: (bits + more) as u8,
                    symbol_bits: 16,
                }
            } else {
                Wide {
                    symbols: one,
                    code_bits: bits as u8,
                    symbol_bits: 8,
                }
            };
        }
        index += 1;
    }
    table
}

/// Appends the decoded octets of `input` to `dst`.
///
/// # Errors
/// [`Error::Huffman`] for EOS inside the string, padding of eight bits or more, and padding other
/// than ones; `dst` is then as it was.
pub fn decode(input: &[u8], dst: &mut Vec<u8>) -> Result<(), Error> {
    let start = dst.len();
    // No code is shorter than five bits, and symbols are written eight at a time.
    dst.reserve(input.len() * 8 / SHORTEST + 8);
    decode_onto(input, dst).ok_or_else(|| {
        dst.truncate(start);
        Error::Huffman
    })
}

/// `None` for a malformed string.
#[inline]
fn decode_onto(input: &[u8], dst: &mut Vec<u8>) -> Option<()> {
    let mut rest = input;
    let mut window = Window { bits: 0, have: 0 };
    while let Some(eight) = rest.first_chunk() {
        window.bits |= u64::from_be_bytes(*eight) >> window.have;
        rest = rest.get((63 - window.have) as usize / 8..)?;
        window.have |= 56;
        if window.four(dst) {
            window.long(dst)?;
        }
    }
    let mut last = input.last_chunk().map_or_else(
        || short(rest),
        // The last octets of the string, without those before `rest`.
        |eight| {
            u64::from_be_bytes(*eight)
                .checked_shl(64 - 8 * rest.len() as u32)
                .unwrap_or(0)
        },
    );
    loop {
        window.bits |= last >> window.have;
        let taken = (63 - window.have) / 8;
        if taken as usize >= rest.len() {
            break;
        }
        rest = rest.get(taken as usize..)?;
        last <<= 8 * taken;
        window.have |= 56;
        if window.four(dst) {
            window.long(dst)?;
        }
    }
    window.have += 8 * rest.len() as u32;
    window.last(dst)
}

/// Bits of a string on their way to symbols.
struct Window {
    /// Left-aligned. Bits below the first `have` are zero or already those that follow, so that
    /// reading the same octets into them again changes nothing.
    bits: u64,
    have: u32,
}

impl Window {
    #[inline(always)]
    fn skip(&mut self, bits: u8) {
        self.bits <<= bits;
        self.have -= u32::from(bits);
    }

    /// Up to eight symbols from four lookups, for which there are bits. True: stopped before a
    /// longer code.
    #[inline(always)]
    fn four(&mut self, dst: &mut Vec<u8>) -> bool {
        let mut symbols = 0_u64;
        let mut filled = 0;
        let mut stopped = false;
        for _ in 0..4 {
            let wide = WIDE_TABLE[(self.bits >> (64 - WIDE)) as usize];
            if wide.symbol_bits == 0 {
                stopped = true;
                break;
            }
            symbols |= u64::from(wide.symbols) << filled;
            filled += u32::from(wide.symbol_bits);
            self.skip(wide.code_bits);
        }
        append(dst, symbols, filled);
        stopped
    }

    /// A code that is longer than a lookup, if all its bits are sure to be here.
    fn long(&mut self, dst: &mut Vec<u8>) -> Option<()> {
        if self.have >= LONGEST as u32 {
            let (symbol, bits) = search((self.bits >> (64 - LONGEST)) as u32, WIDE + 1);
            // EOS is no octet.
            dst.push(u8::try_from(symbol).ok()?);
            self.skip(bits as u8);
        }
        Some(())
    }

    /// The symbols of the last bits. Those are followed by ones as if the padding had no end: no
    /// code of a lookup is made of ones alone, and a longer one that reaches beyond the bits is
    /// the padding itself.
    #[inline(always)]
    fn last(&mut self, dst: &mut Vec<u8>) -> Option<()> {
        // Inverted, so that shifting brings ones in.
        let mut inverted = !(self.bits | u64::MAX >> self.have);
        loop {
            let mut symbols = 0_u64;
            let mut filled = 0;
            while filled <= 48 {
                let wide = WIDE_TABLE[(!inverted >> (64 - WIDE)) as usize];
                if wide.symbol_bits == 0 {
                    break;
                }
                // A symbol that needs bits of the padding: so that is not ones.
                self.have = self.have.checked_sub(u32::from(wide.code_bits))?;
                symbols |= u64::from(wide.symbols) << filled;
                filled += u32::from(wide.symbol_bits);
                inverted <<= wide.code_bits;
            }
            append(dst, symbols, filled);
            if filled > 48 {
                continue;
            }
            let (symbol, bits) = search((!inverted >> (64 - LONGEST)) as u32, WIDE + 1);
            if bits > self.have {
                let padding_is_ones = inverted.leading_zeros() >= self.have;
                return (self.have < 8 && padding_is_ones).then_some(());
            }
            dst.push(u8::try_from(symbol).ok()?);
            self.have -= bits;
            inverted <<= bits;
        }
    }
}

/// Appends the symbols in the low `filled` bits.
#[inline(always)]
fn append(dst: &mut Vec<u8>, symbols: u64, filled: u32) {
    // In one store, most of which may be beyond the end.
    let end = dst.len() + filled as usize / 8;
    dst.extend_from_slice(&symbols.to_le_bytes());
    dst.truncate(end);
}

/// Up to seven octets, left-aligned.
#[inline]
fn short(octets: &[u8]) -> u64 {
    let down = |octet: u8, at: usize| u64::from(octet) << (56 - 8 * at);
    match (octets, octets.first_chunk(), octets.last_chunk()) {
        // Two words that overlap in the same octets.
        (_, Some(first), Some(last)) => {
            u64::from(u32::from_be_bytes(*first)) << 32
                | u64::from(u32::from_be_bytes(*last)) << (64 - 8 * octets.len())
        }
        ([one], ..) => down(*one, 0),
        ([one, two], ..) => down(*one, 0) | down(*two, 1),
        ([one, two, three], ..) => down(*one, 0) | down(*two, 1) | down(*three, 2),
        _ => 0,
    }
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
