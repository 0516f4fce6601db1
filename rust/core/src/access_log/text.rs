//! The text of one line while it is made: a buffer of fixed size, written from front to back. Pure.
//!
//! A line is two dozen short pieces. Pieces of known size are copied as one or two registers, and
//! client text is looked at in the same pass that copies it; growing a vector piece by piece costs
//! more than twice as many instructions.
//!
//! This file must never know what a line says.

/// Bytes behind the limit of a line: a piece copied whole finds room at the very end, and so does one
/// escaped character that turns out to be too much.
const SLACK: usize = Piece::ROOM;

/// A line in the making.
pub struct Text {
    bytes: Box<[u8]>,
    len: usize,
}

/// A short constant text.
pub struct Piece {
    bytes: [u8; Piece::ROOM],
    len: usize,
}

impl Piece {
    const ROOM: usize = 24;

    /// `None` when `text` is longer than 24 bytes.
    pub fn new(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::ROOM];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self {
            bytes,
            len: text.len(),
        })
    }

    pub fn len(&self) -> usize {
        self.len
    }
}

impl Text {
    /// For lines of at most `limit` bytes. What would go beyond is left out.
    pub fn new(limit: usize) -> Self {
        Self {
            bytes: vec![0; limit.saturating_add(SLACK)].into(),
            len: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The next `len` bytes to be written.
    #[inline]
    fn room(&mut self, len: usize) -> Option<&mut [u8]> {
        self.bytes.get_mut(self.len..)?.get_mut(..len)
    }

    #[inline]
    pub fn push(&mut self, byte: u8) {
        if let Some(room) = self.bytes.get_mut(self.len) {
            *room = byte;
            self.len += 1;
        }
    }

    #[inline]
    pub fn piece(&mut self, piece: &Piece) {
        if let Some(room) = self.room(Piece::ROOM) {
            room.copy_from_slice(&piece.bytes);
            self.len += piece.len;
        }
    }

    #[inline]
    pub fn put(&mut self, text: &[u8]) {
        if let Some(room) = self.room(text.len()) {
            room.copy_from_slice(text);
            self.len += text.len();
        }
    }

    /// Append `text` if all of it is plain, else nothing. Returns whether it was.
    #[inline]
    pub fn put_plain(&mut self, text: &[u8]) -> bool {
        if text.is_empty() {
            return true;
        }
        let Some(room) = self.room(text.len()) else {
            return false;
        };
        let plain = match (room.last_chunk_mut(), text.last_chunk()) {
            // The last eight overlap those before.
            (Some(last_room), Some(last)) => {
                let mut plain = copy_plain(last_room, last);
                for (to, from) in room.as_chunks_mut().0.iter_mut().zip(text.as_chunks().0) {
                    plain &= copy_plain(to, from);
                }
                plain
            }
            _ => {
                let mut plain = true;
                for (to, from) in room.iter_mut().zip(text) {
                    *to = *from;
                    plain &= is_plain(*from);
                }
                plain
            }
        };
        if plain {
            self.len += text.len();
        }
        plain
    }

    #[inline]
    pub fn number(&mut self, value: u64) {
        // Most are a status, a short time or a small body: no need to count their digits.
        match value {
            0..=9 => self.push(b'0' + value as u8),
            10..=99 => self.padded(value, 2),
            100..=999 => self.padded(value, 3),
            _ => self.padded(value, value.ilog10() as usize + 1),
        }
    }

    /// The last `width` digits of `value`, leading zeros included.
    #[inline]
    pub fn padded(&mut self, mut value: u64, width: usize) {
        if let Some(room) = self.room(width) {
            for digit in room.iter_mut().rev() {
                *digit = b'0' + (value % 10) as u8;
                value /= 10;
            }
            self.len += width;
        }
    }

    /// `value` in `digits` hexadecimal digits.
    pub fn hex(&mut self, value: u32, digits: u32) {
        for place in (0..digits).rev() {
            let digit = (value >> (4 * place)) & 0xf;
            self.push(char::from_digit(digit, 16).map_or(b'0', |digit| digit as u8));
        }
    }
}

/// Whether a byte needs no escape in any format.
#[inline]
pub fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

/// Copy eight bytes. Returns whether all of them are plain.
#[inline]
fn copy_plain(to: &mut [u8; 8], from: &[u8; 8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    *to = *from;
    let word = u64::from_ne_bytes(*from);
    // A byte is below `n` if taking `n` away sets its high bit, which was not set. A borrow can do so
    // to the byte beside it, but only where there was one to find. (Anderson, Bit Twiddling Hacks.)
    let below = |word: u64, n: u8| word.wrapping_sub(ONES * u64::from(n)) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (word | below(word, 0x20) | is(b'"') | is(b'\\') | is(0x7f)) & HIGH == 0
}
