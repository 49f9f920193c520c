//! The MLS layer beside mls-rs.
#![allow(missing_docs, reason = "a benchmark")]
fn main() {}
