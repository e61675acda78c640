//! Checkpoints: configuration, parameters and preprocessing together, in a folder or in one file.

use crate::config::{CONFIG, Described, Inferred, Labelled, Model, Origin, Taps, decoder_init, unnamed};
use crate::error::{Error, Result};
use crate::finetune::is_pixel_head;
use crate::labels::for_classes;
use crate::load::{Allowance, LoadOptions, Source, initial};
use crate::names::Parameters;
use crate::report::Report;
use crate::weights::Weights;
use beit_data::Preprocessing;
use beit_heads::{Classifier, Mim, PixelMim};
use beit_ops::{Device, Shape, Tree};
use beit_tokenizer::{Decoder, Encoder, KMeans, Tokenizer};
use beit_vit::Vit;
use std::path::{Path, PathBuf};

/// The files that may hold the parameters of a folder, in the order in which they are looked for.
pub(crate) const WEIGHTS: [&str; 5] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "encoder.pkl",
];
/// The half of a tokenizer that transformers does not have. In a file of its own, so that the other is read strictly.
pub(crate) const DECODERS: [&str; 2] = ["decoder.safetensors", "decoder.pkl"];

/// Words for what a file does not say of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Number of heads, which a model without relative positions does not show.
    pub heads: Option<usize>,
    /// Width and number of heads of the model that it is likely one of, for where nothing else tells the heads.
    pub likely: Option<[usize; 2]>,
    /// Height and width of its pictures, where the positions of a file without a configuration may be of them. Where they cannot, the
    /// positions are those of a square.
    pub image: Option<[usize; 2]>,
    /// Which parameters are taken of a file that has an average beside those of the last step; the average where nothing is said.
    pub parameters: Option<Parameters>,
    /// Which blocks the head of a segmenter reads, where its file leaves it open.
    pub taps: Taps,
}

/// An opened checkpoint. The numbers stay in the file until a model is made of them.
pub struct Checkpoint {
    path: PathBuf,
    model: Model,
    origin: Origin,
    weights: Weights,
    decoder: Option<Weights>,
    preprocessing: Option<Preprocessing>,
    notes: Vec<String>,
}

/// A model from a checkpoint.
#[derive(Clone, Debug)]
pub struct Loaded<P> {
    /// Its parameters, on a device. They know their sizes.
    pub params: P,
    /// What became of the checkpoint's tensors.
    pub report: Report,
}

