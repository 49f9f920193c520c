//! Diffie-Hellman layer for Cascading Cipher: X25519 and P-256, pairwise and for groups.
