//! `finetune`: classification.

use crate::data::{DataArgs, Views, evaluation_loader, finetune_loader, same_classes};
use crate::device::{Cpu, DeviceArgs};
use crate::flags::{ModelArgs, RunArgs, Sides, TrainingArgs};
use crate::model;
use crate::model_source::{LoadArgs, Located, catalogue_views, locate};
use crate::output::{Terminal, answer, note};
use crate::run::Run;
use crate::usage::usage;
use anyhow::Context;
use beit_data::{Normalise, Source, Split, stratified_subset, training_labels};
use beit_heads::{Classifier, ClassifierConfig, Pooling};
use beit_train::{Accuracy, FinetuneRecipe, Finetuning, Hyper, Listeners, Metrics, evaluate};
use beit_vit::RelativePositions;
use clap::Args as ClapArgs;
use serde::Serialize;
use std::path::PathBuf;

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
    let ops = args.device.open()?;
    if !(args.layer_decay > 0.0 && args.layer_decay <= 1.0) {
        usage!("--layer-decay {}: expected more than 0 and at most 1", args.layer_decay);
    }
    if !(0.0..1.0).contains(&args.smoothing) {
        usage!("--smoothing {}: expected at least 0 and less than 1", args.smoothing);
    }
    if args.labels == Some(0) {
        usage!("--labels 0: expected at least 1");
    }
    args.training.check()?;
    let source = args.data.open(Split::Train)?;
    let labels = training_labels(source.as_ref()).with_context(|| args.data.data.clone())?;
    let indices = match args.labels {
        Some(n) => stratified_subset(&labels, n, args.training.seed)?,
        None => (0..source.len()).collect(),
    };
    // Looked at before training, so that hours of it are not followed by images that cannot be judged.
    let (held_out, split) = args.data.held_out()?;
    beit_data::labels(held_out.as_ref()).with_context(|| format!("{}, {split} images", args.data.data))?;
    same_classes(held_out.as_ref(), source.class_names(), &format!("{}, {split} images,", args.data.data))?;
    let start = start(&ops, &args, source.as_ref())?;
    let views = start.views;
    let loading = args.training.loading(&args.data, &args.device);
    let images = indices.len();
    let loader = finetune_loader(&source, indices, loading.training(images), views.finetune())?;
    let steps_per_epoch = (loader.batches_per_epoch() / args.training.update_freq.max(1)).max(1);
    let layer_decay = (args.layer_decay < 1.0).then_some(args.layer_decay);
    let hyper = Hyper { layer_decay, ..args.training.hyper(steps_per_epoch, LR)? };
    note(&format!(
        "{images} labelled images from {} in {} classes; {} steps of {} images",
        args.data.data,
        start.config.classes,
        hyper.schedule.total,
        args.training.batch_size as u64 * args.training.update_freq,
    ));
    if !args.run.resume {
        start.report.iter().for_each(|line| note(line));
    }
    if args.run.dry_run {
        Run::check(args.run.out.as_deref(), args.run.existing())?;
        return answer(
            args.run.json,
            &serde_json::json!({ "steps": hyper.schedule.total }),
            "everything fits",
        );
    }

    let run = Run::open(args.run.out.as_deref(), "finetune", args.run.existing())?;
    note(&format!("run folder: {}", run.dir.display()));
    if !args.run.resume {
        run.write_config(&args)?;
    }
    let recipe = FinetuneRecipe {
        accumulate: args.training.update_freq,
        hyper,
        smoothing: args.smoothing,
        report_every: args.run.report_every,
        seed: args.training.seed,
    };
    let mut training = Finetuning::new(&ops, start.config, recipe, start.params);
    if args.run.resume {
        model::resume_finetuning(&ops, &run.path("last"), &mut training)?;
    }
    let mut metrics = Metrics::append(&run.path("metrics.jsonl"))?;
    let mut terminal = Terminal::new(args.run.json);
    let total = hyper.schedule.total;
    let checkpoint = loop {
        let until = args.run.next_stop(training.optimiser.steps(), total);
        let mut on_report = |report: &beit_train::StepReport| metrics.line(report);
        training.run(
            &loader,
            until,
            &mut Listeners { progress: &mut terminal, on_report: &mut on_report },
        )?;
        let checkpoint = run.checkpoint(training.optimiser.steps())?;
        model::save_finetuning(&training, &views, source.class_names(), &checkpoint)?;
        run.set_last(&checkpoint, args.run.keep)?;
        if until >= total {
            break checkpoint;
        }
    };
    let loader = evaluation_loader(&held_out, loading.evaluation(), views.evaluate(), |class| class)?;
    let evaluation = evaluate(&ops, &training.config, &training.params, &loader, None, &mut |_| Ok(()))?;
    let accuracy = evaluation.accuracy();
    metrics.line(
        &serde_json::json!({ "phase": "evaluate", "split": split.to_string(), "accuracy": accuracy }),
    )?;
    let sentence = format!(
        "{}\ncheckpoint: {}\nnext: cargo xtask evaluate --model {}",
        crate::evaluate::sentence(&split.to_string(), &accuracy),
        checkpoint.display(),
        run.dir.display(),
    );
    let answer_value =
        Answer { run: run.dir, checkpoint, labels: images, split: split.to_string(), accuracy };
    answer(args.run.json, &answer_value, &sentence)
}

/// Where fine-tuning starts.
struct Start {
    config: ClassifierConfig,
    params: Classifier<<Cpu as beit_ops::Ops>::Tensor>,
    views: Views,
    /// What was dropped, copied or new.
    report: Vec<String>,
}

fn start(ops: &Cpu, args: &Args, source: &dyn Source) -> anyhow::Result<Start> {
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
        return Ok(Start { config, params, views, report });
    };
    let Located { path, entry } = locate(&init.to_string_lossy())?;
    let options = args.loading.options(args.model.image_size);
    let seed = args.training.seed;
    let loaded = model::load_for_finetuning(ops, &path, (classes, pooling), options, seed)?;
    let mut config = loaded.config;
    config.vit.drop_path = args.model.drop_path.unwrap_or(config.vit.drop_path);
    if let Some(Sides(asked)) = args.model.patch_size.filter(|Sides(asked)| *asked != config.vit.patch) {
        anyhow::bail!(
            "--patch-size {}x{}: the checkpoint {} has patches of {}x{} pixels, which cannot be changed; leave the flag out",
            asked[0],
            asked[1],
            init.display(),
            config.vit.patch[0],
            config.vit.patch[1]
        );
    }
    config.vit.validate()?;
    let mut views = loaded.views;
    if let Some(entry) = entry {
        views = catalogue_views(views, entry);
    }
    if args.model.imagenet_default_mean_and_std {
        views.normalise = Normalise::IMAGENET;
    }
    Ok(Start { config, params: loaded.params, views, report: loaded.report })
}
