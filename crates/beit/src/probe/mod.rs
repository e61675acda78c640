//! What features are worth: judges that learn from frozen features and labels, on every layer of a model and on the pixels.

mod again;
mod attention;
mod curve;
mod knn;
mod layer;
mod lbfgs;
mod logistic;
mod rows;
mod seen;

pub(crate) use again::{Accuracies, Again, Few};
pub use attention::{AttentionMass, AttentionProbeSettings, AttentionProbed};
pub use knn::knn;
pub(crate) use knn::neighbours;
pub use layer::ProbedLayer;
pub use logistic::{LogisticRegression, LogisticSettings};
pub use rows::{Rows, standardise};

pub use beit_train::Peak;

use crate::device::Device;
use crate::error::{Result, setting, unfit};
use crate::labelled::{HeldOut, Labelled};
use crate::load::Opened;
use crate::loaders::Loading;
use crate::progress::Watch;
use crate::ranks::Team;
use crate::run::data_stamp;
use crate::settings::{Batches, DataSettings, HeldOutSettings, ModelSettings, OpenSettings, Sides};
use beit_data::{Bands, MAX_DECODED_BYTES, Preprocessing, Split};
use beit_vit::{Config, Preset};
use beit_weights::Model;
use layer::Layer;
use seen::{Look, LookThrough, Sight};
use serde::Serialize;

/// Values of pixels that fine-tuning's own comparison learns from or judges by at most, a matter of seconds: 16,000 grey images of
/// 28x28.
pub(crate) const MOST_PIXELS: usize = 16_000 * 28 * 28;
/// Bytes of pixels that a probe keeps at most.
const MOST_BYTES: usize = 1 << 29;

/// What is probed, and by which images.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct ProbeSettings {
    /// The images.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub data: DataSettings,
    /// Learn from only this many labels, equally many of each class, drawn by the seed: those that fine-tuning draws
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub labels: Option<usize>,
    /// Which images judge.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub held_out: HeldOutSettings,
    /// What represents an image
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub pool: ProbePool,
    /// Images of a batch.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub batches: Batches,
    /// Seed of the labels that are drawn
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0, value_parser = crate::settings::seeds()))]
    pub seed: u64,
}

/// What represents an image to a judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum ProbePool {
    /// The mean of the patch tokens
    #[default]
    Mean,
    /// The class token
    Cls,
    /// Both, one after the other: the linear evaluation of the released code
    ClsMean,
}

/// Who learns from features, and judges them by how well.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "judge", rename_all = "kebab-case")]
pub enum Judge {
    /// The majority of the nearest training images, [`knn`].
    Knn {
        /// How many.
        k: usize,
    },
    /// [`LogisticRegression`].
    Linear {
        /// Weight of the losses; where not given, 0.05 for pixels and 1 for features of a model.
        c: Option<f64>,
    },
}

impl Judge {
    /// What a person calls it.
    fn name(&self) -> String {
        match self {
            Self::Knn { k } => format!("{k} nearest neighbours"),
            Self::Linear { .. } => "logistic regression".to_owned(),
        }
    }

    /// Refuses numbers that no judge can have.
    ///
    /// # Errors
    ///
    /// Such a number.
    pub fn check(&self) -> Result<()> {
        match *self {
            Self::Knn { k: 0 } => setting!("--k 0: expected at least 1 neighbour"),
            Self::Linear { c: Some(c) } => logistic::check_c(c),
            _ => Ok(()),
        }
    }
}

/// Frozen features of labelled images, of every layer and of the pixels, ready to be judged.
///
/// ```no_run
/// use beit::probe::{Judge, Probe, ProbeSettings};
/// let probe = Probe::open("runs/pretrain-001", &ProbeSettings::default(), &beit::Device::auto()?)?;
/// for layer in probe.judged(&Judge::Knn { k: 10 }, &beit::Watch::silent())?.layers {
///     println!("{:10} {:.4}", layer.features, layer.accuracy);
/// }
/// # Ok::<(), beit::Error>(())
/// ```
pub struct Probe {
    model: Option<String>,
    names_tokens: bool,
    data: String,
    split: HeldOut,
    pool: ProbePool,
    classes: usize,
    /// Of the images to learn from, and of those that judge.
    labels: [Vec<u32>; 2],
    layers: Vec<Layer>,
    team: Team,
}

