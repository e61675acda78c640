//! Principal components.

use crate::probe::Rows;
use beit_ops::init::Stream;
use beit_ops::prelude::*;
use beit_ops::{Host, Linear};

/// Directions that are followed beside those asked for: they take in what lies close behind, which would else be told apart slowly.
const SPARE: usize = 5;
/// What a direction may be off: `|Σa - λa|` as a share of the greatest variance.
const RESIDUAL: f64 = 1e-9;
/// Passes after which directions are taken as they are: what is not told apart by then has nearly equal variances.
const MOST_PASSES: usize = 500;

/// The directions in which rows differ most: eigenvectors of their covariance `Σ = (x - mean)ᵀ (x - mean) / n`.
#[derive(Clone, Debug)]
pub struct Components {
    mean: Vec<f64>,
    /// Of length 1, the entry of the greatest amount positive; zeros where rows do not differ in so many directions.
    axes: Vec<Vec<f64>>,
    variances: Vec<f64>,
    total: f64,
}

impl Components {
    /// The `count` first of rows `[n, C]`: of a random subspace multiplied by Σ until it stays, in which Σ is diagonalised (subspace
    /// iteration with Rayleigh-Ritz; Golub and Van Loan, Matrix Computations, 8.2). The same rows give the same components.
    #[must_use]
    pub fn of(rows: Rows<'_>, count: usize) -> Self {
        let c = rows.width();
        let mean = rows.mean();
        let covariance = covariance(rows, &mean);
        let total: f64 = (0..c).map(|i| covariance[i * c + i]).sum();
        // Rows that differ by rounding only are equal.
        let noise = f64::from(f32::EPSILON).powi(2) * dot(&mean, &mean);
        let total = if total > noise { total } else { 0.0 };
        let (variances, mut axes) = leading(&covariance, c, count.min(c));
        axes.iter_mut().for_each(|axis| turn(axis));
        Self { mean, axes, variances, total }
    }

    /// The variance along each component as a share of that of all C dimensions; 0 where rows are equal.
    #[must_use]
    pub fn shares(&self) -> Vec<f64> {
        let share = |variance: &f64| if self.total > 0.0 { variance / self.total } else { 0.0 };
        self.variances.iter().map(share).collect()
    }

    /// Where a row `[C]` lies along each component, from the mean of those that were fitted on.
    #[must_use]
    pub fn project(&self, row: &[f32]) -> Vec<f64> {
        let along = |axis: &Vec<f64>| {
            let parts = row.iter().zip(&self.mean).zip(axis);
            parts.map(|((&x, mean), a)| (f64::from(x) - mean) * a).sum()
        };
        self.axes.iter().map(along).collect()
    }
}

/// An eigenvector's sign means nothing: its greatest entry becomes positive.
fn turn(axis: &mut [f64]) {
    let greatest = axis.iter().copied().fold(0.0_f64, |most, x| if x.abs() > most.abs() { x } else { most });
    if greatest < 0.0 {
        axis.iter_mut().for_each(|x| *x = -*x);
    }
}

/// `[C, C]`, sums in f64 of centred rows in f32.
fn covariance(rows: Rows<'_>, mean: &[f64]) -> Vec<f64> {
    let (n, c, host) = (rows.images(), rows.width(), Host::<f64>::new());
    // One row of all values of a dimension after another, so that Σ is a product of rows with rows.
    let mut columns = vec![0.0; n * c];
    for (r, row) in rows.values().chunks_exact(c).enumerate() {
        for (i, &x) in row.iter().enumerate() {
            columns[i * n + r] = (f64::from(x) - mean[i]) as f32;
        }
    }
    let columns = host.upload([c, n], &columns);
    let products = host.linear(&columns, &Linear { weight: columns.clone(), bias: None });
    products.iter().map(|sum| sum / n.max(1) as f64).collect()
}

