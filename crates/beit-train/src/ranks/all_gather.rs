//! What each rank has, for all of them.

use super::Communicator;
use super::sum::{from_the_first, halves, powers_below};
use crate::error::Result;
use beit_ops::Ops;
use std::ops::Range;
use std::vec::IntoIter;

/// About so many numbers of a rank travel at once, but a tensor at least.
const AT_ONCE: usize = 1 << 20;

/// Gives every rank the tensors of each, by rank, some at a time: no rank needs room for a second copy of all.
pub(super) fn gather_tensors<O: Ops, C: Communicator + ?Sized>(
    ranks: &mut C,
    ops: &O,
    by_rank: Vec<Vec<&mut O::Tensor>>,
) -> Result<()> {
    let mut left: Vec<_> = by_rank.into_iter().map(Vec::into_iter).collect();
    while left.iter().any(|tensors| tensors.len() > 0) {
        let some = left.iter_mut().map(|tensors| some_of(ops, tensors)).collect();
        gather_some(ranks, ops, some)?;
    }
    Ok(())
}

fn some_of<'t, O: Ops>(ops: &O, tensors: &mut IntoIter<&'t mut O::Tensor>) -> Vec<&'t mut O::Tensor> {
    let (mut some, mut elements) = (Vec::new(), 0);
    while elements < AT_ONCE
        && let Some(tensor) = tensors.next()
    {
        elements += ops.shape(tensor).elements();
        some.push(tensor);
    }
    some
}

fn gather_some<O: Ops, C: Communicator + ?Sized>(
    ranks: &mut C,
    ops: &O,
    by_rank: Vec<Vec<&mut O::Tensor>>,
) -> Result<()> {
    let own = ranks.shard().rank;
    let mut bounds = vec![0];
    for tensors in &by_rank {
        let elements: usize = tensors.iter().map(|tensor| ops.shape(tensor).elements()).sum();
        bounds.push(bounds[bounds.len() - 1] + elements);
    }
    let mut values = vec![0.0; bounds[by_rank.len()]];
    let mut rest = &mut values[bounds[own]..];
    for tensor in &by_rank[own] {
        let numbers = ops.read(tensor)?;
        rest.split_off_mut(..numbers.len()).expect("room for all of them").copy_from_slice(&numbers);
    }
    all_gather(ranks, &mut values, &bounds)?;
    for (rank, tensors) in by_rank.into_iter().enumerate().filter(|(rank, _)| *rank != own) {
        let mut rest = &values[bounds[rank]..];
        for tensor in tensors {
            let (numbers, others) = rest.split_at(ops.shape(tensor).elements());
            ops.overwrite(tensor, numbers);
            rest = others;
        }
    }
    Ok(())
}

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
    if own.end <= theirs.start { (before, after) } else { (after, before) }
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
    from_the_first(ranks, values, &halves)
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
