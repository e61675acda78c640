//! `pretrain`: masked image modelling.

use crate::data::{DataArgs, pretrain_loader};
use crate::device::{Device, DeviceArgs, Work};
use crate::flags::{MaskArgs, ModelArgs, PresetArg, RunArgs, TrainingArgs};
use crate::model::{self, AnyTokenizer};
use crate::output::{Terminal, answer, note};
use crate::run::Run;
use crate::{reconstruction, tokenizer};
use beit_data::{ColourJitter, Loader, Preprocessing, PretrainSample, Split};
use beit_heads::{Mim, MimConfig};
use beit_ops::prelude::*;
use beit_ops::{Plan, Tree};
use beit_train::{
    Hyper, Listeners, MaskedImages, Metrics, NoHooks, Recipe, Record, Sink, TokenAccuracy, Trainer,
    evaluate_tokens,
};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::path::PathBuf;

/// Pre-train by masked image modelling, without labels. With no flags: embedded images, a tiny model, a few minutes
#[derive(ClapArgs, Clone, Debug, Serialize)]
#[command(after_help = "Examples:
  cargo xtask pretrain
  cargo xtask pretrain --data folder:photos --preset small --epochs 300 --out runs/photos
  cargo xtask pretrain --resume --out runs/photos")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) mask: MaskArgs,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Tokenizer: folder, encoder's file (encoder.pkl, .safetensors), official name or name on the hub. Without it, one is trained
    /// on the same images first
    #[arg(long, alias = "discrete-vae-weight-path", value_name = "MODEL")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Steps of training the tokenizer where none is given; 0 takes the recipe's
    #[arg(long, default_value_t = 0)]
    pub(crate) tokenizer_steps: u64,
    /// Colour jitter of the pre-training views
    #[arg(long, alias = "color-jitter", default_value_t = 0.4)]
    pub(crate) colour_jitter: f64,
}

/// What the verb answers.
#[derive(Serialize)]
struct Answer {
    run: PathBuf,
    checkpoint: PathBuf,
    #[serde(flatten)]
    tokens: TokenAccuracy,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let checked = Checked::new(args)?;
    let Checked { args, config, hyper, images, .. } = &checked;
    describe(args, config, *images, hyper.schedule.total);
    if args.run.dry_run {
        Run::check(args.run.out.as_deref(), args.run.existing())?;
        return dry_run(args, config, hyper.schedule.total);
    }
    args.device.clone().run(checked)
}

/// A run of which everything is checked that can be without the device.
struct Checked {
    args: Args,
    config: MimConfig,
    tokenizer: beit_tokenizer::Config,
    hyper: Hyper,
    views: Preprocessing,
    loader: Loader<PretrainSample>,
    images: usize,
    /// Height and width of what the tokenizer sees.
    token_size: [usize; 2],
}

impl Checked {
    fn new(args: Args) -> anyhow::Result<Self> {
        let vit = args.model.config()?;
        let masker = args.mask.masker(vit.grid())?;
        args.training.check()?;
        args.device.check()?;
        let source = args.data.open(Split::Train)?;
        let loading = args.training.loading(&args.data, &args.device);
        let tokenizer = match &args.tokenizer {
            Some(name) => model::tokenizer_config(name)?,
            None => tokenizer::config_for(&vit)?,
        };
        let token_size = vit.grid().map(|side| side * tokenizer.downsampling());
        let views = args.model.views(&vit);
        let transform = views.pretrain(token_size, ColourJitter::even(args.colour_jitter));
        let loader = pretrain_loader(&source, loading.training(source.len()), transform, masker)?;
        let steps_per_epoch = (loader.batches_per_epoch() / args.training.update_freq.max(1)).max(1);
        // The paper's rate is for batches of 2048; tiny models take more in batches of 64.
        let lr = if args.model.preset == PresetArg::Tiny { 4e-3 } else { 1.5e-3 };
        let hyper = args.training.hyper(steps_per_epoch, lr)?;
        let config = MimConfig { vit, vocab: tokenizer.vocab };
        Ok(Self { args, config, tokenizer, hyper, views, loader, images: source.len(), token_size })
    }

    fn recipe(&self, device: &Device) -> Recipe {
        let Args { training, run, .. } = &self.args;
        Recipe {
            accumulate: training.update_freq,
            hyper: self.hyper,
            report_every: run.report_every,
            read_every: device.read_every(run.report_every),
            seed: training.seed,
        }
    }
}

