//! A plot, drawn as SVG: a few lines over a logarithmic axis.

use std::fmt::Write as _;

use crate::figures::Figures;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Left, right, top and bottom edge of the plot area.
const FIELD: [f64; 4] = [60.0, 480.0, 40.0, 310.0];
const COLOURS: [&str; 6] = ["#1b6ca8", "#c8553d", "#3a7d44", "#7b4b94", "#b08900", "#444444"];

/// Fractions of one, over the quantity of the axis: the name and the points of each line.
pub(crate) fn lines(title: &str, axis: &str, series: &[(&str, Vec<(f64, Figures)>)]) -> String {
    let [left, right, top, bottom] = FIELD;
    let points = || series.iter().flat_map(|(_, points)| points);
    let least = points().map(|(x, _)| x.log10()).fold(f64::INFINITY, f64::min);
    let most = points().map(|(x, _)| x.log10()).fold(f64::NEG_INFINITY, f64::max);
    let highest = points().map(|(_, y)| y.median()).fold(1.0, f64::max);
    let x = |value: f64| left + (value.log10() - least) / (most - least).max(1e-9) * (right - left);
    let y = |value: f64| bottom - value / highest * (bottom - top);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{left}\" y=\"24\" font-size=\"14\">{title}</text>\n\
         <text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{axis}</text>\n",
        HEIGHT - 10.0
    );
    for step in 0..=4 {
        let value = highest * f64::from(step) / 4.0;
        let at = y(value);
        let _written = writeln!(
            svg,
            "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.2}</text>",
            left - 6.0,
            at + 4.0
        );
    }
    let mut marks: Vec<_> = points().map(|(x, _)| *x).collect();
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    for mark in marks {
        let _written = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{mark}</text>",
            x(mark),
            bottom + 16.0
        );
    }
    for (number, ((name, points), colour)) in series.iter().zip(COLOURS.iter().cycle()).enumerate()
    {
        let path: Vec<_> = points
            .iter()
            .map(|(at, figures)| format!("{:.1} {:.1}", x(*at), y(figures.median())))
            .collect();
        let _written = writeln!(
            svg,
            "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"{colour}\">{name}</text>",
            path.join("L"),
            right + 12.0,
            top + 18.0 * number as f64
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_runs_from_edge_to_edge() {
        let at = |x, y| (x, Figures::from_iter([y]));
        let svg = lines("t", "a", &[("n", vec![at(1.0, 1.0), at(10.0, 0.5), at(100.0, 0.0)])]);
        assert!(svg.contains("M60.0 40.0L270.0 175.0L480.0 310.0"), "{svg}");
    }
}
