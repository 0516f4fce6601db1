//! The work that is measured: every parser as a function that is called over and over.

pub mod head;
pub mod hpack;
pub mod llhttp;
