//! What an ablation found, as a picture: a row a line, means with the sample deviation of the seeds, beside one another by judges.

use super::{Ablated, AblationJudge};
use crate::error::{Result, unfit};
use crate::files;
use crate::picture::GENERATOR;
use plotters::prelude::*;
use std::path::Path;

/// Pixels of a panel, of the words before the first, of a row, and of what stands above and below the rows.
const PANEL: u32 = 240;
const WORDS: u32 = 270;
const ROW: u32 = 24;
const ABOVE: u32 = 30;
const BELOW: u32 = 40;
/// In what plotters calls points: 13 pixels.
const FONT: (&str, u32) = ("sans-serif", 16);
const GRID: RGBColor = RGBColor(221, 221, 221);
const BLUE: RGBColor = RGBColor(0, 114, 178);

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// Writes it.
pub(super) fn write(path: &Path, rows: &[Ablated], judges: &[AblationJudge]) -> Result<()> {
    let mut svg = String::new();
    // Nothing is written but this text.
    if let Err(error) = onto(&mut svg, rows, judges) {
        unfit!("{}: the picture of the ablation cannot be drawn: {error}", path.display());
    }
    files::write(path, format!("<!-- {GENERATOR} -->\n{svg}").as_bytes())
}

fn onto(svg: &mut String, rows: &[Ablated], judges: &[AblationJudge]) -> Drawn {
    let sides = (WORDS + PANEL * judges.len() as u32, ABOVE + ROW * rows.len() as u32 + BELOW);
    let area = SVGBackend::with_string(svg, sides).into_drawing_area();
    let (words, panels) = area.split_horizontally(WORDS);
    for (i, row) in rows.iter().enumerate() {
        let at = (10, (ABOVE + ROW * i as u32 + ROW / 2 - 7) as i32);
        words.draw(&Text::new(row.title.clone(), at, FONT))?;
    }
    for (panel, judge) in panels.split_evenly((1, judges.len().max(1))).iter().zip(judges) {
        draw_panel(panel, rows, *judge)?;
    }
    area.present()?;
    Ok(())
}

/// One judge: a line a row, from the worst to the best, in percent.
fn draw_panel(
    panel: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    rows: &[Ablated],
    judge: AblationJudge,
) -> Drawn {
    let of = |row: &Ablated| {
        let mean = row.by(judge)?;
        Some([mean.mean, mean.deviation.unwrap_or(0.0)].map(|value| 100.0 * value))
    };
    let found: Vec<(usize, [f64; 2])> =
        rows.iter().enumerate().filter_map(|(i, row)| Some((i, of(row)?))).collect();
    let ends = found.iter().flat_map(|(_, [mean, deviation])| [mean - deviation, mean + deviation]);
    let (low, high) = ends.fold((f64::MAX, f64::MIN), |(low, high), end| (low.min(end), high.max(end)));
    let (low, high) = if low > high { (0.0, 100.0) } else { (low - 1.0, high + 1.0) };
    let height = rows.len() as f64;
    // The title stands in a part of its own, so that rows lie beside their words.
    let (title, body) = panel.split_vertically(ABOVE);
    title.draw(&Text::new(judge.title(), (6, 8), FONT))?;
    let mut chart = ChartBuilder::on(&body)
        .margin_left(6)
        .margin_right(14)
        .x_label_area_size(BELOW)
        .build_cartesian_2d(low..high, height..0.0)?;
    chart
        .configure_mesh()
        .label_style(FONT)
        .x_labels(4)
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .x_label_formatter(&|x| format!("{x:.0} %"))
        .draw()?;
    for (i, [mean, deviation]) in found {
        let y = i as f64 + 0.5;
        let line = [(mean - deviation, y), (mean + deviation, y)];
        chart.draw_series([PathElement::new(line, BLUE.stroke_width(2))])?;
        chart.draw_series([Circle::new((mean, y), 4, BLUE.filled())])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::table::Mean;
    use super::*;

    #[test]
    fn every_row_and_every_judge_is_drawn() {
        let row = |title: &str, mean| Ablated {
            row: title.to_owned(),
            title: title.to_owned(),
            judged: vec![(AblationJudge::Finetune, Mean { mean, deviation: Some(0.01), seeds: 3 })],
        };
        let rows = [row("one & <two>", 0.5), row("three", 0.75)];
        let mut svg = String::new();
        onto(&mut svg, &rows, &[AblationJudge::Finetune, AblationJudge::Knn]).expect("it can be drawn");
        for words in ["one &amp; &lt;two&gt;", "three", "fine-tuned", "10 nearest neighbours"] {
            assert!(svg.contains(words), "{words}: {svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 2, "{svg}");
    }
}