impl Checkpoint {
    /// Opens a folder that this project, transformers or timm wrote, or a single file in any layout: safetensors, `.pth`, `.bin`, `.pkl`.
    ///
    /// A file that lies beside a `config.json` and has a usual name is read with it; of other files the shapes of the tensors tell the
    /// model.
    ///
    /// # Errors
    ///
    /// When there is no checkpoint, or it is damaged or of a model that this project does not have.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, OpenOptions::default())
    }

    /// [`open`](Self::open) with words for what a file does not say of itself.
    ///
    /// # Errors
    ///
    /// As those of [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, options: OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        let (folder, file) = locate(path)?;
        let described = Described::by_folder(folder.as_deref())?;
        // What is wrong with a configuration says more than what is wrong with the file beside it.
        let weights = Weights::open_with(file, options.parameters);
        let weights = weights.map_err(|error| described.fault().unwrap_or(error))?;
        let described = described.or_by_file(&weights)?;
        let Inferred { mut model, guesses } = described.model(&weights, &options)?;
        let inside =
            |name: &&str| folder.as_ref().map(|folder| folder.join(name)).filter(|path| path.exists());
        let decoder = DECODERS.iter().find_map(inside).map(Weights::open).transpose()?;
        let silent = matches!(described.origin(&model), Origin::Shapes);
        if let (Model::Tokenizer(config), Some(decoder), true) = (&mut model, &decoder, silent) {
            config.decoder_init = decoder_init(decoder)?;
        }
        name_classes(&mut model, described.class_names());
        let preprocessing = described.preprocessing(model.vit())?;
        let origin = described.origin(&model);
        let guesses = guesses.iter().map(ToString::to_string);
        let taps = match &mut model {
            Model::Segmenter(segmenter) => segmenter.settle(options.taps),
            _ => None,
        };
        let notes = weights.choice().map(str::to_owned).into_iter().chain(guesses).chain(taps).collect();
        Ok(Self { path: path.to_owned(), model, origin, weights, decoder, preprocessing, notes })
    }

    /// What was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The names of the classes, in the order of their numbers; none where this is neither a classifier nor a segmenter.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        self.model.labels().unwrap_or_default()
    }

    /// Where [`model`](Self::model) is from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What was guessed of the model, which of several models was taken, and which blocks a segmentation head reads where its file leaves
    /// that open: sentences for whoever uses it.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The parameters; of a tokenizer, those of the encoder.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The parameters of a tokenizer's decoder, where it is there.
    #[must_use]
    pub fn decoder(&self) -> Option<&Weights> {
        self.decoder.as_ref()
    }

    /// How pictures become the pixels of this model, where the checkpoint says it.
    #[must_use]
    pub fn preprocessing(&self) -> Option<&Preprocessing> {
        self.preprocessing.as_ref()
    }

    /// The model for masked image modelling.
    ///
    /// # Errors
    ///
    /// When this is something else, or file and configuration do not fit.
    pub fn mim<O: Device>(&self, ops: &O, options: LoadOptions) -> Result<Loaded<Mim<O::Tensor>>> {
        let Model::Mim(mut config) = self.model.clone() else {
            return Err(self.wrong_kind("a model for masked image modelling"));
        };
        let windows = resize(&self.path, &mut config.vit, options)?;
        let (params, report) = self.strict(ops, &Mim::<Shape>::shapes(&config), options, windows)?;
        Ok(Loaded { params, report })
    }

    /// The classifier.
    ///
    /// # Errors
    ///
    /// When this is something else, or file and configuration do not fit.
    pub fn classifier<O: Device>(
        &self,
        ops: &O,
        options: LoadOptions,
    ) -> Result<Loaded<Classifier<O::Tensor>>> {
        let Model::Classifier(mut config) = self.model.clone() else {
            return Err(self.wrong_kind("a classifier"));
        };
        let windows = resize(&self.path, &mut config.classifier.vit, options)?;
        let shapes = Classifier::<Shape>::shapes(&config.classifier);
        let (params, report) = self.strict(ops, &shapes, options, windows)?;
        Ok(Loaded { params, report })
    }

    /// The transformer of a checkpoint without a head. A norm after pooling, which it may have kept of a head, stays in the file, and
    /// so does the layer that draws pixels.
    ///
    /// # Errors
    ///
    /// When this is something else, or file and configuration do not fit.
    pub fn transformer<O: Device>(&self, ops: &O, options: LoadOptions) -> Result<Loaded<Vit<O::Tensor>>> {
        const NORM: Allowance =
            Allowance { new: |_| false, dropped: |name| name.starts_with("fc_norm.") || is_pixel_head(name) };
        let Model::Encoder(mut vit) = self.model.clone() else {
            return Err(self.wrong_kind("a transformer without a head"));
        };
        let windows = resize(&self.path, &mut vit, options)?;
        let mut source = Source::new(&self.weights, options, windows);
        let params = source.params(ops, &Vit::<Shape>::shapes(&vit), &NORM, &mut initial)?;
        Ok(Loaded { params, report: source.report() })
    }

    /// The model that draws the pixels of masked patches: a transformer beside which its file has that layer.
    ///
    /// # Errors
    ///
    /// When this is something else, or file and configuration do not fit.
    pub fn pixel_mim<O: Device>(&self, ops: &O, options: LoadOptions) -> Result<Loaded<PixelMim<O::Tensor>>> {
        let mut vit = match &self.model {
            Model::Encoder(vit) if self.draws_pixels() => vit.clone(),
            _ => return Err(self.wrong_kind("a model that was pre-trained to draw pixels")),
        };
        let windows = resize(&self.path, &mut vit, options)?;
        let (params, report) = self.strict(ops, &PixelMim::<Shape>::shapes(&vit), options, windows)?;
        Ok(Loaded { params, report })
    }

    /// Whether it was pre-trained to draw the pixels of masked patches.
    #[must_use]
    pub fn draws_pixels(&self) -> bool {
        self.weights.names().any(is_pixel_head)
    }

    /// The half of a tokenizer that names visual tokens; `FlavaImageCodebook` of transformers has no other.
    ///
    /// # Errors
    ///
    /// When this is something else, or file and configuration do not fit.
    pub fn encoder<O: Device>(&self, ops: &O, options: LoadOptions) -> Result<Loaded<Encoder<O::Tensor>>> {
        let Model::Tokenizer(config) = self.model else {
            return Err(self.wrong_kind("a tokenizer that is a discrete VAE"));
        };
        let (params, report) = self.strict(ops, &Encoder::<Shape>::shapes(&config), options, [[0; 2]; 2])?;
        Ok(Loaded { params, report })
    }

    /// Both halves of a tokenizer.
    ///
    /// # Errors
    ///
    /// When this is something else or has no decoder, or files and configuration do not fit.
    pub fn tokenizer<O: Device>(
        &self,
        ops: &O,
        options: LoadOptions,
    ) -> Result<Loaded<Tokenizer<O::Tensor>>> {
        let Loaded { params: encoder, report } = self.encoder(ops, options)?;
        let decoder = self.decoder.as_ref().ok_or_else(|| Error::NoDecoder { path: self.path.clone() })?;
        let mut source = Source::new(decoder, options, [[0; 2]; 2]);
        let decoder = source.params(
            ops,
            &Decoder::<Shape>::shapes(encoder.config()),
            &Allowance::NONE,
            &mut initial,
        )?;
        Ok(Loaded { params: Tokenizer { encoder, decoder }, report })
    }

    /// A tokenizer by k-means.
    ///
    /// # Errors
    ///
    /// When this is something else, or file and configuration do not fit.
    pub fn kmeans<O: Device>(&self, ops: &O, options: LoadOptions) -> Result<Loaded<KMeans<O::Tensor>>> {
        let Model::KMeans(config) = self.model else { return Err(self.wrong_kind("a tokenizer by k-means")) };
        let (params, report) = self.strict(ops, &KMeans::<Shape>::shapes(&config), options, [[0; 2]; 2])?;
        Ok(Loaded { params, report })
    }

    /// Parameters of these shapes and no others.
    fn strict<O: Device, S: Tree<Shape>>(
        &self,
        ops: &O,
        shapes: &S,
        options: LoadOptions,
        windows: [[usize; 2]; 2],
    ) -> Result<(S::Of<O::Tensor>, Report)> {
        let mut source = Source::new(&self.weights, options, windows);
        let params = source.params(ops, shapes, &Allowance::NONE, &mut initial)?;
        Ok((params, source.report()))
    }

    pub(crate) fn wrong_kind(&self, expected: &str) -> Error {
        let path = if self.path.is_dir() { self.path.join(CONFIG) } else { self.path.clone() };
        Error::config(&path, format_args!("this is {}, expected {expected}", self.model.name()))
    }
}

