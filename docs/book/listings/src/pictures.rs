//! All pictures. Nothing random shows in them, so that drawing them again gives the same bytes.

use std::{error::Error, path::PathBuf};

use crate::{layers, trees};

/// A picture of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The name of its file.
    pub name: &'static str,
    /// What is in it.
    pub svg: String,
}

/// Where the pictures are checked in.
#[must_use]
pub fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../src/pictures"))
}

/// Draws all of them, from groups and messages that are made for it.
///
/// # Errors
/// What the layers say, and bytes that are not what the picture shows.
pub fn all() -> Result<Vec<Picture>, Box<dyn Error>> {
    let mut pictures = trees::draw()?;
    pictures.push(Picture { name: "message.svg", svg: layers::draw()? });
    Ok(pictures)
}