/// The greatest eigenvalues of a symmetric `matrix [C, C]`, descending, and their vectors.
fn leading(matrix: &[f64], c: usize, count: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    let followed = (count + SPARE).min(c);
    let start = |i| Stream::new(0, i as u64).normals(c, 1.0).into_iter().map(f64::from).collect();
    let mut basis: Vec<Vec<f64>> = (0..followed).map(start).collect();
    let mut pass = 0;
    loop {
        pass += 1;
        orthonormalise(&mut basis);
        let images: Vec<Vec<f64>> = basis.iter().map(|v| times(matrix, v)).collect();
        let inner = basis.iter().flat_map(|a| images.iter().map(move |b| dot(a, b))).collect();
        let (values, mixes) = symmetric(inner, followed);
        let mixed = |of: &[Vec<f64>]| mixes.iter().map(|mix| mixture(mix, of)).collect::<Vec<_>>();
        let (vectors, images) = (mixed(&basis), mixed(&images));
        let off = |i: usize| {
            let parts = images[i].iter().zip(&vectors[i]);
            parts.map(|(image, x)| (image - values[i] * x).powi(2)).sum::<f64>().sqrt()
        };
        let greatest = values.first().copied().unwrap_or(0.0);
        if pass == MOST_PASSES || (0..count).all(|i| off(i) <= RESIDUAL * greatest) {
            return (values[..count].to_vec(), vectors[..count].to_vec());
        }
        basis = images;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn times(matrix: &[f64], v: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(v.len()).map(|row| dot(row, v)).collect()
}

fn mixture(mix: &[f64], of: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; of.first().map_or(0, Vec::len)];
    for (factor, v) in mix.iter().zip(of) {
        sum.iter_mut().zip(v).for_each(|(sum, x)| *sum += factor * x);
    }
    sum
}

/// Gram-Schmidt, each twice for the sake of rounding. What depends on those before it becomes zeros.
fn orthonormalise(basis: &mut [Vec<f64>]) {
    for i in 0..basis.len() {
        let (before, rest) = basis.split_at_mut(i);
        let v = &mut rest[0];
        let whole = dot(v, v).sqrt();
        for other in before.iter().chain(before.iter()) {
            let along = dot(other, v);
            v.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
        }
        let left = dot(v, v).sqrt();
        let scale = if left > 1e-12 * whole { left.recip() } else { 0.0 };
        v.iter_mut().for_each(|x| *x *= scale);
    }
}

/// All eigenvalues of a small symmetric `matrix [n, n]`, descending, and a vector for each: Jacobi's rotations, until what is off the
/// diagonal is nothing beside what is on it.
fn symmetric(mut matrix: Vec<f64>, n: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut vectors: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(i == j)).collect()).collect();
    // Convergence is quadratic: ten sweeps are more than enough.
    for _ in 0..30 {
        let (on, off) = (0..n * n).fold((0.0_f64, 0.0_f64), |(on, off), at| match at / n == at % n {
            true => (on + matrix[at].powi(2), off),
            false => (on, off + matrix[at].powi(2)),
        });
        if off <= f64::EPSILON.powi(2) * on {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut matrix, &mut vectors, n, [p, q]);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| matrix[b * n + b].total_cmp(&matrix[a * n + a]));
    order.into_iter().map(|i| (matrix[i * n + i], std::mem::take(&mut vectors[i]))).unzip()
}

