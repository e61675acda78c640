//! `tokenizer`: train one, encode, decode, inspect.

use crate::device;
use crate::output::{Output, Overwrite};
use crate::ranks::{self, Member};
use crate::signals;
use crate::usage::{Given, command};
use beit::settings::Sides;
use beit::{
    Contents, DataSettings, DeviceSettings, RankSettings, SumSettings, Tokenizer, TokenizerKind,
    TokenizerSettings, TokenizerTraining, picture, quality_sentence, tensors,
};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;
use std::path::PathBuf;

/// Tokenizers, a discrete VAE or k-means: train one, pictures to visual tokens, visual tokens to pictures
#[derive(Subcommand)]
pub(crate) enum Verb {
    Train(Box<TrainArgs>),
    Encode(EncodeArgs),
    Decode(DecodeArgs),
    Inspect(InspectArgs),
}

/// Train a tokenizer on images
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask tokenizer train --data folder:photos --image-size 112 --vocab 1024 --steps 20000 --out runs/tokenizer
  cargo xtask tokenizer train --resume --out runs/tokenizer
  cargo xtask tokenizer train --kind kmeans --data folder:photos --image-size 112 --token-size 8 --vocab 1024")]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    settings: TokenizerSettings,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    ranks: RankSettings,
    #[command(flatten)]
    sums: SumSettings,
    #[command(flatten)]
    output: Output,
}

/// Which tokenizer, and where it runs.
#[derive(ClapArgs)]
struct Common {
    /// Folder of the tokenizer, or of a run that has one
    #[arg(long, value_name = "DIR")]
    tokenizer: PathBuf,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

/// Pictures to visual tokens
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask tokenizer encode --tokenizer runs/tokenizer-001 --data folder:photos --image-size 112 --out codes.safetensors")]
pub(crate) struct EncodeArgs {
    #[command(flatten)]
    data: DataSettings,
    /// Image side in pixels, or HEIGHTxWIDTH
    #[arg(long, default_value = "28")]
    image_size: Sides,
    /// At most this many images
    #[arg(long, default_value_t = 64)]
    images: usize,
    /// Where to write `codes [B, h, w]` (int64)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    #[command(flatten)]
    common: Common,
}

/// Visual tokens to pictures
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask tokenizer decode --tokenizer runs/tokenizer-001 --codes codes.safetensors --out pictures.png")]
pub(crate) struct DecodeArgs {
    /// File with `codes [B, h, w]`
    #[arg(long, value_name = "FILE")]
    codes: PathBuf,
    /// Where to write the pictures, one PNG
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    #[command(flatten)]
    common: Common,
}

/// Codebook usage and reconstruction error on images
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask tokenizer inspect --tokenizer runs/tokenizer-001")]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    data: DataSettings,
    /// Image side in pixels, or HEIGHTxWIDTH
    #[arg(long, default_value = "28")]
    image_size: Sides,
    /// Also write originals over reconstructions to this PNG
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    #[command(flatten)]
    overwrite: Overwrite,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(verb: Verb, given: &Given) -> anyhow::Result<()> {
    match verb {
        Verb::Train(args) => {
            let (ranks, output) = (args.ranks.clone(), args.output);
            ranks::run(&ranks, output, |member| train(*args, given, member))
        }
        Verb::Encode(args) => encode(&args),
        Verb::Decode(args) => decode(&args),
        Verb::Inspect(args) => inspect(&args),
    }
}

fn train(mut args: TrainArgs, given: &Given, member: &Member) -> anyhow::Result<()> {
    args.settings.run.decide(&member.team)?;
    if let Some(out) = args.settings.run.resumed() {
        (args.settings, args.device) =
            beit::settings_of_run(&args.settings, &args.device, out, |path| given.has_path(path))?;
    }
    signals::catch();
    if args.settings.kind == TokenizerKind::Dvae {
        member.team.share(&mut args.settings.update_freq)?;
    }
    args.settings.run.folder.command = Some(command());
    let training = TokenizerTraining::new(args.settings)?;
    let device = member.open(&args.device)?.adding_up(&args.sums, &member.watch)?;
    let trained = training.run(&device, &member.watch)?;
    let text = format!(
        "on {} {} images: {}\ntokenizer: {}",
        trained.quality.images,
        trained.split,
        quality_sentence(&trained.quality),
        trained.tokenizer.display()
    );
    member.answer(args.output, &trained, &text)
}

fn encode(args: &EncodeArgs) -> anyhow::Result<()> {
    args.overwrite.check(&args.out, Contents::Tensors(&["codes"]))?;
    let Common { output, .. } = args.common;
    let watch = output.watch();
    let device = device::open(&args.common.device, &watch)?;
    let tokenizer = Tokenizer::open_with(&args.common.tokenizer, &device, &watch)?;
    let (source, _) = tokenizer.seen(&args.data)?.held_out()?;
    watch.notes_of(source.as_ref());
    let (codes, shape) = tokenizer.encode_source(source.as_ref(), args.image_size, args.images)?;
    tensors::write_codes(&args.out, &codes, shape)?;
    let [batch, h, w] = shape;
    let sentence = format!("{batch} images as {h}x{w} visual tokens: {}", args.out.display());
    output.answer(&json!({ "out": args.out, "codes": shape }), &sentence)
}

fn decode(args: &DecodeArgs) -> anyhow::Result<()> {
    args.overwrite.check(&args.out, Contents::Picture)?;
    let Common { output, .. } = args.common;
    let watch = output.watch();
    let device = device::open(&args.common.device, &watch)?;
    let tokenizer = Tokenizer::open_with(&args.common.tokenizer, &device, &watch)?;
    let (codes, [batch, h, w]) = tensors::read_codes(&args.codes)?;
    let file = args.codes.display();
    if codes.is_empty() {
        anyhow::bail!("{file}: codes [{batch}, {h}, {w}] has no visual tokens");
    }
    if let Some(code) = codes.iter().find(|&&code| code as usize >= tokenizer.vocab()) {
        anyhow::bail!(
            "{file}: visual token {code}, expected less than {}: these codes are of another tokenizer",
            tokenizer.vocab()
        );
    }
    let pictures = tokenizer.decode_all(&codes, [h, w])?;
    let rows: Vec<_> = pictures.chunks(8).map(<[_]>::to_vec).collect();
    picture::write_grid(&args.out, &rows)?;
    let sentence = format!("{batch} pictures: {}", args.out.display());
    output.answer(&json!({ "out": args.out, "images": batch }), &sentence)
}

fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    if let Some(picture) = &args.picture {
        args.overwrite.check(picture, Contents::Picture)?;
    }
    let Common { output, .. } = args.common;
    let watch = output.watch();
    let device = device::open(&args.common.device, &watch)?;
    let tokenizer = Tokenizer::open_with(&args.common.tokenizer, &device, &watch)?;
    let picture = args.picture.as_deref();
    let (quality, split) = tokenizer.inspect(&args.data, args.image_size, picture, &device, &watch)?;
    let text = format!(
        "{}\non {} {split} images: {}",
        tokenizer.describe(),
        quality.images,
        quality_sentence(&quality),
    );
    output.answer(&quality, &text)
}
