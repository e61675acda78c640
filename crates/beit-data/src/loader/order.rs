//! In which order the images of an epoch come.

use std::ops::Range;

use super::Shuffle;
use crate::error::{Error, Result};
use crate::rng::{Purpose, sample_rng, shuffle, shuffled};
use crate::source::{Groups, Source};

/// How the orders of all epochs are made.
pub(super) enum Order {
    /// That of the places.
    Fixed,
    /// Of all places alike.
    Global,
    /// By groups.
    Grouped(Grouped),
}

/// Places by the groups that their images lie in.
pub(super) struct Grouped {
    /// The places of the first group, then those of the second, and so on.
    places: Vec<usize>,
    /// Where the places of each group that has any stand in these.
    groups: Vec<Range<usize>>,
    /// Groups of a window.
    window: usize,
}

impl Order {
    /// The orders of the images `indices` of a source, each of them `repeats` times. A source of which groups need not be kept together is told so.
    pub(super) fn new(kind: Shuffle, source: &dyn Source, indices: &[usize], repeats: usize) -> Result<Self> {
        if kind == Shuffle::Never {
            return Ok(Self::Fixed);
        }
        let groups = source.groups();
        match (kind, groups.filter(|groups| groups.count() > groups.window())) {
            (Shuffle::Groups, None) if source.groups().is_none() => Err(Error::Config(
                "expected a source whose images lie in groups, as in parquet and arrow files, to shuffle by groups, found one without: shuffle globally"
                    .to_owned(),
            )),
            (Shuffle::Global, Some(_)) => {
                source.scatter();
                Ok(Self::Global)
            }
            (_, Some(groups)) => Ok(Self::Grouped(Grouped::new(&groups, indices, repeats))),
            (_, None) => Ok(Self::Global),
        }
    }

    /// The numbers 0..n in the order of an epoch.
    pub(super) fn of(&self, n: usize, seed: u64, epoch: u64) -> Vec<usize> {
        match self {
            Self::Fixed => (0..n).collect(),
            Self::Global => shuffled(n, seed, epoch),
            Self::Grouped(grouped) => grouped.of(seed, epoch),
        }
    }

    /// Whether every epoch has the same.
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed)
    }
}

impl Grouped {
    fn new(groups: &Groups, indices: &[usize], repeats: usize) -> Self {
        let group = |place: &usize| groups.of(indices[place % indices.len()]);
        let mut places: Vec<usize> = (0..indices.len() * repeats).collect();
        // Stable, so that what comes of it is one order.
        places.sort_by_key(group);
        let mut start = 0;
        let runs = places.chunk_by(|a, b| group(a) == group(b)).map(|run| {
            start += run.len();
            start - run.len()..start
        });
        let groups_with_places = runs.collect();
        Self { places, groups: groups_with_places, window: groups.window() }
    }

    /// The groups in the order of the generator's stream 0, the places of window `w` in that of stream `w` + 1.
    fn of(&self, seed: u64, epoch: u64) -> Vec<usize> {
        let mut groups = self.groups.clone();
        shuffle(&mut groups, &mut sample_rng(seed, epoch, 0, Purpose::Shuffle));
        let mut order = Vec::with_capacity(self.places.len());
        for (number, window) in groups.chunks(self.window).enumerate() {
            let start = order.len();
            window.iter().for_each(|group| order.extend_from_slice(&self.places[group.clone()]));
            let mut rng = sample_rng(seed, epoch, 1 + number as u64, Purpose::Shuffle);
            shuffle(&mut order[start..], &mut rng);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(mut order: Vec<usize>) -> Vec<usize> {
        order.sort_unstable();
        order
    }

    #[test]
    fn a_window_has_its_groups_and_no_others() {
        let groups = Groups::new([3, 5, 2, 4, 6, 1], 2);
        let indices: Vec<usize> = (0..21).collect();
        let grouped = Grouped::new(&groups, &indices, 1);
        let orders: Vec<_> = (0..3).map(|epoch| grouped.of(7, epoch)).collect();
        for order in &orders {
            assert_eq!(sorted(order.clone()), indices);
            // Each window is whole groups: walking through the order, a group that was left for another window never comes again.
            let mut place = 0;
            let mut met = Vec::new();
            while place < order.len() {
                let first = groups.of(order[place]);
                let second =
                    order[place..].iter().map(|&index| groups.of(index)).find(|&group| group != first);
                let size: usize =
                    [Some(first), second].iter().flatten().map(|&group| [3, 5, 2, 4, 6, 1][group]).sum();
                let window: Vec<usize> =
                    order[place..place + size].iter().map(|&index| groups.of(index)).collect();
                assert!(window.iter().all(|&group| group == first || Some(group) == second), "{window:?}");
                assert!(!met.contains(&first), "group {first} came before");
                met.extend([Some(first), second].into_iter().flatten());
                place += size;
            }
            assert_eq!(sorted(met), [0, 1, 2, 3, 4, 5]);
        }
        assert!(orders[0] != orders[1] && orders[1] != orders[2]);
        assert_eq!(orders[1], Grouped::new(&groups, &indices, 1).of(7, 1));
        assert_ne!(orders[1], grouped.of(8, 1));
    }

    /// A subset in any order, each image twice.
    #[test]
    fn places_are_those_of_the_subset() {
        let groups = Groups::new([2, 2, 2], 1);
        let indices = [5, 0, 4, 1];
        let order = Grouped::new(&groups, &indices, 2).of(1, 0);
        assert_eq!(sorted(order.clone()), (0..8).collect::<Vec<_>>());
        let group = |place: usize| groups.of(indices[place % 4]);
        assert!(order[..4].iter().all(|&place| group(place) == group(order[0])));
        assert!(order[4..].iter().all(|&place| group(place) == group(order[4])));
    }
}
