//! The static table and the dynamic one (RFC 7541 sections 2.3 and 4, appendix A).
//!
//! A dynamic table is a ring of small entries over one buffer of octets, name and value side by
//! side, so that a line leaves it in one copy. Its memory never exceeds twice the table size by
//! more than a stride.

use std::collections::VecDeque;
use std::sync::LazyLock;

use super::line::Traits;

/// What an entry costs beside its octets (RFC 7541 section 4.1), in tables and in list sizes.
pub const OVERHEAD: usize = 32;

/// Entries of the static table; the dynamic one is addressed behind them.
pub const STATIC_LEN: u32 = STATIC.len() as u32;

/// Octets that are there behind the beginning of every entry, its own or not, so that a short one
/// can be copied without looking how short it is.
const STRIDE: usize = 64;

/// An entry seen from outside: octets of name and value together, and where the name ends.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a, T> {
    pub pair: &'a [u8],
    pub name_len: usize,
    pub note: T,
    stride: &'a [u8; STRIDE],
}

impl<T> Entry<'_, T> {
    /// Appends name and value to `dst`.
    #[inline]
    pub fn append_pair(&self, dst: &mut Vec<u8>) {
        append(dst, self.pair, self.stride);
    }

    #[inline]
    pub fn append_name(&self, dst: &mut Vec<u8>) {
        append(dst, self.name(), self.stride);
    }

    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.pair.get(..self.name_len).unwrap_or_default()
    }

    #[must_use]
    pub fn value(&self) -> &[u8] {
        self.pair.get(self.name_len..).unwrap_or_default()
    }
}

/// Appends `octets`, with which `stride` begins as far as it goes.
#[inline]
fn append(dst: &mut Vec<u8>, octets: &[u8], stride: &[u8; STRIDE]) {
    if octets.len() > STRIDE {
        return dst.extend_from_slice(octets);
    }
    let end = dst.len() + octets.len();
    dst.extend_from_slice(stride);
    dst.truncate(end);
}

#[derive(Clone, Copy, Debug)]
struct Slot<T> {
    offset: usize,
    len: usize,
    name_len: usize,
    note: T,
}

/// A dynamic table whose entries carry a note of type `T` for their owner.
#[derive(Debug)]
pub struct Table<T> {
    /// Oldest first.
    slots: VecDeque<Slot<T>>,
    /// Octets of the live entries, oldest first, behind those of evicted ones, and a stride of
    /// zeros at the end.
    octets: Vec<u8>,
    /// Size as RFC 7541 section 4.1 counts it.
    size: usize,
    max: usize,
    /// Entries ever inserted, modulo 2^32: the newest entry's ordinal.
    inserted: u32,
}

impl<T: Copy> Table<T> {
    #[must_use]
    pub const fn new(max: u32) -> Self {
        Self {
            slots: VecDeque::new(),
            octets: Vec::new(),
            size: 0,
            max: max as usize,
            inserted: 0,
        }
    }

    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Changes the maximum size, evicting what no longer fits (RFC 7541 section 4.3).
    pub fn set_max(&mut self, max: u32) {
        self.max = max as usize;
        self.evict(self.max);
    }

    /// The entry at a zero-based distance from the newest one.
    #[must_use]
    #[inline]
    pub fn get(&self, distance: usize) -> Option<Entry<'_, T>> {
        let slot = self
            .slots
            .get(self.slots.len().checked_sub(distance + 1)?)?;
        let stored = self.octets.get(slot.offset..)?;
        Some(Entry {
            pair: stored.get(..slot.len)?,
            name_len: slot.name_len,
            note: slot.note,
            stride: stored.first_chunk()?,
        })
    }

    /// Distance from the newest entry of the one that had `ordinal` when it was inserted; `None`
    /// once it was evicted.
    #[must_use]
    #[inline]
    pub fn distance(&self, ordinal: u32) -> Option<usize> {
        let distance = self.inserted.wrapping_sub(ordinal) as usize;
        (distance < self.slots.len()).then_some(distance)
    }

    /// Adds an entry and returns its ordinal. One larger than the whole table empties the table
    /// and is not added (RFC 7541 section 4.4): `None`.
    pub fn insert(&mut self, pair: &[u8], name_len: usize, note: T) -> Option<u32> {
        let cost = pair.len().saturating_add(OVERHEAD);
        if cost > self.max {
            self.evict(0);
            return None;
        }
        self.evict(self.max - cost);
        if self.used() + pair.len() > 2 * self.max {
            self.compact();
        }
        let slot = Slot {
            offset: self.used(),
            len: pair.len(),
            name_len,
            note,
        };
        self.octets.truncate(slot.offset);
        self.octets.extend_from_slice(pair);
        self.octets.extend_from_slice(&[0; STRIDE]);
        self.slots.push_back(slot);
        self.size += cost;
        self.inserted = self.inserted.wrapping_add(1);
        Some(self.inserted)
    }

    /// Octets without the stride behind them.
    #[inline]
    fn used(&self) -> usize {
        self.octets.len().saturating_sub(STRIDE)
    }

    #[inline]
    fn evict(&mut self, size: usize) {
        while self.size > size
            && let Some(slot) = self.slots.pop_front()
        {
            self.size -= slot.len + OVERHEAD;
        }
        if self.slots.is_empty() {
            self.octets.clear();
        }
    }

    /// Moves the live octets to the front. Called once per table size of insertions at most.
    fn compact(&mut self) {
        let dead = self
            .slots
            .front()
            .map_or(self.used(), |oldest| oldest.offset);
        self.octets.drain(..dead);
        for slot in &mut self.slots {
            slot.offset -= dead;
        }
    }
}

