//! Models that know the names of their classes.

use super::taps::{Taps, fits};
use beit_heads::{ClassifierConfig, HeadConfig, SegmenterConfig};

/// A classifier that knows the names of its classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// The model.
    pub classifier: ClassifierConfig,
    /// A name for each class.
    pub labels: Vec<String>,
}

impl Labelled {
    /// With the names that transformers gives to classes without one: `LABEL_0` and so on.
    #[must_use]
    pub fn unnamed(classifier: ClassifierConfig) -> Self {
        let labels = unnamed(classifier.classes);
        Self { classifier, labels }
    }
}

/// A model for semantic segmentation that knows the names of its classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmenter {
    /// The model. Its transformer is as a file has it, with a mask token and a final norm where they are there, though no head reads them.
    pub segmenter: SegmenterConfig,
    /// A name for each class.
    pub labels: Vec<String>,
    /// The numbers of blocks in a file that leaves open whose they are; see [`Taps`]. None where the blocks are certain.
    pub out_indices: Option<[usize; 4]>,
    /// How much the losses of auxiliary heads count in training.
    pub auxiliary_loss_weight: f64,
    /// The label of pixels that do not count in training.
    pub semantic_loss_ignore_index: i64,
}

impl Segmenter {
    /// With certain blocks, and the numbers of the released recipe.
    #[must_use]
    pub fn new(segmenter: SegmenterConfig, labels: Vec<String>) -> Self {
        Self {
            segmenter,
            labels,
            out_indices: None,
            auxiliary_loss_weight: 0.4,
            semantic_loss_ignore_index: 255,
        }
    }

    /// [`new`](Self::new) with the names that transformers gives to classes without one.
    #[must_use]
    pub fn unnamed(segmenter: SegmenterConfig) -> Self {
        let labels = unnamed(segmenter.classes);
        Self::new(segmenter, labels)
    }

    /// Whether transformers has such a head: UPerNet as wide as the transformer.
    #[must_use]
    pub fn is_of_transformers(&self) -> bool {
        let SegmenterConfig { vit, head, .. } = &self.segmenter;
        matches!(head, HeadConfig::Upernet { channels, .. } if *channels == vit.width)
    }

    /// The numbers by which transformers finds the blocks in a file.
    #[must_use]
    pub fn said_indices(&self) -> [usize; 4] {
        let SegmenterConfig { vit, taps, .. } = &self.segmenter;
        self.out_indices.unwrap_or_else(|| Taps::out_indices(*taps, vit.depth))
    }

    /// Takes the numbers of a file as those of `asked`, or where there are no such blocks, as those of the other; false where there are
    /// none either way.
    pub(crate) fn take_numbers(&mut self, asked: Taps) -> bool {
        let (Some(numbers), depth) = (self.out_indices, self.segmenter.vit.depth) else { return true };
        let other = if asked == Taps::Official { Taps::Transformers } else { Taps::Official };
        let fitting = |taps: Taps| taps.blocks(numbers).filter(|taps| fits(taps, depth));
        let found = fitting(asked).or_else(|| fitting(other));
        self.segmenter.taps = found.unwrap_or(numbers);
        found.is_some()
    }

    /// Which blocks the head reads, as a sentence, where a file leaves it open.
    pub(crate) fn note(&self) -> Option<String> {
        let numbers = self.out_indices?;
        let taps = self.segmenter.taps;
        let taken = if taps == numbers { Taps::Official } else { Taps::Transformers };
        let other = if taken == Taps::Official { Taps::Transformers } else { Taps::Official };
        let said = match (taken, other.blocks(numbers).filter(|taps| fits(taps, self.segmenter.vit.depth))) {
            (Taps::Official, Some(others)) => format!(
                "as the released code does with these `out_indices`; transformers reads those of {others:?}: --taps {other} takes them"
            ),
            (Taps::Transformers, Some(others)) => format!(
                "as transformers does with these `out_indices`; the released code reads those of {others:?}: --taps {other} takes them"
            ),
            (_, None) => "the only ones that its `out_indices` can mean".to_owned(),
        };
        Some(format!("the head reads the outputs of the blocks {taps:?}, {said}"))
    }
}

/// The names that transformers gives to classes without one.
pub(crate) fn unnamed(classes: usize) -> Vec<String> {
    (0..classes).map(|class| format!("LABEL_{class}")).collect()
}
