//! `finetune`: classification.

use crate::data::{DataArgs, evaluation_loader, finetune_loader, same_classes};
use crate::device::{Device, DeviceArgs, Work};
use crate::flags::{ModelArgs, RunArgs, Sides, TrainingArgs};
use crate::model;
use crate::model_source::{LoadArgs, Located, locate};
use crate::output::{Terminal, answer, note};
use crate::run::Run;
use crate::usage::usage;
use anyhow::Context;
use beit_data::{
    LabelledSample, Loader, Normalise, Preprocessing, Source, Split, stratified_subset, training_labels,
};
use beit_heads::{Classifier, ClassifierConfig, Pooling};
use beit_ops::Ops;
use beit_train::{
    Accuracy, Classification, Hyper, Listeners, Metrics, NoHooks, Recipe, Record, Sink, Trainer, evaluate,
};
use beit_vit::RelativePositions;
use clap::Args as ClapArgs;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// Fine-tune for classification, from a run, a checkpoint, or from scratch
#[derive(ClapArgs, Clone, Debug, Serialize)]
#[command(after_help = "Examples:
  cargo xtask finetune --init runs/pretrain-001
  cargo xtask finetune --init runs/pretrain-001 --labels 500 --epochs 50
  cargo xtask finetune --init microsoft/beit-base-patch16-224-pt22k --image-size 384 --data folder:photos
  cargo xtask finetune --from-scratch --labels 500")]
pub(crate) struct Args {
    /// Where to start: run, checkpoint folder, file (.safetensors, .pth, .bin), official name or name on the hub
    #[arg(long, alias = "finetune", value_name = "MODEL", required_unless_present_any = ["from_scratch", "resume"], conflicts_with = "from_scratch")]
    init: Option<PathBuf>,
    /// Start from random values instead: the baseline
    #[arg(long)]
    from_scratch: bool,
    #[command(flatten)]
    data: DataArgs,
    /// Use only this many labels, equally many of each class, drawn by the seed
    #[arg(long)]
    labels: Option<usize>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    loading: LoadArgs,
    #[command(flatten)]
    training: TrainingArgs,
    /// Learning rate factor between neighbouring layers
    #[arg(long, default_value_t = 0.65)]
    layer_decay: f64,
    /// Label smoothing
    #[arg(long, default_value_t = 0.1)]
    smoothing: f32,
    /// Classify by the CLS token instead of the mean of the patches
    #[arg(long)]
    use_cls: bool,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    run: RunArgs,
}

/// The rate of the released ImageNet-1k fine-tuning of the base model.
const LR: f64 = 4e-3;

/// What the verb answers.
#[derive(Serialize)]
struct Answer {
    run: PathBuf,
    checkpoint: PathBuf,
    labels: usize,
    split: String,
    #[serde(flatten)]
    accuracy: Accuracy,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    args.device.check()?;
    args.check()?;
    let images = Images::open(&args)?;
    args.device.run(Job { args: &args, images })
}

impl Args {
    /// Refuses numbers that no run can have.
    fn check(&self) -> anyhow::Result<()> {
        if !(self.layer_decay > 0.0 && self.layer_decay <= 1.0) {
            usage!("--layer-decay {}: expected more than 0 and at most 1", self.layer_decay);
        }
        if !(0.0..1.0).contains(&self.smoothing) {
            usage!("--smoothing {}: expected at least 0 and less than 1", self.smoothing);
        }
        if self.labels == Some(0) {
            usage!("--labels 0: expected at least 1");
        }
        self.training.check()
    }

    fn hyper(&self, loader: &Loader<LabelledSample>) -> anyhow::Result<Hyper> {
        let steps_per_epoch = (loader.batches_per_epoch() / self.training.update_freq.max(1)).max(1);
        let layer_decay = (self.layer_decay < 1.0).then_some(self.layer_decay);
        Ok(Hyper { layer_decay, ..self.training.hyper(steps_per_epoch, LR)? })
    }

    fn recipe(&self, hyper: Hyper, device: &Device) -> Recipe {
        Recipe {
            accumulate: self.training.update_freq,
            hyper,
            report_every: self.run.report_every,
            read_every: device.read_every(self.run.report_every),
            seed: self.training.seed,
        }
    }
}

/// Images to train on, and images to judge by.
struct Images {
    source: Arc<dyn Source>,
    /// Those that are used.
    indices: Vec<usize>,
    held_out: Arc<dyn Source>,
    split: Split,
}

impl Images {
    fn open(args: &Args) -> anyhow::Result<Self> {
        let source = args.data.open(Split::Train)?;
        let labels = training_labels(source.as_ref()).with_context(|| args.data.data.clone())?;
        let indices = match args.labels {
            Some(n) => stratified_subset(&labels, n, args.training.seed)?,
            None => (0..source.len()).collect(),
        };
        // Looked at before training, so that hours of it are not followed by images that cannot be judged.
        let (held_out, split) = args.data.held_out()?;
        let name = format!("{}, {split} images", args.data.data);
        beit_data::labels(held_out.as_ref()).with_context(|| name.clone())?;
        same_classes(held_out.as_ref(), source.class_names(), &format!("{name},"))?;
        Ok(Self { source, indices, held_out, split })
    }
}

/// A run of which everything is checked that can be without the device.
struct Job<'a> {
    args: &'a Args,
    images: Images,
}

