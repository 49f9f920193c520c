//! CascadingCipherManager: builds, drives and reports on a stack of encryption layers.
