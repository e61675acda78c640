//! `weights list`: the catalogue.

use crate::output::Output;
use beit_weights::catalogue::{Entry, Score, Task, catalogue};
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::{Value, json};

/// The official checkpoints: what they are, under which licence, where they are, which accuracy they reach
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask weights list
  cargo xtask weights list --task classify --json")]
pub(crate) struct Args {
    /// Only those of one task
    #[arg(long, value_enum)]
    task: Option<TaskArg>,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TaskArg {
    Mim,
    Classify,
    Encoder,
    Segment,
    Tokenizer,
}

impl TaskArg {
    const fn named(task: Task) -> Self {
        match task {
            Task::Mim => Self::Mim,
            Task::Classify => Self::Classify,
            Task::Encoder => Self::Encoder,
            Task::Segment => Self::Segment,
            Task::Tokenizer => Self::Tokenizer,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Mim => "mim",
            Self::Classify => "classify",
            Self::Encoder => "encoder",
            Self::Segment => "segment",
            Self::Tokenizer => "tokenizer",
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let chosen = |entry: &&Entry| args.task.is_none_or(|task| TaskArg::named(entry.task) == task);
    let entries: Vec<&Entry> = catalogue().iter().filter(chosen).collect();
    if args.output.json {
        return entries.iter().try_for_each(|entry| args.output.answer(&described(entry), ""));
    }
    let rows: Vec<[String; 8]> = entries.iter().map(|entry| row(entry)).collect();
    let head =
        ["name", "task", "parameters", "licence", "published", "re-evaluated", "measured", "give to --model"];
    let sentence = format!(
        "{}\n\ntop-1/top-5 in per cent on ImageNet-1k (dit: RVL-CDIP), mIoU on ADE20K; docs/weights.md says with which preprocessing, \
         and what says so of a licence",
        table(&head.map(str::to_owned), &rows)
    );
    args.output.answer(&(), &sentence)
}

fn row(entry: &Entry) -> [String; 8] {
    let task = TaskArg::named(entry.task).name();
    let source = entry.hub.first().map_or_else(
        || format!("the file from {}", entry.urls().next().unwrap_or_default()),
        |hub| hub.id.clone(),
    );
    let parameters = format!("{:.1} M", entry.parameters as f64 / 1e6);
    let licence = entry.licence.as_deref().unwrap_or("not stated").to_owned();
    let first = |scores: &[Score]| scores.first().map_or("-".to_owned(), score);
    let scores = [&entry.published, &entry.reevaluated, &entry.measured].map(|scores| first(scores));
    let [published, reevaluated, measured] = scores;
    [entry.name.clone(), task.to_owned(), parameters, licence, published, reevaluated, measured, source]
}

fn score(score: &Score) -> String {
    match (score.top1, score.top5, score.miou) {
        (Some(top1), Some(top5), _) => format!("{top1}/{top5}"),
        (Some(top1), None, _) => top1.to_string(),
        (None, _, Some(miou)) => format!("{miou} mIoU"),
        (None, _, None) => "-".to_owned(),
    }
}

fn described(entry: &Entry) -> Value {
    let hub: Vec<_> = entry
        .hub
        .iter()
        .map(|hub| json!({ "id": hub.id, "weights": hub.weights, "revision": hub.revision }))
        .collect();
    let scores = |scores: &[Score]| -> Vec<Value> {
        scores
            .iter()
            .map(|score| json!({ "top1": score.top1, "top5": score.top5, "miou": score.miou }))
            .collect()
    };
    json!({
        "name": entry.name,
        "family": entry.family.name(),
        "task": TaskArg::named(entry.task).name(),
        "parameters": entry.parameters,
        "licence": entry.licence,
        "hub": hub,
        "urls": entry.urls().collect::<Vec<_>>(),
        "published": scores(&entry.published),
        "reevaluated": scores(&entry.reevaluated),
        "measured": scores(&entry.measured),
        "notes": entry.notes,
    })
}

/// Columns as wide as their widest cell; the last as it is.
pub(super) fn table<const N: usize>(head: &[String; N], rows: &[[String; N]]) -> String {
    let lines = || std::iter::once(head).chain(rows);
    let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: &[String; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines().map(line).collect::<Vec<_>>().join("\n")
}
