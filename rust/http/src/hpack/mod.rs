//! HPACK, the header compression of HTTP/2 (RFC 7541): header blocks in, [`HeaderBlock`] lines
//! out, and the way back.
//!
//! This room knows octets, tables and limits. It must never know streams, frames or what a
//! response to a bad block looks like: it says [`Error`] or [`Excess`], and `h2` decides.
//!
//! [`HeaderBlock`]: crate::fields::HeaderBlock

pub mod decoder;
pub mod encoder;
pub mod huffman;
pub mod integer;
pub mod line;
pub mod table;

use std::fmt;

pub use decoder::{Bounds, Decoder, Excess, Sink};
pub use encoder::Encoder;
pub use line::{Line, Name, Pseudo, Traits};

/// Why a header block cannot be decoded. Every one of them leaves the two dynamic tables out of
/// step, so the connection cannot go on (RFC 9113 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// An integer above 32 bits, or of more octets than those need (RFC 7541 section 5.1).
    Integer,
    /// Index 0, or one beyond the static and dynamic tables (RFC 7541 section 2.3.3).
    Index,
    /// A Huffman string with EOS inside, or with padding that is not a short run of ones
    /// (RFC 7541 section 5.2).
    Huffman,
    /// A dynamic table size update above the limit, after a field line, a third one in a block,
    /// or none where a lowered limit demands one (RFC 7541 section 4.2).
    SizeUpdate,
    /// The block ended inside a field line.
    Truncated,
    /// More octets on the wire than any block within the list-size limit can need.
    TooLong,
}

impl Error {
    /// One short line for the log and for GOAWAY debug data.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Integer => "HPACK integer overflow",
            Self::Index => "HPACK index outside the tables",
            Self::Huffman => "bad HPACK Huffman string",
            Self::SizeUpdate => "bad HPACK table size update",
            Self::Truncated => "header block ends inside a field",
            Self::TooLong => "header block too long",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.message())
    }
}

impl std::error::Error for Error {}
