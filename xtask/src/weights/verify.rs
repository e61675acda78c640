//! `weights verify`: whether a checkpoint is what the catalogue says.

use crate::device::{Device, DeviceArgs, Work};
use crate::hub::fetch_entry;
use crate::model::{self, Any};
use crate::output::answer;
use crate::run::checkpoint_of;
use anyhow::{Context, bail};
use beit_data::{Image, Preprocessing};
use beit_heads::patch_rows;
use beit_ops::Ops;
use beit_vit::Input;
use beit_weights::catalogue::{Entry, Family, Fixture};
use beit_weights::{Checkpoint, LoadOptions, Model};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Check an official checkpoint: model, number of parameters, every number finite, and the published logits of one picture
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask weights verify microsoft/beit-base-patch16-224
  cargo xtask weights verify beit_base_patch16_224_pt22k --path beit_base_patch16_224_pt22k.pth
  cargo xtask weights verify microsoft/beit-base-patch16-224 --picture 000000039769.jpg")]
pub(crate) struct Args {
    /// Official name, or its name on the hub
    id: String,
    /// The file or folder, where it is not to be fetched
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// The picture whose logits are published: 000000039769.jpg of COCO's val2017
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Check {
    what: &'static str,
    /// None where it could not be looked at.
    passed: Option<bool>,
    found: String,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let entry = Entry::find(&args.id).with_context(|| {
        format!("{}: no official checkpoint; `cargo xtask weights list` names them", args.id)
    })?;
    args.device.check()?;
    let path = match &args.path {
        Some(path) => checkpoint_of(path)?,
        None => fetch_entry(entry, &args.id)?,
    };
    let checkpoint = Checkpoint::open(&path)?;
    let mut checks = vec![kind(entry, &checkpoint), parameters(entry, &checkpoint), finite(&checkpoint)?];
    checks.extend(fixture(&args.device, entry, &checkpoint, args.picture.as_deref())?);
    let verdict = |check: &Check| match check.passed {
        Some(true) => "as published",
        Some(false) => "DIFFERS",
        None => "not checked",
    };
    let lines: Vec<_> = checks
        .iter()
        .map(|check| format!("{:12}  {}: {}", verdict(check), check.what, check.found))
        .collect();
    answer(
        args.json,
        &serde_json::json!({ "name": entry.name, "path": path, "checks": checks }),
        &lines.join("\n"),
    )?;
    match checks.iter().find(|check| check.passed == Some(false)) {
        Some(check) => {
            bail!("{} is not {}: {} differs; fetch it again", path.display(), entry.name, check.what)
        }
        None => Ok(()),
    }
}

fn kind(entry: &Entry, checkpoint: &Checkpoint) -> Check {
    let found = checkpoint.model();
    let passed = match entry.model() {
        Some(expected) => sizes(&expected) == sizes(found),
        // Segmenters, whose heads are not built here.
        None => matches!(found, Model::Segmenter(_)),
    };
    let (grid, width) = found.vit().map_or(([0; 2], 0), |vit| (vit.grid(), vit.width));
    let found = match found {
        Model::Tokenizer(config) => format!("{} of {} visual tokens", found.name(), config.vocab),
        _ => format!("{}, width {width}, {}x{} patches", found.name(), grid[0], grid[1]),
    };
    Check { what: "model", passed: Some(passed), found }
}

/// What must agree: not the epsilon, the drop path and the names of classes, which tools write as they like.
fn sizes(model: &Model) -> String {
    let heads = match model {
        Model::Mim(config) => config.vocab,
        Model::Classifier(config) => config.classifier.classes,
        Model::Tokenizer(config) => config.vocab,
        _ => 0,
    };
    let vit = model.vit().map(|vit| {
        (
            vit.image,
            vit.patch,
            vit.width,
            vit.depth,
            vit.heads,
            vit.hidden,
            vit.absolute_positions,
            vit.relative_positions,
        )
    });
    format!("{} {heads} {vit:?}", model.name())
}

fn parameters(entry: &Entry, checkpoint: &Checkpoint) -> Check {
    let weights = checkpoint.weights();
    // Running statistics of batch norms are no parameters.
    let counted = |name: &&str| {
        !["running_mean", "running_var", "num_batches_tracked"].iter().any(|end| name.ends_with(end))
    };
    let elements = |name: &str| weights.shape(name).map_or(0, |shape| shape.iter().product::<usize>());
    let found: usize = weights.names().filter(counted).map(elements).sum();
    let passed = Some(found == entry.parameters);
    Check { what: "parameters", passed, found: format!("{found}, published {}", entry.parameters) }
}

fn finite(checkpoint: &Checkpoint) -> anyhow::Result<Check> {
    let weights = checkpoint.weights();
    for name in weights.names().filter(|name| !name.ends_with("num_batches_tracked")) {
        if let Some(value) = weights.floats(name)?.into_iter().find(|value| !value.is_finite()) {
            return Ok(Check {
                what: "numbers",
                passed: Some(false),
                found: format!("`{name}` has {value}"),
            });
        }
    }
    Ok(Check { what: "numbers", passed: Some(true), found: "all finite".into() })
}

fn fixture(
    device: &DeviceArgs,
    entry: &Entry,
    checkpoint: &Checkpoint,
    picture: Option<&Path>,
) -> anyhow::Result<Option<Check>> {
    let what = "logits";
    let Some(fixture) = &entry.fixture else { return Ok(None) };
    let Some(picture) = picture else {
        let found = format!("give {} with --picture", fixture.picture);
        return Ok(Some(Check { what, passed: None, found }));
    };
    let image = Image::open(picture)?;
    let found = device.run(Question { checkpoint, fixture, image: &image })?;
    let class = fixture.class.is_none_or(|class| found.class == Some(class));
    let pairs = found.first.iter().flatten().zip(fixture.logits.iter().flatten());
    let worst = pairs.fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    let passed = Some(class && worst <= fixture.tolerance);
    let found = format!("at most {worst:.1e} from the published ones, allowed {:.0e}", fixture.tolerance);
    Ok(Some(Check { what, passed, found }))
}

/// The first logits of a picture, and its class.
pub(crate) struct Logits {
    first: Vec<[f32; 3]>,
    class: Option<usize>,
}

/// What a checkpoint says to a picture.
struct Question<'a> {
    checkpoint: &'a Checkpoint,
    fixture: &'a Fixture,
    image: &'a Image,
}

