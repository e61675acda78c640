//! One checkpoint.

use super::architecture::Architecture;
use super::preparation::{Family, Preparation};
use serde::Deserialize;

/// A published checkpoint.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// That of the official file without its ending; ours for the tokenizer's halves, whose files are `encoder` and `decoder`.
    pub name: String,
    /// Of BEiT: 1 or 2. The tokenizer belongs to the first.
    pub version: u8,
    /// What it does.
    pub task: Task,
    /// Number of trainable parameters; running statistics and index buffers do not count.
    pub parameters: usize,
    /// The authors' file, a pickle of PyTorch.
    pub url: String,
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

/// What a checkpoint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Names the visual tokens of masked patches.
    Mim,
    /// Names the class of a picture.
    Classify,
    /// Names the class of every pixel. Such a checkpoint can be read but not run here.
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
    /// The file of weights on the main branch.
    pub weights: String,
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
    pub family: Family,
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
    pub family: Family,
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
