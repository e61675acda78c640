//! Labels of a whole source, and subsets with few of them.

use crate::error::{Error, Result};
use crate::rng::{Purpose, sample_rng, shuffle};
use crate::source::Source;

/// The label of every image, `[len]`.
///
/// # Errors
///
/// [`Error::NoLabel`] and [`Error::LabelOutOfRange`], naming the first image concerned.
pub fn labels(source: &dyn Source) -> Result<Vec<u32>> {
    let classes = source.class_names().len();
    let label = |index: usize| match source.label(index) {
        None => Err(Error::NoLabel { name: source.name(index) }),
        Some(label) if label as usize >= classes => {
            Err(Error::LabelOutOfRange { name: source.name(index), label, classes })
        }
        Some(label) => Ok(label),
    };
    (0..source.len()).map(label).collect()
}

/// [`labels`] of a set to learn classes from.
///
/// # Errors
///
/// Those of [`labels`], [`Error::TooFewClasses`] where there is nothing to tell apart, and [`Error::EmptyClass`].
pub fn training_labels(source: &dyn Source) -> Result<Vec<u32>> {
    let labels = labels(source)?;
    let names = source.class_names();
    if names.len() < 2 {
        return Err(Error::TooFewClasses { found: names.len() });
    }
    let mut seen = vec![false; names.len()];
    labels.iter().for_each(|&label| seen[label as usize] = true);
    match seen.iter().position(|&seen| !seen) {
        Some(class) => {
            let unread = source.unread(class as u32).cloned().unwrap_or_default();
            Err(Error::EmptyClass { class: names[class].clone(), unread })
        }
        None => Ok(labels),
    }
}

/// Indices, in ascending order, of `n` images drawn from the seed: equally many of each class as far as that is possible. What
/// does not divide evenly goes to classes drawn from the seed; a class that runs out leaves its share to the others. With one
/// seed, a smaller subset is contained in a larger one.
///
/// # Errors
///
/// [`Error::Subset`] where `n` is 0 or above the number of images.
pub fn stratified_subset(labels: &[u32], n: usize, seed: u64) -> Result<Vec<usize>> {
    if n == 0 || n > labels.len() {
        return Err(Error::Subset { asked: n, available: labels.len() });
    }
    let mut rng = sample_rng(seed, 0, 0, Purpose::Subset);
    let classes = labels.iter().max().map_or(0, |&greatest| greatest as usize + 1);
    let mut members = vec![Vec::new(); classes];
    labels.iter().enumerate().for_each(|(index, &label)| members[label as usize].push(index));
    members.iter_mut().for_each(|indices| shuffle(indices, &mut rng));
    shuffle(&mut members, &mut rng);

    // Rounds over the classes, one image of each.
    let most = members.iter().map(Vec::len).max().unwrap_or(0);
    let rounds = (0..most).flat_map(|round| members.iter().filter_map(move |indices| indices.get(round)));
    let mut chosen: Vec<usize> = rounds.take(n).copied().collect();
    chosen.sort_unstable();
    Ok(chosen)
}

/// A training set in two parts, as indices in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validation {
    /// To learn from.
    pub train: Vec<usize>,
    /// Held out, so that choices are made without the test set.
    pub held_out: Vec<usize>,
}

/// Holds out `share` of the images of each class, rounded; each class keeps an image to learn from. The images are the same in
/// every call and at every seed of training, so that nothing that is judged by them was trained on them.
///
/// # Errors
///
/// [`Error::Subset`] where no image would be held out.
pub fn validation_split(labels: &[u32], share: f64) -> Result<Validation> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    shuffle(&mut order, &mut sample_rng(0, 0, 0, Purpose::Validation));
    let classes = labels.iter().max().map_or(0, |&greatest| greatest as usize + 1);
    let mut left = vec![0_usize; classes];
    labels.iter().for_each(|&label| left[label as usize] += 1);
    left.iter_mut().for_each(|n| *n = ((*n as f64 * share).round() as usize).min(n.saturating_sub(1)));

    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for index in order {
        match &mut left[labels[index] as usize] {
            0 => train.push(index),
            n => {
                *n -= 1;
                held_out.push(index);
            }
        }
    }
    if held_out.is_empty() {
        return Err(Error::Subset { asked: 0, available: labels.len() });
    }
    train.sort_unstable();
    held_out.sort_unstable();
    Ok(Validation { train, held_out })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(labels: &[u32], chosen: &[usize]) -> Vec<usize> {
        (0..3).map(|class| chosen.iter().filter(|&&index| labels[index] == class).count()).collect()
    }

    #[test]
    fn classes_are_balanced_until_one_runs_out() {
        let labels: Vec<u32> = [vec![0; 50], vec![1; 3], vec![2; 50]].concat();
        let subset = |n| stratified_subset(&labels, n, 5).unwrap();
        assert_eq!(counts(&labels, &subset(9)), [3, 3, 3]);
        assert_eq!(counts(&labels, &subset(23)), [10, 3, 10]);
        assert_eq!(counts(&labels, &subset(103)), [50, 3, 50]);
        let seven = counts(&labels, &subset(7));
        assert!(seven.iter().all(|&count| count == 2 || count == 3), "{seven:?}");
    }

    #[test]
    fn subsets_are_nested_and_follow_the_seed() {
        let labels: Vec<u32> = (0..300).map(|i| i % 3).collect();
        let (small, large) =
            (stratified_subset(&labels, 20, 1).unwrap(), stratified_subset(&labels, 100, 1).unwrap());
        assert!(small.iter().all(|index| large.binary_search(index).is_ok()));
        assert_eq!(small, stratified_subset(&labels, 20, 1).unwrap());
        assert_ne!(small, stratified_subset(&labels, 20, 2).unwrap());
    }

    #[test]
    fn a_share_of_each_class_is_held_out() {
        let labels: Vec<u32> = [vec![0; 50], vec![1; 10], vec![2; 1]].concat();
        let Validation { train, held_out } = validation_split(&labels, 0.2).unwrap();
        assert_eq!((counts(&labels, &train), counts(&labels, &held_out)), (vec![40, 8, 1], vec![10, 2, 0]));
        let mut all = [train, held_out].concat();
        all.sort_unstable();
        assert_eq!(all, (0..61).collect::<Vec<_>>());
        // Whatever the share, something is left to learn from; and something must be held out.
        assert_eq!(counts(&labels, &validation_split(&labels, 7.0).unwrap().train), [1, 1, 1]);
        for share in [0.0, 0.001, -1.0, f64::NAN] {
            assert!(validation_split(&labels, share).is_err(), "{share}");
        }
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for n in [0, 4] {
            let message = stratified_subset(&[0, 1, 1], n, 0).unwrap_err().to_string();
            assert_eq!(message, format!("expected a subset of 1 to 3 images, found {n}"));
        }
    }
}
