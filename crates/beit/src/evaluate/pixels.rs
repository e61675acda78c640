//! How a segmenter does on the pixels of a source.

use super::classes::ClassMap;
use super::store::{State, What};
use super::{Begin, EvaluationSettings, Passage, tables, write_csv, write_json};
use crate::error::{Error, Place, Result, setting, unfit};
use crate::loaders::Loading;
use crate::progress::{Task, Watch};
use crate::run::data_stamp;
use crate::segmenter::{Segmenter, ViewSettings};
use crate::settings::Crops;
use beit_data::{Batch, Loader, Mask, Source};
use beit_train::{PixelAccuracy, PixelCounts, share_batches};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// What an evaluation of a segmenter found, and `evaluation.json`.
#[derive(Clone, Debug, Serialize)]
pub struct SegmentationEvaluated {
    /// The model's name.
    pub model: String,
    /// The source.
    pub data: String,
    /// Which images of it.
    pub split: String,
    /// Over all classes.
    #[serde(flatten)]
    pub accuracy: PixelAccuracy,
    /// Images that could not be decoded.
    pub left_out: usize,
    /// Pixels without a class.
    pub ignored: u64,
    /// How pictures were looked at.
    pub views: String,
    /// The counts behind it all.
    #[serde(skip)]
    pub counts: PixelCounts,
    /// The names of the model's classes.
    #[serde(skip)]
    pub labels: Vec<String>,
}

impl State for PixelCounts {
    fn passed(&self) -> usize {
        self.done as usize
    }
}

/// A picture and its mask, as they are.
#[derive(Clone, Debug)]
pub(crate) struct Pictured {
    image: beit_data::Image,
    mask: Mask,
}

impl beit_data::Sample for Pictured {
    type Batch = Vec<Self>;

    fn collate(samples: Vec<Self>) -> Vec<Self> {
        samples
    }
}

impl Segmenter {
    /// Mean intersection over union, accuracies, and confusion matrix on the pixels of a source, at its own resolution. Classes of the
    /// data are those of the model with the same names. `model` is what the answer calls the model.
    ///
    /// # Errors
    ///
    /// Classes that the model does not have, the data, the device, a folder that is in use, or an evaluation in it of other things.
    pub fn evaluate(
        &self,
        model: &str,
        settings: &EvaluationSettings,
        views: &ViewSettings,
        watch: &Watch,
    ) -> Result<SegmentationEvaluated> {
        let team = self.device().team();
        if settings.crops != Crops::One {
            setting!(
                "--crops {}: crops are for classifiers, and this is a segmenter; leave it out",
                settings.crops
            );
        }
        if team.leads() {
            settings.check()?;
        }
        self.check(views)?;
        let data = settings.data.seen_by(model, self.channels())?;
        let source = data.open_once(settings.split())?;
        watch.notes_of(source.as_ref());
        let loading = Loading::new(1, 0, &settings.data, self.device(), watch);
        let job = Job { segmenter: self, settings, views, source, loading, watch };
        let counts = job.whole()?;
        let evaluated = SegmentationEvaluated {
            model: model.to_owned(),
            data: settings.data.data.clone(),
            split: settings.split().to_string(),
            accuracy: counts.accuracy(),
            left_out: counts.left_out(),
            ignored: counts.ignored,
            views: self.describe(views),
            labels: self.labels().to_vec(),
            counts,
        };
        if let Some(out) = settings.out.as_ref().filter(|_| team.leads()) {
            evaluated.write(out)?;
        }
        Ok(evaluated)
    }

    /// What is counted of the pictures of a source from `counts` on. `class` turns a class of the data into one of the model.
    pub(crate) fn count(
        &self,
        source: &Arc<dyn Source>,
        loading: &Loading,
        views: &ViewSettings,
        mut counts: PixelCounts,
        class: impl Fn(u32) -> u32 + Send + Sync + 'static,
        on_picture: &mut dyn FnMut(&PixelCounts) -> beit_train::Result<()>,
    ) -> Result<PixelCounts> {
        let loader = loader(source, loading, class)?;
        let classes = counts.classes;
        let find = |batch: &Batch<Pictured>| {
            let mut found = PixelCounts::new(classes);
            for (Pictured { image, mask }, &index) in batch.data.iter().zip(&batch.indices) {
                let named = self.classes_of(image, views).at(|| source.name(index))?;
                found.add(mask.ids(), &named);
            }
            Ok::<_, Error>(found)
        };
        let range = counts.done..loader.batches_per_epoch().max(counts.done);
        share_batches(&mut *self.device().team().ranks(), &loader, range, find, |number, found| {
            counts.merge(&found);
            counts.done = number + 1;
            on_picture(&counts)
        })?;
        // Pictures that cannot be decoded are passed over: there may be some at the end.
        counts.done = counts.done.max(loader.batches_per_epoch());
        Ok(counts)
    }
}

