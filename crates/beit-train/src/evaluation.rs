//! A classifier on a set of images: everything that one pass tells, in a form that can be saved and gone on with.

use crate::error::{Error, Result};
use crate::ranks::{Communicator, share_batches};
use beit_data::{Batch, LabelledSample, Loader};
use beit_heads::Classifier;
use beit_ops::{Ops, Targets};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a classifier did on a set of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Images.
    pub images: usize,
    /// Share whose most likely class is the right one.
    pub top1: f64,
    /// Share whose right class is among the five most likely.
    pub top5: f64,
    /// Mean cross-entropy in nats.
    pub loss: f64,
}

/// How a classifier did on the images of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCounts {
    /// The class.
    pub class: u32,
    /// Images of it.
    pub images: u64,
    /// Those whose most likely class it is.
    pub right: u64,
    /// Those of which it is among the five most likely classes.
    pub right_in_5: u64,
}

/// What an evaluation has counted so far. Written as JSON it keeps every bit, so one that was interrupted goes on to the result of
/// one that was not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub struct Evaluation {
    /// Number of classes.
    pub classes: usize,
    /// Batches done: the number of the next one.
    pub batches: u64,
    /// Images that could not be decoded.
    pub left_out: usize,
    /// Sum over the images, added up batch by batch.
    loss: f64,
    /// Images by right class and most likely class: few of all pairs occur.
    confusion: BTreeMap<(u32, u32), u64>,
    /// Images whose class is among the five most likely, by class.
    in_5: BTreeMap<u32, u64>,
}

impl Evaluation {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        let (confusion, in_5) = (BTreeMap::new(), BTreeMap::new());
        Self { classes, batches: 0, left_out: 0, loss: 0.0, confusion, in_5 }
    }

    /// Images counted.
    #[must_use]
    pub fn images(&self) -> usize {
        self.confusion.values().sum::<u64>() as usize
    }

    /// Whether these can be the counts of an evaluation of `classes` classes that has come to a batch before which there are
    /// `before` images: what was found where they cannot.
    ///
    /// # Errors
    ///
    /// Counts that contradict each other.
    pub fn check(&self, classes: usize, before: usize) -> std::result::Result<(), String> {
        if self.classes != classes {
            return Err(format!("counts of {} classes, expected {classes}", self.classes));
        }
        let counted = self.confusion.values().try_fold(self.left_out as u64, |sum, &n| sum.checked_add(n));
        if counted != Some(before as u64) {
            let found = counted.map_or_else(|| "more than can be".to_owned(), |found| found.to_string());
            return Err(format!("{found} images in {} batches, expected {before}", self.batches));
        }
        let of =
            |class: u32| self.confusion.range((class, 0)..=(class, u32::MAX)).map(|(_, n)| n).sum::<u64>();
        match self.in_5.iter().find(|&(&class, &n)| n > of(class)) {
            Some((class, n)) => Err(format!(
                "class {class} is among the five most likely {n} times, in {} images",
                of(*class)
            )),
            None if !self.loss.is_finite() => Err(format!("a loss of {}", self.loss)),
            None => Ok(()),
        }
    }

    /// Over all classes.
    #[must_use]
    pub fn accuracy(&self) -> Accuracy {
        let images = self.images() as u64;
        let right: u64 = self.confusion().filter(|([label, named], _)| label == named).map(|(_, n)| n).sum();
        let share = |n: u64| n as f64 / images.max(1) as f64;
        let (top1, top5) = (share(right), share(self.in_5.values().sum()));
        Accuracy { images: images as usize, top1, top5, loss: self.loss / images.max(1) as f64 }
    }

    /// Class by class, those that have images.
    #[must_use]
    pub fn per_class(&self) -> Vec<ClassCounts> {
        let mut all: BTreeMap<u32, ClassCounts> = BTreeMap::new();
        for ([class, named], images) in self.confusion() {
            let counts = all.entry(class).or_default();
            counts.class = class;
            counts.images += images;
            counts.right += if class == named { images } else { 0 };
            counts.right_in_5 = self.in_5.get(&class).copied().unwrap_or(0);
        }
        all.into_values().collect()
    }

    /// The entries of the confusion matrix that are not zero, row by row: `[right class, most likely class]` and images.
    pub fn confusion(&self) -> impl Iterator<Item = ([u32; 2], u64)> {
        self.confusion.iter().map(|(&(label, named), &images)| ([label, named], images))
    }

    /// Adds the counts of other images.
    ///
    /// # Panics
    ///
    /// If the classes are not as many.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.classes, other.classes, "evaluations of models with different classes");
        self.batches += other.batches;
        self.left_out += other.left_out;
        self.loss += other.loss;
        other.confusion.iter().for_each(|(&pair, n)| *self.confusion.entry(pair).or_default() += n);
        other.in_5.iter().for_each(|(&class, n)| *self.in_5.entry(class).or_default() += n);
    }

    /// Counts one batch: `logits [B, classes]`, `labels [B]`, and the mean loss.
    fn add(&mut self, logits: &[f32], labels: &[u32], loss: f32) {
        self.loss += f64::from(loss) * labels.len() as f64;
        for (row, &label) in logits.chunks_exact(self.classes).zip(labels) {
            *self.confusion.entry((label, most_likely(row))).or_default() += 1;
            if rank(row, label as usize) < 5 {
                *self.in_5.entry(label).or_default() += 1;
            }
        }
    }
}

