//! One checkpoint.

use super::architecture::Architecture;
use super::preparation::{Library, Preparation};
use serde::Deserialize;

/// A published checkpoint.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// That of the official file of BEiT without its ending; ours for the tokenizer's halves, whose files are `encoder` and
    /// `decoder`; of other families that of the repository on the Hub, without its owner.
    pub name: String,
    /// What it belongs to.
    pub family: Family,
    /// What it does.
    pub task: Task,
    /// Number of trainable parameters; running statistics and index buffers do not count.
    pub parameters: usize,
    /// Under which licence the weights are, as far as known; what says so is in `docs/weights.md`.
    pub licence: Option<String>,
    /// The authors' file, a pickle of PyTorch.
    pub url: Option<String>,
    /// Other places of that file.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Where it is on the Hub.
    #[serde(default)]
    pub hub: Vec<Hub>,
    /// The transformer; none for the halves of the tokenizer.
    pub architecture: Option<Architecture>,
    /// Ways to get pictures to the model; the first reproduces the authors' numbers.
    #[serde(rename = "preprocessing")]
    pub preparations: Vec<Preparation>,
    /// What the authors report.
    pub published: Vec<Score>,
    /// What others measured with the same weights.
    pub reevaluated: Vec<Score>,
    /// What this program measured.
    pub measured: Vec<Score>,
    /// Numbers to compare a forward pass with.
    pub fixture: Option<Fixture>,
    /// What to mind, in sentences.
    pub notes: Vec<String>,
}

/// Models that were published together. All of them have BEiT's block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// BEiT, arXiv 2106.08254.
    Beit,
    /// BEiT v2, arXiv 2208.06366.
    #[serde(rename = "beitv2")]
    BeitV2,
    /// The tokenizer of DALL-E, arXiv 2102.12092: the exception, which has no block.
    Dalle,
    /// Document Image Transformer, arXiv 2203.02378.
    Dit,
    /// data2vec's vision model, arXiv 2202.03555.
    #[serde(rename = "data2vec-vision")]
    Data2VecVision,
    /// EVA-g, arXiv 2211.07636.
    Eva,
    /// The image tower of BEiT-3, arXiv 2208.10442.
    Beit3,
}

impl Family {
    /// As the catalogue writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Beit => "beit",
            Self::BeitV2 => "beitv2",
            Self::Dalle => "dalle",
            Self::Dit => "dit",
            Self::Data2VecVision => "data2vec-vision",
            Self::Eva => "eva",
            Self::Beit3 => "beit3",
        }
    }
}

/// What a checkpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Names the visual tokens of masked patches.
    Mim,
    /// Names the class of a picture.
    Classify,
    /// Only represents pictures: a transformer without a head, to be fine-tuned.
    Encoder,
    /// Names the class of every pixel.
    Segment,
    /// Makes visual tokens of pictures, or pictures of visual tokens.
    Tokenizer,
}

/// A repository of huggingface.co.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    /// `owner/name`
    pub id: String,
    /// Whose names and configuration it has.
    pub kind: Kind,
    /// The file of weights on the main branch, as far as known.
    pub weights: Option<String>,
    /// Where `model.safetensors` is when the main branch lacks it, as far as known.
    pub revision: Option<String>,
    /// Size of the weights in 10^6 bytes, to three digits, as listed between 2023 and 2025.
    pub megabytes: Option<u32>,
}

/// Which library a repository is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// transformers
    Transformers,
    /// timm
    Timm,
}

/// What somebody measured, in percent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// On which pictures.
    pub data: Data,
    /// How the pictures were prepared.
    pub library: Library,
    /// Pictures whose class was first.
    pub top1: Option<f64>,
    /// Pictures whose class was among the first five.
    pub top5: Option<f64>,
    /// Mean cross-entropy, in nats and not in percent.
    pub loss: Option<f64>,
    /// Mean intersection over union at one scale.
    pub miou: Option<f64>,
    /// The same with several scales and mirror images.
    pub miou_multiscale: Option<f64>,
    /// Where it is written.
    pub source: String,
}

/// Pictures with known answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// The 50,000 validation pictures of ILSVRC 2012.
    #[serde(rename = "imagenet-1k")]
    Imagenet1k,
    /// The same pictures with the labels of Beyer et al., 2020.
    ImagenetReal,
    /// The test pictures of RVL-CDIP, Harley et al., 2015: scanned documents of 16 kinds.
    RvlCdip,
    /// The 2,000 validation pictures of ADE20K with 150 classes.
    Ade20k,
}

/// The first logits for one picture.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// Which picture.
    pub picture: String,
    /// How it is prepared.
    pub library: Library,
    /// That of the model the numbers were made with, which is not the trained one.
    pub layer_norm_eps: f64,
    /// How many patches are masked: those of masked image modelling are.
    pub masked: Option<usize>,
    /// The first three logits: of the picture, or of each of the first three patches.
    pub logits: Vec<[f32; 3]>,
    /// The class of the greatest logit.
    pub class: Option<usize>,
    /// By how much they may differ.
    pub tolerance: f32,
    /// Where it is written.
    pub source: String,
}
