//! Features of images from any layer of a model.

use crate::device::{Device, Work};
use crate::error::{Error, Result, setting, unfit};
use crate::files;
use crate::load::{Any, BareModel, ClassifierModel, MimModel, Opened, SegmenterModel};
use crate::loaders::Loading;
use crate::memory;
use crate::npy;
use crate::on::On;
use crate::progress::{Task, Watch};
use crate::run::data_stamp;
use crate::settings::{Batches, Crops, DataSettings, OpenSettings};
use beit_data::{Bands, Batch, Channels, Image, Preprocessing, Source};
use beit_heads::{Pooling, patch_rows};
use beit_ops::{Norm, Ops};
use beit_train::share_batches;
use beit_vit::{Config, Input, Vit};
use beit_weights::TensorWriter;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// Which features represent an image.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct FeatureSettings {
    /// Block whose output is taken, counted from 1; the last if left out
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub layer: Option<usize>,
    /// What represents an image
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub pool: Pool,
}

/// What represents an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// The mean of the patch tokens
    #[default]
    Mean,
    /// The class token
    Cls,
    /// Nothing: every patch token
    None,
    /// What the classifier's head sees: pooled as it was trained, and normed
    Model,
}

/// A model that is ready to make features: the output of a block, before the final norm.
///
/// ```no_run
/// let embedder = beit::Embedder::open("runs/pretrain-001", beit::Device::auto()?)?;
/// let features = embedder.embed(&beit::Image::open("photo.jpg")?)?;
/// assert_eq!(features.len(), embedder.width());
/// # Ok::<(), beit::Error>(())
/// ```
#[derive(Clone)]
pub struct Embedder {
    engine: Rc<dyn Engine>,
    /// As it was opened by, for messages.
    name: Rc<str>,
    config: Config,
    /// Rows of features that an image has.
    rows: usize,
    preprocessing: Preprocessing,
    device: Device,
}

/// Numbers that processes send at once, as text of at most 16 bytes each.
const MOST_SHARED: usize = 1 << 24;

/// Features of many images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// `[images, C]`, or of all patches `[images, N, C]`, row-major.
    pub values: Vec<f32>,
    /// The extents of the values.
    pub shape: Vec<usize>,
    /// Which images of the source these are.
    pub indices: Vec<usize>,
}

impl Features {
    /// Writes a file that ends in .safetensors (`features`, and `labels` where the source has classes) or .npy, and beside it
    /// `OUT.names.txt` with the names of the images, one a line.
    ///
    /// # Errors
    ///
    /// Another ending, or a file that cannot be written.
    pub fn write(&self, out: &Path, source: &dyn Source) -> Result<()> {
        match out.extension().and_then(|ending| ending.to_str()) {
            Some("npy") => files::write(out, &npy::floats(&self.shape, &self.values))?,
            Some("safetensors") => self.write_tensors(out, source)?,
            _ => setting!("{}: expected a name that ends in .safetensors or .npy", out.display()),
        }
        let name = |&index: &usize| source.name(index).replace(char::is_control, " ") + "\n";
        let names: String = self.indices.iter().map(name).collect();
        files::write(&names_beside(out), names.as_bytes())
    }

    fn write_tensors(&self, out: &Path, source: &dyn Source) -> Result<()> {
        let mut writer = TensorWriter::new();
        writer.floats("features", &self.shape, &self.values);
        let labels: Option<Vec<i64>> =
            self.indices.iter().map(|&index| source.label(index).map(i64::from)).collect();
        if let Some(labels) = labels {
            writer.integers("labels", &[labels.len()], &labels);
        }
        Ok(writer.write(out)?)
    }
}

/// Where [`Features::write`] writes the names of the images.
#[must_use]
pub fn names_beside(out: &Path) -> PathBuf {
    let mut path = out.as_os_str().to_owned();
    path.push(".names.txt");
    PathBuf::from(path)
}

trait Engine {
    /// `pixels [B, C, H, W] -> [B, C]`, or `[B·N, C]`.
    fn features(&self, pixels: &[f32]) -> Result<Vec<f32>>;
}

/// The part of a model that makes features.
struct Params<T> {
    vit: Vit<T>,
    pool: Pool,
    /// After pooling.
    norm: Option<Norm<T>>,
}

impl<O: Ops> Engine for On<O, Params<O::Tensor>> {
    fn features(&self, pixels: &[f32]) -> Result<Vec<f32>> {
        let Params { vit, pool, norm } = &*self.params;
        let (ops, config) = (&*self.ops, vit.config());
        let b = pixels.len() / config.numbers();
        let images = ops.upload(config.images(b), pixels);
        let input = Input { images: &images, mask: None, drop_path: None };
        let tokens = vit.infer(ops, &input, &mut |_, _| {});
        let pooled = match pool {
            Pool::Mean | Pool::Model => ops.mean_pool(&tokens, config.tokens()),
            Pool::Cls => cls_tokens(ops, &tokens, config.tokens()),
            Pool::None => ops.gather_rows(&tokens, &ops.upload_ids(&patch_rows(b, config.patches()))),
        };
        let normed = norm.as_ref().map(|norm| ops.layer_norm(&pooled, norm, config.layer_norm_eps));
        Ok(ops.read(normed.as_ref().unwrap_or(&pooled))?)
    }
}

