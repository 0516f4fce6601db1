//! The protocols of Ferrule, sans-I/O: bytes in, events out; decisions in, bytes out.
//!
//! This crate knows HTTP. It must never know sockets, clocks, threads or Python: everything here
//! is a pure function of the bytes it was given, which is what lets the fuzzers live on it alone.

#![deny(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")
)]

pub mod error;
pub mod fields;
pub mod h1;
pub mod h2;
pub mod hpack;
pub mod limits;
pub mod request;
mod scan;

pub use error::{Error, ErrorKind};
pub use fields::{Field, HeaderBlock, Known, Span};
pub use limits::Limits;
pub use request::{BodyLength, Method, Request, Version};

/// What `fuzz/` needs to see of the inside. No part of the interface.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::h1::levels_agree;
}
