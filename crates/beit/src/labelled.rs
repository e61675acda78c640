//! Labelled images to learn from, and others that judge what was learnt.

use crate::error::{Place, Result, setting};
use crate::loaders::same_classes;
use crate::progress::Watch;
use crate::settings::{DataSettings, HeldOutSettings};
use beit_data::{Part, Source, Split, Validation, stratified_subset, training_labels, validation_split};
use std::fmt;
use std::sync::Arc;

/// A labelled set, opened and checked, so that hours of training are not followed by images that cannot be judged.
pub(crate) struct Labelled {
    /// The training images.
    pub(crate) source: Arc<dyn Source>,
    /// Which of them are learnt from.
    pub(crate) indices: Vec<usize>,
    /// Those that judge.
    pub(crate) held_out: Arc<dyn Source>,
    /// What those are.
    pub(crate) split: HeldOut,
}

/// Which images judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeldOut {
    /// Of this split: the training images themselves where there is no test split.
    Split(Split),
    /// A part of the training images that is not learnt from.
    Validation,
}

impl fmt::Display for HeldOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Split(split) => split.fmt(f),
            Self::Validation => f.write_str("validation"),
        }
    }
}

impl Labelled {
    /// All training images, or `labels` of them, equally many of each class and drawn by the seed; and those that judge.
    ///
    /// # Errors
    ///
    /// Numbers that name no images, data that is not there or has no labels, or other classes among the test images.
    pub(crate) fn open(
        data: &DataSettings,
        labels: Option<usize>,
        held_out: HeldOutSettings,
        seed: u64,
        watch: &Watch,
    ) -> Result<Self> {
        if labels == Some(0) {
            setting!("--labels 0: expected at least 1");
        }
        let source = data.open(Split::Train)?;
        watch.notes_of(source.as_ref());
        let all = training_labels(source.as_ref()).at(|| data.data.clone())?;
        let (mut indices, held_out, split) = match held_out.validation {
            Some(share) => {
                let Validation { train, held_out } = validation(&all, share)?;
                let held_out: Arc<dyn Source> = Arc::new(Part::new(Arc::clone(&source), held_out));
                (train, held_out, HeldOut::Validation)
            }
            None => {
                let (held_out, split) = test_images(data, source.as_ref(), watch)?;
                ((0..source.len()).collect(), held_out, HeldOut::Split(split))
            }
        };
        if let Some(n) = labels {
            let labels: Vec<u32> = indices.iter().map(|&index| all[index]).collect();
            indices = stratified_subset(&labels, n, seed)?.into_iter().map(|i| indices[i]).collect();
        }
        Ok(Self { source, indices, held_out, split })
    }

    /// The images that are learnt from, and those that judge.
    pub(crate) fn sources(&self) -> [Arc<dyn Source>; 2] {
        let train = Part::new(Arc::clone(&self.source), self.indices.clone());
        [Arc::new(train), Arc::clone(&self.held_out)]
    }
}

fn validation(labels: &[u32], share: f64) -> Result<Validation> {
    if !(share > 0.0 && share < 1.0) {
        setting!(
            "--validation {share}: expected a share of the training images, more than 0 and less than 1"
        );
    }
    validation_split(labels, share).at(|| format!("--validation {share}"))
}

/// The images that were held out by whoever made the set, with the classes of the training images.
fn test_images(data: &DataSettings, train: &dyn Source, watch: &Watch) -> Result<(Arc<dyn Source>, Split)> {
    let (held_out, split) = data.held_out()?;
    watch.notes_of(held_out.as_ref());
    let name = format!("{}, {split} images", data.data);
    beit_data::labels(held_out.as_ref())
        .at(|| format!("{name} (--validation 0.2 holds out training images instead)"))?;
    same_classes(held_out.as_ref(), train.class_names(), &format!("{name},"))?;
    Ok((held_out, split))
}