/// The class token of each image: `tokens [B·T, C] -> [B, C]`.
pub(crate) fn cls_tokens<O: Ops>(ops: &O, tokens: &O::Tensor, t: usize) -> O::Tensor {
    let rows: Vec<u32> = (0..ops.shape(tokens).matrix()[0]).step_by(t).map(|row| row as u32).collect();
    ops.gather_rows(tokens, &ops.upload_ids(&rows))
}

/// The transformer in a model, and what a classifier's head sees of it.
pub(crate) struct Transformer<T> {
    pub(crate) vit: Vit<T>,
    pub(crate) preprocessing: Preprocessing,
    /// How the head pools, where whole images have one.
    pooling: Option<Pooling>,
    fc_norm: Option<Norm<T>>,
}

impl<T: Clone> Transformer<T> {
    /// Whatever `name` is, but no tokenizer.
    pub(crate) fn load<O: Ops<Tensor = T>>(ops: &O, name: &str, opened: &Opened<'_>) -> Result<Self> {
        Ok(match opened.any(ops)? {
            Any::Mim(model) => {
                let MimModel { params, preprocessing } = *model;
                Self { vit: params.vit, preprocessing, pooling: None, fc_norm: None }
            }
            Any::Bare(model) => {
                let BareModel { params: vit, preprocessing } = *model;
                Self { vit, preprocessing, pooling: None, fc_norm: None }
            }
            Any::Classifier(model) => {
                let ClassifierModel { params, preprocessing, .. } = *model;
                let pooling = Some(params.config().pooling);
                Self { vit: params.vit, preprocessing, pooling, fc_norm: params.fc_norm }
            }
            Any::Segmenter(model) => {
                let SegmenterModel { params, preprocessing, .. } = *model;
                Self { vit: params.vit, preprocessing, pooling: None, fc_norm: None }
            }
            Any::Tokenizer(_) => unfit!(
                "{name}: a tokenizer has no layers of features; expected a pre-trained model or a classifier"
            ),
        })
    }
}

impl Embedder {
    /// Opens a model by its name, as [`Classifier::open`](crate::Classifier::open) does, for the mean of the last block's patch
    /// tokens.
    ///
    /// # Errors
    ///
    /// Nothing of this name, a model without a transformer, or a device that fails.
    pub fn open(name: impl AsRef<Path>, device: impl Into<Device>) -> Result<Self> {
        let (open, features) = (OpenSettings::default(), FeatureSettings::default());
        Self::open_with(&name.as_ref().to_string_lossy(), &open, &features, &device.into(), &Watch::silent())
    }

    /// [`open`](Self::open) for other features, watched.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), or settings that do not fit the model.
    pub fn open_with(
        name: &str,
        open: &OpenSettings,
        features: &FeatureSettings,
        device: &Device,
        watch: &Watch,
    ) -> Result<Self> {
        let opened = Opened::new(name, open, watch)?;
        opened.refuse_beyond(device)?;
        let embedder = device.run(Open { name, opened: &opened, features })?;
        watch.note(&format!("preprocessing: {}", embedder.preprocessing));
        Ok(embedder)
    }

    /// C, the extent of one row of features.
    #[must_use]
    pub fn width(&self) -> usize {
        self.config.width
    }

    /// How many channels of a picture it sees as they are; `None` where it sees RGB of 8 bits.
    #[must_use]
    pub fn bands(&self) -> Option<Bands> {
        self.preprocessing.normalise.channels.bands()
    }

    /// How it reads the channels of pictures.
    pub(crate) fn channels(&self) -> Channels {
        self.preprocessing.normalise.channels
    }

    /// Rows and columns of patches.
    pub(crate) fn grid(&self) -> [usize; 2] {
        self.config.grid()
    }

    /// What the model sees of an image, before it is normalised.
    pub(crate) fn view(&self, image: &Image) -> Image {
        self.preprocessing.view(image)
    }

    /// One image: `[C]`, of all patches `[N, C]`.
    ///
    /// # Errors
    ///
    /// The device, or features that are not finite.
    pub fn embed(&self, image: &Image) -> Result<Vec<f32>> {
        self.preprocessing.normalise.channels.check(image)?;
        self.features(&self.preprocessing.apply(image), |_| "the image".to_owned())
    }

