//! Prefixed integers (RFC 7541 section 5.1).

use super::Error;

/// Octets after the prefix that a 32-bit value can need. An attacker may pad an integer with
/// zero-valued octets without end; no encoder does, so more than these are an error.
const MAX_CONTINUATION: usize = 5;

/// Reads the integer whose prefix is the low `prefix` bits (1 to 8) of the first octet.
///
/// Returns the value and how many octets it took, or `None` when `input` ends inside it.
///
/// # Errors
/// [`Error::Integer`] when the value exceeds 32 bits or is padded beyond five octets.
#[inline]
pub fn decode(input: &[u8], prefix: u32) -> Result<Option<(u32, usize)>, Error> {
    let Some((&first, rest)) = input.split_first() else {
        return Ok(None);
    };
    let full = u32::from(u8::MAX >> (8 - prefix));
    let value = u32::from(first) & full;
    if value < full {
        return Ok(Some((value, 1)));
    }
    continuation(rest, value)
}

#[cold]
fn continuation(rest: &[u8], prefix_value: u32) -> Result<Option<(u32, usize)>, Error> {
    let mut value = u64::from(prefix_value);
    for (position, &octet) in rest.iter().take(MAX_CONTINUATION).enumerate() {
        // Five octets of seven bits stay far below 64 bits: the sum is checked once, at its end.
        value += u64::from(octet & 0x7f) << (7 * position);
        if octet & 0x80 == 0 {
            let value = u32::try_from(value).map_err(|_| Error::Integer)?;
            return Ok(Some((value, position + 2)));
        }
    }
    if rest.len() < MAX_CONTINUATION {
        Ok(None)
    } else {
        Err(Error::Integer)
    }
}

/// Appends `value` with a prefix of `prefix` bits (1 to 8); `pattern` is the representation's tag
/// in the bits above them.
#[inline]
pub fn encode(dst: &mut Vec<u8>, value: u32, prefix: u32, pattern: u8) {
    let full = u8::MAX >> (8 - prefix);
    match u8::try_from(value) {
        Ok(small) if small < full => dst.push(pattern | small),
        _ => {
            dst.push(pattern | full);
            let mut rest = value - u32::from(full);
            while rest >= 0x80 {
                dst.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            dst.push(rest as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: u32, prefix: u32) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, value, prefix, 0);
        out
    }

    #[test]
    fn examples_of_the_rfc() {
        // RFC 7541 appendix C.1.
        assert_eq!(encoded(10, 5), [0x0a]);
        assert_eq!(encoded(1337, 5), [0x1f, 0x9a, 0x0a]);
        assert_eq!(encoded(42, 8), [0x2a]);
        assert_eq!(decode(&[0xea, 0xff], 5), Ok(Some((10, 1))));
        assert_eq!(decode(&[0x1f, 0x9a, 0x0a, 0xff], 5), Ok(Some((1337, 3))));
    }

    #[test]
    fn edges_survive_the_round_trip_with_every_prefix() {
        for prefix in 1..=8 {
            let full = (1_u32 << prefix) - 1;
            for value in [
                0,
                full - 1,
                full,
                full + 1,
                full + 127,
                full + 128,
                1 << 20,
                u32::MAX,
            ] {
                let wire = encoded(value, prefix);
                assert_eq!(decode(&wire, prefix), Ok(Some((value, wire.len()))));
                for cut in 0..wire.len() {
                    assert_eq!(decode(&wire[..cut], prefix), Ok(None));
                }
            }
        }
    }

    #[test]
    fn overflow_and_endless_padding_are_errors() {
        assert_eq!(
            decode(&[0xff, 0x80, 0xff, 0xff, 0xff, 0x0f], 7),
            Ok(Some((u32::MAX, 6)))
        );
        assert_eq!(
            decode(&[0xff, 0x81, 0xff, 0xff, 0xff, 0x0f], 7),
            Err(Error::Integer)
        );
        assert_eq!(
            decode(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], 7),
            Err(Error::Integer)
        );
        assert_eq!(
            decode(&[0xff, 0x80, 0x80, 0x80, 0x80, 0x80], 7),
            Err(Error::Integer)
        );
        assert_eq!(
            decode(&[0xff, 0x80, 0x80, 0x80, 0x80, 0x00], 7),
            Ok(Some((127, 6)))
        );
    }
}
