//! `embed`: the features of images.

use crate::model::ModelArgs;
use crate::output::{Output, Overwrite};
use crate::ranks::{self, Member};
use crate::usage::usage;
use beit::{
    Bands, Batches, Contents, DataSettings, DeviceSettings, Embedder, FeatureSettings, Files, RankSettings,
    Source, Split,
};
use clap::Args as ClapArgs;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

/// Features of images from any layer of a model
///
/// They are the output of a block, before the final norm: `features [images, C]`, of all patches `[images, N, C]`. A safetensors
/// file has `labels [images]` too, where the source has classes. Beside either lies OUT.names.txt with the names of the images,
/// one a line. The features are held in memory until they are written.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask embed --model runs/pretrain-001 --data folder:photos --layer 9 --out features.safetensors
  cargo xtask embed photo.jpg photos --model runs/finetune-001 --pool model --out features.npy")]
pub(crate) struct Args {
    /// Images, or folders of images
    #[arg(required_unless_present = "data", conflicts_with = "data", value_name = "IMAGE")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// A source instead of images: fashion-mnist (embedded), folder:DIR, idx:DIR
    #[arg(long, value_name = "SPEC")]
    data: Option<String>,
    /// The training images of the source instead of the test images
    #[arg(long, requires = "data")]
    train_split: bool,
    /// Share of the files that may be undecodable
    #[arg(long, default_value_t = DataSettings::default().max_bad_share, value_name = "SHARE")]
    max_bad_share: f64,
    /// File to write: .safetensors or .npy
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    #[command(flatten)]
    features: FeatureSettings,
    #[command(flatten)]
    batches: Batches,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    ranks: RankSettings,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ranks::run(&args.ranks, args.output, |member| embed(args, member))
}

fn embed(args: &Args, member: &Member) -> anyhow::Result<()> {
    let leads = member.team.leads();
    if leads {
        may_write(args)?;
    }
    let watch = &member.watch;
    let device = member.open(&args.device)?;
    let embedder = Embedder::open_with(&args.model.model, &args.model.open, &args.features, &device, watch)?;
    let data = DataSettings { max_bad_share: args.max_bad_share, ..DataSettings::default() };
    let source = source(args, embedder.bands())?;
    watch.notes_of(source.as_ref());
    let features = embedder.embed_source(&source, &data, args.batches, watch)?;
    if leads {
        features.write(&args.out, source.as_ref())?;
    }
    let shape = &features.shape;
    let sentence = format!("features {shape:?}: {}", args.out.display());
    member.answer(args.output, &json!({ "out": args.out, "features": shape }), &sentence)
}

/// Refuses a name that is no file of features, and files that would be lost.
fn may_write(args: &Args) -> anyhow::Result<()> {
    let contents = match args.out.extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => Contents::Tensors(&["features", "labels"]),
        Some("npy") => Contents::Array,
        _ => usage!("--out {}: expected a name that ends in .safetensors or .npy", args.out.display()),
    };
    args.overwrite.check(&args.out, contents)?;
    let names = beit::names_beside(&args.out);
    if names.exists() && !args.out.exists() {
        usage!("{} is there already, and would be written beside {}", names.display(), args.out.display());
    }
    Ok(())
}

fn source(args: &Args, bands: Option<Bands>) -> anyhow::Result<Arc<dyn Source>> {
    let split = if args.train_split { Split::Train } else { Split::Test };
    match &args.data {
        Some(spec) => Ok(DataSettings::of_spec(spec).with_bands(bands).open_once(split)?),
        None => Ok(Arc::new(Files::find_as(&args.images, bands)?)),
    }
}
