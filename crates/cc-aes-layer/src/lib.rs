//! AES-GCM layer for Cascading Cipher: raw, password and inherited keys, and STREAM for large data.