    /// `image` names that of a row of `pixels [B, C, H, W]`.
    fn features(&self, pixels: &[f32], image: impl Fn(usize) -> String) -> Result<Vec<f32>> {
        let features = self.engine.features(pixels)?;
        let width = self.rows * self.config.width;
        Error::unless_finite(&self.name, "features", &features, width, image)?;
        Ok(features)
    }

    /// Every image of a source. What cannot be decoded is named to the watcher and left out, up to the share that `data` allows.
    /// [Processes](Device::in_team) share the images. Rank 0 gets the features of all; the others get none, and the same shape.
    ///
    /// # Errors
    ///
    /// The data or the device, or features that are not finite.
    pub fn embed_source(
        &self,
        source: &Arc<dyn Source>,
        data: &DataSettings,
        batches: Batches,
        watch: &Watch,
    ) -> Result<Features> {
        data.check()?;
        let batch = batches.or(Batches::SMALL);
        memory::refuse_images(&self.device, &self.config, batch.min(source.len()))?;
        let team = self.device.team();
        if team.shard().of > 1 {
            let numbers = batch.saturating_mul(self.rows).saturating_mul(self.config.width);
            if numbers > MOST_SHARED {
                setting!(
                    "--batch-size {batch}: {numbers} features of a batch would be sent to rank 0; expected at most {MOST_SHARED}, take smaller batches"
                );
            }
            let stamp = format!("{}, in batches of {batch}", data_stamp(source.as_ref()));
            team.same(&stamp, |first, other| format!("its data are {other}, in rank 0 {first}"))?;
        }
        let loading = Loading::new(batch, 0, data, &self.device, watch);
        let loader = loading.pixels(source, (self.preprocessing, Crops::One))?;
        watch.begin(&Task::Images { total: loader.images() as u64 });
        let mut all = Features::default();
        let find = |batch: &Batch<Vec<f32>>| -> Result<(Vec<usize>, Vec<f32>)> {
            let features = self.features(&batch.data, |row| source.name(batch.indices[row]))?;
            Ok((batch.indices.clone(), features))
        };
        let range = 0..loader.batches_per_epoch();
        share_batches(&mut *team.ranks(), &loader, range, find, |_, (indices, values)| {
            if team.leads() {
                all.values.extend(values);
            }
            all.indices.extend(indices);
            watch.done(all.indices.len() as u64);
            Ok(())
        })?;
        watch.end();
        all.shape = match self.rows {
            1 => vec![all.indices.len(), self.config.width],
            rows => vec![all.indices.len(), rows, self.config.width],
        };
        Ok(all)
    }
}

struct Open<'a> {
    name: &'a str,
    opened: &'a Opened<'a>,
    features: &'a FeatureSettings,
}

impl Work for Open<'_> {
    type Output = Embedder;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<Embedder> {
        let Self { name, opened, features } = self;
        let transformer = Transformer::load(&**ops, name, opened)?;
        let (config, preprocessing) = (transformer.vit.config().clone(), transformer.preprocessing);
        if device.team().shard().of > 1 {
            let parameters = crate::checksum::parameters(&**ops, &transformer.vit)?;
            let model = format!("{parameters} seen as {preprocessing}, {features:?}");
            device.team().same(&model, |first, other| format!("its model is {other}, in rank 0 {first}"))?;
        }
        let params = Params::new(name, transformer, features)?;
        let rows = if features.pool == Pool::None { config.patches() } else { 1 };
        let engine = Rc::new(On::new(ops, params));
        Ok(Embedder { engine, name: name.into(), config, rows, preprocessing, device: device.clone() })
    }
}

impl<T> Params<T> {
    /// The blocks up to the layer asked for; the others are dropped, they would be work for nothing.
    fn new(name: &str, transformer: Transformer<T>, features: &FeatureSettings) -> Result<Self> {
        let Transformer { mut vit, pooling, fc_norm, .. } = transformer;
        let (depth, pool) = (vit.blocks.len(), features.pool);
        match features.layer {
            Some(layer) if !(1..=depth).contains(&layer) => {
                setting!("--layer {layer}: expected a block of the model, 1 to {depth}")
            }
            Some(layer) if layer < depth && pool == Pool::Model => setting!(
                "--layer {layer}: --pool model is what the head sees, after block {depth}; leave --layer out"
            ),
            layer => vit.blocks.truncate(layer.unwrap_or(depth)),
        }
        let (pool, norm) = match (pool, pooling) {
            (Pool::Model, Some(Pooling::Mean)) => (Pool::Mean, fc_norm),
            (Pool::Model, Some(Pooling::Cls)) => (Pool::Cls, vit.norm.take()),
            (Pool::Model, None) => {
                setting!("--pool model: {name} has no head that sees whole images; take --pool mean or cls")
            }
            (pool, _) => (pool, None),
        };
        Ok(Self { vit, pool, norm })
    }
}
