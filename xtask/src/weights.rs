//! `weights`: official checkpoints, and files of weights in any layout.

mod convert;
mod inspect;
mod list;
mod verify;

use crate::output::Output;
use beit::{Located, locate};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;

/// Official checkpoints, and weights in any layout: list, fetch, inspect, convert, verify
#[derive(Subcommand)]
pub(crate) enum Verb {
    List(list::Args),
    Fetch(FetchArgs),
    Inspect(inspect::Args),
    Convert(convert::Args),
    Verify(verify::Args),
}

pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::List(args) => list::run(&args),
        Verb::Fetch(args) => fetch(&args),
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Convert(args) => convert::run(&args),
        Verb::Verify(args) => verify::run(&args),
    }
}

/// Fetch a checkpoint from the hub into its cache, and say where it is
///
/// HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are honoured. What is in the cache is not fetched again.
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask weights fetch microsoft/beit-base-patch16-224")]
pub(crate) struct FetchArgs {
    /// Official name, or name on the hub: org/name or org/name@revision
    name: String,
    #[command(flatten)]
    output: Output,
}

fn fetch(args: &FetchArgs) -> anyhow::Result<()> {
    let Located { path, entry } = locate(&args.name, &args.output.watch())?;
    let sentence = path.display().to_string();
    args.output.answer(&json!({ "path": path, "official": entry.map(|entry| &entry.name) }), &sentence)
}
