//! The MLS layer with another library, in `tests`. A package of its own, because that library takes longer to build than
//! the tests of the layer: `cargo xtask ci` builds it, `cargo test` alone does not.
