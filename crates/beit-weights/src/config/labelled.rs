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

    /// The blocks that the numbers of a file mean, as `asked` or, where there are no such blocks, as the other has it, and who has it so.
    pub(crate) fn meant(&self, asked: Taps) -> Option<([usize; 4], Taps)> {
        let numbers = self.out_indices?;
        [asked, asked.other()].into_iter().find_map(|taps| Some((self.blocks(taps, numbers)?, taps)))
    }

    fn blocks(&self, taps: Taps, numbers: [usize; 4]) -> Option<[usize; 4]> {
        taps.blocks(numbers).filter(|blocks| fits(blocks, self.segmenter.vit.depth))
    }

    /// Takes the blocks that are [`meant`](Self::meant). Where a file leaves it open, which they are, as a sentence.
    pub(crate) fn settle(&mut self, asked: Taps) -> Option<String> {
        let numbers = self.out_indices?;
        let (blocks, taken) = self.meant(asked)?;
        let (who, other) = match taken {
            Taps::Official => ("the released code", "transformers"),
            Taps::Transformers => ("transformers", "the released code"),
        };
        let said = match self.blocks(taken.other(), numbers) {
            Some(others) => {
                format!("{other} reads those of {others:?}, which --taps {} takes", taken.other())
            }
            None => "they can mean no others".to_owned(),
        };
        self.segmenter.taps = blocks;
        if taken == Taps::Transformers {
            // From here on they are certain, and transformers' numbers follow from them.
            self.out_indices = None;
        }
        let head = format!("the head reads the outputs of the blocks {blocks:?}, as {who} does");
        Some(format!("with `out_indices` of {numbers:?} {head}; {said}"))
    }

    /// Which other blocks transformers reads with the numbers of a file, as a sentence.
    pub(crate) fn difference(&self) -> Option<String> {
        let (taps, read) = (self.segmenter.taps, Taps::Transformers.blocks(self.said_indices()));
        if read == Some(taps) {
            return None;
        }
        let read = read.map_or_else(|| "others".to_owned(), |read| format!("those of {read:?}"));
        let head = format!("the head reads the outputs of the blocks {taps:?}, transformers {read}");
        Some(format!("{head}, so that its masks differ"))
    }
}

/// The names that transformers gives to classes without one.
pub(crate) fn unnamed(classes: usize) -> Vec<String> {
    (0..classes).map(|class| format!("LABEL_{class}")).collect()
}
