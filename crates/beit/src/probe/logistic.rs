//! Logistic regression.

use super::lbfgs::{Stop, minimise};
use super::rows::Rows;
use crate::error::{Result, setting, unfit};
use beit_ops::host::Array;
use beit_ops::prelude::*;
use beit_ops::{Host, Linear, Targets};

/// How a logistic regression is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogisticSettings {
    /// Weight of the losses against the penalty of the weights: smaller is a stronger penalty. scikit-learn's `C`.
    pub c: f64,
    /// It ends where no component of the gradient is greater, of the objective divided by `c` and the number of images; scikit-learn's
    /// `tol`.
    pub tolerance: f64,
    /// Steps after which it ends anyway.
    pub max_iterations: usize,
}

impl Default for LogisticSettings {
    fn default() -> Self {
        Self { c: 1.0, tolerance: 1e-4, max_iterations: 1000 }
    }
}

/// A linear classifier `softmax(W x + b)` with the least `c Σ cross-entropy + |W|² / 2`: `LogisticRegression(C=c)` of scikit-learn
/// where there are more than two classes. (With two it takes one logit, with another penalty; this takes two.)
///
/// Products are in single precision, sums over dimensions of the weights in double; the number of threads changes no bit.
#[derive(Clone, Debug, PartialEq)]
pub struct LogisticRegression {
    /// W, `[classes, width]`.
    pub weights: Vec<f32>,
    /// b, `[classes]`.
    pub intercepts: Vec<f32>,
    /// Steps that it took.
    pub iterations: usize,
    /// Whether the gradient came below the tolerance.
    pub converged: bool,
}

impl LogisticRegression {
    /// Learns from rows and their classes, numbers below `classes`.
    ///
    /// # Errors
    ///
    /// A `c` that is not more than 0, or rows and labels that do not fit together.
    pub fn fit(train: Rows<'_>, labels: &[u32], classes: usize, settings: &LogisticSettings) -> Result<Self> {
        let LogisticSettings { c, tolerance, max_iterations } = *settings;
        check_c(c)?;
        train.check(labels, None)?;
        let (n, width) = (train.images(), train.width());
        if n == 0 || labels.iter().any(|&label| label as usize >= classes) {
            unfit!("expected images with classes below {classes} to learn from, found {n} with others");
        }
        let host = Host::<f32>::new();
        let mean = train.mean();
        let features = host.upload([n, width], &centred(train, &mean));
        let decay = 1.0 / (c * n as f64);
        let objective = Objective { host, features, labels: labels.to_vec(), classes, width, decay };
        let mut f = |x: &[f64], gradient: &mut [f64]| objective.at(x, gradient);
        let start = vec![0.0; classes * (width + 1)];
        let (found, iterations) = minimise(start, Stop { tolerance, max_iterations }, &mut f);
        let converged = found.slope() <= tolerance;
        let (weights, intercepts) = found.x.split_at(classes * width);
        // What was taken off the features goes to the intercepts.
        let shift = |row: &[f64]| row.iter().zip(&mean).map(|(w, mean)| w * mean).sum::<f64>();
        let rows = intercepts.iter().zip(weights.chunks_exact(width));
        let intercepts = rows.map(|(b, row)| (b - shift(row)) as f32).collect();
        Ok(Self { weights: single(weights), intercepts, iterations, converged })
    }

    /// `rows [images, width] -> [images, classes]`
    ///
    /// # Errors
    ///
    /// Rows of another width than those it learnt from.
    pub fn probabilities(&self, rows: Rows<'_>) -> Result<Vec<f32>> {
        let mut logits = self.logits(rows)?;
        for row in logits.chunks_exact_mut(self.intercepts.len()) {
            let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = row.iter().map(|logit| (logit - greatest).exp()).sum();
            row.iter_mut().for_each(|logit| *logit = (*logit - greatest).exp() / sum);
        }
        Ok(logits)
    }

