//! Classifiers: images to the probabilities of classes.

use crate::device::{Device, Work};
use crate::error::{Error, Result};
use crate::load::{ClassifierModel, Opened};
use crate::loaders::Loading;
use crate::memory;
use crate::on::On;
use crate::progress::Watch;
use crate::settings::{Batches, Crops, DataSettings, OpenSettings};
use beit_data::{Image, LabelledSample, Loader, Preprocessing, Source};
use beit_ops::Ops;
use beit_train::{Communicator, Evaluation, mean_of_views};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// A classifier that is ready to use.
///
/// ```no_run
/// let classifier = beit::Classifier::open("microsoft/beit-base-patch16-224", beit::Device::auto()?)?;
/// let image = beit::Image::open("photo.jpg")?;
/// for p in classifier.classify(&image)?.top(5) {
///     println!("{:.4}  {}", p.probability, p.label);
/// }
/// # Ok::<(), beit::Error>(())
/// ```
#[derive(Clone)]
pub struct Classifier {
    engine: Rc<dyn Engine>,
    /// As it was opened by, for messages.
    name: Arc<str>,
    labels: Arc<[String]>,
    config: beit_heads::ClassifierConfig,
    preprocessing: Preprocessing,
    crops: Crops,
    device: Device,
}

/// What a classifier does on its device.
pub(crate) trait Engine {
    /// `pixels [B, C, H, W] -> logits [B, classes]`
    fn logits(&self, pixels: &[f32]) -> Result<Vec<f32>>;
    /// Every image of a loader, from `start` on.
    fn evaluate(
        &self,
        ranks: &mut dyn Communicator,
        loader: &Loader<LabelledSample>,
        start: Option<Evaluation>,
        on_batch: &mut dyn FnMut(&Evaluation) -> beit_train::Result<()>,
    ) -> Result<Evaluation>;
    /// A checksum of the parameters.
    fn checksum(&self) -> Result<String>;
}

impl<O: Ops> Engine for On<O, beit_heads::Classifier<O::Tensor>> {
    fn logits(&self, pixels: &[f32]) -> Result<Vec<f32>> {
        let config = self.params.vit.config();
        let images = self.ops.upload(config.images(pixels.len() / config.numbers()), pixels);
        Ok(self.ops.read(&self.params.infer(&*self.ops, &images))?)
    }

    fn evaluate(
        &self,
        ranks: &mut dyn Communicator,
        loader: &Loader<LabelledSample>,
        start: Option<Evaluation>,
        on_batch: &mut dyn FnMut(&Evaluation) -> beit_train::Result<()>,
    ) -> Result<Evaluation> {
        Ok(beit_train::evaluate(ranks, &*self.ops, &self.params, loader, start, on_batch)?)
    }

    fn checksum(&self) -> Result<String> {
        crate::checksum::parameters(&*self.ops, &*self.params)
    }
}

impl Classifier {
    /// Opens a run, a checkpoint folder, a file (.safetensors, .pth, .bin, .pkl), an official name, or a name on the hub
    /// (`org/name`, `org/name@revision`).
    ///
    /// # Errors
    ///
    /// Nothing of this name, something else than a classifier, or a device that fails.
    pub fn open(name: impl AsRef<Path>, device: impl Into<Device>) -> Result<Self> {
        let name = name.as_ref().to_string_lossy();
        Self::open_with(&name, &OpenSettings::default(), &device.into(), &Watch::silent())
    }

    /// [`open`](Self::open) in another way than the usual one, watched.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), or settings that do not fit.
    pub fn open_with(name: &str, settings: &OpenSettings, device: &Device, watch: &Watch) -> Result<Self> {
        Self::opened(name, &Opened::new(name, settings, watch)?, device, watch)
    }

    /// [`open_with`](Self::open_with) of what was found.
    pub(crate) fn opened(name: &str, opened: &Opened<'_>, device: &Device, watch: &Watch) -> Result<Self> {
        opened.refuse_beyond(device)?;
        let mut classifier = device.run(Open(opened))?;
        classifier.name = name.into();
        watch.note(&format!("preprocessing: {}", classifier.preprocessing));
        Ok(classifier)
    }

