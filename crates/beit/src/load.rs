//! Models from checkpoints, with how pictures become their pixels.

use crate::any_tokenizer::AnyTokenizer;
use crate::device::Device;
use crate::error::{Error, Result, unfit};
use crate::locate::{Located, known, locate, locate_tokenizer};
use crate::memory;
use crate::progress::Watch;
use crate::settings::{OpenSettings, PreprocessingRule};
use beit_data::{Channels, MAX_CHANNELS, Normalise, PerChannel, Preprocessing};
use beit_heads::segmenter::HeadRunning;
use beit_heads::{Classifier, Mim, PixelMim};
use beit_ops::Ops;
use beit_tokenizer::Codebook;
use beit_vit::Vit;
use beit_weights::catalogue::Entry;
use beit_weights::{Checkpoint, LoadOptions, Loaded, Model, OpenOptions, Report, WholeSegmenter};
use std::path::Path;

/// A model for masked image modelling.
pub(crate) struct MimModel<T> {
    pub(crate) params: Mim<T>,
    pub(crate) preprocessing: Preprocessing,
}

/// A model that draws the pixels of masked patches.
pub(crate) struct PixelModel<T> {
    pub(crate) params: PixelMim<T>,
    pub(crate) preprocessing: Preprocessing,
}

/// A classifier.
pub(crate) struct ClassifierModel<T> {
    pub(crate) params: Classifier<T>,
    pub(crate) class_names: Vec<String>,
    pub(crate) preprocessing: Preprocessing,
}

/// A segmenter.
pub(crate) struct SegmenterModel<T> {
    pub(crate) params: beit_heads::Segmenter<T>,
    pub(crate) running: HeadRunning<T>,
    pub(crate) class_names: Vec<String>,
    pub(crate) preprocessing: Preprocessing,
}

/// A transformer without a head.
pub(crate) struct BareModel<T> {
    pub(crate) params: Vit<T>,
    pub(crate) preprocessing: Preprocessing,
}

/// Whatever a checkpoint holds.
pub(crate) enum Any<T> {
    Bare(Box<BareModel<T>>),
    Mim(Box<MimModel<T>>),
    Classifier(Box<ClassifierModel<T>>),
    Segmenter(Box<SegmenterModel<T>>),
    Tokenizer(AnyTokenizer<T>),
}

/// A checkpoint that was found by a name, and how it shall be used.
pub(crate) struct Opened<'a> {
    pub(crate) checkpoint: Checkpoint,
    entry: Option<&'static Entry>,
    settings: &'a OpenSettings,
    watch: &'a Watch,
}

impl<'a> Opened<'a> {
    pub(crate) fn new(name: &str, settings: &'a OpenSettings, watch: &'a Watch) -> Result<Self> {
        let Located { path, entry } = locate(name, watch)?;
        let options = settings.loading.reading.options(settings.image_size, entry);
        Ok(Self { checkpoint: open(&path, options, watch)?, entry, settings, watch })
    }

    /// A checkpoint that is there, used as it says itself.
    pub(crate) fn as_it_is(checkpoint: Checkpoint, settings: &'a OpenSettings, watch: &'a Watch) -> Self {
        Self { checkpoint, entry: None, settings, watch }
    }

    /// The transformer that will be made, with the sides of images that were asked for; none of a tokenizer.
    pub(crate) fn vit(&self) -> Option<beit_vit::Config> {
        let mut vit = match self.checkpoint.model() {
            Model::Mim(config) => config.vit.clone(),
            Model::Classifier(config) => config.classifier.vit.clone(),
            Model::Encoder(vit) => vit.clone(),
            Model::Segmenter(config) => config.segmenter.vit.clone(),
            _ => return None,
        };
        vit.image = self.options().image.unwrap_or(vit.image);
        Some(vit)
    }

    /// The channels that it sees, whatever it is.
    pub(crate) fn channels(&self) -> Result<Channels> {
        match self.vit() {
            Some(vit) => Ok(preprocessing(&self.checkpoint, &vit)?.normalise.channels),
            None => Ok(Channels::Colour),
        }
    }

    /// Refuses a model that cannot see even one image here, before its parameters are read.
    pub(crate) fn refuse_beyond(&self, device: &Device) -> Result<()> {
        let Some(vit) = self.vit() else { return Ok(()) };
        // A fault of flag and checkpoint together, so no wrong usage.
        let unfit =
            |error: beit_vit::Error| Error::Unfit(format!("{}: {error}", self.checkpoint.path().display()));
        vit.validate().map_err(unfit)?;
        memory::refuse_images(device, &vit, 1)
    }

