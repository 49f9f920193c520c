//! What the benchmarks measured: figures in tables of rows and series.

use std::{fs, path::Path};

use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) table: String,
    pub(super) row: String,
    pub(super) series: String,
    /// `ns`, `B`, `B/s`, or a word that stands behind the figure.
    pub(super) unit: String,
    pub(super) value: f64,
}

/// In the order in which they were measured.
#[derive(Debug, Default)]
pub(super) struct Figures(Vec<Figure>);

/// The figures of one table.
#[derive(Debug, Default)]
pub(super) struct Table<'a> {
    pub(super) rows: Vec<&'a str>,
    /// Ours first.
    pub(super) series: Vec<&'a str>,
    figures: Vec<&'a Figure>,
}

impl Figures {
    /// The lines that benchmarks wrote by `cc_benches::figure`. No file is no figures.
    pub(super) fn read_lines(&mut self, path: &Path) -> Result<(), String> {
        if !path.exists() {
            return Ok(());
        }
        self.parse(&fs::read_to_string(path).map_err(|error| error.to_string())?)
    }

    fn parse(&mut self, lines: &str) -> Result<(), String> {
        for line in lines.lines() {
            let parts: Vec<_> = line.split('\t').collect();
            let [table, row, series, unit, value] = parts[..] else {
                return Err(format!("not a figure: {line:?}"));
            };
            let value = value.parse().map_err(|_| format!("not a number: {line:?}"))?;
            self.put(Figure {
                table: table.into(),
                row: row.into(),
                series: series.into(),
                unit: unit.into(),
                value,
            });
        }
        Ok(())
    }

    /// The medians of criterion: the group is the table, the function the series, the parameter the row.
    pub(super) fn read_criterion(&mut self, folder: &Path) -> Result<(), String> {
        let mut found = Vec::new();
        benchmarks(folder, &mut found)?;
        // As they ran, which is the order of the columns.
        found.sort_by_key(|(when, _)| *when);
        for (_, figure) in found {
            self.put(figure);
        }
        Ok(())
    }

    pub(super) fn table(&self, name: &str) -> Option<Table<'_>> {
        let mut table = Table::default();
        for figure in self.0.iter().filter(|figure| figure.table == name) {
            if !table.rows.contains(&figure.row.as_str()) {
                table.rows.push(&figure.row);
            }
            if !table.series.contains(&figure.series.as_str()) {
                table.series.push(&figure.series);
            }
            table.figures.push(figure);
        }
        // A script tells its series in any order.
        if let Some(at) = table.series.iter().position(|series| *series == "cascade") {
            table.series[..=at].rotate_right(1);
        }
        (!table.figures.is_empty()).then_some(table)
    }

    /// A figure that is there already is replaced: the later run counts.
    fn put(&mut self, figure: Figure) {
        let same = |other: &&mut Figure| {
            (&other.table, &other.row, &other.series)
                == (&figure.table, &figure.row, &figure.series)
        };
        match self.0.iter_mut().find(same) {
            Some(old) => *old = figure,
            None => self.0.push(figure),
        }
    }
}

impl Table<'_> {
    /// The unit of the first figure: a table that is drawn has one.
    pub(super) fn unit(&self) -> &str {
        self.figures.first().map_or("", |figure| &figure.unit)
    }

    pub(super) fn figure(&self, row: &str, series: &str) -> Option<&Figure> {
        self.figures.iter().copied().find(|figure| figure.row == row && figure.series == series)
    }
}

/// Every `new` folder of criterion below `folder`, with the time at which it was written.
fn benchmarks(
    folder: &Path,
    found: &mut Vec<(std::time::SystemTime, Figure)>,
) -> Result<(), String> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten() {
        let path = entry.path();
        if !path.is_dir() {
            continue;
        }
        if path.file_name().is_some_and(|name| name == "new") {
            let file = path.join("estimates.json");
            let when = fs::metadata(&file).and_then(|data| data.modified());
            let when = when.map_err(|error| format!("{}: {error}", file.display()))?;
            found.push((when, figure(&json(&path.join("benchmark.json"))?, &json(&file)?)?));
        } else {
            benchmarks(&path, found)?;
        }
    }
    Ok(())
}

fn json(path: &Path) -> Result<Value, String> {
    let error = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(|it| error(&it))?;
    serde_json::from_str(&text).map_err(|it| error(&it))
}

fn figure(benchmark: &Value, estimates: &Value) -> Result<Figure, String> {
    let text = |name: &str| benchmark[name].as_str().unwrap_or_default().to_owned();
    let median = estimates["median"]["point_estimate"].as_f64();
    let (mut table, mut series) = (text("group_id"), text("function_id"));
    // A group of criterion is one table, unless its functions say which: `send/layer`.
    if let Some((of, name)) = series.rsplit_once('/') {
        table = format!("{table}/{of}");
        series = name.to_owned();
    }
    Ok(Figure {
        table,
        row: text("value_str"),
        series,
        unit: "ns".into(),
        value: median.ok_or_else(|| format!("no median of {}", text("full_id")))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<Figures, String> {
        let mut figures = Figures::default();
        figures.parse(text).map(|()| figures)
    }

    #[test]
    fn a_later_figure_replaces_one_and_order_is_kept() {
        let figures = lines("t\t2\tours\tns\t5\nt\t2\tpeer\tns\t10\nt\t2\tours\tns\t4\n");
        let figures = figures.expect("three good lines");
        let table = figures.table("t").expect("a table");
        assert_eq!(
            (table.rows.as_slice(), table.series.as_slice()),
            (&["2"][..], &["ours", "peer"][..])
        );
        assert_eq!(table.figure("2", "ours").map(|figure| figure.value), Some(4.0));
        assert!(figures.table("another").is_none());
    }

    #[test]
    fn the_program_comes_before_its_peers() {
        let figures = lines("f\tr\tcat\tB/s\t5\nf\tr\tage\tB/s\t6\nf\tr\tcascade\tB/s\t7\n");
        let figures = figures.expect("three good lines");
        assert_eq!(figures.table("f").expect("a table").series, ["cascade", "cat", "age"]);
    }

    #[test]
    fn a_line_that_is_no_figure_is_told() {
        for text in ["t\t2\tours\tns\n", "t\t2\tours\tns\tfast\n"] {
            assert!(lines(text).is_err_and(|error| error.contains("not a")), "{text}");
        }
    }

    #[test]
    fn criterion_tells_group_function_and_parameter() {
        let benchmark = serde_json::json!({
            "group_id": "mls", "function_id": "send/layer", "value_str": "100", "full_id": "x",
        });
        let estimates = serde_json::json!({ "median": { "point_estimate": 23_000.0 } });
        let figure = figure(&benchmark, &estimates).expect("a figure");
        assert_eq!((figure.table.as_str(), figure.row.as_str()), ("mls/send", "100"));
        assert_eq!((figure.series.as_str(), figure.value), ("layer", 23_000.0));
        assert!(super::figure(&benchmark, &serde_json::json!({})).is_err());
    }
}