    /// A classifier that is on a device already.
    pub(crate) fn on<O: Ops + 'static>(
        ops: &Rc<O>,
        model: ClassifierModel<O::Tensor>,
        device: &Device,
    ) -> Self {
        let ClassifierModel { params, class_names, preprocessing } = model;
        let config = params.config();
        let engine = Rc::new(On::new(ops, params));
        let (name, labels) = ("the model".into(), class_names.into());
        Self { engine, name, labels, config, preprocessing, crops: Crops::One, device: device.clone() }
    }

    /// The names of the classes, in the order of their numbers.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The model's sizes.
    #[must_use]
    pub fn config(&self) -> &beit_heads::ClassifierConfig {
        &self.config
    }

    /// How pictures become the model's pixels.
    #[must_use]
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// The same, looking at so many parts of each picture.
    #[must_use]
    pub fn with_crops(self, crops: Crops) -> Self {
        Self { crops, ..self }
    }

    /// How many parts of a picture it looks at.
    pub(crate) const fn crops(&self) -> Crops {
        self.crops
    }

    /// One image.
    ///
    /// # Errors
    ///
    /// The device, or logits that are not finite.
    pub fn classify(&self, image: &Image) -> Result<Classification> {
        let mut all = self.classify_all(std::slice::from_ref(image))?;
        Ok(all.remove(0))
    }

    /// Many images, as one batch.
    ///
    /// # Errors
    ///
    /// The device, or logits that are not finite.
    pub fn classify_all(&self, images: &[Image]) -> Result<Vec<Classification>> {
        images.iter().try_for_each(|image| self.preprocessing.normalise.channels.check(image))?;
        let pixels: Vec<f32> =
            images.iter().flat_map(|image| self.crops.pixels(&self.preprocessing, image)).collect();
        self.classify_pixels(&pixels, |row| format!("image {} of {}", row + 1, images.len()))
    }

    /// Every image of a source, batch by batch. `each` gets the number of the image in the source; images that cannot be decoded
    /// are named to the watcher and left out. Returns how many these were.
    ///
    /// # Errors
    ///
    /// The device, logits that are not finite, or whatever `each` returns.
    pub fn classify_source<E: From<Error>>(
        &self,
        source: &Arc<dyn Source>,
        batches: Batches,
        watch: &Watch,
        mut each: impl FnMut(usize, Classification) -> Result<(), E>,
    ) -> Result<usize, E> {
        let data = DataSettings { max_bad_share: 1.0, ..DataSettings::default() };
        let batch = batches.or(Batches::SMALL);
        self.refuse_beyond(batch.min(source.len()))?;
        let loading = Loading::new(batch, 0, &data, &self.device, watch);
        let loader = loading.pixels(source, (self.preprocessing, self.crops))?;
        for batch in loader.epoch(0).map_err(Error::from)? {
            let batch = batch.map_err(Error::from)?;
            let found = self.classify_pixels(&batch.data, |row| source.name(batch.indices[row]))?;
            batch.indices.iter().zip(found).try_for_each(|(&index, found)| each(index, found))?;
        }
        Ok(loader.bad_files().len())
    }

    /// Refuses batches of images for which the machine has no memory.
    pub(crate) fn refuse_beyond(&self, images: usize) -> Result<()> {
        memory::refuse_images(&self.device, &self.config.vit, images.saturating_mul(self.crops.number()))
    }

    /// `image` names that of a row of `pixels [B, crops, C, H, W]`.
    fn classify_pixels(
        &self,
        pixels: &[f32],
        image: impl Fn(usize) -> String,
    ) -> Result<Vec<Classification>> {
        let logits = self.engine.logits(pixels)?;
        let (classes, crops) = (self.config.classes, self.crops.number());
        Error::unless_finite(&self.name, "logits", &logits, classes, |row| image(row / crops))?;
        let logits = if crops == 1 { logits } else { mean_of_views(&logits, classes, crops) };
        let rows = logits.chunks_exact(classes);
        Ok(rows
            .map(|row| Classification { logits: row.to_vec(), labels: Arc::clone(&self.labels) })
            .collect())
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }
}

struct Open<'a>(&'a Opened<'a>);

impl Work for Open<'_> {
    type Output = Classifier;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<Classifier> {
        Ok(Classifier::on(ops, self.0.classifier(&**ops)?, device))
    }
}

/// What a classifier says to one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    logits: Vec<f32>,
    labels: Arc<[String]>,
}

/// One class and its probability.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Prediction<'a> {
    /// The number of the class.
    pub class: usize,
    /// Its name.
    pub label: &'a str,
    /// 0 to 1; those of all classes add up to 1.
    pub probability: f64,
}

impl Classification {
    /// `[classes]`, before the softmax; of several crops the logarithms of their mean probabilities.
    #[must_use]
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// The probability of every class, in the order of their numbers: `softmax(logits)`.
    #[must_use]
    pub fn probabilities(&self) -> Vec<f64> {
        let greatest = self.logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = self.logits.iter().map(|&x| f64::from(x - greatest).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / total).collect()
    }

    /// The `count` most likely classes; of equals, the first class comes first.
    #[must_use]
    pub fn top(&self, count: usize) -> Vec<Prediction<'_>> {
        let probabilities = self.probabilities();
        let mut classes: Vec<usize> = (0..self.logits.len()).collect();
        classes.sort_by(|&a, &b| self.logits[b].total_cmp(&self.logits[a]));
        let prediction = |&class: &usize| Prediction {
            class,
            label: &self.labels[class],
            probability: probabilities[class],
        };
        classes.iter().take(count).map(prediction).collect()
    }

    /// The most likely class.
    ///
    /// # Errors
    ///
    /// A model without classes.
    pub fn best(&self) -> Result<Prediction<'_>> {
        let no_classes = || Error::Unfit("a classifier without classes".to_owned());
        self.top(1).first().copied().ok_or_else(no_classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_likely_come_first() {
        let labels: Arc<[String]> = ["a", "b", "c"].map(str::to_owned).into();
        let said = |logits: [f32; 3]| Classification { logits: logits.to_vec(), labels: Arc::clone(&labels) };
        let found = said([1000.0, 1000.0 + 3.0_f32.ln(), 1000.0]);
        let top = found.top(2);
        assert_eq!(top.iter().map(|prediction| prediction.label).collect::<Vec<_>>(), ["b", "a"]);
        // 3 / (3 + 1 + 1); numbers near 1000 are 6e-5 apart.
        assert!((top[0].probability - 0.6).abs() < 1e-4, "{top:?}");
        assert_eq!(said([0.0; 3]).top(9).len(), 3);
        assert_eq!(found.best().expect("three classes").class, 1);
    }
}