    pub(crate) fn mim<O: Ops>(&self, ops: &O) -> Result<MimModel<O::Tensor>> {
        let Loaded { params, report } = self.checkpoint.mim(ops, self.options())?;
        self.describe(&report);
        let preprocessing = self.preprocessing(params.vit.config())?;
        Ok(MimModel { params, preprocessing })
    }

    pub(crate) fn pixel_mim<O: Ops>(&self, ops: &O) -> Result<PixelModel<O::Tensor>> {
        let Loaded { params, report } = self.checkpoint.pixel_mim(ops, self.options())?;
        self.describe(&report);
        let preprocessing = self.preprocessing(params.vit.config())?;
        Ok(PixelModel { params, preprocessing })
    }

    pub(crate) fn classifier<O: Ops>(&self, ops: &O) -> Result<ClassifierModel<O::Tensor>> {
        let Loaded { params, report } = self.checkpoint.classifier(ops, self.options())?;
        self.describe(&report);
        let preprocessing = self.preprocessing(params.vit.config())?;
        Ok(ClassifierModel { params, class_names: self.checkpoint.labels().to_vec(), preprocessing })
    }

    pub(crate) fn segmenter<O: Ops>(&self, ops: &O) -> Result<SegmenterModel<O::Tensor>> {
        let Loaded { params: WholeSegmenter { model, running }, report } =
            self.checkpoint.segmenter(ops, self.options())?;
        self.describe(&report);
        let preprocessing = self.preprocessing(model.vit.config())?;
        let class_names = self.checkpoint.labels().to_vec();
        Ok(SegmenterModel { params: model, running, class_names, preprocessing })
    }

    fn bare<O: Ops>(&self, ops: &O) -> Result<BareModel<O::Tensor>> {
        let Loaded { params, report } = self.checkpoint.transformer(ops, self.options())?;
        self.describe(&report);
        let preprocessing = self.preprocessing(params.config())?;
        Ok(BareModel { params, preprocessing })
    }

    /// Whatever it is.
    pub(crate) fn any<O: Ops>(&self, ops: &O) -> Result<Any<O::Tensor>> {
        Ok(match self.checkpoint.model() {
            Model::Encoder(_) => Any::Bare(Box::new(self.bare(ops)?)),
            Model::Mim(_) => Any::Mim(Box::new(self.mim(ops)?)),
            Model::Classifier(_) => Any::Classifier(Box::new(self.classifier(ops)?)),
            Model::Segmenter(_) => Any::Segmenter(Box::new(self.segmenter(ops)?)),
            Model::Tokenizer(_) => {
                let Loaded { params, report } = self.checkpoint.encoder(ops, self.options())?;
                self.describe(&report);
                Any::Tokenizer(AnyTokenizer::Encoder(Box::new(params)))
            }
            Model::KMeans(_) => {
                let Loaded { params, report } = self.checkpoint.kmeans(ops, self.options())?;
                self.describe(&report);
                Any::Tokenizer(AnyTokenizer::KMeans(Box::new(params)))
            }
            other => unfit!(
                "{}: this is {}, which cannot be run here",
                self.checkpoint.path().display(),
                other.name()
            ),
        })
    }

    fn options(&self) -> LoadOptions {
        self.settings.loading.options(self.settings.image_size)
    }

    /// How pictures become pixels: as asked for; else what the catalogue has for an official checkpoint; else as the checkpoint says.
    fn preprocessing(&self, vit: &beit_vit::Config) -> Result<Preprocessing> {
        let (size, of_checkpoint) = (vit.image, preprocessing(&self.checkpoint, vit)?);
        let asked = match (self.settings.preprocess, self.entry) {
            (Some(PreprocessingRule::Checkpoint), _) | (None, None) => of_checkpoint,
            (Some(PreprocessingRule::Unilm), _) => Preprocessing::unilm(size),
            (Some(PreprocessingRule::Timm), _) => Preprocessing::timm(size),
            (Some(PreprocessingRule::Hf), _) => Preprocessing::hugging_face(size),
            (None, Some(entry)) => entry.authors_preprocessing(size).unwrap_or(of_checkpoint),
        };
        let of_checkpoint = of_checkpoint.normalise;
        // A family's statistics are those of RGB.
        let normalise = match of_checkpoint.channels {
            Channels::Own(_) => of_checkpoint,
            channels => asked.normalise.seeing(channels),
        };
        Ok(Preprocessing { normalise, ..asked })
    }