/// Gives a transformer the size of pictures that was asked for; the windows of patches before and after.
pub(crate) fn resize(
    path: &Path,
    vit: &mut beit_vit::Config,
    options: LoadOptions,
) -> Result<[[usize; 2]; 2]> {
    let from = vit.grid();
    vit.image = options.image.unwrap_or(vit.image);
    vit.validate().map_err(|error| Error::config(path, error))?;
    Ok([from, vit.grid()])
}

/// The names that stand beside the model, or those of the data set that has as many.
fn name_classes(model: &mut Model, names: Option<&[String]>) {
    let Model::Classifier(Labelled { classifier, labels }) = model else { return };
    if let Some(names) = names.filter(|names| names.len() == classifier.classes) {
        *labels = names.to_vec();
    } else if labels[..] == unnamed(classifier.classes)[..]
        && let Some(known) = for_classes(classifier.classes)
    {
        *labels = known.names().map(str::to_owned).collect();
    }
}

/// Whether a folder has a file of weights with a usual name.
#[must_use]
pub fn has_weights(folder: &Path) -> bool {
    WEIGHTS.iter().any(|name| folder.join(name).is_file())
}

/// The one file of a folder whose name ends as those of weights do, where there is one. What training keeps beside them is none.
fn only_weights(folder: &Path) -> Option<PathBuf> {
    const ENDINGS: [&str; 5] = ["safetensors", "pth", "pt", "bin", "ckpt"];
    const OTHERS: [&str; 4] = ["optimizer", "scheduler", "training_args", "rng_state"];
    let is_weights = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let other = DECODERS.contains(&name) || OTHERS.iter().any(|other| name.starts_with(other));
        ENDINGS.contains(&ending) && !other && path.is_file()
    };
    let entries = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found = entries.filter(is_weights);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// The folder, if the configuration is to be looked for in one, and the file of the parameters.