impl Work for Checked {
    type Output = ();

    fn run<O: Ops>(self, ops: &O, device: &Device) -> anyhow::Result<()> {
        let args = &self.args;
        let run = args.run.begin("pretrain", args)?;
        let mut metrics = Metrics::append(&run.path("metrics.jsonl"))?;
        let mut terminal = Terminal::new(args.run.json);
        let job = Job { ops, device, args, run: &run, views: self.views, token_size: self.token_size };
        let tokenizer = job.tokenizer(&self.tokenizer, &mut terminal, &mut metrics)?;
        let recipe = self.recipe(device);
        let params = Mim::init(ops, &self.config, recipe.seed);
        let task = MaskedImages { tokenizer: tokenizer.encoder(), recompute: args.training.recompute };
        let mut training = Trainer::new(ops, task, recipe, params);
        if args.run.resume {
            model::resume_pretraining(ops, &run.path("last"), &mut training)?;
        }
        let checkpoint = job.train(&self.loader, &mut training, &mut terminal, &mut metrics)?;
        job.finish(&training, &tokenizer, checkpoint, &mut metrics)
    }
}

/// What the parts of the verb share.
struct Job<'a, O> {
    ops: &'a O,
    device: &'a Device,
    args: &'a Args,
    run: &'a Run,
    views: Preprocessing,
    /// Height and width of what the tokenizer sees.
    token_size: [usize; 2],
}

impl<O: Ops> Job<'_, O> {
    /// The tokenizer that was given, or the one in the run folder, or a new one.
    fn tokenizer(
        &self,
        config: &beit_tokenizer::Config,
        terminal: &mut Terminal,
        metrics: &mut Metrics,
    ) -> anyhow::Result<AnyTokenizer<O::Tensor>> {
        let Self { ops, args, run, token_size, .. } = *self;
        let loading = args.training.loading(&args.data, &args.device);
        let own = run.path("tokenizer");
        let dir = args.tokenizer.clone().unwrap_or_else(|| own.clone());
        if args.tokenizer.is_none() && !own.join("config.json").is_file() {
            note("no --tokenizer: training one on these images first");
            let source = args.data.open(Split::Train)?;
            let settings = tokenizer::Settings {
                config: *config,
                recipe: tokenizer::recipe(config, args.tokenizer_steps, None, None),
                image: token_size,
                seed: args.training.seed,
                report_every: args.run.report_every,
                read_every: self.device.read_every(args.run.report_every),
            };
            tokenizer::train(ops, &settings, &source, &loading, (terminal, metrics), &own)?;
        }
        let tokenizer = model::load_any_tokenizer(ops, &dir)?;
        let Some(whole) = tokenizer.whole() else {
            note(
                "the tokenizer has no decoder: what it sees cannot be measured, and no reconstructions are drawn",
            );
            return Ok(tokenizer);
        };
        let (held_out, split) = args.data.held_out()?;
        let quality = tokenizer::quality(ops, whole, token_size, &held_out, &loading)?;
        note(&format!("tokenizer on {} {split} images: {}", quality.images, tokenizer::sentence(&quality)));
        Ok(tokenizer)
    }

    /// Trains to the end, saving on the way; returns the last checkpoint.
    fn train(
        &self,
        loader: &Loader<PretrainSample>,
        training: &mut model::Pretraining<'_, O>,
        terminal: &mut Terminal,
        metrics: &mut Metrics,
    ) -> anyhow::Result<PathBuf> {
        let Self { args, run, views, .. } = self;
        let total = training.recipe.hyper.schedule.total;
        loop {
            let step = training.optimiser.steps();
            let until = args.run.next_stop(step, total);
            let mut listeners = Listeners { progress: terminal, sinks: metrics };
            training.run(loader, until, &mut NoHooks, &mut listeners)?;
            let checkpoint = run.checkpoint(training.optimiser.steps())?;
            model::save_pretraining(training, views, &checkpoint)?;
            run.set_last(&checkpoint, args.run.keep)?;
            if until >= total {
                return Ok(checkpoint);
            }
        }
    }

    /// Measures on images that were held out, draws pictures, and answers.
    fn finish(
        &self,
        training: &model::Pretraining<'_, O>,
        tokenizer: &AnyTokenizer<O::Tensor>,
        checkpoint: PathBuf,
        metrics: &mut Metrics,
    ) -> anyhow::Result<()> {
        let Self { args, run, views, token_size, .. } = self;
        let (held_out, split) = args.data.held_out()?;
        let masker = args.mask.masker(training.params.vit.config().grid())?;
        let loading = args.training.loading(&args.data, &args.device);
        // Held-out images, augmented as in training, but the same way in every evaluation.
        let transform = views.pretrain(*token_size, ColourJitter::even(args.colour_jitter));
        let loader = pretrain_loader(&held_out, loading.evaluation(), transform, masker)?;
        let tokens = evaluate_tokens(training.ops, &training.params, tokenizer.encoder(), &loader)?;
        metrics.record(&Record::Tokens { split: &split.to_string(), tokens: &tokens })?;

        let pictures = run.pictures()?;
        crate::show::write_masks(
            &pictures.join("masks.png"),
            &held_out,
            views,
            &args.mask,
            training.params.vit.config().grid(),
        )?;
        let mim = model::MimModel { params: training.params.clone(), views: *views };
        let request = reconstruction::Request {
            source: &held_out,
            images: 8,
            seed: args.training.seed,
            mask: &args.mask,
        };
        if let Some(tokenizer) = tokenizer.whole() {
            let path = pictures.join("reconstruction.png");
            reconstruction::write(training.ops, &mim, tokenizer, &request, &path)?;
        }

        let sentence = format!(
            "masked-token accuracy on {} patches of {split} images: {:.3}, always naming the commonest token: {:.3}\n\
             on the {} that are not background: {:.3}, commonest token: {:.3}\n\
             checkpoint: {}\npictures: {}\nnext: cargo xtask finetune --init {}",
            tokens.patches,
            tokens.accuracy,
            tokens.majority,
            tokens.content_patches,
            tokens.content_accuracy,
            tokens.content_majority,
            checkpoint.display(),
            pictures.display(),
            run.dir.display(),
        );
        answer(args.run.json, &Answer { run: run.dir.clone(), checkpoint, tokens }, &sentence)
    }
}

