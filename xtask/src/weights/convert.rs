//! `weights convert`: from one layout to another.

use crate::output::{Output, note};
use crate::usage::usage;
use beit::{FolderLock, Located, ReadSettings, Sides, locate};
use beit_weights::{Checkpoint, Target, compact, foreign_file};
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Write a checkpoint in the layout of another tool; the numbers stay as they are to the bit
///
/// hf gives a folder for from_pretrained of transformers, timm a folder for create_model("local-dir:…") and its weights for
/// load_state_dict, unilm a file for the released code: .pth, or .safetensors with the same names.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask weights convert beit_base_patch16_224_pt22k_ft22kto1k.pth beit-base --layout hf
  cargo xtask weights convert runs/finetune-001 for-timm --layout timm
  cargo xtask weights convert microsoft/beit-base-patch16-224-pt22k beit.pth --layout unilm")]
pub(crate) struct Args {
    /// Run, checkpoint folder, file, official name or name on the hub
    #[arg(value_name = "IN")]
    from: String,
    /// Folder, or for unilm a file ending in .pth or .safetensors
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Whose layout
    #[arg(long, value_enum)]
    layout: LayoutArg,
    /// Replace what is at OUT
    #[arg(long)]
    overwrite: bool,
    /// Side in pixels, or HEIGHTxWIDTH, of the images of a bare file whose positions may be of several sizes
    #[arg(long)]
    image_size: Option<Sides>,
    #[command(flatten)]
    reading: ReadSettings,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LayoutArg {
    /// transformers
    Hf,
    /// timm
    Timm,
    /// The released code
    Unilm,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let target = match args.layout {
        LayoutArg::Hf => Target::Transformers,
        LayoutArg::Timm => Target::Timm,
        LayoutArg::Unilm => Target::Unilm,
    };
    let file = args.out.extension().is_some_and(|ending| ending == "pth" || ending == "safetensors");
    if file != (target == Target::Unilm) {
        usage!(
            "OUT {}: expected {}",
            args.out.display(),
            if target == Target::Unilm {
                "a file ending in .pth or .safetensors"
            } else {
                "the name of a folder"
            }
        );
    }
    refuse_to_replace(&args.out, args.overwrite)?;
    let Located { path, entry } = locate(&args.from, &args.output.watch())?;
    let checkpoint = Checkpoint::open_with(path, args.reading.options(args.image_size, entry))?;
    checkpoint.notes().iter().for_each(|line| note(line));
    // No run may begin in the folder that is about to be replaced.
    let lock = (target != Target::Unilm).then(|| FolderLock::take(&args.out)).transpose()?;
    let converted = checkpoint.convert(target, &args.out)?;
    drop(lock);
    converted.notes.iter().for_each(|line| note(line));
    let mut sentence = format!(
        "{} tensors of {} in the layout of {}: {}",
        converted.written,
        checkpoint.model().name(),
        checkpoint.weights().layout(),
        args.out.display()
    );
    if !converted.left_out.is_empty() {
        let names = compact(converted.left_out.iter().map(String::as_str));
        sentence += &format!("\nleft out: {names}");
    }
    let value = json!({
        "out": args.out,
        "written": converted.written,
        "left_out": converted.left_out,
        "notes": converted.notes,
    });
    args.output.answer(&value, &sentence)
}

/// Nothing is replaced without `--overwrite`, and with it a checkpoint only.
fn refuse_to_replace(out: &Path, overwrite: bool) -> anyhow::Result<()> {
    if out.symlink_metadata().is_err() {
        return Ok(());
    }
    if !overwrite {
        usage!("{} is there already: choose another OUT, or --overwrite it", out.display());
    }
    let other = match out.is_dir() {
        // What a run needs to go on is no part of what is written here.
        true => foreign_file(out).or_else(|| Some(out.join("training")).filter(|state| state.exists())),
        false => Checkpoint::open(out).is_err().then(|| out.to_owned()),
    };
    match other {
        Some(other) => usage!(
            "{} is no part of a checkpoint, so that {} is not replaced: choose another OUT",
            other.display(),
            out.display()
        ),
        None => Ok(()),
    }
}
