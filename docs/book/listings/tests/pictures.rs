//! The pictures that are checked in are those that the program draws.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs};

#[test]
fn the_pictures_are_up_to_date() {
    let pictures = cc_book::all().unwrap();
    for picture in &pictures {
        let checked_in = fs::read_to_string(cc_book::directory().join(picture.name)).unwrap();
        assert!(checked_in == picture.svg, "{}: run `cargo xtask book`", picture.name);
    }
    let drawn: BTreeSet<_> = pictures.iter().map(|picture| picture.name.to_owned()).collect();
    let files = fs::read_dir(cc_book::directory()).unwrap();
    let files: BTreeSet<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, drawn, "pictures that nothing draws");
}

/// Keys and ids are random; none of them may show.
#[test]
fn drawing_again_gives_the_same() {
    assert_eq!(cc_book::all().unwrap(), cc_book::all().unwrap());
}