    /// Says what is not as the file has it.
    fn describe(&self, report: &Report) {
        let same = report.resized.is_empty() && report.converted.is_empty() && report.overlooked.is_empty();
        if !(same && report.outside.is_empty()) {
            self.watch.note(&format!("{}: {report}", self.checkpoint.path().display()));
        }
    }
}

/// Opens a checkpoint, and says what was guessed of it and which of several models was taken.
pub(crate) fn open(path: &Path, options: OpenOptions, watch: &Watch) -> Result<Checkpoint> {
    let checkpoint = Checkpoint::open_with(path, options)?;
    checkpoint.notes().iter().for_each(|line| watch.note(&format!("{}: {line}", path.display())));
    Ok(checkpoint)
}

/// How the pixels of a transformer are made: as the checkpoint says, else as the released code makes them.
///
/// # Errors
///
/// A model of more channels than pictures have, or statistics of fewer than the model.
pub(crate) fn preprocessing(checkpoint: &Checkpoint, vit: &beit_vit::Config) -> Result<Preprocessing> {
    let said = match checkpoint.preprocessing() {
        Some(preprocessing) => preprocessing.for_size(vit.image),
        None => Preprocessing::unilm(vit.image),
    };
    let (path, found) = (checkpoint.path().display(), vit.channels);
    let channels = match said.normalise.channels {
        own @ Channels::Own(_) => Some(own),
        Channels::Colour | Channels::Grey => Channels::of_model(found),
    };
    let Some(channels) = channels else {
        unfit!("{path}: the model sees {found} channels (num_channels), expected 1 to {MAX_CHANNELS}");
    };
    let normalise = match checkpoint.preprocessing() {
        Some(_) => said.normalise.seeing(channels),
        // Nothing says what the channels are like.
        None => {
            let half = PerChannel::repeated(0.5, found);
            Normalise { channels, mean: half, std: half }
        }
    };
    let least = channels.count();
    if normalise.mean.len() < least || normalise.std.len() < least {
        unfit!(
            "{path}: it has means and deviations of {} channels, expected {found}, the num_channels of the model",
            normalise.mean.len().min(normalise.std.len())
        );
    }
    Ok(Preprocessing { normalise, ..said })
}

/// The tokenizer that `name` means: of a discrete VAE both halves, or the encoder where the decoder is not there.
pub(crate) fn tokenizer<O: Ops>(ops: &O, name: &Path, watch: &Watch) -> Result<AnyTokenizer<O::Tensor>> {
    let checkpoint = Checkpoint::open(locate_tokenizer(name, watch)?)?;
    let options = LoadOptions::default();
    Ok(match (checkpoint.model(), checkpoint.decoder()) {
        (Model::KMeans(_), _) => AnyTokenizer::KMeans(Box::new(checkpoint.kmeans(ops, options)?.params)),
        (_, Some(_)) => AnyTokenizer::Dvae(Box::new(checkpoint.tokenizer(ops, options)?.params)),
        (_, None) => AnyTokenizer::Encoder(Box::new(checkpoint.encoder(ops, options)?.params)),
    })
}

/// What the tokenizer that `name` means looks like.
pub(crate) fn tokenizer_model(name: &Path, watch: &Watch) -> Result<Model> {
    // Of an official one that is known without its file, which is fetched when a run begins.
    if let Some(model) = known(name).and_then(Entry::model) {
        return Ok(model);
    }
    Ok(Checkpoint::open(locate_tokenizer(name, watch)?)?.model().clone())
}

/// The visual tokens of the tokenizer that `name` means, for a model that sees so many channels.
///
/// # Errors
///
/// A tokenizer that sees others.
pub(crate) fn codebook_for(name: &Path, channels: usize, watch: &Watch) -> Result<Codebook> {
    let codebook = codebook(name, watch)?;
    if codebook.channels != channels {
        unfit!(
            "{}: the tokenizer names tokens of pictures of {} channels, the images have {channels}; train one on these (leave --tokenizer \
             out)",
            name.display(),
            codebook.channels
        );
    }
    Ok(codebook)
}

/// The visual tokens of the tokenizer that `name` means.
fn codebook(name: &Path, watch: &Watch) -> Result<Codebook> {
    let model = tokenizer_model(name, watch)?;
    let Some(codebook) = model.codebook() else {
        unfit!("{}: this is {}, expected a tokenizer", name.display(), model.name())
    };
    Ok(codebook)
}