fn locate(path: &Path) -> Result<(Option<PathBuf>, PathBuf)> {
    let nothing = || Error::NoCheckpoint { path: path.to_owned() };
    if path.is_dir() {
        let usual = WEIGHTS.iter().map(|name| path.join(name)).find(|file| file.exists());
        let file = usual.or_else(|| only_weights(path));
        // A folder with a configuration is meant as a checkpoint: what it lacks is the file.
        let lacking = || path.join(CONFIG).exists().then(|| path.join(WEIGHTS[0]));
        return Ok((Some(path.to_owned()), file.or_else(lacking).ok_or_else(nothing)?));
    }
    if !path.exists() {
        return Err(nothing());
    }
    let usual = path.file_name().is_some_and(|name| WEIGHTS.iter().any(|usual| name == *usual));
    let folder = path.parent().filter(|_| usual).map(Path::to_owned);
    Ok((folder, path.to_owned()))
}

/// Loads a model for masked image modelling; see [`Checkpoint::mim`].
///
/// # Errors
///
/// See there.
pub fn load_mim<O: Device>(ops: &O, path: impl AsRef<Path>) -> Result<Loaded<Mim<O::Tensor>>> {
    Checkpoint::open(path)?.mim(ops, LoadOptions::default())
}

/// Loads a model that draws pixels; see [`Checkpoint::pixel_mim`].
///
/// # Errors
///
/// See there.
pub fn load_pixel_mim<O: Device>(ops: &O, path: impl AsRef<Path>) -> Result<Loaded<PixelMim<O::Tensor>>> {
    Checkpoint::open(path)?.pixel_mim(ops, LoadOptions::default())
}

/// Loads a classifier; see [`Checkpoint::classifier`].
///
/// # Errors
///
/// See there.
pub fn load_classifier<O: Device>(ops: &O, path: impl AsRef<Path>) -> Result<Loaded<Classifier<O::Tensor>>> {
    Checkpoint::open(path)?.classifier(ops, LoadOptions::default())
}

/// Loads both halves of a tokenizer; see [`Checkpoint::tokenizer`].
///
/// # Errors
///
/// See there.
pub fn load_tokenizer<O: Device>(ops: &O, path: impl AsRef<Path>) -> Result<Loaded<Tokenizer<O::Tensor>>> {
    Checkpoint::open(path)?.tokenizer(ops, LoadOptions::default())
}

/// Loads the half of a tokenizer that names visual tokens; see [`Checkpoint::encoder`].
///
/// # Errors
///
/// See there.
pub fn load_encoder<O: Device>(ops: &O, path: impl AsRef<Path>) -> Result<Loaded<Encoder<O::Tensor>>> {
    Checkpoint::open(path)?.encoder(ops, LoadOptions::default())
}

/// Loads a tokenizer by k-means; see [`Checkpoint::kmeans`].
///
/// # Errors
///
/// See there.
pub fn load_kmeans<O: Device>(ops: &O, path: impl AsRef<Path>) -> Result<Loaded<KMeans<O::Tensor>>> {
    Checkpoint::open(path)?.kmeans(ops, LoadOptions::default())
}
