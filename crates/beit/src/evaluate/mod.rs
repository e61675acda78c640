//! How a model does on the images of a source: what evaluations share, and that of a classifier. `pixels` has that of a segmenter.

mod classes;
mod passage;
mod pixels;
mod store;
mod tables;

pub use pixels::SegmentationEvaluated;
pub(crate) use pixels::sentence as pixels_sentence;

use crate::classifier::Classifier;
use crate::error::{Error, Place, Result, setting};
use crate::files;
use crate::loaders::Loading;
use crate::progress::{Task, Watch};
use crate::run::{data_stamp, is_taken};
use crate::settings::{Batches, Crops, DataSettings};
use beit_data::{Source, Split};
use beit_train::{Accuracy, ClassCounts, Evaluation};
use classes::{ClassMap, wnids};
use passage::{Begin, Passage};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{State, What};

/// Where an evaluation looks, and what it writes.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct EvaluationSettings {
    /// The images.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub data: DataSettings,
    /// Evaluate on the training images instead
    #[cfg_attr(feature = "clap", arg(long))]
    pub train_split: bool,
    /// Images of a batch.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub batches: Batches,
    /// Classifiers: how many parts of a picture are looked at; of three the mean of the probabilities counts
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub crops: Crops,
    /// Folder for evaluation.json, per_class.csv, confusion.csv, and progress.json to resume from
    #[cfg_attr(feature = "clap", arg(long, value_name = "DIR"))]
    pub out: Option<PathBuf>,
    /// Continue the evaluation in --out, to the same bits as if it had not stopped
    #[cfg_attr(feature = "clap", arg(long, requires = "out"))]
    pub resume: bool,
    /// Batches between two writings of progress.json
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().save_every, value_name = "N", value_parser = clap::value_parser!(u64).range(1..)))]
    pub save_every: u64,
}

impl Default for EvaluationSettings {
    fn default() -> Self {
        Self {
            data: DataSettings::default(),
            train_split: false,
            batches: Batches::default(),
            crops: Crops::default(),
            out: None,
            resume: false,
            save_every: 50,
        }
    }
}

/// What an evaluation found, and `evaluation.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluated {
    /// The model's name.
    pub model: String,
    /// The source.
    pub data: String,
    /// Which images of it.
    pub split: String,
    /// Over all classes.
    #[serde(flatten)]
    pub accuracy: Accuracy,
    /// Images that could not be decoded.
    pub left_out: usize,
    /// Images of a batch.
    pub batch_size: usize,
    /// Parts of a picture that were looked at.
    pub crops: usize,
    /// How pictures became pixels.
    pub preprocessing: String,
    /// Class by class.
    #[serde(skip)]
    pub per_class: Vec<ClassCounts>,
    /// The counts behind it all.
    #[serde(skip)]
    pub evaluation: Evaluation,
    /// The names of the model's classes.
    #[serde(skip)]
    pub labels: Vec<String>,
}

impl EvaluationSettings {
    /// Refuses a folder with something in it, unless its evaluation is to go on.
    ///
    /// # Errors
    ///
    /// Such a folder.
    pub fn check(&self) -> Result<()> {
        match &self.out {
            Some(out) if !self.resume && is_taken(out)? => {
                setting!(
                    "{} is not empty: choose another --out, or --resume the evaluation in it",
                    out.display()
                )
            }
            _ => Ok(()),
        }
    }

    fn split(&self) -> Split {
        if self.train_split { Split::Train } else { Split::Test }
    }

    fn batch_size(&self) -> usize {
        self.batches.or(Batches::LARGE)
    }

    /// An evaluation that somebody stopped says how it goes on.
    fn stopped(&self, error: Error) -> Error {
        match error {
            Error::Train(beit_train::Error::Stopped) => Error::Stopped(match &self.out {
                Some(out) => format!("go on with --resume --out {}", out.display()),
                None => "with --out it could be gone on with".to_owned(),
            }),
            error => error,
        }
    }
}

impl State for Evaluation {
    fn passed(&self) -> usize {
        self.images() + self.left_out
    }
}

