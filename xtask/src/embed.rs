//! `embed`: the features of images.

use crate::data::{Loading, pixels_loader};
use crate::device::{Device, DeviceArgs, Work};
use crate::files::{self, Files};
use crate::model::Any;
use crate::model_source::ModelSource;
use crate::npy;
use crate::output::{answer, images_bar};
use crate::usage::usage;
use anyhow::bail;
use beit_data::{Loader, Preprocessing, Source, Split, open};
use beit_heads::{Pooling, patch_rows};
use beit_ops::{Norm, Ops};
use beit_vit::{Config, Input, Vit};
use beit_weights::TensorWriter;
use clap::{Args as ClapArgs, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
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
    model: ModelSource,
    /// A source instead of images: fashion-mnist (embedded), folder:DIR, idx:DIR
    #[arg(long, value_name = "SPEC")]
    data: Option<String>,
    /// The training images of the source instead of the test images
    #[arg(long, requires = "data")]
    train_split: bool,
    /// Share of the files that may be undecodable
    #[arg(long, default_value_t = 0.01, value_name = "SHARE")]
    max_bad_share: f64,
    /// File to write: .safetensors or .npy
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Block whose output is taken, counted from 1; the last if left out
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// What represents an image
    #[arg(long, value_enum, default_value = "mean")]
    pool: Pool,
    /// Images of a batch
    #[arg(long, default_value_t = 16)]
    batch_size: usize,
    #[command(flatten)]
    device: DeviceArgs,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pool {
    /// The mean of the patch tokens
    Mean,
    /// The class token
    Cls,
    /// Nothing: every patch token
    None,
    /// What the classifier's head sees: pooled as it was trained, and normed
    Model,
}

#[derive(Clone, Copy)]
enum Format {
    Safetensors,
    Npy,
}

/// The part of a model that makes features.
struct Embedder<T> {
    config: Config,
    vit: Vit<T>,
    pool: Pool,
    /// After pooling.
    norm: Option<Norm<T>>,
    transform: Preprocessing,
}

/// Features of all images, and which they are.
#[derive(Default)]
pub(crate) struct Features {
    values: Vec<f32>,
    indices: Vec<usize>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let format = format_of(&args.out)?;
    let (features, shape, source) = args.device.run(args)?;
    match format {
        Format::Npy => files::write(&args.out, &npy::floats(&shape, &features.values))?,
        Format::Safetensors => write_tensors(&args.out, &shape, &features, source.as_ref())?,
    }
    write_names(&args.out, &features, source.as_ref())?;
    let sentence = format!("features {shape:?}: {}", args.out.display());
    answer(args.json, &json!({ "out": args.out, "features": shape }), &sentence)
}

impl Work for &Args {
    /// The features, their extents, and where the images are from.
    type Output = (Features, Vec<usize>, Arc<dyn Source>);

    fn run<O: Ops>(self, ops: &O, _: &Device) -> anyhow::Result<Self::Output> {
        let embedder = embedder(self, ops)?;
        let source = source(self)?;
        let loading = Loading {
            batch_size: self.batch_size,
            seed: 0,
            workers: self.device.workers(),
            max_bad_share: self.max_bad_share,
        };
        let loader = pixels_loader(&source, loading.evaluation(), embedder.transform)?;
        let features = embedder.all(ops, &loader)?;
        let shape = embedder.shape(features.indices.len());
        Ok((features, shape, source))
    }
}

fn format_of(out: &Path) -> anyhow::Result<Format> {
    match out.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => Ok(Format::Safetensors),
        Some("npy") => Ok(Format::Npy),
        _ => usage!("--out {}: expected a name that ends in .safetensors or .npy", out.display()),
    }
}

fn source(args: &Args) -> anyhow::Result<Arc<dyn Source>> {
    let split = if args.train_split { Split::Train } else { Split::Test };
    match &args.data {
        Some(spec) => Ok(open(spec, split)?),
        None => Ok(Arc::new(Files::find(&args.images)?)),
    }
}

