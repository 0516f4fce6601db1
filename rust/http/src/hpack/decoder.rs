//! Header blocks to field lines (RFC 7541 sections 3 and 6).
//!
//! Octets of a line go straight into the caller's [`HeaderBlock`] buffer; nothing is allocated per
//! field. A block may come in any number of fragments: a line cut by a fragment's end waits in a
//! small buffer, and is looked at again in constant time however small the fragments are.

use super::Error;
use super::huffman;
use super::integer;
use super::line::{Line, Traits};
use super::table::{self, Entry, OVERHEAD, STATIC_LEN, Table};
use crate::fields::{HeaderBlock, Span};

/// What a block may decode to. A block beyond these is still decoded to its end, because the
/// dynamic table must stay in step, but its further lines are dropped.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Sum over all lines of name + value + 32 octets (RFC 9113 section 6.5.2): the defence
    /// against indexes that expand one octet into kilobytes (CVE-2016-6581).
    pub list_size: usize,
    /// Lines: objects cost more than octets (CVE-2026-49975).
    pub lines: usize,
}

/// Which bound a block exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    ListSize,
    Lines,
}

/// Takes decoded lines.
pub trait Sink {
    /// A line whose octets are in `block`; the sink decides whether it becomes a field of it.
    fn line(&mut self, block: &mut HeaderBlock, line: Line);
}

/// The decoding side of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table<Traits>,
    /// The largest table that the peer may choose: our SETTINGS_HEADER_TABLE_SIZE.
    limit: u32,
    /// The limit fell below the table's size: the next block must begin with an update.
    update_due: bool,
    /// A line's octets up to the end of the last fragment.
    carry: Vec<u8>,
    block: Progress,
}

/// Of the block that is being decoded.
#[derive(Debug)]
struct Progress {
    bounds: Bounds,
    wire: usize,
    list_size: usize,
    lines: usize,
    updates: u8,
    excess: Option<Excess>,
}

/// A string literal on the wire.
#[derive(Clone, Copy)]
struct Literal<'a> {
    octets: &'a [u8],
    huffman: bool,
}

impl Literal<'_> {
    #[inline]
    fn append(self, dst: &mut Vec<u8>) -> Result<(), Error> {
        if self.huffman {
            return huffman::decode(self.octets, dst);
        }
        dst.extend_from_slice(self.octets);
        Ok(())
    }
}

