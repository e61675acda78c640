//! `report`: a page that shows runs.

use crate::output::{Output, Overwrite};
use beit::{Contents, report};
use clap::Args as ClapArgs;
use serde_json::json;
use std::path::PathBuf;

/// A page that shows a run, or several beside one another: curves, results, use of the codebook, pictures, settings
///
/// One HTML file that needs no network. A run writes its own, report.html, whenever it saves and at its end.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask report runs/pretrain-001
  cargo xtask report runs/finetune-001 runs/finetune-002 --out both.html")]
pub(crate) struct Args {
    /// Folders of runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Where to write the page; RUN/report.html where not given, of several runs report.html
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    overwrite: Overwrite,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    report::check(&args.runs)?;
    let (usual, own) = report::usual_place(&args.runs);
    let (out, own) = args.out.clone().map_or((usual, own), |out| (out, false));
    args.overwrite.or(own).check(&out, Contents::Page)?;
    report::write(&args.runs, &out)?;
    args.output.answer(&json!({ "out": out }), &format!("report: {}", out.display()))
}