/// What a judge found.
#[derive(Clone, Debug, Serialize)]
pub struct Probed {
    /// The model's name, if one was looked through.
    pub model: Option<String>,
    /// Whether it was trained to name the tokens of masked patches, and nothing after that.
    pub names_tokens: bool,
    /// The source.
    pub data: String,
    /// Who judged.
    #[serde(flatten)]
    pub judge: Judge,
    /// What represented an image.
    pub pool: ProbePool,
    /// Images that were learnt from.
    pub labels: usize,
    /// Which images were named.
    pub split: String,
    /// How many.
    pub images: usize,
    /// The pixels, unless they are too many, and every block.
    pub layers: Vec<ProbedLayer>,
}

impl Probe {
    /// Opens a model by its name, as [`Embedder::open`](crate::Embedder::open) does, and looks at all images through it.
    ///
    /// # Errors
    ///
    /// As [`open_with`](Self::open_with).
    pub fn open(name: &str, settings: &ProbeSettings, device: &Device) -> Result<Self> {
        Self::open_with(Some(name), &OpenSettings::default(), settings, device, &Watch::silent())
    }

    /// [`open`](Self::open) in another way, watched. Without a model there are pixels alone. All features are held in memory.
    ///
    /// # Errors
    ///
    /// Data without labels, or without test images where these shall judge; nothing of this name, a model without a transformer, or
    /// a device that fails.
    pub fn open_with(
        name: Option<&str>,
        open: &OpenSettings,
        settings: &ProbeSettings,
        device: &Device,
        watch: &Watch,
    ) -> Result<Self> {
        let ProbeSettings { data, labels, held_out, pool, batches, seed } = settings;
        let opened = name.map(|name| Opened::new(name, open, watch)).transpose()?;
        let data = &match (&opened, name) {
            (Some(opened), Some(name)) => data.seen_by(name, opened.channels()?)?,
            _ => data.clone(),
        };
        let images = Labelled::open(data, *labels, *held_out, *seed, watch)?;
        if images.split == HeldOut::Split(Split::Train) {
            unfit!(
                "{}: no test images to judge by; hold out training images with --validation 0.2",
                data.data
            );
        }
        let loading = Loading::new(batches.or(Batches::LARGE), 0, data, device, watch);
        let (team, sources) = (device.team(), images.sources());
        let stamps = sources.each_ref().map(|source| data_stamp(source.as_ref()));
        team.same(&stamps.join("; "), |first, other| format!("its data are {other}, in rank 0 {first}"))?;
        let look = Look { sources, loading: &loading, team, most_bytes: Some(MOST_BYTES) };
        let sight = match (&opened, name) {
            (Some(opened), Some(name)) => through_model(name, opened, *pool, look, device)?,
            _ => without_model(open, data.bands(), &look)?,
        };
        Ok(Self {
            model: name.map(str::to_owned),
            names_tokens: opened.is_some_and(|opened| matches!(opened.checkpoint.model(), Model::Mim(_))),
            data: data.data.clone(),
            split: images.split,
            pool: *pool,
            classes: images.source.class_names().len(),
            labels: sight.labels().map(<[u32]>::to_vec),
            layers: Layer::all(sight)?,
            team: team.clone(),
        })
    }

