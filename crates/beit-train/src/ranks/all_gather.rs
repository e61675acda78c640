//! What each rank has, for all of them.

use super::Communicator;
use super::sum::{halves, powers_below};
use crate::error::Result;
use std::ops::Range;

/// Gives every rank the numbers of each. Those of rank `r` are `values[bounds[r]..bounds[r + 1]]`, and are there before in that rank.
///
/// Of a power of two ranks each receives every number once, which is the least that is possible: pairs exchange what they have, then
/// pairs of pairs.
///
/// # Errors
///
/// Those of the communicator.
pub fn all_gather<C: Communicator + ?Sized>(
    ranks: &mut C,
    values: &mut [f32],
    bounds: &[usize],
) -> Result<()> {
    let of = ranks.shard().of;
    if of.is_power_of_two() {
        by_exchange(ranks, values, bounds)
    } else {
        over_the_first(ranks, values, bounds)
    }
}

fn by_exchange<C: Communicator + ?Sized>(ranks: &mut C, values: &mut [f32], bounds: &[usize]) -> Result<()> {
    let (rank, of) = (ranks.shard().rank, ranks.shard().of);
    for distance in powers_below(of) {
        let block = |rank: usize| {
            let first = rank / distance * distance;
            bounds[first]..bounds[first + distance]
        };
        let (own, theirs) = both(values, block(rank), block(rank ^ distance));
        ranks.exchange(rank ^ distance, own, theirs)?;
    }
    Ok(())
}

/// Two neighbouring parts, the second of which is written.
fn both(values: &mut [f32], own: Range<usize>, theirs: Range<usize>) -> (&[f32], &mut [f32]) {
    let (first, second) = (own.start.min(theirs.start), own.end.max(theirs.end));
    let (before, after) = values[first..second].split_at_mut(own.start.max(theirs.start) - first);
    if own.start <= theirs.start && own.end <= theirs.start { (before, after) } else { (after, before) }
}

/// For any number of ranks: the first of all gets everything, and gives it to the others.
fn over_the_first<C: Communicator + ?Sized>(
    ranks: &mut C,
    values: &mut [f32],
    bounds: &[usize],
) -> Result<()> {
    let (rank, of) = (ranks.shard().rank, ranks.shard().of);
    let halves = halves(rank, of);
    for &(first, second, end) in halves.iter().rev() {
        let part = bounds[second]..bounds[end];
        if rank == first {
            ranks.exchange(second, &[], &mut values[part])?;
        } else if rank == second {
            ranks.exchange(first, &values[part], &mut [])?;
        }
    }
    for (first, second, _) in halves {
        if rank == first {
            ranks.exchange(second, values, &mut [])?;
        } else if rank == second {
            ranks.exchange(first, &[], values)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Threads;
    use super::*;

    #[test]
    fn every_rank_gets_all() {
        for of in 1..=9 {
            // Some have nothing.
            let bounds: Vec<usize> = (0..=of).map(|rank| rank * rank / 3).collect();
            let all: Vec<f32> = (0..bounds[of]).map(|i| i as f32 - 4.5).collect();
            let found = Threads::run(of, |ranks| {
                let own = bounds[ranks.shard().rank]..bounds[ranks.shard().rank + 1];
                let mut values = vec![f32::NAN; all.len()];
                values[own.clone()].copy_from_slice(&all[own]);
                all_gather(ranks, &mut values, &bounds).map(|()| values)
            });
            for (rank, found) in found.into_iter().enumerate() {
                assert_eq!(found.expect("all ranks live"), all, "rank {rank} of {of}");
            }
        }
    }
}