/// Classifies every image of a loader; those of the batches after `start`, where that is given, and adds to it. `on_batch` sees
/// the state after every batch and may save it; an error from it ends the evaluation. Several ranks take turns, and all of them return
/// what a single one would, to the bit.
///
/// # Errors
///
/// The data, the device, numbers that are not finite, or `on_batch`.
///
/// # Panics
///
/// If `start` is of another number of classes.
pub fn evaluate<O: Ops>(
    ranks: &mut dyn Communicator,
    ops: &O,
    params: &Classifier<O::Tensor>,
    loader: &Loader<LabelledSample>,
    start: Option<Evaluation>,
    on_batch: &mut dyn FnMut(&Evaluation) -> Result<()>,
) -> Result<Evaluation> {
    let classes = params.config().classes;
    let mut state = start.unwrap_or_else(|| Evaluation::new(classes));
    assert_eq!(state.classes, classes, "an evaluation of a model with other classes");
    let find = |batch: &Batch<LabelledSample>| {
        let (logits, loss) = logits(ops, params, batch)?;
        let mut found = Evaluation::new(classes);
        found.add(&logits, &batch.data.labels, loss);
        Ok::<_, Error>(found)
    };
    let range = state.batches..loader.batches_per_epoch().max(state.batches);
    share_batches(ranks, loader, range, find, |number, found| {
        state.merge(&found);
        state.batches = number + 1;
        // Files of later batches may have been met already: they are counted with their batch.
        state.left_out = loader.images_before(state.batches) - state.images();
        on_batch(&state)
    })?;
    // Batches without an image that can be decoded are passed over: there may be some at the end.
    state.batches = state.batches.max(loader.batches_per_epoch());
    state.left_out = loader.images_before(state.batches) - state.images();
    Ok(state)
}

