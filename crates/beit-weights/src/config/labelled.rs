//! Models that know the names of their classes.

use crate::labels::for_classes;
use beit_heads::ClassifierConfig;

/// A model for semantic segmentation that knows the names of its classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmenter {
    /// The transformer.
    pub vit: beit_vit::Config,
    /// A name for each class.
    pub labels: Vec<String>,
    /// Blocks whose outputs the head reads, from 0.
    pub taps: [usize; 4],
}

impl Segmenter {
    /// The blocks at a third, a half, two thirds and the end, as in the released configurations (3, 5, 7, 11 of 12; 7, 11, 15, 23 of
    /// 24); of shallow transformers the last four.
    #[must_use]
    pub fn usual_taps(depth: usize) -> [usize; 4] {
        if depth < 6 {
            return [4, 3, 2, 1].map(|from_end| depth.saturating_sub(from_end));
        }
        [2, 3, 4, 6].map(|sixths| depth * sixths / 6 - 1)
    }
}

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

/// The names of classes of which nothing is known but how many they are: those of the data set that has as many, else none.
pub(crate) fn usual_names(classes: usize) -> Vec<String> {
    match for_classes(classes) {
        Some(known) => known.names().map(str::to_owned).collect(),
        None => unnamed(classes),
    }
}

/// The names that transformers gives to classes without one.
pub(crate) fn unnamed(classes: usize) -> Vec<String> {
    (0..classes).map(|class| format!("LABEL_{class}")).collect()
}
