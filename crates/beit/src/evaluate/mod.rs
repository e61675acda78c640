//! How a model does on the images of a source: what evaluations share, and that of a classifier. `pixels` has that of a segmenter.

mod classes;
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
use crate::ranks::Team;
use crate::run::{data_stamp, is_taken};
use crate::settings::{Batches, DataSettings};
use beit_data::{Source, Split};
use beit_train::{Accuracy, ClassCounts, Evaluation};
use classes::{ClassMap, wnids};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{State, Store, What};

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

/// An evaluation on its way through the images: where it began, what was saved of it, who watches.
struct Passage<'a, S> {
    settings: &'a EvaluationSettings,
    watch: &'a Watch,
    /// None where nothing is saved, or another process saves.
    store: Option<Store<S>>,
    start: Option<S>,
    /// Of several processes another may be the one that is to stop: what was counted last, to be saved then.
    last: Option<S>,
    shares: bool,
}

/// An evaluation that begins: what it looks at, and what is wrong with counts that cannot be of it.
struct Begin<'a, S> {
    what: &'a dyn Fn() -> Result<What>,
    source: &'a Arc<dyn Source>,
    check: &'a dyn Fn(&S) -> Result<(), String>,
}

impl<'a, S: State> Passage<'a, S> {
    /// Begins, or goes on with what is in the folder. Of several processes rank 0 alone saves; all look at the same.
    fn begin(
        settings: &'a EvaluationSettings,
        watch: &'a Watch,
        team: &Team,
        of: &Begin<'_, S>,
    ) -> Result<Self> {
        let mut store = None;
        if settings.out.is_some() || team.shard().of > 1 {
            let what = (of.what)()?;
            team.same(&json(&what), different)?;
            store = match settings.out.as_deref().filter(|_| team.leads()) {
                Some(out) if settings.resume => Some(Store::resume(out, what, of.source, of.check)?),
                Some(out) => Some(Store::begin(out, what, of.source)?),
                None => None,
            };
        }
        let start: Option<S> = store.as_mut().and_then(|store: &mut Store<S>| store.start.take());
        let start = match team.leads() && team.shard().of == 1 {
            true => start,
            false => serde_json::from_str(&team.told(&json(&start))?).unwrap_or_default(),
        };
        if let Some(out) = settings.out.as_deref().filter(|_| !team.leads()) {
            watch.folder(out);
        }
        Ok(Self { settings, watch, store, start, last: None, shares: team.shard().of > 1 })
    }

    /// What was counted before, if it goes on; `far` says how far that is.
    fn start(&mut self, far: impl FnOnce(&S) -> String) -> Option<S> {
        let start = self.start.take();
        if let Some(start) = &start {
            self.watch.note(&format!("resumed after {}", far(start)));
        }
        start
    }

    /// So many batches and images are done: saves what was counted now and then, and when it is to stop.
    fn passed(&mut self, state: &S, batches: u64, images: u64) -> beit_train::Result<()> {
        self.watch.done(images);
        let stops = self.watch.stops();
        match &mut self.store {
            Some(store) if stops || batches.is_multiple_of(self.settings.save_every) => {
                store.save(state)?;
                // What was counted before must not be saved over it.
                self.last = None;
            }
            Some(_) if self.shares => self.last = Some(state.clone()),
            _ => {}
        }
        if stops { Err(beit_train::Error::Stopped) } else { Ok(()) }
    }

    /// An evaluation that somebody stopped saves what was counted, and says how it goes on.
    fn stopped(&mut self, error: Error) -> Error {
        if let (Error::Train(beit_train::Error::Stopped), Some(store), Some(last)) =
            (&error, &mut self.store, &self.last)
            && let Err(error) = store.save(last)
        {
            return error.into();
        }
        self.settings.stopped(error)
    }

    fn end(&mut self, state: &S) -> Result<()> {
        self.watch.end();
        match &mut self.store {
            Some(store) => Ok(store.save(state)?),
            None => Ok(()),
        }
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
        self.refuse_beyond(settings.batch_size().min(source.len()))?;
        let loading = Loading::new(settings.batch_size(), 0, &settings.data, self.device(), watch);
        let job = Job { classifier: self, settings, source, loading, watch };
        let evaluation = job.whole()?;
        let evaluated = Evaluated {
            model: model.to_owned(),
            data: settings.data.data.clone(),
            split: settings.split().to_string(),
            accuracy: evaluation.accuracy(),
            left_out: evaluation.left_out,
            batch_size: settings.batch_size(),
            preprocessing: self.preprocessing().to_string(),
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
        let loader =
            loading.labelled(source, *classifier.preprocessing(), move |class| map.model_class(class))?;

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
            preprocessing: classifier.preprocessing().to_string(),
            batch_size: settings.batch_size(),
        })
    }
}

/// As it travels.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// How rank 0 and another look at different things.
fn different(first: &str, other: &str) -> String {
    let read = |text: &str| serde_json::from_str::<What>(text).ok();
    let difference = read(first).zip(read(other)).and_then(|(first, other)| other.difference(&first));
    difference.unwrap_or_else(|| "its settings are others".to_owned())
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

#[cfg(all(test, feature = "fashion-mnist"))]
mod tests {
    use super::*;
    use beit_train::PixelCounts;

    /// Where the last state is that an evaluation by several processes comes to, which another one stops.
    fn resumed_after(pictures: u64) -> u64 {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let settings = EvaluationSettings { save_every: 2, ..EvaluationSettings::default() };
        let source = settings.data.open(Split::Test).expect("it is embedded");
        let text = || "the same".to_owned();
        let what = || What { model: text(), data: text(), preprocessing: text(), batch_size: 1 };
        let out = dir.path().join("evaluation");
        let store = Some(Store::begin(&out, what(), &source).expect("a new folder"));
        let watch = Watch::silent();
        let mut passage =
            Passage { settings: &settings, watch: &watch, store, start: None, last: None, shares: true };
        for done in 1..=pictures {
            let mut state = PixelCounts::new(2);
            state.done = done;
            passage.passed(&state, done, done).expect("nobody stops this one");
        }
        let stopped = passage.stopped(beit_train::Error::Stopped.into());
        assert!(matches!(stopped, Error::Stopped(_)), "{stopped}");
        drop(passage);
        let store = Store::resume(&out, what(), &source, |_: &PixelCounts| Ok(())).expect("it is whole");
        store.start.map_or(0, |state| state.done)
    }

    #[test]
    fn a_stop_that_another_asked_for_loses_nothing_that_was_counted() {
        assert_eq!([2, 3, 4, 5].map(resumed_after), [2, 3, 4, 5]);
    }
}
