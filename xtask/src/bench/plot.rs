//! Lines over logarithmic axes, as SVG.

use super::{
    figures::Table,
    page::{grouped, sorted},
};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
/// Of the plane of the lines: left, top, right, bottom.
const PLANE: [f64; 4] = [64.0, 36.0, 460.0, 272.0];
/// Told apart by those who do not see all colours (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// A line for each series over the rows, which are numbers.
pub(super) fn svg(title: &str, rows: &str, table: &Table<'_>) -> String {
    let points: Vec<(&str, Vec<(f64, f64)>)> = table
        .series
        .iter()
        .map(|series| {
            let of = |row: &&str| Some((row.parse().ok()?, table.figure(row, series)?.value));
            (*series, sorted(&table.rows).iter().filter_map(of).collect())
        })
        .collect();
    let all = || points.iter().flat_map(|(_, points)| points);
    let (x, y) = (Axis::of(all().map(|point| point.0)), Axis::of(all().map(|point| point.1)));
    let [left, top, right, bottom] = PLANE;
    let place = |point: &(f64, f64)| {
        (left + x.at(point.0) * (right - left), bottom - y.at(point.1) * (bottom - top))
    };
    let unit = table.unit();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{left}\" y=\"20\" font-weight=\"bold\">{}</text>\n",
        escaped(title)
    );
    for power in y.powers() {
        let (_, height) = place(&(x.least, power));
        svg += &format!(
            "<line x1=\"{left}\" y1=\"{height:.1}\" x2=\"{right}\" y2=\"{height:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            left - 6.0,
            height + 4.0,
            label(power, unit)
        );
    }
    for row in sorted(&table.rows) {
        let Ok(number) = row.parse() else { continue };
        let (across, _) = place(&(number, y.least));
        let row = grouped(row);
        svg += &format!(
            "<text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{row}</text>\n",
            bottom + 18.0
        );
    }
    svg += &format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
        f64::midpoint(left, right),
        bottom + 38.0,
        escaped(rows)
    );
    for (at, (series, points)) in points.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let places: Vec<_> = points.iter().map(place).collect();
        let line: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        svg += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
            line.join(" ")
        );
        for (x, y) in places {
            svg += &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\n");
        }
        let height = top + 18.0 * f64::from(u32::try_from(at).unwrap_or_default());
        svg += &format!(
            "<line x1=\"{:.1}\" y1=\"{height:.1}\" x2=\"{:.1}\" y2=\"{height:.1}\" stroke=\"{colour}\" \
             stroke-width=\"3\"/>\n<text x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            right + 16.0,
            right + 36.0,
            right + 42.0,
            height + 4.0,
            escaped(series)
        );
    }
    svg + "</svg>\n"
}

struct Axis {
    least: f64,
    largest: f64,
}

impl Axis {
    /// From the power of ten at or below the least to the one at or above the largest.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values = values.filter(|value| *value > 0.0);
        let (least, largest) = values.fold((f64::INFINITY, 0.0_f64), |(least, largest), value| {
            (least.min(value), largest.max(value))
        });
        if least > largest {
            return Self { least: 1.0, largest: 10.0 };
        }
        let least = 10_f64.powf(least.log10().floor());
        let largest = 10_f64.powf(largest.log10().ceil());
        Self { least, largest: largest.max(least * 10.0) }
    }

    /// From 0 to 1.
    fn at(&self, value: f64) -> f64 {
        (value.max(self.least) / self.least).log10() / (self.largest / self.least).log10()
    }

    fn powers(&self) -> impl Iterator<Item = f64> {
        let (first, largest) = (self.least, self.largest * 1.001);
        std::iter::successors(Some(first), |power| Some(power * 10.0))
            .take_while(move |power| *power <= largest)
            // 0.30000000000000004 is 0.3.
            .map(|power| format!("{power:.6}").parse().unwrap_or(power))
    }
}

/// A power of ten, in the unit that makes it a short number.
fn label(power: f64, unit: &str) -> String {
    let units: &[&str] = match unit {
        "ns" => &["ns", "us", "ms", "s"],
        "B" => &["B", "KB", "MB", "GB"],
        unit => return format!("{power} {unit}"),
    };
    let last = units.len() - 1;
    let step =
        (0..last).find(|step| power < 1000_f64.powi(i32::try_from(step + 1).unwrap_or(1)) * 0.999);
    let step = step.unwrap_or(last);
    let value = power / 1000_f64.powi(i32::try_from(step).unwrap_or(0));
    format!("{} {}", (value * 1e6).round() / 1e6, units[step])
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_labelled_in_the_unit_of_its_size() {
        let labels = [1.0, 100.0, 1e3, 1e5, 1e6, 1e9, 1e12].map(|power| label(power, "ns"));
        assert_eq!(labels, ["1 ns", "100 ns", "1 us", "100 us", "1 ms", "1 s", "1000 s"]);
        assert_eq!((label(0.1, "ns"), label(1e4, "B")), ("0.1 ns".into(), "10 KB".into()));
        assert_eq!(label(10.0, "ciphertexts"), "10 ciphertexts");
    }

    #[test]
    fn an_axis_goes_from_power_to_power() {
        let axis = Axis::of([0.3, 45.0].into_iter());
        assert_eq!(axis.powers().collect::<Vec<_>>(), [0.1, 1.0, 10.0, 100.0]);
        assert!((axis.at(1.0) - 1.0 / 3.0).abs() < 1e-9);
        let empty = Axis::of(std::iter::empty());
        assert_eq!(empty.powers().count(), 2);
    }
}
