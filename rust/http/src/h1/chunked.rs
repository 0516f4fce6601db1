//! The chunked transfer coding, reading side (RFC 9112 section 7.1). Knows one body, never the
//! head before it or the request after it.

use std::ops::Range;

use super::head::{Trailer, trailer_line};
use crate::error::{Error, ErrorKind};
use crate::fields::{HeaderBlock, is_token_byte};
use crate::limits::Limits;

/// Where in the coding the next byte lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    Data,
    /// The CRLF after the data of a chunk.
    DataEnd,
    Trailers,
}

/// The state of one body.
#[derive(Debug)]
pub(crate) struct Chunked {
    at: At,
    /// Data bytes of the current chunk still to come.
    remaining: u64,
    /// Data bytes announced so far.
    total: u64,
    /// Bytes of extensions so far.
    extensions: usize,
    /// Bytes of the trailer section so far.
    trailer_bytes: usize,
}

pub(crate) enum ChunkEvent {
    NeedMore,
    /// Data bytes, as a range of the input of this call.
    Data(Range<usize>),
    End,
}

impl Chunked {
    pub(crate) fn new() -> Self {
        Self {
            at: At::Size,
            remaining: 0,
            total: 0,
            extensions: 0,
            trailer_bytes: 0,
        }
    }

    /// The next event and how many bytes of `input` it used up.
    ///
    /// # Errors
    /// 400 for broken framing, 413 beyond the body limit, 431 for trailers beyond theirs.
    pub(crate) fn next(
        &mut self,
        limits: &Limits,
        input: &[u8],
        trailers: &mut Option<Box<HeaderBlock>>,
    ) -> Result<(usize, ChunkEvent), Error> {
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            match self.at {
                At::Size => {
                    let Some(line) = size_line(limits, rest)? else {
                        return Ok((used, ChunkEvent::NeedMore));
                    };
                    used += line.length;
                    self.size(limits, &line)?;
                }
                At::Data => {
                    if rest.is_empty() {
                        return Ok((used, ChunkEvent::NeedMore));
                    }
                    let here = usize::try_from(self.remaining)
                        .unwrap_or(usize::MAX)
                        .min(rest.len());
                    self.remaining -= here as u64;
                    if self.remaining == 0 {
                        self.at = At::DataEnd;
                    }
                    let data = used..used + here;
                    return Ok((data.end, ChunkEvent::Data(data)));
                }
                At::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        used += 2;
                        self.at = At::Size;
                    }
                    [] | [b'\r'] => return Ok((used, ChunkEvent::NeedMore)),
                    _ => return Err(ErrorKind::BadChunkEnd.into()),
                },
                At::Trailers => {
                    if let [b'\r', b'\n', ..] = rest {
                        return Ok((used + 2, ChunkEvent::End));
                    }
                    if rest.is_empty() {
                        return Ok((used, ChunkEvent::NeedMore));
                    }
                    let block = trailers.get_or_insert_default();
                    match trailer_line(limits, rest, self.trailer_bytes, block)? {
                        Trailer::Partial => return Ok((used, ChunkEvent::NeedMore)),
                        Trailer::End => return Ok((used + 2, ChunkEvent::End)),
                        Trailer::Field(length) => {
                            used += length;
                            self.trailer_bytes = self.trailer_bytes.saturating_add(length);
                        }
                    }
                }
            }
        }
    }

    /// Accounts for a complete size line.
    fn size(&mut self, limits: &Limits, line: &SizeLine) -> Result<(), Error> {
        self.extensions = self.extensions.saturating_add(line.extensions);
        if self.extensions > limits.chunk_extensions {
            return Err(ErrorKind::ChunkExtensionsTooLarge.into());
        }
        self.total = self
            .total
            .checked_add(line.size)
            .ok_or(ErrorKind::ChunkSizeOverflow)?;
        if limits.body != 0 && self.total > limits.body {
            return Err(ErrorKind::BodyTooLarge.into());
        }
        self.remaining = line.size;
        self.at = if line.size == 0 {
            At::Trailers
        } else {
            At::Data
        };
        Ok(())
    }
}

struct SizeLine {
    size: u64,
    /// Bytes from the first `;` (or the white space before it) to the CRLF.
    extensions: usize,
    /// Bytes of the line with its CRLF.
    length: usize,
}

/// More digits are not needed for 64 bits, and refused even as leading zeros.
const MAX_DIGITS: usize = 16;

