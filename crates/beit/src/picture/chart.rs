//! Curves as SVG. No text of a file gets into one: names of runs stand beside it, in the page.

use super::GENERATOR;
use crate::error::{Result, unfit};
use crate::files;
use plotters::prelude::*;
use std::path::Path;

/// The palette of Okabe and Ito, which people with any kind of colour vision can tell apart, without the yellow, which is too light for
/// a line on white.
pub(crate) const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#000000", "#cc79a7", "#e69f00", "#56b4e9"];
const SIDES: (u32, u32) = (480, 280);
/// In what plotters calls points: 15 pixels.
const FONT: (&str, u32) = ("sans-serif", 19);
const GRID: RGBColor = RGBColor(221, 221, 221);
/// Length of the line beside the name of a curve.
const SAMPLE: i32 = 18;
/// The share of the height of the curves that each name takes above them.
const ROOM_FOR_A_NAME: f64 = 0.13;
/// Between two of so many points no eye sees a difference.
const MOST_POINTS: usize = 400;
/// With so few points each of them is shown.
const FEW: usize = 24;
/// Beyond these, axes have no numbers that a person reads; nor have they below a thousandth of the numbers on them.
const LARGEST: f64 = 1e30;
const LEAST_SPAN: f64 = 1e-3;

/// What stands at the axes, and above them.
#[derive(Default)]
pub(crate) struct Axes<'a> {
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    /// Whether whole numbers alone mean something on the lower axis.
    pub(crate) whole: bool,
    /// Nothing within a page, which has words of its own.
    pub(crate) title: &'a str,
}

/// A curve.
#[derive(Default)]
pub(crate) struct Curve<'a> {
    /// The number of its colour.
    pub(crate) colour: usize,
    /// From left to right.
    pub(crate) points: &'a [(f64, f64)],
    /// What it is called within the picture; nothing where the page says so.
    pub(crate) name: &'static str,
    /// Whether it is a level that others are compared with: its points are no measures.
    pub(crate) level: bool,
}

/// Draws curves on common axes. None where there is not a point to draw.
pub(crate) fn draw(axes: &Axes<'_>, curves: &[Curve<'_>]) -> Option<String> {
    let thin: Vec<Vec<(f64, f64)>> = curves.iter().map(|curve| thinned(curve.points)).collect();
    let curves: Vec<Curve<'_>> =
        curves.iter().zip(&thin).map(|(curve, points)| Curve { points, ..*curve }).collect();
    let all = || curves.iter().flat_map(|curve| curve.points);
    let x = range(all().map(|point| point.0))?;
    let [low, high] = range(all().map(|point| point.1))?;
    let names = curves.iter().filter(|curve| !curve.name.is_empty()).count();
    let y = [low, high + names as f64 * ROOM_FOR_A_NAME * (high - low)];
    let mut svg = String::new();
    // Nothing is written but this text: there is nothing that can fail, and a page without a curve is no reason to lose a run.
    onto(&mut svg, axes, (x, y), &curves).ok()?;
    Some(svg)
}

/// Writes curves into a file of their own, that is known to be drawn here.
///
/// # Errors
///
/// Not a point to draw, or a file that cannot be written.
pub(crate) fn write(path: &Path, axes: &Axes<'_>, curves: &[Curve<'_>]) -> Result<()> {
    let Some(svg) = draw(axes, curves) else { unfit!("a picture of no curves") };
    files::write(path, format!("<!-- {GENERATOR} -->\n{svg}").as_bytes())
}

fn onto(
    svg: &mut String,
    axes: &Axes<'_>,
    ([left, right], [low, high]): ([f64; 2], [f64; 2]),
    curves: &[Curve<'_>],
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIDES).into_drawing_area();
    let mut builder = ChartBuilder::on(&area);
    if !axes.title.is_empty() {
        builder.caption(axes.title, FONT);
    }
    let mut chart = builder
        .margin(10)
        .x_label_area_size(44)
        .y_label_area_size(88)
        .build_cartesian_2d(left..right, low..high)?;
    chart
        .configure_mesh()
        .label_style(FONT)
        .axis_desc_style(FONT)
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_labels(6)
        .y_labels(6)
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .x_label_formatter(&|&x| if axes.whole && x.fract() != 0.0 { String::new() } else { count(x) })
        .y_label_formatter(&|&y| number(y, high - low))
        .draw()?;
    for curve in curves {
        let (points, colour) = (curve.points.iter().copied(), colour_of(curve.colour));
        let line = chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
        if !curve.name.is_empty() {
            line.label(curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + SAMPLE, y)], colour.stroke_width(2)));
        }
        // Of one point there is no line.
        if curve.points.len() <= if curve.level { 1 } else { FEW } {
            chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
        }
    }
    if curves.iter().any(|curve| !curve.name.is_empty()) {
        let labels = &mut chart.configure_series_labels();
        labels.position(SeriesLabelPosition::UpperLeft);
        labels.label_font(FONT).background_style(WHITE.mix(0.8)).border_style(GRID).draw()?;
    }
    area.present()?;
    drop(chart);
    Ok(())
}

fn colour_of(index: usize) -> RGBColor {
    let code = u32::from_str_radix(&COLOURS[index % COLOURS.len()][1..], 16).unwrap_or(0);
    let [_, red, green, blue] = code.to_be_bytes();
    RGBColor(red, green, blue)
}

