//! A few labelled images by which the features of a model are judged again and again while it is trained.

use super::layer::Layer;
use super::seen::Look;
use super::{Judge, ProbePool};
use crate::error::Result;
use crate::labelled::Labelled;
use crate::loaders::Loading;
use crate::progress::Watch;
use crate::ranks::Team;
use beit_data::{Part, Preprocessing, Source};
use beit_ops::Ops;
use beit_vit::Vit;
use std::sync::Arc;

/// Images to learn from, and images to judge by, at most.
const FEW: [usize; 2] = [1000, 500];
/// The share of the training images of which some judge.
const VALIDATION: f64 = 0.2;
/// Nearest images that vote, where there are so many.
const NEIGHBOURS: usize = 10;
/// Bytes of pixels that are kept at most, of all these images.
const MOST_BYTES: usize = 1 << 26;

/// Training images with labels, some to learn from and some to judge by.
pub(crate) struct Few {
    sources: [Arc<dyn Source>; 2],
    classes: usize,
}

impl Few {
    /// Draws them, by the seed.
    ///
    /// # Errors
    ///
    /// Images without labels, or of fewer than two classes.
    pub(crate) fn of(source: &Arc<dyn Source>, seed: u64) -> Result<Self> {
        let indices = Labelled::few(source, FEW, VALIDATION, seed)?;
        let part =
            |indices: Vec<usize>| -> Arc<dyn Source> { Arc::new(Part::new(Arc::clone(source), indices)) };
        Ok(Self { sources: indices.map(part), classes: source.class_names().len() })
    }

    /// To learn from, and to judge by.
    pub(crate) fn images(&self) -> [usize; 2] {
        self.sources.each_ref().map(|source| source.len())
    }

    /// Who judges.
    pub(crate) fn neighbours(&self) -> usize {
        NEIGHBOURS.min(self.sources[0].len())
    }
}

/// How the judge did.
pub(crate) struct Accuracies {
    /// To learn from, and to judge by, without those that cannot be decoded.
    pub(crate) images: [usize; 2],
    /// With the pixels, if they are not too many.
    pub(crate) pixels: Option<f64>,
    /// With each block.
    pub(crate) blocks: Vec<f64>,
}

/// How these images are looked at.
pub(crate) struct Again<'a> {
    few: &'a Few,
    preprocessing: Preprocessing,
    loading: Loading,
    team: &'a Team,
    /// What the pixels are worth, once it is known.
    pixels: Option<Option<f64>>,
}

impl<'a> Again<'a> {
    pub(crate) fn new(few: &'a Few, preprocessing: Preprocessing, loading: &Loading, team: &'a Team) -> Self {
        // Whoever watches follows the training, which names what cannot be decoded and counts it. Of a few images it may be a large share.
        let loading = Loading { watch: Watch::silent(), max_bad_share: 1.0, ..loading.clone() };
        Self { few, preprocessing, loading, team, pixels: None }
    }

    /// Judges each block of a model. Several processes share the images, and then the blocks.
    ///
    /// # Errors
    ///
    /// The data, the device, or features that are not finite.
    pub(crate) fn accuracies<O: Ops>(&mut self, ops: &O, vit: &Vit<O::Tensor>) -> Result<Accuracies> {
        let Self { few, preprocessing, loading, team, pixels } = self;
        let most_bytes = pixels.is_none().then_some(MOST_BYTES);
        let look = Look { sources: few.sources.clone(), loading, team, most_bytes };
        let sight = look.through(ops, vit, ("the model in training", ProbePool::Mean), *preprocessing)?;
        let labels = sight.labels().map(<[u32]>::to_vec);
        // Images that cannot be decoded are fewer neighbours.
        let judge = Judge::Knn { k: few.neighbours().min(labels[0].len()) };
        let judged = |layer: &Layer| layer.judged(&judge, labels.each_ref().map(Vec::as_slice), few.classes);
        let (of_pixels, of_blocks): (Vec<_>, Vec<_>) =
            team.shared(&Layer::all(sight)?, judged)?.into_iter().partition(|layer| layer.is_of_pixels());
        let of_pixels = of_pixels.first().map(|layer| layer.accuracy);
        Ok(Accuracies {
            images: labels.map(|labels| labels.len()),
            pixels: *pixels.get_or_insert(of_pixels),
            blocks: of_blocks.into_iter().map(|layer| layer.accuracy).collect(),
        })
    }
}
