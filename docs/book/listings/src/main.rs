//! Draws the pictures of the book into its sources: `cargo run -p cc-book`.

use std::{error::Error, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = cc_book::directory();
    fs::create_dir_all(&directory)?;
    for picture in cc_book::all()? {
        fs::write(directory.join(picture.name), picture.svg)?;
    }
    Ok(())
}
