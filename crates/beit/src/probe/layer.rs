//! One kind of features of all images, and what the judges say of it.

use super::Judge;
use super::knn::knn;
use super::logistic::{LogisticRegression, LogisticSettings};
use super::rows::{Rows, standardise};
use super::seen::{Seen, Sight};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// Weight of the losses where none is asked for: pixels overfit sooner than features.
const C_OF_PIXELS: f64 = 0.05;
const C_OF_FEATURES: f64 = 1.0;

/// What pixels are called among features.
pub(super) const PIXELS: &str = "pixels";

/// Features of the images to learn from and of those that judge.
pub(super) struct Layer {
    name: String,
    width: usize,
    train: Vec<f32>,
    test: Vec<f32>,
    /// Of pixels or of a model.
    of_pixels: bool,
}

/// How a judge did with one kind of features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbedLayer {
    /// `pixels`, or `block N`, counted from 1.
    pub features: String,
    /// How many of them an image has.
    pub width: usize,
    /// Share of the images that judge whose class is named rightly.
    pub accuracy: f64,
    /// Weight of the losses, of a logistic regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub c: Option<f64>,
    /// Whether it came to its end, of a logistic regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub converged: Option<bool>,
}

impl ProbedLayer {
    /// Or of a block.
    pub(crate) fn is_of_pixels(&self) -> bool {
        self.features == PIXELS
    }
}

impl Layer {
    /// The pixels, if they were kept, and every block.
    pub(super) fn all(sight: Sight) -> Result<Vec<Self>> {
        let images = sight.train.labels.len();
        let mut layers = Vec::new();
        if !sight.train.pixels.is_empty() {
            layers.push(Self::of_pixels(&sight));
        }
        let blocks = sight.train.layers.into_iter().zip(sight.test.layers);
        for (i, (train, test)) in blocks.enumerate() {
            let (name, width) = (format!("block {}", i + 1), train.len() / images.max(1));
            layers.push(Self { name, width, train, test, of_pixels: false }.standardised()?);
        }
        Ok(layers)
    }

    /// The pixels, in 0 to 1; one channel where all are grey.
    pub(super) fn of_pixels(sight: &Sight) -> Self {
        let Sight { size: [height, width], channels, greatest, train, test } = sight;
        let plane = height * width;
        let image = channels * plane;
        let grey = is_grey(&train.pixels, image, plane) && is_grey(&test.pixels, image, plane);
        let width = if grey { plane } else { image };
        let kept = |seen: &Seen| {
            let images = seen.pixels.chunks_exact(image);
            images
                .flat_map(|image| &image[..width])
                .map(|&level| f32::from(level) / f32::from(*greatest))
                .collect()
        };
        let (train, test) = (kept(train), kept(test));
        Self { name: PIXELS.to_owned(), width, train, test, of_pixels: true }
    }

    fn standardised(mut self) -> Result<Self> {
        standardise(&mut self.train, &mut self.test, self.width)?;
        Ok(self)
    }

    /// Values that are learnt from.
    pub(super) fn values(&self) -> usize {
        self.train.len()
    }

    /// What a judge says who learns from images of these classes, of images of those.
    pub(super) fn judged(
        &self,
        judge: &Judge,
        [train, test]: [&[u32]; 2],
        classes: usize,
    ) -> Result<ProbedLayer> {
        let rows = [Rows::new(&self.train, self.width)?, Rows::new(&self.test, self.width)?];
        let (named, c, converged) = match *judge {
            Judge::Knn { k } => (knn(rows[0], train, rows[1], k)?, None, None),
            Judge::Linear { c } => {
                let c = c.unwrap_or(if self.of_pixels { C_OF_PIXELS } else { C_OF_FEATURES });
                let settings = LogisticSettings { c, ..LogisticSettings::default() };
                let fitted = LogisticRegression::fit(rows[0], train, classes, &settings)?;
                (fitted.classes(rows[1])?, Some(c), Some(fitted.converged))
            }
        };
        let right = named.iter().zip(test).filter(|(named, label)| named == label).count();
        let accuracy = right as f64 / test.len().max(1) as f64;
        Ok(ProbedLayer { features: self.name.clone(), width: self.width, accuracy, c, converged })
    }
}

/// Whether the channels of all images, of so many values, are equal planes.
fn is_grey(pixels: &[u16], image: usize, plane: usize) -> bool {
    pixels.chunks_exact(image).all(|image| {
        let (red, others) = image.split_at(plane);
        others.chunks_exact(plane).all(|other| other == red)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pixels: &[u16]) -> Seen {
        Seen { pixels: pixels.to_vec(), ..Seen::default() }
    }

    #[test]
    fn grey_pixels_are_kept_once() {
        let (grey, red) = ([0, 255, 0, 255, 0, 255], [0, 255, 0, 255, 0, 51]);
        let pixels = |train, test| {
            Layer::of_pixels(&Sight {
                size: [1, 2],
                channels: 3,
                greatest: 255,
                train: seen(train),
                test: seen(test),
            })
        };
        let layer = pixels(&grey, &grey);
        assert_eq!((layer.width, layer.values(), &layer.test[..]), (2, 2, &[0.0, 1.0][..]));
        let layer = pixels(&grey, &red);
        assert_eq!((layer.width, &layer.test[..]), (6, &[0.0, 1.0, 0.0, 1.0, 0.0, 0.2][..]));
    }
}
