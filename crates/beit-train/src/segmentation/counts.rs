//! How a segmenter does on the pixels of many pictures: exact counts, in a form that can be saved and gone on with.

use serde::{Deserialize, Serialize};

/// How a segmenter did, over all classes. Classes that are neither shown nor named in any picture do not enter the means
/// (mmsegmentation, `mean_iou`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PixelAccuracy {
    /// Pictures.
    pub images: usize,
    /// Pixels that have a class.
    pub pixels: u64,
    /// Mean over the classes of intersection over union.
    pub miou: f64,
    /// Mean over the classes of the share of their pixels that is named rightly.
    pub macc: f64,
    /// The share of all pixels that is named rightly.
    pub aacc: f64,
    /// The mean intersection over union of who names the commonest class everywhere.
    pub miou_of_commonest: f64,
}

/// How a segmenter did on the pixels of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PixelClass {
    /// The class.
    pub class: u32,
    /// Its pixels.
    pub pixels: u64,
    /// Pixels that were named so.
    pub named: u64,
    /// Those of its pixels that were named so.
    pub right: u64,
}

impl PixelClass {
    /// Pixels that are of the class, or are named so.
    #[must_use]
    pub fn union(&self) -> u64 {
        self.pixels + self.named - self.right
    }

    /// Intersection over union; none of a class that is neither shown nor named.
    #[must_use]
    pub fn iou(&self) -> Option<f64> {
        share(self.right, self.union())
    }

    /// The share of its pixels that is named rightly; none of a class that is not shown.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        share(self.right, self.pixels)
    }
}

fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

/// What an evaluation has counted so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PixelCounts {
    /// Number of classes.
    pub classes: usize,
    /// Pictures done, those that could not be decoded among them: the number of the next one.
    pub done: u64,
    /// Pictures counted.
    pub images: usize,
    /// Pixels without a class.
    pub ignored: u64,
    /// `[classes, classes]`: pixels by right class and named class.
    confusion: Vec<u64>,
}

impl PixelCounts {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        Self { classes, done: 0, images: 0, ignored: 0, confusion: vec![0; classes * classes] }
    }

    /// Counts one picture: right classes, of which those that are no class are ignored, and the named ones.
    ///
    /// # Panics
    ///
    /// If there are not as many, or a class is named that there is not.
    pub fn add(&mut self, labels: &[u8], named: &[u8]) {
        assert_eq!(labels.len(), named.len(), "a named class for every pixel");
        self.images += 1;
        for (&label, &named) in labels.iter().zip(named) {
            match usize::from(label) {
                label if label < self.classes => {
                    self.confusion[label * self.classes + usize::from(named)] += 1;
                }
                _ => self.ignored += 1,
            }
        }
    }

    /// Adds the counts of other pictures.
    ///
    /// # Panics
    ///
    /// If the classes are not as many.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.classes, other.classes, "evaluations of models with different classes");
        self.images += other.images;
        self.ignored += other.ignored;
        self.confusion.iter_mut().zip(&other.confusion).for_each(|(sum, n)| *sum += n);
    }

    /// Pictures that could not be decoded.
    #[must_use]
    pub fn left_out(&self) -> usize {
        (self.done as usize).saturating_sub(self.images)
    }

    /// `[classes, classes]`: pixels by right class and named class.
    #[must_use]
    pub fn confusion(&self) -> &[u64] {
        &self.confusion
    }

    /// Class by class, all of them.
    #[must_use]
    pub fn per_class(&self) -> Vec<PixelClass> {
        let row = |class: usize| &self.confusion[class * self.classes..][..self.classes];
        let named = |class: usize| (0..self.classes).map(|label| row(label)[class]).sum();
        let counts = |class: usize| PixelClass {
            class: class as u32,
            pixels: row(class).iter().sum(),
            named: named(class),
            right: row(class)[class],
        };
        (0..self.classes).map(counts).collect()
    }

    /// Over all classes.
    #[must_use]
    pub fn accuracy(&self) -> PixelAccuracy {
        let classes = self.per_class();
        let pixels: u64 = classes.iter().map(|class| class.pixels).sum();
        let right: u64 = classes.iter().map(|class| class.right).sum();
        let commonest = classes.iter().map(|class| class.pixels).max().unwrap_or(0);
        let shown = classes.iter().filter(|class| class.pixels > 0).count();
        PixelAccuracy {
            images: self.images,
            pixels,
            miou: mean(classes.iter().filter_map(PixelClass::iou)),
            macc: mean(classes.iter().filter_map(PixelClass::accuracy)),
            aacc: share(right, pixels).unwrap_or(0.0),
            miou_of_commonest: share(commonest, pixels).unwrap_or(0.0) / shown.max(1) as f64,
        }
    }

    /// Whether these can be the counts of an evaluation of `classes` classes: what was found where they cannot.
    ///
    /// # Errors
    ///
    /// Counts that contradict each other.
    pub fn check(&self, classes: usize) -> Result<(), String> {
        let expected = classes * classes;
        if self.classes != classes || self.confusion.len() != expected {
            let found = self.confusion.len();
            return Err(format!(
                "{found} counts of {} classes, expected {expected} of {classes}",
                self.classes
            ));
        }
        if self.images as u64 > self.done {
            return Err(format!("{} pictures counted of {}", self.images, self.done));
        }
        let all = self.confusion.iter().try_fold(self.ignored, |sum, &n| sum.checked_add(n));
        all.map(|_| ()).ok_or_else(|| "more pixels than can be counted".to_owned())
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand; `tests/pixels.rs` has more, by scikit-learn.
    #[test]
    fn classes_and_means() {
        let labels = [0, 0, 1, 1, 1, 2, 255, 2, 0, 1];
        let named = [0, 1, 1, 1, 2, 2, 0, 0, 0, 3];
        let mut counts = PixelCounts::new(5);
        counts.add(&labels, &named);
        counts.done = 1;
        let rows = [[2, 1, 0, 0, 0], [0, 2, 1, 1, 0], [1, 0, 1, 0, 0], [0; 5], [0; 5]];
        assert_eq!(counts.confusion(), rows.concat());
        assert_eq!(counts.ignored, 1);
        let classes = counts.per_class();
        let iou: Vec<_> = classes.iter().map(PixelClass::iou).collect();
        // Class 3 is named and not shown, class 4 neither.
        assert_eq!(iou, [Some(0.5), Some(0.4), Some(1.0 / 3.0), Some(0.0), None]);
        let accuracy = counts.accuracy();
        assert!((accuracy.miou - (0.5 + 0.4 + 1.0 / 3.0) / 4.0).abs() < 1e-12);
        assert!((accuracy.macc - (2.0 / 3.0 + 0.5 + 0.5) / 3.0).abs() < 1e-12);
        assert!((accuracy.aacc - 5.0 / 9.0).abs() < 1e-12);
        assert!((accuracy.miou_of_commonest - 4.0 / 9.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn counts_are_checked() {
        let mut counts = PixelCounts::new(2);
        counts.add(&[0, 1, 255], &[1, 1, 0]);
        counts.done = 1;
        assert_eq!(counts.check(2), Ok(()));
        assert!(counts.check(3).unwrap_err().contains("expected 9 of 3"));
        counts.done = 0;
        assert!(counts.check(2).unwrap_err().contains("1 pictures counted of 0"));
        let text = serde_json::to_string(&counts).expect("counts are JSON");
        assert_eq!(serde_json::from_str::<PixelCounts>(&text).expect("written by us"), counts);
    }
}
