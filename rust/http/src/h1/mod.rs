//! HTTP/1.1 (RFC 9112): requests in, responses out. Knows bytes of one connection, never sockets.

mod chunked;
mod connection;
pub mod encode;
mod framing;
mod head;
mod semantics;
mod target;

pub use connection::{Connection, Event, State, Step};
#[cfg(feature = "fuzzing")]
pub use head::levels_agree;
