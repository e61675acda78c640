//! How the libraries prepare pictures for a checkpoint.

use beit_data::{Filter, Fit, Normalise, Preprocessing};
use serde::Deserialize;

/// A library's way of getting pictures to a checkpoint.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Row")]
pub struct Preparation {
    /// Whose way it is.
    pub library: Library,
    /// From a picture to the pixels of the model.
    pub preprocessing: Preprocessing,
    /// Where windows of the model's size slide over the whole resized picture and their logits are averaged: the distance of
    /// neighbouring windows, in pixels. Elsewhere the model sees one view.
    pub stride: Option<usize>,
}

/// Who prepares pictures: the same weights see different pixels in each library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Library {
    /// The authors' code: unilm, or what they made of it elsewhere.
    Unilm,
    /// timm
    Timm,
    /// transformers
    Transformers,
    /// The paper's tokenizer, whose input is not normalised but mapped: `0.8 x + 0.1`.
    Dalle,
}

/// The keys of the catalogue.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    library: Library,
    /// `centre`: the shorter side is resized to `resize`, and the centre is cut out. `squash`: both sides are resized to it, whatever
    /// the picture's shape. `slide`: the shorter side is resized to it, and windows slide over the picture.
    fit: String,
    /// In pixels.
    resize: usize,
    /// Side of the square that the model sees.
    crop: usize,
    stride: Option<usize>,
    filter: String,
    statistics: String,
}

impl TryFrom<Row> for Preparation {
    type Error = String;

    fn try_from(row: Row) -> Result<Self, String> {
        let Row { library, fit, resize, crop, stride, filter, statistics } = row;
        let filter = Filter::ALL
            .into_iter()
            .find(|known| known.name() == filter)
            .ok_or_else(|| format!("`filter` is {filter}, expected bilinear, bicubic or lanczos"))?;
        let normalise = match statistics.as_str() {
            "half" => Normalise::HALF,
            "imagenet" => Normalise::IMAGENET,
            "clip" => Normalise::CLIP,
            "logit-laplace" => Normalise::LOGIT_LAPLACE,
            other => {
                return Err(format!(
                    "`statistics` is {other}, expected half, imagenet, clip or logit-laplace"
                ));
            }
        };
        let squashed = Preprocessing { size: [crop; 2], fit: Fit::Squash, filter, normalise };
        let preprocessing = match (fit.as_str(), stride) {
            ("squash", None) if resize == crop => squashed,
            ("centre", None) | ("slide", Some(_)) => squashed.covering(resize),
            (fit, _) => {
                return Err(format!(
                    "`fit` {fit} does not go with resize {resize}, crop {crop}, stride {stride:?}"
                ));
            }
        };
        Ok(Self { library, preprocessing, stride })
    }
}