impl Classifier {
    /// Accuracy, loss, accuracy of each class and confusion matrix on the images of a source.
    ///
    /// Classes of the data are those of the model with the same names, or by the numbers of ImageNet (n01440764); a model whose
    /// classes have no names takes folders named 0, 1, … in the order in which training numbers them (10 before 2). The data may
    /// have some of the model's classes only. `model` is what the answer calls the model.
    ///
    /// # Errors
    ///
    /// Classes that the model does not have, the data, the device, a folder that is in use, or an evaluation in it of other things.
    pub fn evaluate(&self, model: &str, settings: &EvaluationSettings, watch: &Watch) -> Result<Evaluated> {
        let team = self.device().team();
        if team.leads() {
            settings.check()?;
        }
        let data = settings.data.seen_by(model, self.preprocessing().normalise.channels)?;
        let source = data.open(settings.split())?;
        watch.notes_of(source.as_ref());
        let looking = self.clone().with_crops(settings.crops);
        looking.refuse_beyond(settings.batch_size().min(source.len()))?;
        let loading = Loading::new(settings.batch_size(), 0, &settings.data, self.device(), watch);
        let job = Job { classifier: &looking, settings, source, loading, watch };
        let evaluation = job.whole()?;
        let evaluated = Evaluated {
            model: model.to_owned(),
            data: settings.data.data.clone(),
            split: settings.split().to_string(),
            accuracy: evaluation.accuracy(),
            left_out: evaluation.left_out,
            batch_size: settings.batch_size(),
            crops: settings.crops.number(),
            preprocessing: settings.crops.describe(self.preprocessing()),
            per_class: evaluation.per_class(),
            labels: self.labels().to_vec(),
            evaluation,
        };
        if let Some(out) = settings.out.as_ref().filter(|_| team.leads()) {
            evaluated.write(out)?;
        }
        Ok(evaluated)
    }
}

struct Job<'a> {
    classifier: &'a Classifier,
    settings: &'a EvaluationSettings,
    source: Arc<dyn Source>,
    loading: Loading,
    watch: &'a Watch,
}

impl Job<'_> {
    /// The whole set, from where the store is.
    fn whole(&self) -> Result<Evaluation> {
        let Self { classifier, settings, source, loading, watch } = self;
        let spec = || settings.data.data.clone();
        beit_data::labels(source.as_ref()).at(spec)?;
        let names = classifier.labels();
        let map = ClassMap::of_folders(source.class_names(), names, wnids(names.len())).at(spec)?;
        map.note.iter().for_each(|note| watch.note(note));
        let views = (*classifier.preprocessing(), classifier.crops());
        let loader = loading.labelled(source, views, move |class| map.model_class(class))?;

        let classes = names.len();
        let begin = Begin {
            what: &|| self.what(),
            source,
            check: &|state: &Evaluation| state.check(classes, loader.images_before(state.batches)),
        };
        let team = classifier.device().team();
        let mut passage = Passage::begin(settings, watch, team, &begin)?;
        watch.begin(&Task::Images { total: loader.images() as u64 });
        let start = passage.start(|start: &Evaluation| {
            format!("{} of {} batches", start.batches, loader.batches_per_epoch())
        });
        let mut on_batch = |state: &Evaluation| {
            passage.passed(state, state.batches, state.batches * loading.batch_size as u64)
        };
        let evaluation = classifier.engine().evaluate(&mut *team.ranks(), &loader, start, &mut on_batch);
        let evaluation = evaluation.map_err(|error| passage.stopped(error))?;
        passage.end(&evaluation)?;
        Ok(evaluation)
    }

    fn what(&self) -> Result<What> {
        let Self { classifier, settings, source, .. } = self;
        Ok(What {
            model: classifier.engine().checksum()?,
            data: format!("{} with {}", settings.data.data, data_stamp(source.as_ref())),
            preprocessing: classifier.crops().describe(classifier.preprocessing()),
            batch_size: settings.batch_size(),
        })
    }
}

impl Evaluated {
    /// One line for a person.
    #[must_use]
    pub fn sentence(&self) -> String {
        sentence(&self.split, &self.accuracy)
    }

    /// A line a class that has images, for a person.
    #[must_use]
    pub fn per_class_text(&self) -> String {
        tables::per_class_text(&self.evaluation, &self.labels)
    }

    fn write(&self, out: &Path) -> Result<()> {
        let Self { evaluation, labels, .. } = self;
        let confusion = evaluation.confusion().collect();
        write_csv(out, "per_class.csv", tables::per_class_csv(evaluation, labels))?;
        write_csv(out, "confusion.csv", tables::confusion_csv(&confusion, labels))?;
        write_json(out, self)
    }
}

fn write_csv(out: &Path, name: &str, bytes: Result<Vec<u8>, csv::Error>) -> Result<()> {
    let path = out.join(name);
    let bytes = bytes.map_err(|error| Error::file("write", &path)(std::io::Error::other(error)))?;
    files::write(&path, &bytes)
}

/// `evaluation.json`
fn write_json(out: &Path, evaluated: &impl Serialize) -> Result<()> {
    let path = out.join("evaluation.json");
    let json = serde_json::to_string_pretty(evaluated).map_err(std::io::Error::other);
    files::write(&path, json.map_err(Error::file("write", &path))?.as_bytes())
}

/// One line for a person.
pub(crate) fn sentence(split: &str, accuracy: &Accuracy) -> String {
    let Accuracy { images, top1, top5, loss } = accuracy;
    format!("{split} accuracy on {images} images: top-1 {top1:.4}, top-5 {top5:.4}, loss {loss:.4}")
}
