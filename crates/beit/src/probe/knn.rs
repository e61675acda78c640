//! The nearest neighbours of images.

use super::rows::Rows;
use crate::error::{Result, unfit};
use beit_ops::prelude::*;
use beit_ops::{Host, Linear};
use rayon::prelude::*;

/// Similarities that are held at once.
const MOST_HELD: usize = 1 << 24;

/// The class of each row of `test`, by a majority of its `k` nearest rows of `train`: those of greatest cosine similarity
/// `a·b / (|a| |b|)`, which is 0 where a row is. Of equally near rows the first is nearer; of classes with equally many votes the
/// smallest number wins. That is `KNeighborsClassifier(k, metric="cosine")` of scikit-learn.
///
/// Returns a class for each row of `test`.
///
/// # Errors
///
/// A `k` of 0 or above the number of training rows, or rows and labels that do not fit together.
pub fn knn(train: Rows<'_>, labels: &[u32], test: Rows<'_>, k: usize) -> Result<Vec<u32>> {
    train.check(labels, Some(test))?;
    let classes = labels.iter().max().map_or(0, |&greatest| greatest as usize + 1);
    let vote = |near: Vec<(usize, f32)>| vote(near.into_iter().map(|(row, _)| row), labels, classes);
    neighbours(train, test, k, vote)
}

/// What `of` makes, for each row of `test`, of its `k` nearest rows of `train`: their numbers, nearest first, and how near they are, as in
/// [`knn`].
pub(crate) fn neighbours<T: Send>(
    train: Rows<'_>,
    test: Rows<'_>,
    k: usize,
    of: impl Fn(Vec<(usize, f32)>) -> T + Sync,
) -> Result<Vec<T>> {
    let (n, width) = (train.images(), train.width());
    if !(1..=n).contains(&k) {
        unfit!("--k {k}: expected 1 to {n} neighbours, of so many training images");
    }
    let host = Host::<f32>::new();
    let train = Linear { weight: host.upload([n, width], &unit_rows(train.values(), width)), bias: None };
    let mut found = Vec::with_capacity(test.images());
    for some in test.values().chunks(width * (MOST_HELD / n).max(1)) {
        let queries = host.upload([some.len() / width, width], &unit_rows(some, width));
        let similarities = host.linear(&queries, &train);
        found.par_extend(similarities.par_chunks(n).map(|similarities| of(nearest(similarities, k))));
    }
    Ok(found)
}

/// Rows of length 1; a row of zeros stays one.
fn unit_rows(values: &[f32], width: usize) -> Vec<f32> {
    let mut unit = values.to_vec();
    for row in unit.chunks_exact_mut(width) {
        let length = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        if length > 0.0 {
            row.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
        }
    }
    unit
}

/// The numbers of the `k` greatest, greatest first, and these; of equal ones the first.
fn nearest(similarities: &[f32], k: usize) -> Vec<(usize, f32)> {
    let mut best: Vec<(f32, usize)> = Vec::with_capacity(k + 1);
    for (index, &similarity) in similarities.iter().enumerate() {
        if best.len() == k && similarity <= best[k - 1].0 {
            continue;
        }
        let place = best.partition_point(|&(other, _)| other >= similarity);
        best.insert(place, (similarity, index));
        best.truncate(k);
    }
    best.into_iter().map(|(similarity, index)| (index, similarity)).collect()
}

/// The commonest class of some rows, the smallest of equally common ones.
fn vote(rows: impl IntoIterator<Item = usize>, labels: &[u32], classes: usize) -> u32 {
    let mut votes = vec![0_usize; classes];
    rows.into_iter().for_each(|row| votes[labels[row] as usize] += 1);
    // The last of equal ones is what `max_by_key` returns.
    (0..classes).rev().max_by_key(|&class| votes[class]).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_first_row_and_the_smallest_class() {
        assert_eq!(nearest(&[0.5, 0.9, 0.5, 0.9, 0.1], 3), [(1, 0.9), (3, 0.9), (0, 0.5)]);
        assert_eq!(vote([0, 1, 2, 3], &[2, 1, 1, 2], 4), 1);
        let train = [1.0, 0.0, 0.0, 2.0, 3.0, 0.1];
        let train = Rows::new(&train, 2).unwrap();
        let test = [5.0, 0.0, 0.0, 0.1, 0.0, 0.0];
        let named = |k| knn(train, &[1, 0, 1], Rows::new(&test, 2).unwrap(), k).unwrap();
        assert_eq!(named(1), [1, 0, 1]);
        assert_eq!(named(2), [1, 0, 0]);
    }

    #[test]
    fn impossible_numbers_of_neighbours_are_refused() {
        let rows = Rows::new(&[1.0, 2.0], 1).unwrap();
        for k in [0, 3] {
            let message = knn(rows, &[0, 1], rows, k).unwrap_err().to_string();
            assert!(message.starts_with(&format!("--k {k}: expected 1 to 2")), "{message}");
        }
    }
}
