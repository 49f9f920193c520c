//! The page: a table for each of the sections' tables, with ratios, and a plot where one is asked for.

use super::{
    figures::{Figure, Figures, Table},
    plot,
    sections::{Section, TableOf},
};

pub(super) fn markdown(sections: &[&Section], figures: &Figures, machine: &str) -> String {
    let mut page = format!(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench`, which runs everything below and the peers beside it, and writes this page\n\
         anew; `--quick` takes less of everything, `cargo xtask bench NAME` runs one and writes nothing. Medians,\n\
         unless a section says otherwise. Other work on a machine moves single figures, so compare within a row:\n\
         the ratio is ours divided by the peer's, and less than 1 is faster. Why the figures are what they are, and\n\
         which goals they miss, is in [performance.md](performance.md).\n\n{machine}"
    );
    for section in sections {
        let tables: Vec<_> = section
            .tables
            .iter()
            .filter_map(|of| figures.table(of.name).map(|table| (of, table)))
            .collect();
        if tables.is_empty() {
            continue;
        }
        page += &format!(
            "\n## {}\n\n`cargo xtask bench {}`. {}\n",
            section.title, section.bench, section.text
        );
        for (of, table) in tables {
            page += &format!("\n**{}**\n\n", of.title);
            page += &table_of(of, &table);
            if of.plot {
                page += &format!("\n![{}](plots/{})\n", of.title, file_name(of));
            }
        }
    }
    page
}

/// File names and pictures of the tables that have one.
pub(super) fn plots(sections: &[&Section], figures: &Figures) -> Vec<(String, String)> {
    let tables = sections.iter().flat_map(|section| section.tables).filter(|of| of.plot);
    tables
        .filter_map(|of| {
            Some((file_name(of), plot::svg(of.title, of.rows, &figures.table(of.name)?)))
        })
        .collect()
}

fn file_name(of: &TableOf) -> String {
    let words: Vec<_> = of
        .name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.join("-").to_lowercase() + ".svg"
}

fn table_of(of: &TableOf, table: &Table<'_>) -> String {
    let (ours, peers) = table.series.split_first().unwrap_or((&"", &[]));
    let peers = if of.ratios { peers } else { &[] };
    let mut text = format!("| {} |", of.rows);
    for series in &table.series {
        text += &format!(" {series} |");
    }
    for peer in peers {
        text += &format!(" ratio to {peer} |");
    }
    text += &format!("\n|---|{}\n", "---|".repeat(table.series.len() + peers.len()));
    for row in sorted(&table.rows) {
        text += &format!("| {} |", grouped(row));
        let of = |series| table.figure(row, series);
        let least = least(table.series.iter().filter_map(|series| of(series)));
        for series in &table.series {
            text += &match of(series) {
                Some(figure) if table.series.len() > 1 && Some(figure.value) == least => {
                    format!(" **{}** |", amount(figure))
                }
                Some(figure) => format!(" {} |", amount(figure)),
                None => " |".into(),
            };
        }
        for peer in peers {
            text += &match of(ours).zip(of(peer)) {
                // A time may be too short for the clock.
                Some((ours, theirs)) if ours.value.min(theirs.value) > 0.0 => {
                    format!(" {:.2} |", ours.value / theirs.value)
                }
                _ => " |".into(),
            };
        }
        text += "\n";
    }
    text
}

/// The best of a row: the least time or size, the largest rate.
fn least<'a>(figures: impl Iterator<Item = &'a Figure>) -> Option<f64> {
    figures.map(|figure| (figure.value, figure.unit == "B/s")).fold(None, |best, (value, rate)| {
        Some(best.map_or(value, |best: f64| if rate { best.max(value) } else { best.min(value) }))
    })
}

/// By size where rows are numbers.
pub(super) fn sorted<'a>(rows: &[&'a str]) -> Vec<&'a str> {
    let mut rows = rows.to_vec();
    if rows.iter().all(|row| row.parse::<u64>().is_ok()) {
        rows.sort_by_key(|row| row.parse::<u64>().unwrap_or_default());
    }
    rows
}

fn amount(figure: &Figure) -> String {
    match figure.unit.as_str() {
        "ns" => scaled(figure.value, 1000.0, &["ns", "us", "ms", "s"]),
        "B" => scaled(figure.value, 1000.0, &["B", "KB", "MB", "GB"]),
        "B/s" => scaled(figure.value, 1000.0, &["B/s", "KB/s", "MB/s", "GB/s"]),
        unit => format!("{:.0} {unit}", figure.value),
    }
}

/// Three digits.
fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value >= step * 0.9995 {
        let Some(next) = units.next() else { break };
        value /= step;
        unit = next;
    }
    match value {
        value if value < 9.995 && value.fract() != 0.0 => format!("{value:.2} {unit}"),
        value if value < 99.95 && value.fract() != 0.0 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

/// 20000 as 20,000.
pub(super) fn grouped(row: &str) -> String {
    if row.parse::<u64>().is_err() || row.len() < 5 {
        return row.into();
    }
    let mut text = String::new();
    for (at, digit) in row.char_indices() {
        if at > 0 && (row.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(unit: &str, value: f64) -> Figure {
        Figure {
            table: String::new(),
            row: String::new(),
            series: String::new(),
            unit: unit.into(),
            value,
        }
    }

    #[test]
    fn amounts_have_three_digits_and_a_unit() {
        for (unit, value, text) in [
            ("ns", 153.2, "153 ns"),
            ("ns", 4_412.0, "4.41 us"),
            ("ns", 999_960.0, "1.00 ms"),
            ("ns", 129e9, "129 s"),
            ("B", 228.0, "228 B"),
            ("B/s", 1_435e6, "1.44 GB/s"),
            ("messages", 87.0, "87 messages"),
        ] {
            assert_eq!(amount(&figure(unit, value)), text);
        }
    }

    #[test]
    fn rows_of_numbers_are_sorted_and_grouped() {
        assert_eq!(sorted(&["1000", "2", "100"]), ["2", "100", "1000"]);
        assert_eq!(sorted(&["send", "2"]), ["send", "2"]);
        assert_eq!(
            (grouped("20000"), grouped("1048576"), grouped("1000")),
            ("20,000".into(), "1,048,576".into(), "1000".into())
        );
    }
}