/// A static entry; `index` counts from one (RFC 7541 section 2.3.1).
#[must_use]
#[inline]
pub fn static_entry(index: u32) -> Option<Entry<'static, Traits>> {
    let at = (index as usize).checked_sub(1)?;
    let &(pair, name_len) = STATIC.get(at)?;
    let (note, stride) = STATIC_ENTRIES.get(at)?;
    Some(Entry {
        pair,
        name_len,
        note: *note,
        stride,
    })
}

/// What does not come out of the macro.
static STATIC_ENTRIES: LazyLock<Vec<(Traits, [u8; STRIDE])>> = LazyLock::new(|| {
    STATIC
        .iter()
        .map(|&(pair, name_len)| {
            let (name, value) = pair.split_at(name_len);
            let mut stride = [0; STRIDE];
            for (place, octet) in stride.iter_mut().zip(pair) {
                *place = *octet;
            }
            (Traits::of(name, value), stride)
        })
        .collect()
});

macro_rules! static_table {
    ($($name:literal $(= $value:literal)?;)*) => {
        /// RFC 7541 appendix A: name and value side by side, and the length of the name.
        pub(super) static STATIC: [(&[u8], usize); 61] =
            [$((concat!($name $(, $value)?).as_bytes(), $name.len())),*];
    };
}

static_table! {
    ":authority";
    ":method" = "GET";
    ":method" = "POST";
    ":path" = "/";
    ":path" = "/index.html";
    ":scheme" = "http";
    ":scheme" = "https";
    ":status" = "200";
    ":status" = "204";
    ":status" = "206";
    ":status" = "304";
    ":status" = "400";
    ":status" = "404";
    ":status" = "500";
    "accept-charset";
    "accept-encoding" = "gzip, deflate";
    "accept-language";
    "accept-ranges";
    "accept";
    "access-control-allow-origin";
    "age";
    "allow";
    "authorization";
    "cache-control";
    "content-disposition";
    "content-encoding";
    "content-language";
    "content-length";
    "content-location";
    "content-range";
    "content-type";
    "cookie";
    "date";
    "etag";
    "expect";
    "expires";
    "from";
    "host";
    "if-match";
    "if-modified-since";
    "if-none-match";
    "if-range";
    "if-unmodified-since";
    "last-modified";
    "link";
    "location";
    "max-forwards";
    "proxy-authenticate";
    "proxy-authorization";
    "range";
    "referer";
    "refresh";
    "retry-after";
    "server";
    "set-cookie";
    "strict-transport-security";
    "transfer-encoding";
    "user-agent";
    "vary";
    "via";
    "www-authenticate";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &mut Table<u8>, name: &str, value: &str, note: u8) -> Option<u32> {
        table.insert(format!("{name}{value}").as_bytes(), name.len(), note)
    }

    #[test]
    fn newest_entry_comes_first_and_the_oldest_is_evicted() {
        let mut table = Table::new(110);
        insert(&mut table, "aa", "11", 1);
        insert(&mut table, "bb", "22", 2);
        insert(&mut table, "cc", "33", 3);
        assert_eq!((table.len(), table.size()), (3, 108));
        insert(&mut table, "dd", "44", 4);
        let notes: Vec<_> = (0..)
            .map_while(|at| table.get(at))
            .map(|entry| entry.note)
            .collect();
        assert_eq!(notes, [4, 3, 2]);
        let newest = table.get(0).unwrap();
        assert_eq!((newest.name(), newest.value()), (&b"dd"[..], &b"44"[..]));
        table.set_max(40);
        assert_eq!((table.len(), table.size()), (1, 36));
        table.set_max(0);
        assert!(table.is_empty() && table.size() == 0);
    }

    #[test]
    fn an_entry_larger_than_the_table_empties_it() {
        let mut table = Table::new(64);
        insert(&mut table, "a", "1", 0);
        assert_eq!(insert(&mut table, "name", &"v".repeat(29), 0), None);
        assert!(table.is_empty() && table.size() == 0);
        assert!(insert(&mut table, "name", &"v".repeat(28), 0).is_some());
    }

    #[test]
    fn ordinals_find_live_entries_only() {
        let mut table = Table::new(72);
        let one = insert(&mut table, "aa", "11", 0).unwrap();
        let two = insert(&mut table, "bb", "22", 0).unwrap();
        assert_eq!(
            (table.distance(one), table.distance(two)),
            (Some(1), Some(0))
        );
        let three = insert(&mut table, "cc", "33", 0).unwrap();
        assert_eq!((table.distance(one), table.distance(two)), (None, Some(1)));
        assert_eq!(table.distance(three.wrapping_add(1)), None);
    }

    #[test]
    fn memory_stays_bounded_under_endless_insertion() {
        let mut table = Table::new(4096);
        for round in 0..10_000_u32 {
            let value = "v".repeat((round % 977) as usize);
            insert(&mut table, "name", &value, 0);
            assert_eq!(table.get(0).unwrap().value(), value.as_bytes());
            assert!(table.size() <= 4096);
            assert!(table.used() <= 2 * 4096 && table.slots.capacity() <= 256);
        }
    }

    #[test]
    fn static_table_has_its_landmarks() {
        let entry = |index| {
            static_entry(index).map(|entry| (entry.name().to_vec(), entry.value().to_vec()))
        };
        let pair = |name: &str, value: &str| Some((name.into(), value.into()));
        assert_eq!(entry(0), None);
        assert_eq!(entry(1), pair(":authority", ""));
        assert_eq!(entry(2), pair(":method", "GET"));
        assert_eq!(entry(16), pair("accept-encoding", "gzip, deflate"));
        assert_eq!(entry(38), pair("host", ""));
        assert_eq!(entry(61), pair("www-authenticate", ""));
        assert_eq!(entry(62), None);
    }
}