/// The logarithms of the mean probabilities of several views of each image: `logits [B * views, classes] -> [B, classes]`, the views of
/// an image one after another. Softmax of them is that mean. It is taken of probabilities, not of logits, so that a view that is sure
/// counts no more than one.
///
/// # Panics
///
/// If the rows are no whole number of images.
#[must_use]
pub fn mean_of_views(logits: &[f32], classes: usize, views: usize) -> Vec<f32> {
    assert!(views > 0 && logits.len().is_multiple_of(classes * views), "an image without all of its views");
    let log_sum = |values: &mut dyn Iterator<Item = f64>| {
        let values: Vec<f64> = values.collect();
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + values.iter().map(|value| (value - most).exp()).sum::<f64>().ln()
    };
    let of_image = |rows: &[f32]| -> Vec<f32> {
        let sums: Vec<f64> =
            rows.chunks_exact(classes).map(|row| log_sum(&mut row.iter().map(|&x| f64::from(x)))).collect();
        let log_of = |view: usize, class: usize| f64::from(rows[view * classes + class]) - sums[view];
        let mean = |class| log_sum(&mut (0..views).map(|view| log_of(view, class))) - (views as f64).ln();
        (0..classes).map(|class| mean(class) as f32).collect()
    };
    logits.chunks_exact(classes * views).flat_map(of_image).collect()
}

/// `[B, classes]`, and their mean loss; of several views of each image the logarithms of the [mean](mean_of_views).
fn logits<O: Ops>(
    ops: &O,
    params: &Classifier<O::Tensor>,
    batch: &Batch<LabelledSample>,
) -> Result<(Vec<f32>, f32)> {
    let (vit, images) = (params.vit.config(), batch.indices.len());
    let views = batch.data.pixels.len() / (vit.numbers() * images).max(1);
    let pixels = ops.upload(vit.images(images * views), &batch.data.pixels);
    let logits = params.infer(ops, &pixels);
    if views > 1 {
        return averaged(&ops.read(&logits)?, params.config().classes, views, batch);
    }
    let ids = ops.upload_ids(&batch.data.labels);
    let (metrics, _) = ops.cross_entropy(&logits, &Targets::Classes { ids: &ids, smoothing: 0.0 });
    let (logits, loss) = (ops.read(&logits)?, ops.read(&metrics)?[0]);
    if !logits.iter().all(|x| x.is_finite()) {
        return Err(Error::Logits { batch: batch.number });
    }
    Ok((logits, loss))
}

fn averaged(
    logits: &[f32],
    classes: usize,
    views: usize,
    batch: &Batch<LabelledSample>,
) -> Result<(Vec<f32>, f32)> {
    if !logits.iter().all(|x| x.is_finite()) {
        return Err(Error::Logits { batch: batch.number });
    }
    let mean = mean_of_views(logits, classes, views);
    let rows = mean.chunks_exact(classes).zip(&batch.data.labels);
    let loss: f64 = rows.map(|(row, &label)| -f64::from(row[label as usize])).sum();
    Ok((mean, (loss / batch.indices.len().max(1) as f64) as f32))
}

/// The class that is most likely; the first of equals.
fn most_likely(logits: &[f32]) -> u32 {
    let greater = |best: usize, i: usize| if logits[i] > logits[best] { i } else { best };
    (0..logits.len()).reduce(greater).unwrap_or(0) as u32
}

/// How many classes are more likely than `label`; of equals, the first counts as more likely.
fn rank(logits: &[f32], label: usize) -> usize {
    let value = logits[label];
    logits.iter().enumerate().filter(|&(i, &v)| v > value || (v == value && i < label)).count()
}

/// What is written.
#[derive(Serialize, Deserialize)]
struct Stored {
    classes: usize,
    batches: u64,
    left_out: usize,
    /// The bits of the sum, as decimal digits would not keep them all.
    loss_bits: u64,
    /// Right class, most likely class, images.
    confusion: Vec<(u32, u32, u64)>,
    /// Class, images.
    in_5: Vec<(u32, u64)>,
}

impl From<Evaluation> for Stored {
    fn from(state: Evaluation) -> Self {
        Self {
            classes: state.classes,
            batches: state.batches,
            left_out: state.left_out,
            loss_bits: state.loss.to_bits(),
            confusion: state.confusion.into_iter().map(|((label, named), n)| (label, named, n)).collect(),
            in_5: state.in_5.into_iter().collect(),
        }
    }
}

impl TryFrom<Stored> for Evaluation {
    type Error = String;