fn describe(args: &Args, config: &MimConfig, images: usize, steps: u64) {
    let vit = &config.vit;
    let parameters: usize = beit_heads::Mim::of(config).leaves().iter().map(|shape| shape.elements()).sum();
    let [rows, cols] = vit.grid();
    note(&format!(
        "{images} images from {}; {:?}: {:.2} M parameters, {}x{} px in {rows}x{cols} patches; {steps} steps of {} images",
        args.data.data,
        args.model.preset,
        parameters as f64 / 1e6,
        vit.image[0],
        vit.image[1],
        args.training.batch_size as u64 * args.training.update_freq,
    ));
}

/// One step on the device without numbers.
fn dry_run(args: &Args, config: &MimConfig, steps: u64) -> anyhow::Result<()> {
    let ops = Plan::new(args.device.footprint()?);
    let vit = &config.vit;
    let batch = args.training.batch_size;
    let params = beit_heads::Mim::of(config).map(&mut |shape| ops.zeros(*shape));
    // Gradients and two moments.
    let mut kept: Vec<_> = (0..3).map(|_| params.clone()).collect();
    let masked = args.mask.masker(vit.grid())?.config().target * batch;
    let images = ops.zeros([batch, 3, vit.image[0], vit.image[1]]);
    let mask = ops.zeros([batch, vit.patches()]);
    let rows = ops.upload_ids(&vec![1; masked]);
    let input = beit_vit::Input { images: &images, mask: Some(&mask), drop_path: None };
    let (logits, saved) = params.forward(&ops, &input, &rows, args.training.keep());
    params.backward(&ops, &input, &logits, saved, &mut kept[0]);
    let flops = ops.flops() * args.training.update_freq;
    let value =
        serde_json::json!({ "steps": steps, "flops_per_step": flops, "peak_bytes": ops.peak_bytes() });
    let sentence = format!(
        "a step: {:.1} GFLOP, {:.0} MiB; the run: {steps} steps, {:.1} TFLOP (tokenizer not counted)",
        flops as f64 / 1e9,
        ops.peak_bytes() as f64 / (1 << 20) as f64,
        flops as f64 * steps as f64 / 1e12,
    );
    answer(args.run.json, &value, &sentence)
}