/// The blocks up to the layer asked for; the others are dropped, they would be work for nothing.
fn embedder<O: Ops>(args: &Args, ops: &O) -> anyhow::Result<Embedder<O::Tensor>> {
    let name = &args.model.model;
    let (mut vit, fc_norm, pooling, views) = match args.model.any(ops)? {
        Any::Mim(model) => (model.params.vit, None, None, model.views),
        Any::Classifier(model) => {
            let (pooling, params) = (model.params.config().pooling, model.params);
            (params.vit, params.fc_norm, Some(pooling), model.views)
        }
        Any::Tokenizer(_) => {
            bail!(
                "{}: a tokenizer has no layers of features; expected a pre-trained model or a classifier",
                name
            )
        }
    };
    let config = vit.config().clone();
    let depth = config.depth;
    match args.layer {
        Some(layer) if !(1..=depth).contains(&layer) => {
            usage!("--layer {layer}: expected a block of the model, 1 to {depth}")
        }
        Some(layer) if layer < depth && args.pool == Pool::Model => {
            usage!(
                "--layer {layer}: --pool model is what the head sees, after block {depth}; leave --layer out"
            )
        }
        layer => vit.blocks.truncate(layer.unwrap_or(depth)),
    }
    let (pool, norm) = match (args.pool, pooling) {
        (Pool::Model, Some(Pooling::Mean)) => (Pool::Mean, fc_norm),
        (Pool::Model, Some(Pooling::Cls)) => (Pool::Cls, vit.norm.take()),
        (Pool::Model, None) => {
            usage!("--pool model: {} has no head that sees whole images; take --pool mean or cls", name)
        }
        (pool, _) => (pool, None),
    };
    Ok(Embedder { config, vit, pool, norm, transform: views })
}

impl<T: Clone> Embedder<T> {
    fn all<O: Ops<Tensor = T>>(&self, ops: &O, loader: &Loader<Vec<f32>>) -> anyhow::Result<Features> {
        let bar = images_bar(loader.images());
        let mut all = Features::default();
        for batch in loader.epoch(0)? {
            let batch = batch?;
            all.values.extend(ops.read(&self.one_batch(ops, batch.indices.len(), &batch.data))?);
            all.indices.extend(batch.indices);
            bar.set_position(all.indices.len() as u64);
        }
        bar.finish_and_clear();
        Ok(all)
    }

    /// `[B, C]`, or `[B·N, C]`.
    fn one_batch<O: Ops<Tensor = T>>(&self, ops: &O, b: usize, pixels: &[f32]) -> T {
        let [height, width] = self.config.image;
        let images = ops.upload([b, 3, height, width], pixels);
        let input = Input { images: &images, mask: None, drop_path: None };
        let tokens = self.vit.infer(ops, &input, &mut |_, _| {});
        let pooled = match self.pool {
            Pool::Mean | Pool::Model => ops.mean_pool(&tokens, self.config.tokens()),
            Pool::Cls => {
                let rows: Vec<u32> = (0..b).map(|image| (image * self.config.tokens()) as u32).collect();
                ops.gather_rows(&tokens, &ops.upload_ids(&rows))
            }
            Pool::None => ops.gather_rows(&tokens, &ops.upload_ids(&patch_rows(b, self.config.patches()))),
        };
        self.norm
            .as_ref()
            .map(|norm| ops.layer_norm(&pooled, norm, self.config.layer_norm_eps))
            .unwrap_or(pooled)
    }

    fn shape(&self, images: usize) -> Vec<usize> {
        match self.pool {
            Pool::None => vec![images, self.config.patches(), self.config.width],
            _ => vec![images, self.config.width],
        }
    }
}

fn write_tensors(
    path: &Path,
    shape: &[usize],
    features: &Features,
    source: &dyn Source,
) -> anyhow::Result<()> {
    let mut writer = TensorWriter::new();
    writer.floats("features", shape, &features.values);
    let labels: Option<Vec<i64>> =
        features.indices.iter().map(|&index| source.label(index).map(i64::from)).collect();
    if let Some(labels) = labels {
        writer.integers("labels", &[labels.len()], &labels);
    }
    Ok(writer.write(path)?)
}

fn write_names(out: &Path, features: &Features, source: &dyn Source) -> anyhow::Result<()> {
    let name = |&index: &usize| source.name(index).replace(char::is_control, " ") + "\n";
    let names: String = features.indices.iter().map(name).collect();
    let mut path = out.as_os_str().to_owned();
    path.push(".names.txt");
    files::write(Path::new(&path), names.as_bytes())
}
