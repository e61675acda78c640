//! Labelled images to learn from, and others that judge what was learnt.

use crate::error::{Error, Place, Result, setting, unfit};
use crate::loaders::same_classes;
use crate::progress::{Task, Watch};
use crate::settings::{DataSettings, HeldOutSettings};
use beit_data::{
    Part, Source, Split, Validation, check_masks, stratified_subset, training_labels, validation_split,
};
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
    /// `[H, W]` of the first image whose size can be read.
    ///
    /// # Errors
    ///
    /// None can be: what is wrong with the first.
    pub(crate) fn first_size(&self) -> Result<[usize; 2]> {
        let mut sizes = (0..self.source.len()).filter_map(|index| self.source.size(index).ok());
        sizes.next().map_or_else(|| Ok(self.source.size(0)?), Ok)
    }

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
        let source = opened(data, labels, watch)?;
        if source.class_names().is_empty() && !source.mask_classes().is_empty() {
            unfit!(
                "{} has classes of pixels, its masks, and none of images: --task segment learns them",
                data.data
            );
        }
        let all = training_labels(source.as_ref()).at(|| data.data.clone())?;
        Self::divided(source, &all, labels, held_out.validation, seed, |train| {
            test_images(data, train, watch)
        })
    }

    /// The same of images with masks, every one of which is looked at; `labels` of them are drawn as they come.
    ///
    /// # Errors
    ///
    /// Numbers that name no images, data that is not there or has no masks, masks that cannot be learnt from or judged by, or other
    /// classes among the test images.
    pub(crate) fn open_masks(
        data: &DataSettings,
        labels: Option<usize>,
        held_out: HeldOutSettings,
        seed: u64,
        watch: &Watch,
    ) -> Result<Self> {
        let source = opened(data, labels, watch)?;
        if source.mask_classes().is_empty() {
            unfit!(
                "{} has no masks to learn segmentation from: expected masks:IMAGES,MASKS, ade:DIR or scenes",
                data.data
            );
        }
        check_all_masks(&source, watch)?;
        let alike = vec![0; source.len()];
        Self::divided(source, &alike, labels, held_out.validation, seed, |train| {
            let (held_out, split) = data.held_out()?;
            watch.notes_of(held_out.as_ref());
            let name = format!("{}, {split} images,", data.data);
            same_classes(held_out.mask_classes(), train.mask_classes(), &name)?;
            if split != Split::Train {
                check_all_masks(&held_out, watch)?;
            }
            Ok((held_out, split))
        })
    }

    /// Images to learn from, some of them where that is asked for, and those that judge: a share of them, or a split of its own. `all`
    /// are the classes by which they are drawn.
    fn divided(
        source: Arc<dyn Source>,
        all: &[u32],
        labels: Option<usize>,
        validation_share: Option<f64>,
        seed: u64,
        test: impl FnOnce(&dyn Source) -> Result<(Arc<dyn Source>, Split)>,
    ) -> Result<Self> {
        let (mut indices, held_out, split) = match validation_share {
            Some(share) => {
                let Validation { train, held_out } = validation(all, share)?;
                let held_out: Arc<dyn Source> = Arc::new(Part::new(Arc::clone(&source), held_out));
                (train, held_out, HeldOut::Validation)
            }
            None => {
                let (held_out, split) = test(source.as_ref())?;
                ((0..source.len()).collect(), held_out, HeldOut::Split(split))
            }
        };
        if let Some(n) = labels {
            let labels: Vec<u32> = indices.iter().map(|&index| all[index]).collect();
            indices = stratified_subset(&labels, n, seed)?.into_iter().map(|i| indices[i]).collect();
        }
        Ok(Self { source, indices, held_out, split })
    }

    /// Some training images to learn from and some others to judge by, at most so many, equally many of each class and drawn by the seed.
    /// Those that judge are of the images that `validation` holds out.
    ///
    /// # Errors
    ///
    /// Images without labels, or too few of them.
    pub(crate) fn few(
        source: &Arc<dyn Source>,
        [learnt, judging]: [usize; 2],
        validation_share: f64,
        seed: u64,
    ) -> Result<[Vec<usize>; 2]> {
        let all = training_labels(source.as_ref())?;
        let Validation { train, held_out } = validation(&all, validation_share)?;
        let drawn = |from: Vec<usize>, most: usize| -> Result<Vec<usize>> {
            let labels: Vec<u32> = from.iter().map(|&index| all[index]).collect();
            let some = stratified_subset(&labels, most.min(from.len()), seed)?;
            Ok(some.into_iter().map(|i| from[i]).collect())
        };
        Ok([drawn(train, learnt)?, drawn(held_out, judging)?])
    }

    /// The images that are learnt from, and those that judge.
    pub(crate) fn sources(&self) -> [Arc<dyn Source>; 2] {
        let train = Part::new(Arc::clone(&self.source), self.indices.clone());
        [Arc::new(train), Arc::clone(&self.held_out)]
    }
}

/// The training images.
fn opened(data: &DataSettings, labels: Option<usize>, watch: &Watch) -> Result<Arc<dyn Source>> {
    if labels == Some(0) {
        setting!("--labels 0: expected at least 1");
    }
    let source = data.open(Split::Train)?;
    watch.notes_of(source.as_ref());
    Ok(source)
}

/// Looks at every mask of a source, and says what its owner should know.
fn check_all_masks(source: &Arc<dyn Source>, watch: &Watch) -> Result<()> {
    let all: Vec<usize> = (0..source.len()).collect();
    watch.begin(&Task::Images { total: all.len() as u64 });
    let census = check_masks(source, &all, |done| {
        watch.done(done as u64);
        done == all.len() || !watch.stops()
    });
    watch.end();
    let census = census.map_err(|error| match error {
        beit_data::Error::Stopped => {
            Error::Stopped("while masks were being looked at; nothing was changed".into())
        }
        error => error.into(),
    })?;
    if let Some(first) = &census.first_void {
        watch.note(&format!(
            "{} of {} masks have no pixel with a class, and teach nothing: {first} is the first",
            census.void, census.masks
        ));
    }
    Ok(())
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
    same_classes(held_out.class_names(), train.class_names(), &format!("{name},"))?;
    Ok((held_out, split))
}