    /// The most likely class of each row, the smallest of equally likely ones.
    ///
    /// # Errors
    ///
    /// Rows of another width than those it learnt from.
    pub fn classes(&self, rows: Rows<'_>) -> Result<Vec<u32>> {
        let logits = self.logits(rows)?;
        let best = |row: &[f32]| {
            // The last of equal ones is what `max_by` returns.
            let classes = (0..row.len()).rev();
            classes.max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0) as u32
        };
        Ok(logits.chunks_exact(self.intercepts.len()).map(best).collect())
    }

    fn logits(&self, rows: Rows<'_>) -> Result<Vec<f32>> {
        let (host, [classes, width]) = (Host::<f32>::new(), [self.intercepts.len(), rows.width()]);
        if self.weights.len() != classes * width {
            unfit!("expected rows of {} features, found rows of {width}", self.weights.len() / classes);
        }
        let features = host.upload([rows.images(), width], rows.values());
        let layer = Linear {
            weight: host.upload([classes, width], &self.weights),
            bias: Some(host.upload([classes], &self.intercepts)),
        };
        Ok(host.read(&host.linear(&features, &layer))?)
    }
}

/// Refuses a weight of the losses that is no positive number.
pub(super) fn check_c(c: f64) -> Result<()> {
    if !(c > 0.0 && c.is_finite()) {
        setting!("--c {c}: expected a number of more than 0");
    }
    Ok(())
}

/// `mean cross-entropy + decay |W|² / 2`: the objective divided by `c` and the number of images, as scikit-learn has it.
struct Objective {
    host: Host<f32>,
    /// `[images, width]`
    features: Array<f32>,
    labels: Vec<u32>,
    classes: usize,
    width: usize,
    decay: f64,
}

impl Objective {
    /// Its value at `x`, which is W and then b, and its gradient.
    fn at(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let Self { host, features, labels, classes, width, decay } = self;
        let tensors = |w: &[f32], b: &[f32]| Linear {
            weight: host.upload([*classes, *width], w),
            bias: Some(host.upload([*classes], b)),
        };
        let (weights, _) = x.split_at(classes * width);
        let single = single(x);
        let (w, b) = single.split_at(classes * width);
        let logits = host.linear(features, &tensors(w, b));
        let targets = Targets::Classes { ids: labels, smoothing: 0.0 };
        let (loss, lse) = host.cross_entropy(&logits, &targets);
        let d_logits = host.cross_entropy_backward(&logits, &targets, &lse, 1.0);
        let mut grads = tensors(&vec![0.0; w.len()], &vec![0.0; b.len()]);
        host.linear_backward_params(&d_logits, features, &mut grads);

        let found = grads.weight.iter().chain(grads.bias.iter().flatten());
        gradient.iter_mut().zip(found).for_each(|(to, &from)| *to = f64::from(from));
        gradient.iter_mut().zip(weights).for_each(|(g, w)| *g += decay * w);
        f64::from(loss[0]) + 0.5 * decay * weights.iter().map(|w| w * w).sum::<f64>()
    }
}

/// Features of mean 0. As intercepts cost nothing, the weights are the same, and they are found in far fewer steps.
fn centred(rows: Rows<'_>, mean: &[f64]) -> Vec<f32> {
    let rows = rows.values().chunks_exact(rows.width());
    rows.flat_map(|row| row.iter().zip(mean).map(|(&x, mean)| (f64::from(x) - mean) as f32)).collect()
}

fn single(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_learnt_is_refused() {
        let rows = Rows::new(&[0.0, 1.0], 1).unwrap();
        let fit = |c, labels: &[u32]| {
            let settings = LogisticSettings { c, ..LogisticSettings::default() };
            LogisticRegression::fit(rows, labels, 2, &settings)
        };
        for c in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(fit(c, &[0, 1]).unwrap_err().to_string().starts_with("--c "), "{c}");
        }
        assert!(fit(1.0, &[0, 2]).is_err() && fit(1.0, &[0]).is_err());
        let other = Rows::new(&[0.0, 1.0], 2).unwrap();
        assert!(fit(1.0, &[0, 1]).unwrap().classes(other).is_err());
    }
}