/// Points that can be drawn, and of very many, the lowest and the highest of every few, so that no leap is lost.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let can = |value: f64| value.abs() <= LARGEST;
    let points: Vec<_> = points.iter().copied().filter(|&(x, y)| can(x) && can(y)).collect();
    if points.len() <= MOST_POINTS {
        return points;
    }
    let ends = |few: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let by_value = |i: &usize, j: &usize| few[*i].1.total_cmp(&few[*j].1);
        let lowest = (0..few.len()).min_by(by_value);
        let highest = (0..few.len()).max_by(by_value);
        let mut both: Vec<usize> = lowest.into_iter().chain(highest).collect();
        both.sort_unstable();
        both.dedup();
        both.into_iter().map(|index| few[index]).collect()
    };
    points.chunks(points.len().div_ceil(MOST_POINTS / 2)).flat_map(ends).collect()
}

/// From the lowest to the highest, with some room.
fn range(values: impl Iterator<Item = f64> + Clone) -> Option<[f64; 2]> {
    let low = values.clone().min_by(f64::total_cmp)?;
    let high = values.max_by(f64::total_cmp)?;
    let span = (high - low).max(LEAST_SPAN * low.abs().max(high.abs()));
    let room = if span < 1.0 / LARGEST { 1.0 } else { 0.05 * span };
    let room = room.max((span - (high - low)) / 2.0);
    Some([low - room, high + room])
}

/// A number of steps.
fn count(value: f64) -> String {
    let short = |value: f64, unit: &str| {
        let text = format!("{value:.2}");
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match value.abs() {
        size if size >= 1e6 => short(value / 1e6, "M"),
        size if size >= 1e4 => short(value / 1e3, "k"),
        _ => short(value, ""),
    }
}

/// A number on an axis that is so long, with as many digits as tell its marks apart.
fn number(value: f64, span: f64) -> String {
    if value.abs() < span * 1e-6 {
        return "0".to_owned();
    }
    let size = span.max(value.abs());
    if !(1e-2..1e5).contains(&size) {
        return format!("{value:.1e}");
    }
    let digits = (1.0 - (span / 5.0).log10().floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXES: Axes<'static> = Axes { x: "steps", y: "loss", whole: false, title: "" };

    fn curve(colour: usize, points: &[(f64, f64)]) -> Curve<'_> {
        Curve { colour, points, ..Curve::default() }
    }

    #[test]
    fn whatever_was_measured_can_be_drawn() {
        let all: [&[(f64, f64)]; 8] = [
            &[(1.0, 0.0)],
            &[(1.0, 0.0), (2.0, 0.0)],
            &[(1.0, 1.0), (1.0, 1.0 + f64::EPSILON)],
            &[(0.0, f64::MIN_POSITIVE), (1e18, 5e-324)],
            &[(1.0, -1e300), (2.0, 1e300), (3.0, 2.0)],
            &[(1.0, -1e30), (2.0, 1e30)],
            &[(1.0, f64::NAN), (2.0, f64::INFINITY), (f64::MAX, 3.0), (4.0, 4.0)],
            &[(5.0, 1.0), (2.0, -3.0)],
        ];
        for points in all {
            let svg = draw(&AXES, &[curve(0, points)]).expect("there is a point");
            assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{points:?}: {svg}");
        }
        assert_eq!(draw(&AXES, &[curve(0, &[(1.0, f64::NAN)]), curve(1, &[])]), None);
    }

    #[test]
    fn names_and_titles_are_in_the_picture() {
        let points = [(1.0, 0.5), (2.0, 0.75)];
        let axes = Axes { title: "above", whole: true, ..AXES };
        let svg = draw(&axes, &[Curve { name: "beside", ..curve(0, &points) }]).expect("two points");
        let words: Vec<&str> = svg.lines().map(str::trim).filter(|line| !line.starts_with('<')).collect();
        for word in ["above", "beside", "steps", "1", "2"] {
            assert!(words.contains(&word), "{word} in {words:?}");
        }
        assert!(!words.contains(&"1.5"), "{words:?}");
        let circles = |level| {
            let svg = draw(&AXES, &[Curve { level, ..curve(0, &points) }]).expect("two points");
            svg.matches("<circle").count()
        };
        assert_eq!([circles(false), circles(true)], [2, 0]);
    }

    #[test]
    fn a_leap_among_very_many_is_drawn() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), 1.0)).collect();
        points[77_777].1 = 50.0;
        let thin = thinned(&points);
        assert!(thin.len() <= MOST_POINTS && thin.contains(&points[77_777]), "{}", thin.len());
        assert!(thin.is_sorted_by(|one, next| one.0 < next.0));
    }

    #[test]
    fn marks_on_axes() {
        assert_eq!([0.0, 50.0, 9999.0, 12_500.0, 2e6].map(count), ["0", "50", "9999", "12.5k", "2M"]);
        let cases = [
            (0.0, 1.0, "0"),
            (2.5, 2.0, "2.5"),
            (0.25, 0.5, "0.25"),
            (1e-4, 3e-4, "1.0e-4"),
            (1.0005, 1e-3, "1.0005"),
            (300.0, 900.0, "300"),
        ];
        for (value, span, want) in cases {
            assert_eq!(number(value, span), want);
        }
    }
}
