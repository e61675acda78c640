//! Lloyd's algorithm, with every centroid in use as long as there are patches for it.

use super::points::{Clusters, Points, squared_distance};
use super::{Course, KMeansRecipe};
use beit_data::{Purpose, sample_rng};
use rand::RngExt;
use std::collections::HashSet;

/// Points nearer to each other than this, squared, are the same: a third of a grey level in one pixel.
const SAME: f32 = 1e-6;
/// Points for each centroid, among which the first are chosen,
const POOL: usize = 16;
/// and at most so many: every choice looks at all of them.
const LARGEST_POOL: usize = 1 << 15;

/// Where it ends.
pub(super) struct Found {
    /// `[V, C·h·w]`
    pub(super) centroids: Vec<f32>,
    /// Of all points.
    pub(super) clusters: Clusters,
}

/// Where k-means stands between two rounds. What belongs to it besides, the patches, is a function of the data and the recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounds {
    /// Rounds done.
    pub done: u64,
    /// Whether the last of them moved nothing, so that none follows.
    pub settled: bool,
    /// `[V, 3·h·w]`, in the space of the features.
    pub centroids: Vec<f32>,
}

impl Rounds {
    /// Whether another one follows.
    #[must_use]
    pub fn go_on(&self, recipe: &KMeansRecipe) -> bool {
        self.done < recipe.rounds && !self.settled
    }
}

/// Rounds until nothing moves, or as many as the recipe has.
pub(super) fn run<E>(
    points: &Points,
    vocab: usize,
    recipe: &KMeansRecipe,
    course: Course<'_, E>,
) -> Result<Found, E> {
    let rows: Vec<&[f32]> = points.iter().collect();
    let begin = || Rounds { done: 0, settled: false, centroids: first(&rows, vocab, recipe.seed) };
    let mut rounds = course.from.unwrap_or_else(begin);
    course.progress.begin("tokenizer", rounds.done, recipe.rounds);
    let mut clusters = points.nearest(&rounds.centroids);
    while rounds.go_on(recipe) {
        rounds.centroids = clusters.means(rows.iter().copied());
        fill(&mut rounds.centroids, &clusters, &rows);
        let moved = points.nearest(&rounds.centroids);
        rounds.settled = moved.codes == clusters.codes;
        rounds.done += 1;
        clusters = moved;
        course.progress.step(rounds.done);
        (course.after)(&rounds)?;
    }
    course.progress.end();
    Ok(Found { centroids: rounds.centroids, clusters })
}

/// The first centroids by k-means++: points drawn by their squared distance to what was drawn before, among some of all. Where there
/// are fewer different points, the first again.
fn first(rows: &[&[f32]], vocab: usize, seed: u64) -> Vec<f32> {
    let mut rng = sample_rng(seed, 0, 0, Purpose::Init);
    let mut draw = |n: usize| rng.random_range(0..n as u64) as usize;
    let size = vocab.saturating_mul(POOL).min(LARGEST_POOL);
    let pool: Vec<&[f32]> =
        if rows.len() <= size { rows.to_vec() } else { (0..size).map(|_| rows[draw(rows.len())]).collect() };
    let mut next = Some(draw(pool.len()));
    let (mut centroids, mut errors) = (Vec::new(), vec![f32::INFINITY; pool.len()]);
    while let Some(drawn) = next {
        centroids.extend_from_slice(pool[drawn]);
        for (error, row) in errors.iter_mut().zip(&pool) {
            *error = error.min(squared_distance(row, pool[drawn]));
        }
        let full = centroids.len() == vocab * pool[drawn].len();
        next = if full { None } else { by_error(&errors, rng.random()) };
    }
    let elements = rows[0].len();
    for i in centroids.len()..vocab * elements {
        centroids.push(centroids[i % elements]);
    }
    centroids
}

/// A point, each as likely as its error is large, for a random number in 0 to 1; none where all are zero.
fn by_error(errors: &[f32], uniform: f64) -> Option<usize> {
    let weights = || errors.iter().map(|&error| if error > SAME { f64::from(error) } else { 0.0 });
    let mut left = uniform * weights().sum::<f64>();
    let mut last = None;
    for (i, weight) in weights().enumerate().filter(|(_, weight)| *weight > 0.0) {
        last = Some(i);
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    last
}

/// Gives every centroid without points the point that is farthest from its own, each a different one.
fn fill(centroids: &mut [f32], clusters: &Clusters, rows: &[&[f32]]) {
    let empty: Vec<usize> = (0..clusters.counts.len()).filter(|&k| clusters.counts[k] == 0).collect();
    if empty.is_empty() {
        return;
    }
    let errors = &clusters.errors;
    let mut far: Vec<usize> = (0..rows.len()).filter(|&i| errors[i] > SAME).collect();
    far.sort_by(|&i, &j| errors[j].total_cmp(&errors[i]));
    let mut seen = HashSet::new();
    let different = far.into_iter().map(|i| rows[i]).filter(|row| seen.insert(key(row)));
    for (k, row) in empty.into_iter().zip(different) {
        centroids[k * row.len()..][..row.len()].copy_from_slice(row);
    }
}

/// Equal for points that are the same but for rounding: their coordinates in steps of 1/1024, a third of a grey level.
fn key(row: &[f32]) -> Vec<i32> {
    row.iter().map(|x| (x * 1024.0).round() as i32).collect()
}
