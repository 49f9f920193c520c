//! MLS (RFC 9420) layer for Cascading Cipher, wrapping openmls.