/// The rotation of p and q after which `matrix[p, q]` is 0 (Golub and Van Loan, 8.5).
fn rotate(matrix: &mut [f64], vectors: &mut [Vec<f64>], n: usize, [p, q]: [usize; 2]) {
    let between = matrix[p * n + q];
    if between == 0.0 {
        return;
    }
    let tau = (matrix[q * n + q] - matrix[p * n + p]) / (2.0 * between);
    let tangent = tau.signum() / (tau.abs() + tau.hypot(1.0));
    let cosine = tangent.hypot(1.0).recip();
    let sine = tangent * cosine;
    let turned = |a: f64, b: f64| (cosine * a - sine * b, sine * a + cosine * b);
    for i in 0..n {
        let (a, b) = (i * n + p, i * n + q);
        (matrix[a], matrix[b]) = turned(matrix[a], matrix[b]);
    }
    for i in 0..n {
        let (a, b) = (p * n + i, q * n + i);
        (matrix[a], matrix[b]) = turned(matrix[a], matrix[b]);
        (vectors[p][i], vectors[q][i]) = turned(vectors[p][i], vectors[q][i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64, allowed: f64, what: &str) {
        assert!((got - want).abs() <= allowed, "{what}: got {got}, want {want}, allowed ±{allowed:e}");
    }

    /// `[[2, 1], [1, 2]]` has 3 along (1, 1) and 1 along (1, -1); the second difference of a string of four has
    /// `2 - 2 cos(kπ/5)` along `sin(ikπ/5)`.
    #[test]
    fn small_matrices_have_the_eigenvalues_of_textbooks() {
        let (values, vectors) = symmetric(vec![2.0, 1.0, 1.0, 2.0], 2);
        close(values[0], 3.0, 1e-14, "greatest");
        close(values[1], 1.0, 1e-14, "least");
        close((vectors[0][0] * vectors[0][1]).abs(), 0.5, 1e-14, "both sides alike");
        let string = |at: usize| match (at / 4).abs_diff(at % 4) {
            0 => 2.0,
            1 => -1.0,
            _ => 0.0,
        };
        let (values, vectors) = symmetric((0..16).map(string).collect(), 4);
        for (place, k) in (1..=4).rev().enumerate() {
            let angle = |i: usize| (i * k) as f64 * std::f64::consts::PI / 5.0;
            close(values[place], 2.0 - 2.0 * angle(1).cos(), 1e-14, "a string's value");
            let want: Vec<f64> = (1..=4).map(|i| angle(i).sin() * 0.4_f64.sqrt()).collect();
            close(dot(&vectors[place], &want).abs(), 1.0, 1e-14, "a string's vector");
        }
    }

    /// Rows at `mean ± √(40 λ / 2) a` along the orthonormal columns a of a reflection have the covariance `Σ λ a aᵀ`.
    #[test]
    fn components_are_those_that_rows_were_made_of() {
        const C: usize = 20;
        let mirror: Vec<f64> = (0..C).map(|i| (i as f64 + 1.0).sin()).collect();
        let axis = |k: usize| -> Vec<f64> {
            let entry = |i: usize| f64::from(i == k) - 2.0 * mirror[i] * mirror[k] / dot(&mirror, &mirror);
            (0..C).map(entry).collect()
        };
        let variance = |k: usize| [9.0, 4.0, 3.99][..].get(k).copied().unwrap_or(0.5);
        let mut values = Vec::new();
        for k in 0..C {
            for sign in [-1.0, 1.0] {
                let far = sign * (variance(k) * C as f64).sqrt();
                values.extend(axis(k).into_iter().enumerate().map(|(i, a)| (i as f64 + far * a) as f32));
            }
        }
        let found = Components::of(Rows::new(&values, C).unwrap(), 3);
        let total: f64 = (0..C).map(variance).sum();
        for k in 0..3 {
            // Rows are in f32: entries of about 20 are off by 1e-6.
            close(found.shares()[k] * total, variance(k), 1e-5, "variance");
            // Those of the second and the third are apart by 0.01.
            close(dot(&found.axes[k], &axis(k)).abs(), 1.0, 1e-6, "axis");
            let at = found.project(&values[2 * k * C..][..C]);
            close(at[k].abs(), (variance(k) * C as f64).sqrt(), 1e-3, "a row along its axis");
            assert!(
                found.axes[k].iter().fold(0.0_f64, |most, x| if x.abs() > most.abs() { *x } else { most })
                    > 0.0
            );
        }
    }

    #[test]
    fn rows_may_differ_in_fewer_directions_than_asked_for() {
        let equal = Components::of(Rows::new(&[1.0, 2.0, 1.0, 2.0], 2).unwrap(), 3);
        assert_eq!((equal.shares(), equal.project(&[1.0, 2.0])), (vec![0.0; 2], vec![0.0; 2]));
        let line = Components::of(Rows::new(&[0.0, 0.0, 0.0, 3.0, 0.0, 4.0], 3).unwrap(), 3);
        close(line.shares()[0], 1.0, 1e-12, "one direction has all");
        let at = line.project(&[3.0, 0.0, 4.0]);
        close(at[0], 2.5, 1e-6, "half way from the mean");
        close(at[1].abs() + at[2].abs(), 0.0, 1e-6, "nothing beside it");
    }
}