/// The pictures of a source with their masks, whose classes are the model's.
fn loader(
    source: &Arc<dyn Source>,
    loading: &Loading,
    class: impl Fn(u32) -> u32 + Send + Sync + 'static,
) -> Result<Loader<Pictured>> {
    let table: [u8; 256] = std::array::from_fn(|id| id as u8);
    let classes = source.mask_classes().len();
    let table = table.map(|id| if usize::from(id) < classes { class(id.into()) as u8 } else { id });
    loading.pictured(source, move |item| {
        let mask = item.mask.expect("the loader reads masks");
        let ids = mask.ids().iter().map(|&id| table[usize::from(id)]).collect();
        Pictured { image: item.image, mask: Mask::new(mask.height(), mask.width(), ids) }
    })
}

struct Job<'a> {
    segmenter: &'a Segmenter,
    settings: &'a EvaluationSettings,
    views: &'a ViewSettings,
    source: Arc<dyn Source>,
    loading: Loading,
    watch: &'a Watch,
}

impl Job<'_> {
    /// The whole set, from where the store is.
    fn whole(&self) -> Result<PixelCounts> {
        let Self { segmenter, settings, views, source, loading, watch } = self;
        let names = segmenter.labels();
        let map = self.class_map()?;
        map.note.iter().for_each(|note| watch.note(note));

        let (classes, total) = (names.len(), source.len() as u64);
        let check = |state: &PixelCounts| match state.check(classes) {
            Ok(()) if state.done > total => {
                Err(format!("{} pictures done, expected at most {total}", state.done))
            }
            checked => checked,
        };
        let begin = Begin { what: &|| self.what(), source, check: &check };
        let mut passage = Passage::begin(settings, watch, segmenter.device().team(), &begin)?;
        watch.begin(&Task::Images { total });
        let start = passage.start(|start: &PixelCounts| format!("{} of {total} images", start.done));
        let start = start.unwrap_or_else(|| PixelCounts::new(names.len()));
        let class = move |class| map.model_class(class);
        let mut on_picture = |state: &PixelCounts| passage.passed(state, state.done, state.done);
        let counts = segmenter.count(source, loading, views, start, class, &mut on_picture);
        let counts = counts.map_err(|error| passage.stopped(error))?;
        passage.end(&counts)?;
        Ok(counts)
    }

    /// The model's number of each class of the data.
    fn class_map(&self) -> Result<ClassMap> {
        let (spec, of_data) = (&self.settings.data.data, self.source.mask_classes());
        if of_data.is_empty() {
            unfit!("{spec} has no masks: a segmenter is evaluated on masks:IMAGES,MASKS, ade:DIR or scenes");
        }
        ClassMap::of_masks(of_data, self.segmenter.labels()).at(|| spec.clone())
    }

    fn what(&self) -> Result<What> {
        let Self { segmenter, settings, source, .. } = self;
        Ok(What {
            model: segmenter.stamp()?,
            data: format!("{} with {}", settings.data.data, data_stamp(source.as_ref())),
            preprocessing: segmenter.describe(self.views),
            batch_size: 1,
        })
    }
}

impl SegmentationEvaluated {
    /// One line for a person.
    #[must_use]
    pub fn sentence(&self) -> String {
        sentence(&self.split, &self.accuracy)
    }

    /// A line a class that is shown or named, for a person.
    #[must_use]
    pub fn per_class_text(&self) -> String {
        tables::pixels_text(&self.counts, &self.labels)
    }

    fn write(&self, out: &Path) -> Result<()> {
        let Self { counts, labels, .. } = self;
        let classes = counts.classes;
        let entry = |(i, &pixels): (usize, &u64)| ([(i / classes) as u32, (i % classes) as u32], pixels);
        let confusion = counts.confusion().iter().enumerate().map(entry).collect();
        write_csv(out, "per_class.csv", tables::pixels_csv(counts, labels))?;
        write_csv(out, "confusion.csv", tables::confusion_csv(&confusion, labels))?;
        write_json(out, self)
    }
}

/// One line for a person.
pub(crate) fn sentence(split: &str, accuracy: &PixelAccuracy) -> String {
    let PixelAccuracy { images, miou, macc, aacc, miou_of_commonest, .. } = accuracy;
    format!(
        "{split} segmentation on {images} images: mIoU {miou:.4}, mAcc {macc:.4}, aAcc {aacc:.4}; naming the commonest class everywhere: mIoU {miou_of_commonest:.4}"
    )
}