impl Work for Job<'_> {
    type Output = ();

    fn run<O: Ops>(self, ops: &O, device: &Device) -> anyhow::Result<()> {
        let Self { args, images: Images { source, indices, held_out, split } } = &self;
        let start = start(ops, args, source.as_ref())?;
        let views = start.views;
        let loading = args.training.loading(&args.data, &args.device);
        let transform = views.finetune();
        let loader = finetune_loader(source, indices.clone(), loading.training(indices.len()), transform)?;
        let hyper = args.hyper(&loader)?;
        let total = hyper.schedule.total;
        describe(args, indices.len(), start.params.config().classes, total);
        if !args.run.resume {
            start.report.iter().for_each(|line| note(line));
        }
        if args.run.dry_run {
            Run::check(args.run.out.as_deref(), args.run.existing())?;
            return answer(args.run.json, &serde_json::json!({ "steps": total }), "everything fits");
        }

        let run = args.run.begin("finetune", args)?;
        let task = Classification { smoothing: args.smoothing, recompute: args.training.recompute };
        let mut training = Trainer::new(ops, task, args.recipe(hyper, device), start.params);
        if args.run.resume {
            model::resume_finetuning(ops, &run.path("last"), &mut training)?;
        }
        let mut metrics = Metrics::append(&run.path("metrics.jsonl"))?;
        let checkpoint = self.train(&run, &loader, &mut training, &views, &mut metrics)?;
        let loader = evaluation_loader(held_out, loading.evaluation(), views, |class| class)?;
        let evaluation = evaluate(ops, &training.params, &loader, None, &mut |_| Ok(()))?;
        self.finish(run.dir, checkpoint, split, evaluation.accuracy(), &mut metrics)
    }
}

impl Job<'_> {
    /// Trains to the end, saving on the way; returns the last checkpoint.
    fn train<O: Ops>(
        &self,
        run: &Run,
        loader: &Loader<LabelledSample>,
        training: &mut model::Finetuning<'_, O>,
        views: &Preprocessing,
        metrics: &mut Metrics,
    ) -> anyhow::Result<PathBuf> {
        let Self { args, images } = self;
        let mut terminal = Terminal::new(args.run.json);
        let total = training.recipe.hyper.schedule.total;
        loop {
            let until = args.run.next_stop(training.optimiser.steps(), total);
            let mut listeners = Listeners { progress: &mut terminal, sinks: metrics };
            training.run(loader, until, &mut NoHooks, &mut listeners)?;
            let checkpoint = run.checkpoint(training.optimiser.steps())?;
            model::save_finetuning(training, views, images.source.class_names(), &checkpoint)?;
            run.set_last(&checkpoint, args.run.keep)?;
            if until >= total {
                return Ok(checkpoint);
            }
        }
    }

    fn finish(
        &self,
        run: PathBuf,
        checkpoint: PathBuf,
        split: &Split,
        accuracy: Accuracy,
        metrics: &mut Metrics,
    ) -> anyhow::Result<()> {
        let split = split.to_string();
        metrics.record(&Record::Classes { split: &split, accuracy: &accuracy })?;
        let sentence = format!(
            "{}\ncheckpoint: {}\nnext: cargo xtask evaluate --model {}",
            crate::evaluate::sentence(&split, &accuracy),
            checkpoint.display(),
            run.display(),
        );
        let labels = self.images.indices.len();
        answer(self.args.run.json, &Answer { run, checkpoint, labels, split, accuracy }, &sentence)
    }
}

fn describe(args: &Args, images: usize, classes: usize, steps: u64) {
    note(&format!(
        "{images} labelled images from {} in {classes} classes; {steps} steps of {} images",
        args.data.data,
        args.training.batch_size as u64 * args.training.update_freq,
    ));
}

/// Where fine-tuning starts.
struct Start<T> {
    params: Classifier<T>,
    views: Preprocessing,
    /// What was dropped, copied or new.
    report: Vec<String>,
}

fn start<O: Ops>(ops: &O, args: &Args, source: &dyn Source) -> anyhow::Result<Start<O::Tensor>> {
    let classes = source.class_names().len();
    let pooling = if args.use_cls { Pooling::Cls } else { Pooling::Mean };
    let Some(init) = &args.init else {
        let mut vit = args.model.config()?;
        if vit.relative_positions == RelativePositions::Shared {
            vit.relative_positions = RelativePositions::PerLayer;
        }
        let views = args.model.views(&vit);
        let config = ClassifierConfig::on(vit, classes, pooling);
        let params = Classifier::init(ops, &config, args.training.seed);
        let report = vec!["from scratch: every parameter is random".to_owned()];
        return Ok(Start { params, views, report });
    };
    let Located { path, entry } = locate(&init.to_string_lossy())?;
    let options = args.loading.options(args.model.image_size);
    let seed = args.training.seed;
    let loaded = model::load_for_finetuning(ops, &path, (classes, pooling), options, seed)?;
    let mut params = loaded.params;
    if let Some(rate) = args.model.drop_path {
        params.vit.set_drop_path(rate);
    }
    let vit = params.vit.config();
    if let Some(Sides(asked)) = args.model.patch_size.filter(|Sides(asked)| *asked != vit.patch) {
        anyhow::bail!(
            "--patch-size {}x{}: the checkpoint {} has patches of {}x{} pixels, which cannot be changed; leave the flag out",
            asked[0],
            asked[1],
            init.display(),
            vit.patch[0],
            vit.patch[1]
        );
    }
    vit.validate()?;
    let mut views = loaded.views;
    if let Some(entry) = entry {
        views = entry.authors_preprocessing(views.size).unwrap_or(views);
    }
    if args.model.imagenet_default_mean_and_std {
        views.normalise = Normalise::IMAGENET;
    }
    Ok(Start { params, views, report: loaded.report })
}
