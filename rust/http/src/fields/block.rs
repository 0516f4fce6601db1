//! `HeaderBlock`: the fields of one message as spans into one buffer, no string per field.
//! Knows where fields lie, never what they mean.

use super::Known;

/// Where a piece of a block lies: `offset..offset + len`, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub offset: u32,
    pub len: u32,
}

impl Span {
    /// `start..end`. Callers are bounded by [`crate::Limits::CEILING`], so nothing is cut off.
    #[inline]
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self {
            offset: start as u32,
            len: end.saturating_sub(start) as u32,
        }
    }
}

/// One field line: name as on the wire, value without surrounding white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: Span,
    pub value: Span,
    pub known: Known,
}

/// The fields of a head or trailer section, in wire order. Reusable: `clear` keeps capacity.
#[derive(Clone, Debug, Default)]
pub struct HeaderBlock {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fields: Vec<Field>,
}

impl HeaderBlock {
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the fields and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The `i`-th field: known name, name as on the wire, value.
    pub fn get(&self, i: usize) -> Option<(Known, &[u8], &[u8])> {
        self.fields.get(i).map(|field| self.resolve(field))
    }

    /// All fields, in wire order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Known, &[u8], &[u8])> {
        self.fields.iter().map(|field| self.resolve(field))
    }

    /// The value of the first field of this name. `Known::Other` names no field.
    pub fn first(&self, known: Known) -> Option<&[u8]> {
        if known == Known::Other {
            return None;
        }
        let field = self.fields.iter().find(|field| field.known == known)?;
        Some(self.slice(field.value))
    }

    /// How many fields have this name. `Known::Other` counts all names that are not known.
    pub fn count(&self, known: Known) -> usize {
        self.fields
            .iter()
            .filter(|field| field.known == known)
            .count()
    }

    /// The bytes of a span; empty when it does not lie in this block.
    #[inline]
    pub fn slice(&self, span: Span) -> &[u8] {
        let start = span.offset as usize;
        let end = start.saturating_add(span.len as usize);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// Appends a field; the caller has validated it. A block that would pass 4 GiB takes no more.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        let middle = start.saturating_add(name.len());
        let end = middle.saturating_add(value.len());
        if end > u32::MAX as usize {
            return;
        }
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.fields.push(Field {
            name: Span::new(start, middle),
            value: Span::new(middle, end),
            known: Known::lookup(name),
        });
    }

    /// The buffer that the spans point into.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Bytes of memory held, for pools that drop what grew too large.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity() + self.fields.capacity() * size_of::<Field>()
    }

    #[inline]
    fn resolve(&self, field: &Field) -> (Known, &[u8], &[u8]) {
        (field.known, self.slice(field.name), self.slice(field.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushed_fields_come_back_in_order() {
        let mut block = HeaderBlock::new();
        block.push(b"Host", b"a");
        block.push(b"x-empty", b"");
        block.push(b"host", b"b");
        let fields: Vec<_> = block.iter().collect();
        assert_eq!(
            fields,
            [
                (Known::Host, &b"Host"[..], &b"a"[..]),
                (Known::Other, b"x-empty", b""),
                (Known::Host, b"host", b"b"),
            ]
        );
        assert_eq!(
            block.get(1),
            Some((Known::Other, &b"x-empty"[..], &b""[..]))
        );
        assert_eq!(block.get(3), None);
        assert_eq!(block.first(Known::Host), Some(&b"a"[..]));
        assert_eq!(block.first(Known::Other), None);
        assert_eq!(
            (block.count(Known::Host), block.count(Known::Other)),
            (2, 1)
        );
        assert_eq!((block.len(), block.is_empty()), (3, false));
    }

    #[test]
    fn a_cleared_block_is_empty_and_keeps_its_memory() {
        let mut block = HeaderBlock::new();
        block.push(b"host", b"a");
        let held = block.capacity();
        block.clear();
        assert!(block.is_empty() && block.bytes().is_empty());
        assert_eq!(block.capacity(), held);
    }

    #[test]
    fn a_span_of_another_block_is_empty() {
        let block = HeaderBlock::new();
        assert_eq!(
            block.slice(Span {
                offset: 3,
                len: u32::MAX
            }),
            b""
        );
    }
}
