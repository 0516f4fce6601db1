//! Header fields: one buffer with spans into it, an index of well-known names, and the one policy
//! on names, values and authorities that HTTP/1.1 and HTTP/2 share. Knows no carrier.

mod authority;
mod block;
mod known;
mod syntax;

pub use authority::{check_authority, check_host, same_authority};
pub use block::{Field, HeaderBlock, Span};
pub use known::Known;
pub use syntax::{forbidden_in_trailers, parse_content_length, tokens, valid_name, valid_value};
pub(crate) use syntax::{has_token, is_token_byte, mimics_framing, trim_ows};
