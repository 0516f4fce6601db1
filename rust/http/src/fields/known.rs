//! The index of well-known field names: a name of any case to a small number, by a perfect hash.
//! Knows spellings only, never what a field means.

use crate::scan::{self, Block, Level};

macro_rules! known {
    ($($variant:ident = $name:literal,)*) => {
        /// The commonest request and response field names. `Other` is every other name.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Known { #[default] Other, $($variant,)* }

        const ALL: [Known; Known::COUNT] = [Known::Other, $(Known::$variant,)*];
        const NAMES: [&str; Known::COUNT] = ["", $($name,)*];
    };
}

known! {
    // Framing, routing and connection control come first.
    Host = "host",
    ContentLength = "content-length",
    TransferEncoding = "transfer-encoding",
    Connection = "connection",
    ContentType = "content-type",
    Expect = "expect",
    Upgrade = "upgrade",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    Te = "te",
    Trailer = "trailer",
    Http2Settings = "http2-settings",
    // What browsers and clients send.
    Accept = "accept",
    AcceptCharset = "accept-charset",
    AcceptEncoding = "accept-encoding",
    AcceptLanguage = "accept-language",
    Authorization = "authorization",
    ProxyAuthorization = "proxy-authorization",
    Cookie = "cookie",
    UserAgent = "user-agent",
    Referer = "referer",
    Origin = "origin",
    CacheControl = "cache-control",
    Pragma = "pragma",
    Range = "range",
    IfMatch = "if-match",
    IfNoneMatch = "if-none-match",
    IfModifiedSince = "if-modified-since",
    IfUnmodifiedSince = "if-unmodified-since",
    IfRange = "if-range",
    Dnt = "dnt",
    UpgradeInsecureRequests = "upgrade-insecure-requests",
    Priority = "priority",
    ContentEncoding = "content-encoding",
    SecFetchDest = "sec-fetch-dest",
    SecFetchMode = "sec-fetch-mode",
    SecFetchSite = "sec-fetch-site",
    SecFetchUser = "sec-fetch-user",
    SecChUa = "sec-ch-ua",
    SecChUaMobile = "sec-ch-ua-mobile",
    SecChUaPlatform = "sec-ch-ua-platform",
    AccessControlRequestMethod = "access-control-request-method",
    AccessControlRequestHeaders = "access-control-request-headers",
    // The WebSocket handshake.
    SecWebSocketKey = "sec-websocket-key",
    SecWebSocketVersion = "sec-websocket-version",
    SecWebSocketProtocol = "sec-websocket-protocol",
    SecWebSocketExtensions = "sec-websocket-extensions",
    // What proxies add.
    Forwarded = "forwarded",
    XForwardedFor = "x-forwarded-for",
    XForwardedProto = "x-forwarded-proto",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    XRealIp = "x-real-ip",
    XRequestId = "x-request-id",
    XRequestedWith = "x-requested-with",
    Via = "via",
    Traceparent = "traceparent",
    // What applications answer with.
    Date = "date",
    Server = "server",
    SetCookie = "set-cookie",
    Location = "location",
    Etag = "etag",
    ServerLogAccess = "server-log-access",
}

impl Known {
    /// How many there are, `Other` included: 64, so that a set of them is one `u64`.
    pub const COUNT: usize = 64;

    /// The known name that `name` spells in any case, else `Other`.
    #[inline]
    pub fn lookup(name: &[u8]) -> Known {
        let (Some(first), Some(last)) = (name.first(), name.last()) else {
            return Known::Other;
        };
        let fourth_last = name.get(name.len().saturating_sub(4)).unwrap_or(first);
        let candidate = SLOTS[slot(name.len(), *first, *fourth_last, *last)];
        if SPELLINGS[candidate as usize].is(name) {
            candidate
        } else {
            Known::Other
        }
    }

    /// The known name in front of a field line, which `block` (loaded: `bytes`) begins with.
    /// `colons` has a bit for each colon of the block, and at least one; the first is at `colon`.
    #[inline(always)]
    pub(crate) fn in_block<L: Level>(
        level: L,
        block: &Block,
        bytes: L::Bytes,
        colons: u32,
        colon: usize,
    ) -> Known {
        // The masks change nothing for colons from 1 to 31, and keep 0 within the block.
        let fourth_last = block[colon.saturating_sub(4) & 31];
        let candidate = SLOTS[slot(
            colon,
            block[0],
            fourth_last,
            block[colon.wrapping_sub(1) & 31],
        )];
        let Spelling { lower, letters } = &SPELLINGS[candidate as usize];
        // The colon is part of the spelling: so the name is neither longer nor shorter.
        let compared = colons ^ colons.wrapping_sub(1);
        if scan::unlike(level, bytes, lower, letters) & compared == 0 {
            candidate
        } else {
            Known::Other
        }
    }

    /// The lower-case name, `""` for `Other`.
    #[inline]
    pub fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// The inverse of `known as u8`; `Other` for numbers that are none.
    #[inline]
    pub fn from_index(index: u8) -> Known {
        ALL.get(usize::from(index)).copied().unwrap_or(Known::Other)
    }

    /// This name as a bit of a set. `Other` has bit 0.
    #[inline]
    pub(crate) fn bit(self) -> u64 {
        1 << (self as u8)
    }
}