/// Reads `1*HEXDIG [chunk-ext] CRLF`, or `None` if it is not complete. Byte for byte from the
/// left, so that the same bytes meet the same fate however they arrive.
#[inline]
fn size_line(limits: &Limits, input: &[u8]) -> Result<Option<SizeLine>, Error> {
    let (mut size, mut digits) = (0u64, 0);
    loop {
        let Some(byte) = input.get(digits) else {
            return Ok(None);
        };
        let Some(digit) = hex_digit(*byte) else {
            break;
        };
        if digits == MAX_DIGITS {
            return Err(ErrorKind::ChunkSizeOverflow.into());
        }
        size = size << 4 | u64::from(digit);
        digits += 1;
    }
    if digits == 0 {
        return Err(ErrorKind::BadChunkSize.into());
    }
    if digits > limits.chunk_line {
        return Err(ErrorKind::ChunkLineTooLong.into());
    }
    if let Some([b'\r', b'\n', ..]) = input.get(digits..) {
        return Ok(Some(SizeLine {
            size,
            extensions: 0,
            length: digits + 2,
        }));
    }
    let mut cursor = Cursor {
        input,
        at: digits,
        end: limits.chunk_line,
    };
    match cursor.extensions() {
        Ok(()) => Ok(Some(SizeLine {
            size,
            extensions: cursor.at - 2 - digits,
            length: cursor.at,
        })),
        Err(Stop::NeedMore) => Ok(None),
        Err(Stop::Refused(kind)) => Err(kind.into()),
    }
}

#[inline]
fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Why a cursor went no further.
enum Stop {
    NeedMore,
    Refused(ErrorKind),
}

/// Walks the extensions of one size line.
struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
    /// The line may be this long.
    end: usize,
}

impl Cursor<'_> {
    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) CRLF` (section 7.1.1).
    fn extensions(&mut self) -> Result<(), Stop> {
        const BAD: Stop = Stop::Refused(ErrorKind::BadChunkExtension);
        let first = self.at;
        loop {
            // White space is part of an extension that follows, never the end of a line.
            let before = self.at;
            match self.skip_space()? {
                b';' => self.at += 1,
                b'\r' if self.at == before => return self.line_end(),
                b'\n' => return Err(Stop::Refused(ErrorKind::BareLineFeed)),
                _ if before == first => return Err(Stop::Refused(ErrorKind::BadChunkSize)),
                _ => return Err(BAD),
            }
            self.skip_space()?;
            self.token()?;
            // `=` may stand after white space, which is otherwise left to the next extension.
            let after_name = self.at;
            if self.skip_space()? != b'=' {
                self.at = after_name;
                continue;
            }
            self.at += 1;
            if self.skip_space()? == b'"' {
                self.quoted()?;
            } else {
                self.token()?;
            }
        }
    }

    /// The byte at the cursor.
    fn peek(&self) -> Result<u8, Stop> {
        match self.input.get(self.at) {
            None => Err(Stop::NeedMore),
            // The CRLF itself is not counted.
            Some(byte @ (b'\r' | b'\n')) if self.at <= self.end => Ok(*byte),
            Some(_) if self.at >= self.end => Err(Stop::Refused(ErrorKind::ChunkLineTooLong)),
            Some(byte) => Ok(*byte),
        }
    }

    fn skip_space(&mut self) -> Result<u8, Stop> {
        loop {
            match self.peek()? {
                b' ' | b'\t' => self.at += 1,
                byte => return Ok(byte),
            }
        }
    }

    fn token(&mut self) -> Result<(), Stop> {
        let start = self.at;
        while is_token_byte(self.peek()?) {
            self.at += 1;
        }
        if self.at > start {
            Ok(())
        } else {
            Err(Stop::Refused(ErrorKind::BadChunkExtension))
        }
    }

    fn quoted(&mut self) -> Result<(), Stop> {
        self.at += 1;
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return Ok(()),
                b'\\' => {
                    let escaped = self.peek()?;
                    if (escaped < b' ' && escaped != b'\t') || escaped == 0x7f {
                        return Err(Stop::Refused(ErrorKind::BadChunkExtension));
                    }
                    self.at += 1;
                }
                b'\t' | b' '..=0x7e | 0x80.. => {}
                _ => return Err(Stop::Refused(ErrorKind::BadChunkExtension)),
            }
        }
    }

    fn line_end(&mut self) -> Result<(), Stop> {
        match self.input.get(self.at + 1) {
            None => Err(Stop::NeedMore),
            Some(b'\n') => {
                self.at += 2;
                Ok(())
            }
            Some(_) => Err(Stop::Refused(ErrorKind::BareCarriageReturn)),
        }
    }
}
