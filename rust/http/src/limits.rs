//! Every numeric limit of the protocols, in one struct. Knows numbers only, never what is counted.

/// Bounds on what a peer may send. For the operator-facing limits 0 means "off"; a head is even
/// then bounded by [`Limits::CEILING`], because its spans are 32 bits wide.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of the request line, without its CRLF. Beyond: 414.
    pub request_line: usize,
    /// Field lines in a head, and again in a trailer section. Beyond: 431.
    pub fields: usize,
    /// Bytes of one field line, with its CRLF. Beyond: 431.
    pub field_size: usize,
    /// Bytes of a whole head, from the request line to the empty line, and again of a trailer
    /// section. Beyond: 431.
    pub head: usize,
    /// Bytes of a request body after removal of the chunked coding. Beyond: 413.
    pub body: u64,
    /// Bytes of one chunk-size line, extensions included, without its CRLF. Beyond: 400.
    pub chunk_line: usize,
    /// Bytes of chunk extensions in one body, all chunks together. Beyond: 400.
    pub chunk_extensions: usize,
}

impl Limits {
    /// The most bytes and field lines that a head may have when the operator turned a limit off:
    /// far more than any head, and small enough for 32-bit spans to never overflow.
    pub const CEILING: usize = 1 << 30;
    /// As [`Limits::CEILING`], for the number of field lines (indexed with 16 bits).
    pub const FIELDS_CEILING: usize = u16::MAX as usize;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // What nginx, Apache and gunicorn users have tuned their URLs and cookies to.
            request_line: 8190,
            fields: 100,
            field_size: 8190,
            // Eight of the largest fields; no browser or proxy comes near.
            head: 65536,
            body: 0,
            // Nobody uses chunk extensions but signers, whose lines are under 100 bytes.
            chunk_line: 1024,
            // Extensions are paid for in CPU and never seen by the application: one-byte chunks
            // with a long extension each would be a free amplifier (CVE-2024-21647).
            chunk_extensions: 16 * 1024,
        }
    }
}

/// The effective value of a limit for which 0 means "off".
pub(crate) fn or_ceiling(limit: usize, ceiling: usize) -> usize {
    if limit == 0 {
        ceiling
    } else {
        limit.min(ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::or_ceiling;

    #[test]
    fn zero_turns_a_limit_off_but_never_past_the_ceiling() {
        assert_eq!(or_ceiling(0, 100), 100);
        assert_eq!(or_ceiling(7, 100), 7);
        assert_eq!(or_ceiling(700, 100), 100);
    }
}
