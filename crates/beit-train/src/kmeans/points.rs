//! Patches in the space of their features, and which centroid each is nearest to.

use super::OPS;
use beit_ops::Linear;
use beit_ops::host::Array;
use beit_ops::prelude::*;
use beit_tokenizer::{Features, KMeansConfig};

/// Logits that are in memory at once. The parts depend on the configuration only, and so do the bits.
const LOGITS: usize = 1 << 22;

/// All patches as features.
pub(super) struct Points {
    /// `[rows, elements]` each: what is compared with all centroids at once.
    parts: Vec<Array<f32>>,
    elements: usize,
}

/// Which centroid each point belongs to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Clusters {
    /// `[M]`
    pub(super) codes: Vec<u32>,
    /// Squared distance of each point to its centroid, `[M]`.
    pub(super) errors: Vec<f32>,
    /// Points of each centroid, `[V]`.
    pub(super) counts: Vec<usize>,
}

impl Points {
    /// Of `patches [M, C·h·w]`.
    pub(super) fn new(patches: &[f32], features: &Features, config: &KMeansConfig) -> Self {
        let elements = config.elements();
        let rows = (LOGITS / config.vocab).max(1);
        let part = |patches: &[f32]| {
            let values: Vec<f32> =
                patches.chunks_exact(elements).flat_map(|patch| features.describe(patch)).collect();
            OPS.upload([patches.len() / elements, elements], &values)
        };
        Self { parts: patches.chunks(rows * elements).map(part).collect(), elements }
    }

    pub(super) fn len(&self) -> usize {
        self.iter().len()
    }

    /// The points, `[C·h·w]` each.
    pub(super) fn iter(&self) -> std::vec::IntoIter<&[f32]> {
        let rows: Vec<&[f32]> = self.parts.iter().flat_map(|part| part.chunks_exact(self.elements)).collect();
        rows.into_iter()
    }

    /// The clusters of `centroids [V, C·h·w]`; of equally near ones the first counts.
    pub(super) fn nearest(&self, centroids: &[f32]) -> Clusters {
        let vocab = centroids.len() / self.elements;
        let squares =
            centroids.chunks_exact(self.elements).map(|a| -a.iter().map(|a| a * a).sum::<f32>() / 2.0);
        let bias = OPS.upload([vocab], &squares.collect::<Vec<_>>());
        let weight = OPS.upload([vocab, self.elements], centroids);
        let scores = Linear { weight, bias: Some(bias) };
        let codes: Vec<u32> =
            self.parts.iter().flat_map(|part| OPS.argmax_rows(&OPS.linear(part, &scores))).collect();
        let mut counts = vec![0; vocab];
        codes.iter().for_each(|&code| counts[code as usize] += 1);
        let centroid = |code: u32| &centroids[code as usize * self.elements..][..self.elements];
        let errors =
            self.iter().zip(&codes).map(|(point, &code)| squared_distance(point, centroid(code))).collect();
        Clusters { codes, errors, counts }
    }
}

pub(super) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

impl Clusters {
    /// The mean of the rows of each cluster, `[V, elements]`; that of the first used cluster where there are none.
    pub(super) fn means<'a>(&self, rows: impl Iterator<Item = &'a [f32]>) -> Vec<f32> {
        let mut rows = rows.peekable();
        let elements = rows.peek().map_or(0, |row| row.len());
        let mut sums = vec![0.0f64; self.counts.len() * elements];
        for (row, &code) in rows.zip(&self.codes) {
            let sum = &mut sums[code as usize * elements..][..elements];
            sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let used = self.counts.iter().position(|&count| count > 0).unwrap_or(0);
        let mean = |k: usize| {
            let k = if self.counts[k] > 0 { k } else { used };
            let count = self.counts[k].max(1) as f64;
            sums[k * elements..][..elements].iter().map(move |sum| (sum / count) as f32)
        };
        (0..self.counts.len()).flat_map(mean).collect()
    }

    /// Mean of the squared distances.
    pub(super) fn mean_error(&self) -> f64 {
        self.errors.iter().map(|&error| f64::from(error)).sum::<f64>() / self.errors.len().max(1) as f64
    }
}