/// A name followed by a colon, and 0x20 wherever it has a letter.
struct Spelling {
    lower: Block,
    letters: Block,
}

impl Spelling {
    /// Whether `name` is this one, in any case. Names of four bytes and more are compared a word
    /// at a time, in words that overlap.
    #[inline]
    fn is(&self, name: &[u8]) -> bool {
        let n = name.len();
        if self.lower.get(n) != Some(&b':') {
            return false;
        }
        let at = |i: usize| {
            name.get(i)
                .is_some_and(|byte| (byte ^ self.lower[i & 31]) & !self.letters[i & 31] == 0)
        };
        match n {
            0..4 => (0..n).all(at),
            4..8 => self.same4(name, 0) & self.same4(name, n - 4),
            8..16 => self.same8(name, 0) & self.same8(name, n - 8),
            _ => {
                let front = self.same8(name, 0) & self.same8(name, 8);
                front & self.same8(name, n - 16) & self.same8(name, n - 8)
            }
        }
    }

    #[inline(always)]
    fn same4(&self, name: &[u8], at: usize) -> bool {
        let word = |bytes: &[u8]| {
            bytes
                .get(at..)?
                .first_chunk()
                .map(|word| u32::from_le_bytes(*word))
        };
        match (word(name), word(&self.lower), word(&self.letters)) {
            (Some(name), Some(lower), Some(letters)) => (name ^ lower) & !letters == 0,
            _ => false,
        }
    }

    #[inline(always)]
    fn same8(&self, name: &[u8], at: usize) -> bool {
        let word = |bytes: &[u8]| {
            bytes
                .get(at..)?
                .first_chunk()
                .map(|word| u64::from_le_bytes(*word))
        };
        match (word(name), word(&self.lower), word(&self.letters)) {
            (Some(name), Some(lower), Some(letters)) => (name ^ lower) & !letters == 0,
            _ => false,
        }
    }
}

/// That of `Other` matches no line: it has no colon.
static SPELLINGS: [Spelling; Known::COUNT] = {
    let mut spellings = [const {
        Spelling {
            lower: [0; 32],
            letters: [0; 32],
        }
    }; Known::COUNT];
    let mut i = 1;
    while i < Known::COUNT {
        let name = NAMES[i].as_bytes();
        let mut at = 0;
        while at < name.len() {
            spellings[i].lower[at] = name[at];
            if name[at].is_ascii_lowercase() {
                spellings[i].letters[at] = 0x20;
            }
            at += 1;
        }
        spellings[i].lower[at] = b':';
        i += 1;
    }
    spellings
};

/// Found by trying: no two known names share a slot (checked at compile time below).
const MULTIPLIER: u32 = 0x0419_12bd;
const SLOT_BITS: u32 = 8;

/// Length, first, fourth-last and last letter tell all known names apart. Setting bit 5 folds case
/// (and folds some other bytes together, which the comparison afterwards tells apart again).
#[inline(always)]
const fn slot(length: usize, first: u8, fourth_last: u8, last: u8) -> usize {
    let key = u32::from_le_bytes([length as u8, first, last, fourth_last]) | 0x2020_2000;
    (key.wrapping_mul(MULTIPLIER) >> (32 - SLOT_BITS)) as usize
}

static SLOTS: [Known; 1 << SLOT_BITS] = {
    let mut slots = [Known::Other; 1 << SLOT_BITS];
    let mut i = 1;
    while i < Known::COUNT {
        let name = NAMES[i].as_bytes();
        let at = slot(
            name.len(),
            name[0],
            name[name.len().saturating_sub(4)],
            name[name.len() - 1],
        );
        assert!(
            matches!(slots[at], Known::Other),
            "two known names share a slot: find another MULTIPLIER"
        );
        slots[at] = ALL[i];
        i += 1;
    }
    slots
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case() {
        for (i, known) in ALL.iter().enumerate().skip(1) {
            let name = known.name();
            assert_eq!(Known::lookup(name.as_bytes()), *known);
            assert_eq!(Known::lookup(name.to_ascii_uppercase().as_bytes()), *known);
            assert_eq!(Known::from_index(i as u8), *known);
            assert_eq!(*known as usize, i);
        }
    }

    #[test]
    fn a_name_that_differs_in_one_byte_is_another_name() {
        for known in &ALL[1..] {
            for at in 0..known.name().len() {
                for byte in 0..=255u8 {
                    let mut name = known.name().as_bytes().to_vec();
                    name[at] = byte;
                    let same = name.eq_ignore_ascii_case(known.name().as_bytes());
                    assert_eq!(Known::lookup(&name) == *known, same, "{name:?}");
                }
            }
            let longer = [known.name().as_bytes(), b"x"].concat();
            assert_ne!(Known::lookup(&longer), *known);
            assert_ne!(Known::lookup(&longer[1..]), *known);
        }
    }

    #[test]
    fn the_empty_name_and_unknown_numbers_are_other() {
        assert_eq!(Known::lookup(b""), Known::Other);
        assert_eq!(Known::from_index(Known::COUNT as u8), Known::Other);
        assert_eq!(Known::from_index(255), Known::Other);
    }
}
