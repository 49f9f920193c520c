//! Criterion benchmarks of Cascading Cipher and its peers.