    fn try_from(stored: Stored) -> std::result::Result<Self, String> {
        let pairs = stored.confusion.iter().flat_map(|&(label, named, _)| [label, named]);
        let all = pairs.chain(stored.in_5.iter().map(|&(class, _)| class));
        if let Some(class) = all.max().filter(|&class| class as usize >= stored.classes) {
            return Err(format!("expected classes below {}, found {class}", stored.classes));
        }
        Ok(Self {
            classes: stored.classes,
            batches: stored.batches,
            left_out: stored.left_out,
            loss: f64::from_bits(stored.loss_bits),
            confusion: stored.confusion.into_iter().map(|(label, named, n)| ((label, named), n)).collect(),
            in_5: stored.in_5.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks() {
        let logits = [0.5, 2.0, 2.0, -1.0];
        assert_eq!([0, 1, 2, 3].map(|label| rank(&logits, label)), [2, 0, 1, 3]);
        assert_eq!(most_likely(&logits), 1);
    }

    #[test]
    fn views_are_averaged_as_probabilities() {
        // Of two classes: probabilities 3/4 and 1/4, then 1/2 and 1/2; another image, of which one view is very sure.
        let logits = [3.0_f32.ln(), 0.0, 0.0, 0.0, 1000.0, 0.0, 0.0, 3.0_f32.ln()];
        let mean: Vec<f64> = mean_of_views(&logits, 2, 2).iter().map(|&x| f64::from(x).exp()).collect();
        for (found, expected) in mean.iter().zip([0.625, 0.375, 0.625, 0.375]) {
            // As near as single precision keeps a logarithm near 1.
            assert!((found - expected).abs() < 1e-6, "{mean:?}");
        }
        let one = mean_of_views(&[2.0, 1.0], 2, 1);
        assert!((one[0] - one[1] - 1.0).abs() < 1e-6, "{one:?}");
    }

    /// Three images of six classes: right, right in five, wrong.
    fn counted() -> Evaluation {
        let mut state = Evaluation::new(6);
        let falling = [5.0, 4.0, 3.0, 2.0, 1.0, 0.0];
        state.add(&[falling, falling, falling].concat(), &[0, 4, 5], 0.7);
        state
    }

    #[test]
    fn counts() {
        let state = counted();
        let loss = 3.0 * f64::from(0.7_f32) / 3.0;
        assert_eq!(state.accuracy(), Accuracy { images: 3, top1: 1.0 / 3.0, top5: 2.0 / 3.0, loss });
        let counts = |class, right, right_in_5| ClassCounts { class, images: 1, right, right_in_5 };
        assert_eq!(state.per_class(), [counts(0, 1, 1), counts(4, 0, 1), counts(5, 0, 0)]);
        assert_eq!(state.confusion().collect::<Vec<_>>(), [([0, 0], 1), ([4, 0], 1), ([5, 0], 1)]);
        assert_eq!(Evaluation::new(6).accuracy(), Accuracy::default());
    }

    #[test]
    fn merging_adds() {
        let mut both = counted();
        both.merge(&counted());
        assert_eq!(both.accuracy(), Accuracy { images: 6, ..counted().accuracy() });
        assert_eq!(both.per_class()[1], ClassCounts { class: 4, images: 2, right: 0, right_in_5: 2 });
    }

    #[test]
    fn json_keeps_every_bit_and_is_checked() {
        let mut state = counted();
        state.loss = 0.1 + 0.2;
        let text = serde_json::to_string(&state).expect("counts are JSON");
        assert_eq!(serde_json::from_str::<Evaluation>(&text).expect("it was written by us"), state);
        let wrong = text.replace("\"classes\":6", "\"classes\":5");
        let error = serde_json::from_str::<Evaluation>(&wrong).expect_err("class 5 is not below 5");
        assert!(error.to_string().contains("expected classes below 5, found 5"), "{error}");
    }
}
