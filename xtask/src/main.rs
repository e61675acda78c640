//! The command line: `cargo xtask VERB`.
//!
//! Every verb is a file; this one parses, chooses the device and turns errors into exit codes.

mod ablate;
mod bench;
mod compare;
mod dashboard;
mod device;
mod doctor;
mod dry_run;
mod embed;
mod evaluate;
mod finetune;
mod infer;
mod model;
mod output;
mod predict;
mod pretrain;
mod probe;
mod ranks;
mod recipe;
mod replay;
mod report;
mod show;
mod signals;
mod tokenizer;
mod usage;
mod weights;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// BEiT in Rust: pre-train an image transformer without labels, fine-tune it, use it.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    propagate_version = true,
    max_term_width = 110
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Pretrain(pretrain::Args),
    Finetune(finetune::Args),
    Recipes(recipe::Args),
    Doctor(doctor::Args),
    Evaluate(evaluate::Args),
    Predict(predict::Args),
    Embed(embed::Args),
    #[command(subcommand)]
    Probe(probe::Verb),
    #[command(subcommand)]
    Tokenizer(tokenizer::Verb),
    #[command(subcommand)]
    Show(show::Verb),
    Infer(infer::Args),
    #[command(subcommand)]
    Weights(weights::Verb),
    Bench(bench::Args),
    Compare(compare::Args),
    Replay(replay::Args),
    Report(report::Args),
    Ablate(ablate::Args),
}

fn main() -> ExitCode {
    let matches = Cli::command().get_matches_from(usage::dashes(std::env::args_os()));
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let given = usage::Given::from_matches(&matches);
    let done = match cli.verb {
        Verb::Pretrain(args) => pretrain::run(args, &given),
        Verb::Finetune(args) => finetune::run(args, &given),
        Verb::Recipes(args) => recipe::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Evaluate(args) => evaluate::run(&args, &given),
        Verb::Predict(args) => predict::run(&args, &given),
        Verb::Embed(args) => embed::run(&args),
        Verb::Probe(verb) => probe::run(&verb),
        Verb::Tokenizer(verb) => tokenizer::run(verb, &given),
        Verb::Show(verb) => show::run(verb, &given),
        Verb::Infer(args) => infer::run(&args),
        Verb::Weights(verb) => weights::run(verb),
        Verb::Bench(args) => bench::run(&args),
        Verb::Compare(args) => compare::run(&args),
        Verb::Replay(args) => replay::run(&args, &given),
        Verb::Report(args) => report::run(&args),
        Verb::Ablate(args) => ablate::run(&args),
    };
    dashboard::close();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref() {
            // It was said already.
            Some(&ranks::Ended(code)) => ExitCode::from(code),
            None => {
                output::note(&format!("error: {error:#}"));
                ExitCode::from(usage::exit_code(&error))
            }
        },
    }
}
