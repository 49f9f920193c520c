//! The screen as a picture for the documents, from what is drawn in a test: `docs/chat.svg`.

use std::{fmt::Write as _, path::Path};

use ratatui::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};
use unicode_width::UnicodeWidthStr as _;

use super::ui::tests::{conversation, drawn};

/// Of one cell, in pixels.
const WIDTH: usize = 9;
const HEIGHT: usize = 19;
const MARGIN: usize = 12;

/// `CASCADE_WRITE_PICTURES=1 cargo test -p cc-cli --bin cascade picture` writes it anew.
#[test]
fn the_picture_is_that_of_the_program() {
    let svg = svg(&drawn(&mut conversation(), 100, 18));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/chat.svg");
    if std::env::var_os("CASCADE_WRITE_PICTURES").is_some() {
        std::fs::write(&path, &svg).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == svg, "draw docs/chat.svg anew");
}

fn svg(buffer: &Buffer) -> String {
    let (columns, rows) = (usize::from(buffer.area.width), usize::from(buffer.area.height));
    let (width, height) = (columns * WIDTH + 2 * MARGIN, rows * HEIGHT + 2 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"15\">\n\
         <title>cascade chat</title>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1b1e24\"/>\n"
    );
    for (row, cells) in buffer.content().chunks(columns).enumerate() {
        let mut column = 0;
        while let Some(first) = cells.get(column) {
            // Cells that look the same are one text.
            let (mut text, start) = (String::new(), column);
            while let Some(cell) = cells.get(column).filter(|cell| look(cell) == look(first)) {
                text.push_str(cell.symbol());
                column += cell.symbol().width().max(1);
            }
            run(&mut svg, &text, look(first), (start, row, column - start));
        }
    }
    svg + "</svg>\n"
}

/// The colour, and whether it is on its reverse, and heavy.
fn look(cell: &Cell) -> (&'static str, bool, bool) {
    let colour = match cell.fg {
        Color::DarkGray => "#7d8590",
        Color::Green => "#7ee787",
        Color::Red => "#ff7b72",
        Color::Cyan => "#79c0ff",
        Color::Yellow => "#e3b341",
        Color::Magenta => "#d2a8ff",
        _ => "#e6edf3",
    };
    let has = |modifier| cell.modifier.contains(modifier);
    (colour, has(Modifier::REVERSED), has(Modifier::BOLD))
}

fn run(
    svg: &mut String,
    text: &str,
    (colour, reversed, bold): (&str, bool, bool),
    (column, row, columns): (usize, usize, usize),
) {
    let (x, y) = (MARGIN + column * WIDTH, MARGIN + row * HEIGHT);
    let (length, base) = (columns * WIDTH, y + HEIGHT - 5);
    if reversed {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{length}\" height=\"{HEIGHT}\" fill=\"{colour}\"/>"
        );
    }
    if text.trim().is_empty() {
        return;
    }
    let fill = if reversed { "#1b1e24" } else { colour };
    let weight = if bold { " font-weight=\"bold\"" } else { "" };
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{base}\" textLength=\"{length}\" lengthAdjust=\"spacingAndGlyphs\" \
         xml:space=\"preserve\" fill=\"{fill}\"{weight}>{text}</text>"
    );
}
