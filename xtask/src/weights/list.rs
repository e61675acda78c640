//! `weights list`: the catalogue.

use crate::output::answer;
use beit_weights::catalogue::{Entry, Score, Task, catalogue};
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::{Value, json};

/// The official checkpoints: what they are, where they are, which accuracy they reach
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask weights list
  cargo xtask weights list --task classify --json")]
pub(crate) struct Args {
    /// Only those of one task
    #[arg(long, value_enum)]
    task: Option<TaskArg>,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TaskArg {
    Mim,
    Classify,
    Segment,
    Tokenizer,
}

impl TaskArg {
    const fn of(task: Task) -> Self {
        match task {
            Task::Mim => Self::Mim,
            Task::Classify => Self::Classify,
            Task::Segment => Self::Segment,
            Task::Tokenizer => Self::Tokenizer,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Mim => "mim",
            Self::Classify => "classify",
            Self::Segment => "segment",
            Self::Tokenizer => "tokenizer",
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let chosen = |entry: &&Entry| args.task.is_none_or(|task| TaskArg::of(entry.task) == task);
    let entries: Vec<&Entry> = catalogue().iter().filter(chosen).collect();
    if args.json {
        return entries.iter().try_for_each(|entry| answer(true, &described(entry), ""));
    }
    let rows: Vec<[String; 5]> = entries.iter().map(|entry| row(entry)).collect();
    let head = ["name", "task", "parameters", "published", "give to --model"].map(str::to_owned);
    answer(false, &(), &table(&head, &rows))
}

fn row(entry: &Entry) -> [String; 5] {
    let task = TaskArg::of(entry.task).name();
    let source = entry.hub.first().map_or_else(
        || format!("the file from {}", entry.urls().next().unwrap_or_default()),
        |hub| hub.id.clone(),
    );
    let parameters = format!("{:.1} M", entry.parameters as f64 / 1e6);
    [
        entry.name.clone(),
        task.to_owned(),
        parameters,
        entry.published.first().map(score).unwrap_or_default(),
        source,
    ]
}

/// The accuracy in per cent.
fn score(score: &Score) -> String {
    let measures = [(score.top1, "top-1"), (score.miou, "mIoU")];
    let measure = measures.into_iter().find_map(|(value, name)| Some(format!("{} {name}", value?)));
    measure.unwrap_or_default()
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
        "version": entry.version,
        "task": TaskArg::of(entry.task).name(),
        "parameters": entry.parameters,
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
