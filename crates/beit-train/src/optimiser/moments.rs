//! Which process keeps the moments of which parameter (the first stage of ZeRO, arXiv 1910.02054, section 5.1).

use crate::error::Result;
use crate::ranks::Communicator;
use beit_data::Shard;
use beit_ops::Ops;

/// The two moments of one parameter.
pub(super) enum Moments<T> {
    Here([T; 2]),
    /// Another process keeps them. Rank 0 has read them to save them, until the next step.
    Elsewhere(Option<[Vec<f32>; 2]>),
    /// The parameter is not trained.
    None,
}

impl<T> Moments<T> {
    /// Those that this process keeps.
    pub(super) fn here_mut(&mut self) -> Option<&mut [T; 2]> {
        match self {
            Self::Here(moments) => Some(moments),
            Self::Elsewhere(_) | Self::None => None,
        }
    }

    /// Drops what was read of another process: it is of another step.
    pub(super) fn forget(&mut self) {
        if let Self::Elsewhere(read) = self {
            *read = None;
        }
    }

    /// Their numbers, where this process has them.
    pub(super) fn read<O: Ops<Tensor = T>>(&self, ops: &O) -> Result<Option<[Vec<f32>; 2]>> {
        Ok(match self {
            Self::Here([first, second]) => Some([ops.read(first)?, ops.read(second)?]),
            Self::Elsewhere(read) => read.clone(),
            Self::None => None,
        })
    }

    /// Brings those that process `owner` keeps to rank 0. Both call it; the others have nothing to do.
    pub(super) fn collect<O: Ops<Tensor = T>>(
        &mut self,
        ops: &O,
        (owner, elements): (usize, usize),
        ranks: &mut dyn Communicator,
    ) -> Result<()> {
        let Shard { rank, .. } = ranks.shard();
        match self {
            Self::Here(moments) if owner != 0 => {
                for moment in moments {
                    ranks.exchange(0, &ops.read(moment)?, &mut [])?;
                }
            }
            Self::Elsewhere(read) if rank == 0 => {
                let mut both = [vec![0.0; elements], vec![0.0; elements]];
                for moment in &mut both {
                    ranks.exchange(owner, &[], moment)?;
                }
                *read = Some(both);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The process that keeps the moments of each parameter, by its number of elements: the largest first, each to whoever has least.
pub(super) fn owners(sizes: &[usize], of: usize) -> Vec<usize> {
    let mut largest_first: Vec<usize> = (0..sizes.len()).collect();
    largest_first.sort_by_key(|&leaf| std::cmp::Reverse(sizes[leaf]));
    let (mut has, mut owners) = (vec![0; of], vec![0; sizes.len()]);
    for leaf in largest_first {
        let owner = (0..of).min_by_key(|&rank| has[rank]).unwrap_or(0);
        has[owner] += sizes[leaf];
        owners[leaf] = owner;
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_keeps_about_as_much() {
        assert_eq!(owners(&[5, 9, 1, 4, 1, 2], 2), [1, 0, 1, 1, 1, 0]);
        assert_eq!(owners(&[3, 3, 3], 1), [0, 0, 0]);
        assert_eq!(owners(&[], 4), [0; 0]);
    }
}