    /// How a judge does with the pixels and with every layer. Several processes share the layers.
    ///
    /// # Errors
    ///
    /// Numbers that no judge can have, or more neighbours than images.
    pub fn judged(&self, judge: &Judge, watch: &Watch) -> Result<Probed> {
        judge.check()?;
        let labels = self.labels.each_ref().map(Vec::as_slice);
        let judged = |layer: &Layer| layer.judged(judge, labels, self.classes);
        let layers: Vec<ProbedLayer> = self.team.shared(&self.layers, judged)?;
        for ProbedLayer { features, .. } in layers.iter().filter(|layer| layer.converged == Some(false)) {
            watch.note(&format!("{features}: logistic regression did not come to its end"));
        }
        Ok(Probed {
            model: self.model.clone(),
            names_tokens: self.names_tokens,
            data: self.data.clone(),
            judge: *judge,
            pool: self.pool,
            labels: labels[0].len(),
            split: self.split.to_string(),
            images: labels[1].len(),
            layers,
        })
    }
}

impl Probed {
    /// A heading, a line each for pixels and blocks, and what the blocks' accuracies say, for a person.
    #[must_use]
    pub fn table(&self) -> String {
        let (judge, labels, split, images) = (self.judge.name(), self.labels, &self.split, self.images);
        let mut text = format!(
            "{judge}, {labels} labels, {split} accuracy on {images} images\nfeatures   width  accuracy"
        );
        for ProbedLayer { features, width, accuracy, .. } in &self.layers {
            text += &format!("\n{features:9} {width:6}    {accuracy:.4}");
        }
        self.explained().into_iter().for_each(|sentence| text += &format!("\n{sentence}"));
        text
    }
}

fn through_model(
    name: &str,
    opened: &Opened<'_>,
    pool: ProbePool,
    look: Look<'_>,
    device: &Device,
) -> Result<Sight> {
    opened.refuse_beyond(device)?;
    device.run(LookThrough { look, name, opened, pool })
}

/// Pixels alone, prepared as for a new model.
fn without_model(open: &OpenSettings, bands: Option<Bands>, look: &Look<'_>) -> Result<Sight> {
    let size = open.image_size.map_or(Config::new(Preset::Tiny).image, |Sides(size)| size);
    let bytes = size.iter().try_fold(3_usize, |bytes, &side| bytes.checked_mul(side));
    if bytes.is_none_or(|bytes| bytes == 0 || bytes as u64 > MAX_DECODED_BYTES) {
        setting!("--image-size {}x{}: expected from 1 pixel to {MAX_DECODED_BYTES} bytes", size[0], size[1]);
    }
    if open.preprocess.is_some() {
        setting!("--preprocess: expected a --model with it");
    }
    let preprocessing =
        ModelSettings::default().preprocessing(&Config { image: size, ..Config::new(Preset::Tiny) }, bands);
    look.see(preprocessing, &mut |_| Ok(Vec::new()))
}

/// The share of the images that judge which logistic regression on the pixels names rightly, having learnt from those that a model is
/// fine-tuned on. `None` where either have more than [`MOST_PIXELS`] values.
pub(crate) fn pixels_baseline(
    images: &Labelled,
    preprocessing: Preprocessing,
    loading: &Loading,
) -> Result<Option<f64>> {
    let [height, width] = preprocessing.size;
    let sources = images.sources();
    if sources.iter().any(|source| source.len().saturating_mul(height * width) > MOST_PIXELS) {
        return Ok(None);
    }
    // Whoever watches has heard of what cannot be decoded.
    let loading = Loading { watch: Watch::silent(), ..loading.clone() };
    // It is done by one process.
    let team = &Team::alone();
    let look = Look { sources, loading: &loading, team, most_bytes: Some(usize::MAX) };
    let sight = look.see(preprocessing, &mut |_| Ok(Vec::new()))?;
    let labels = sight.labels();
    let pixels = Layer::of_pixels(&sight);
    if pixels.values() > MOST_PIXELS {
        return Ok(None);
    }
    let classes = images.source.class_names().len();
    Ok(Some(pixels.judged(&Judge::Linear { c: None }, labels, classes)?.accuracy))
}
