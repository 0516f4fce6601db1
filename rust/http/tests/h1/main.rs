//! The wire rules of HTTP/1.1, one table per room. Every row of a request table runs whole, byte
//! by byte, split at every byte, and with trailing bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod chunked;
mod connection;
mod fields;
mod framing;
mod limits;
mod properties;
mod request_line;
mod response_heads;