impl Work for Question<'_> {
    type Output = Logits;

    fn run<O: Ops>(self, ops: &O, _: &Device) -> anyhow::Result<Logits> {
        logits(ops, &self)
    }
}

fn logits<O: Ops>(ops: &O, question: &Question<'_>) -> anyhow::Result<Logits> {
    let Question { checkpoint, fixture, image } = *question;
    let mut any = model::any(ops, checkpoint, LoadOptions::default())?;
    let prepared = |views: Preprocessing| {
        let published = fixture.family == Family::Transformers;
        let views = if published { Preprocessing::hugging_face(views.size) } else { views };
        let [height, width] = views.size;
        ops.upload([1, 3, height, width], &views.apply(image))
    };
    let first = |rows: &[f32], width: usize| -> Vec<[f32; 3]> {
        let rows = rows.chunks_exact(width).take(fixture.logits.len());
        rows.map(|row| std::array::from_fn(|i| row[i])).collect()
    };
    match &mut any {
        Any::Classifier(model) => {
            model.params.vit.set_layer_norm_eps(fixture.layer_norm_eps);
            let logits = ops.read(&model.params.infer(ops, &prepared(model.views)))?;
            let class = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            Ok(Logits { first: first(&logits, model.params.config().classes), class })
        }
        Any::Mim(model) => {
            model.params.vit.set_layer_norm_eps(fixture.layer_norm_eps);
            let n = model.params.vit.config().patches();
            let mask = ops.upload([1, n], &vec![1.0; n]);
            let images = prepared(model.views);
            let input = Input { images: &images, mask: Some(&mask), drop_path: None };
            let rows = ops.upload_ids(&patch_rows(1, n));
            let logits = ops.read(&model.params.infer(ops, &input, &rows))?;
            Ok(Logits { first: first(&logits, model.params.config().vocab), class: None })
        }
        Any::Tokenizer(_) => bail!("a tokenizer has no published logits"),
    }
}
