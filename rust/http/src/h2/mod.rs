//! HTTP/2 (RFC 9113): frames, streams and one connection's conversation. Knows bytes, never
//! sockets or clocks.

pub mod connection;
pub mod error;
pub mod flow;
pub mod frame;
pub mod guard;
pub mod priority;
mod request;
mod settings;
pub mod stream;
mod streams;

pub use connection::{Connection, Event, PREFACE, SendError, Waits};
pub use error::{Code, ConnectionError, Fault};
pub use settings::Settings;
