//! The book in `docs/book`: its code blocks are the doc tests of this crate, and its pictures are drawn here.
//! `cargo xtask book` draws and builds it.

mod layers;
mod pictures;
mod tap;
mod trees;

pub use pictures::{Picture, all, directory};

/// A chapter, whose code blocks rustdoc compiles and runs.
macro_rules! chapter {
    ($name:ident) => {
        #[cfg(doctest)]
        #[doc = include_str!(concat!("../../src/", stringify!($name), ".md"))]
        mod $name {}
    };
}

chapter!(introduction);
chapter!(locks);
chapter!(aes);
chapter!(dh);
chapter!(signal);
chapter!(tree);
chapter!(groups);
chapter!(groups_manager);
chapter!(groups_claims);
chapter!(cascade);
chapter!(store);
chapter!(chat);
chapter!(program);
