//! What an ablation found, as a table.

use super::ledger::Entry;
use super::{AblationJudge, AblationRow};
use serde::Serialize;

/// A row that needs no model: the pixels of the images, judged like features.
pub(super) const PIXELS: &str = "pixels of the images";
/// Another: the commonest class of pixels, named everywhere.
pub(super) const COMMONEST: &str = "the commonest class everywhere";

/// The mean of several seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mean {
    /// Of the values of the seeds.
    pub mean: f64,
    /// Their sample deviation; none of one seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<f64>,
    /// How many there are.
    pub seeds: usize,
}

impl Mean {
    /// None of nothing.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let seeds = values.len();
        let mean = values.iter().sum::<f64>() / seeds.max(1) as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (seeds > 1).then(|| (squares / (seeds.max(2) - 1) as f64).sqrt());
        (seeds > 0).then_some(Self { mean, deviation, seeds })
    }

    /// In percent.
    fn text(&self) -> String {
        match self.deviation {
            Some(deviation) => format!("{:.1} ± {:.1}", 100.0 * self.mean, 100.0 * deviation),
            None => format!("{:.1}", 100.0 * self.mean),
        }
    }
}

/// A row, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ablated {
    /// Its name; `pixels of the images` or `the commonest class everywhere` for what needs no model.
    pub row: String,
    /// For a person.
    pub title: String,
    /// By each judge that has judged it, in the order of the table.
    pub judged: Vec<(AblationJudge, Mean)>,
}

impl Ablated {
    /// Those of which something was found, in the order of the table.
    pub(super) fn all(entries: &[Entry]) -> Vec<Self> {
        let named = AblationRow::ALL.map(|row| (row.name(), row.title()));
        let rows = named.into_iter().chain([PIXELS, COMMONEST].map(|name| (name, name)));
        let all = rows.map(|(row, title)| Self {
            row: row.to_owned(),
            title: title.to_owned(),
            judged: AblationJudge::ALL
                .into_iter()
                .filter_map(|judge| Some((judge, mean(entries, row, judge)?)))
                .collect(),
        });
        all.filter(|row| !row.judged.is_empty()).collect()
    }

    /// By one judge.
    #[must_use]
    pub fn by(&self, judge: AblationJudge) -> Option<Mean> {
        self.judged.iter().find(|(of, _)| *of == judge).map(|(_, mean)| *mean)
    }
}

fn mean(entries: &[Entry], row: &str, judge: AblationJudge) -> Option<Mean> {
    let of = |entry: &&Entry| entry.row == row && entry.what == judge.name();
    Mean::of(&entries.iter().filter(of).map(|entry| entry.value).collect::<Vec<_>>())
}

/// A table in Markdown: means and sample deviations over seeds, in percent, the paper's figures beside them.
pub(super) fn markdown(rows: &[Ablated], judges: &[AblationJudge]) -> String {
    let mut text = "| |".to_owned();
    judges.iter().for_each(|judge| text += &format!(" {} |", judge.title()));
    text += " paper, ImageNet | paper, ADE20K |\n| --- |";
    text += &" --- |".repeat(judges.len() + 2);
    for row in rows {
        text += &format!("\n| {} |", row.title);
        for judge in judges {
            text += &format!(" {} |", row.by(*judge).map(|mean| mean.text()).unwrap_or_default());
        }
        let paper = AblationRow::ALL.iter().find(|of| of.name() == row.row).and_then(|row| row.paper());
        let figure = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let [imagenet, ade] = [paper.map(|of| of.imagenet), paper.and_then(|of| of.ade20k)].map(figure);
        text += &format!(" {imagenet} | {ade} |");
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_deviations() {
        assert_eq!(Mean::of(&[]), None);
        assert_eq!(Mean::of(&[0.5]), Some(Mean { mean: 0.5, deviation: None, seeds: 1 }));
        let of_three = Mean::of(&[0.25, 0.5, 0.75]).expect("three");
        assert_eq!(of_three, Mean { mean: 0.5, deviation: Some(0.25), seeds: 3 });
        assert_eq!(of_three.text(), "50.0 ± 25.0");
    }

    #[test]
    fn a_table() {
        let entry = |row: &str, seed, what: &str, value| Entry {
            row: row.to_owned(),
            seed,
            what: what.to_owned(),
            value,
            features: None,
        };
        let entries = [
            entry("beit", 0, "pretrain", 0.4),
            entry("beit", 0, "finetune", 0.75),
            entry("beit", 1, "finetune", 0.77),
            entry(PIXELS, 0, "linear", 0.7),
            entry("scratch", 0, "finetune", 0.5),
            entry(COMMONEST, 0, "segment", 0.1),
        ];
        let judges = [AblationJudge::Finetune, AblationJudge::Linear, AblationJudge::Segment];
        let text = markdown(&Ablated::all(&entries), &judges);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "| | fine-tuned | linear probe | segmentation, mIoU | paper, ImageNet | paper, ADE20K |"
        );
        assert_eq!(lines[2], "| BEiT | 76.0 ± 1.4 |  |  | 82.86 | 44.65 |");
        assert_eq!(lines[3], "| not pre-trained | 50.0 |  |  | 81.8 |  |");
        assert_eq!(lines[4], "| pixels of the images |  | 70.0 |  |  |  |");
        assert_eq!(lines[5], "| the commonest class everywhere |  |  | 10.0 |  |  |");
    }
}