impl Decoder {
    /// A decoder for a peer that was told `limit` as SETTINGS_HEADER_TABLE_SIZE (octets).
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self {
            table: Table::new(limit),
            limit,
            update_due: false,
            carry: Vec::new(),
            block: Progress {
                bounds: Bounds {
                    list_size: 0,
                    lines: 0,
                },
                wire: 0,
                list_size: 0,
                lines: 0,
                updates: 0,
                excess: None,
            },
        }
    }

    /// Applies another SETTINGS_HEADER_TABLE_SIZE once the peer has acknowledged it. When it is
    /// below the table's size the peer must say so in its next block (RFC 7541 section 4.2).
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
        self.update_due = self.table.max() > limit as usize;
    }

    /// Starts a block, forgetting an unfinished one.
    pub fn begin(&mut self, bounds: Bounds) {
        self.carry.clear();
        self.block = Progress {
            bounds,
            wire: 0,
            list_size: 0,
            lines: 0,
            updates: 0,
            excess: None,
        };
    }

    /// Decodes the next fragment of the block.
    ///
    /// # Errors
    /// Any [`Error`]; the decoder is of no further use then.
    pub fn decode<S: Sink>(
        &mut self,
        fragment: &[u8],
        block: &mut HeaderBlock,
        sink: &mut S,
    ) -> Result<(), Error> {
        self.block.wire = self.block.wire.saturating_add(fragment.len());
        // A list within its limit needs fewer octets than that limit on the wire; twice as many
        // leave room to answer an oversized one properly instead of dropping the connection.
        if self.block.wire > self.block.bounds.list_size.saturating_mul(2) {
            return Err(Error::TooLong);
        }
        if self.carry.is_empty() {
            let used = self.lines(fragment, block, sink)?;
            self.carry
                .extend_from_slice(fragment.get(used..).unwrap_or_default());
            return Ok(());
        }
        let mut input = std::mem::take(&mut self.carry);
        input.extend_from_slice(fragment);
        let used = self.lines(&input, block, sink)?;
        input.drain(..used.min(input.len()));
        self.carry = input;
        Ok(())
    }

    /// Ends the block, and says whether some of its lines were dropped.
    ///
    /// # Errors
    /// [`Error::Truncated`] inside a line; [`Error::SizeUpdate`] when a due update did not come.
    pub fn end(&mut self) -> Result<Option<Excess>, Error> {
        if !self.carry.is_empty() {
            return Err(Error::Truncated);
        }
        if self.update_due {
            return Err(Error::SizeUpdate);
        }
        Ok(self.block.excess)
    }

    /// Decodes whole lines and returns how many octets of `input` they took.
    fn lines<S: Sink>(
        &mut self,
        input: &[u8],
        block: &mut HeaderBlock,
        sink: &mut S,
    ) -> Result<usize, Error> {
        let mut rest = input;
        while let Some(&first) = rest.first() {
            // RFC 7541 section 6: the leading bits say which representation it is.
            let taken = if first & 0x80 != 0 {
                self.indexed(rest, block, sink)?
            } else if first & 0xe0 == 0x20 {
                self.size_update(rest)?
            } else {
                self.literal(rest, first & 0x40 != 0, block, sink)?
            };
            let Some(taken) = taken else { break };
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(input.len() - rest.len())
    }

    /// Section 6.1.
    #[inline]
    fn indexed<S: Sink>(
        &mut self,
        input: &[u8],
        block: &mut HeaderBlock,
        sink: &mut S,
    ) -> Result<Option<usize>, Error> {
        let Some((index, taken)) = integer::decode(input, 7)? else {
            return Ok(None);
        };
        let entry = self
            .field_allowed()
            .and_then(|()| lookup(&self.table, index))?;
        if self.block.admit(entry.pair.len()) {
            let start = block.bytes().len();
            entry.append_pair(&mut block.bytes);
            let line = line(start, entry.name_len, entry.pair.len(), entry.note);
            sink.line(block, line);
        }
        Ok(Some(taken))
    }

    /// Sections 6.2.1 (`indexing`), 6.2.2 and 6.2.3. Never-indexed is of no consequence to an
    /// endpoint that does not encode the field again.
    fn literal<S: Sink>(
        &mut self,
        input: &[u8],
        indexing: bool,
        block: &mut HeaderBlock,
        sink: &mut S,
    ) -> Result<Option<usize>, Error> {
        let prefix = if indexing { 6 } else { 4 };
        let Some((index, mut taken)) = integer::decode(input, prefix)? else {
            return Ok(None);
        };
        self.field_allowed()?;
        // Both strings are found before either is decoded: a line that is not all there costs the
        // same few steps each time.
        let mut name = None;
        if index == 0 {
            let Some((literal, octets)) = string(input.get(taken..))? else {
                return Ok(None);
            };
            name = Some(literal);
            taken += octets;
        }
        let Some((value, octets)) = string(input.get(taken..))? else {
            return Ok(None);
        };
        taken += octets;

        let start = block.bytes().len();
        let mut traits = None;
        if let Some(name) = name {
            name.append(&mut block.bytes)?;
        } else {
            let entry = lookup(&self.table, index)?;
            entry.append_name(&mut block.bytes);
            traits = Some(entry.note);
        }
        let name_len = block.bytes().len() - start;
        value.append(&mut block.bytes)?;

        let pair = block.bytes().get(start..).unwrap_or_default();
        let (name, value) = pair.split_at(name_len.min(pair.len()));
        let traits = traits.map_or_else(
            || Traits::of(name, value),
            |traits| traits.with_value(value),
        );
        if indexing {
            self.table.insert(pair, name_len, traits);
        }
        let len = pair.len();
        if self.block.admit(len) {
            sink.line(block, line(start, name_len, len, traits));
        } else {
            block.bytes.truncate(start);
        }
        Ok(Some(taken))
    }

    /// Section 6.3: at the beginning of a block only, twice at most (section 4.2).
    fn size_update(&mut self, input: &[u8]) -> Result<Option<usize>, Error> {
        let Some((max, taken)) = integer::decode(input, 5)? else {
            return Ok(None);
        };
        if self.block.lines > 0 || self.block.updates == 2 || max > self.limit {
            return Err(Error::SizeUpdate);
        }
        self.block.updates += 1;
        self.update_due = false;
        self.table.set_max(max);
        Ok(Some(taken))
    }

    #[inline]
    const fn field_allowed(&self) -> Result<(), Error> {
        if self.update_due {
            Err(Error::SizeUpdate)
        } else {
            Ok(())
        }
    }
}

impl Progress {
    /// Counts a line of `octets`, and says whether it is within the bounds.
    #[inline]
    fn admit(&mut self, octets: usize) -> bool {
        self.lines = self.lines.saturating_add(1);
        self.list_size = self.list_size.saturating_add(octets + OVERHEAD);
        if self.list_size > self.bounds.list_size {
            self.excess.get_or_insert(Excess::ListSize);
        } else if self.lines > self.bounds.lines {
            self.excess.get_or_insert(Excess::Lines);
        }
        self.excess.is_none()
    }
}

/// The entry at `index` of the combined address space (section 2.3.3).
#[inline]
fn lookup(table: &Table<Traits>, index: u32) -> Result<Entry<'_, Traits>, Error> {
    let entry = match index.checked_sub(STATIC_LEN + 1) {
        None => table::static_entry(index),
        Some(distance) => table.get(distance as usize),
    };
    entry.ok_or(Error::Index)
}

/// A string literal (section 5.2) and the octets it takes, length included; `None` if not all is
/// there.
#[inline]
fn string(input: Option<&[u8]>) -> Result<Option<(Literal<'_>, usize)>, Error> {
    let input = input.unwrap_or_default();
    let Some((length, start)) = integer::decode(input, 7)? else {
        return Ok(None);
    };
    let end = start.saturating_add(length as usize);
    let huffman = input.first().is_some_and(|first| first & 0x80 != 0);
    Ok(input
        .get(start..end)
        .map(|octets| (Literal { octets, huffman }, end)))
}

#[inline]
fn line(start: usize, name_len: usize, len: usize, traits: Traits) -> Line {
    // Within 32 bits: a block's octets are bounded by its list size.
    let span = |offset: usize, len: usize| Span {
        offset: offset as u32,
        len: len as u32,
    };
    Line {
        name: span(start, name_len),
        value: span(start + name_len, len - name_len),
        traits,
    }
}

#[cfg(test)]
mod tests;
