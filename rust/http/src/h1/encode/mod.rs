//! The response side of HTTP/1.1: what the application gave becomes bytes. Knows heads and body
//! framing, never sockets or clocks (the caller says what time it is).

mod body;
mod defaults;
mod head;
mod reason;
mod simple;

pub use body::BodyWriter;
pub use defaults::Defaults;
pub use head::{HeadOptions, ResponseHead};
pub use reason::reason_phrase;
pub use simple::{encode_continue, encode_interim, encode_simple, simple_answer};

use std::fmt;

/// What is wrong with a response that the application made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseError {
    /// Not a final status, 200 to 999.
    BadStatus,
    /// A reason phrase with a control byte.
    BadReason,
    /// A field name that is not a token.
    BadName,
    /// A field value with CR, LF, NUL or another control byte.
    BadValue,
    /// A Content-Length that is not digits within 64 bits.
    BadContentLength,
    /// More than one Content-Length.
    DuplicateContentLength,
    /// More body than Content-Length announced.
    TooMuchBody,
    /// Less body than Content-Length announced.
    TooLittleBody,
    /// A trailer field that frames, routes or authenticates.
    ForbiddenTrailer,
}

impl ResponseError {
    /// One short line for the log.
    pub fn message(self) -> &'static str {
        match self {
            Self::BadStatus => "response status is not between 200 and 999",
            Self::BadReason => "control byte in the reason phrase of the response",
            Self::BadName => "response field name is not a token",
            Self::BadValue => "control byte in a response field value",
            Self::BadContentLength => "malformed Content-Length in the response",
            Self::DuplicateContentLength => "more than one Content-Length in the response",
            Self::TooMuchBody => "response body longer than its Content-Length",
            Self::TooLittleBody => "response body shorter than its Content-Length",
            Self::ForbiddenTrailer => {
                "response trailer is not allowed to frame, route or authenticate"
            }
        }
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for ResponseError {}

/// A field as the encoder lays it out: `name: value CRLF`.
fn append_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a decimal number.
fn append_decimal(out: &mut Vec<u8>, mut number: u64) {
    // u64::MAX has 20 digits.
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}
