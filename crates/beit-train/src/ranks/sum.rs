//! Sums over ranks, in an order of their own.

use super::Communicator;
use crate::error::Result;

/// Replaces `values` by their sum over all ranks, which all of them get with the same bits.
///
/// It is the sum of the first half of the ranks plus that of the second, and so on down to single ranks. An all-reduce of a library
/// adds in an order that depends on the library, on the length and on the network. Of a power of two ranks each sends
/// 2 (n - 1) / n times `values`, which is the least that is possible: pairs exchange halves, pairs of pairs quarters, and back.
///
/// # Errors
///
/// Those of the communicator.
pub fn sum_over_ranks<C: Communicator + ?Sized>(ranks: &mut C, values: &mut [f32]) -> Result<()> {
    let of = ranks.shard().of;
    if of.is_power_of_two() { by_exchange(ranks, values) } else { over_the_first(ranks, values) }
}

/// For a power of two ranks. What a rank has of the sum grows in depth and shrinks in length, and is then put together again.
fn by_exchange<C: Communicator + ?Sized>(ranks: &mut C, values: &mut [f32]) -> Result<()> {
    let (rank, of) = (ranks.shard().rank, ranks.shard().of);
    let mut received = vec![0.0; values.len().div_ceil(2)];
    let mut parts = Vec::new();
    let mut own = 0..values.len();
    for distance in powers_below(of) {
        let middle = own.start + own.len() / 2;
        let halves = [own.start..middle, middle..own.end];
        // Both ranks of a pair had the same part before: the first keeps its first half.
        let [keep, give] =
            if rank & distance == 0 { [0, 1] } else { [1, 0] }.map(|half| halves[half].clone());
        let received = &mut received[..keep.len()];
        ranks.exchange(rank ^ distance, &values[give.clone()], received)?;
        values[keep.clone()].iter_mut().zip(received).for_each(|(sum, other)| *sum += *other);
        parts.push((distance, give));
        own = keep;
    }
    for (distance, theirs) in parts.into_iter().rev() {
        let received = &mut received[..theirs.len()];
        ranks.exchange(rank ^ distance, &values[own.clone()], received)?;
        values[theirs.clone()].copy_from_slice(received);
        own = own.start.min(theirs.start)..own.end.max(theirs.end);
    }
    Ok(())
}

pub(super) fn powers_below(of: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1), |power| Some(2 * power)).take_while(move |&power| power < of)
}

/// From all ranks down to the smallest part that `rank` is the first of, or is in at all: where each part begins, where its second half
/// does, and where it ends.
pub(super) fn halves(rank: usize, of: usize) -> Vec<(usize, usize, usize)> {
    let (mut range, mut halves) = (0..of, Vec::new());
    while range.len() > 1 {
        let middle = range.start + range.len() / 2;
        halves.push((range.start, middle, range.end));
        range = if rank < middle { range.start..middle } else { middle..range.end };
    }
    halves
}

/// For any number of ranks: the first of a half gets the sum of the other half from its first.
fn over_the_first<C: Communicator + ?Sized>(ranks: &mut C, values: &mut [f32]) -> Result<()> {
    let (rank, of) = (ranks.shard().rank, ranks.shard().of);
    let halves = halves(rank, of);
    let mut received = vec![0.0; values.len()];
    for &(first, second, _) in halves.iter().rev() {
        if rank == first {
            ranks.exchange(second, &[], &mut received)?;
            values.iter_mut().zip(&received).for_each(|(sum, other)| *sum += other);
        } else if rank == second {
            ranks.exchange(first, values, &mut [])?;
        }
    }
    from_the_first(ranks, values, &halves)
}

/// Gives all ranks what the first of all has, along their [`halves`].
pub(super) fn from_the_first<C: Communicator + ?Sized>(
    ranks: &mut C,
    values: &mut [f32],
    halves: &[(usize, usize, usize)],
) -> Result<()> {
    let rank = ranks.shard().rank;
    for &(first, second, _) in halves {
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

    /// The definition.
    fn halves(values: &[Vec<f32>]) -> Vec<f32> {
        if let [one] = values {
            return one.clone();
        }
        let (first, second) = values.split_at(values.len() / 2);
        halves(first).iter().zip(halves(second)).map(|(a, b)| a + b).collect()
    }

    /// Numbers whose sum depends on the order.
    fn values(rank: usize, length: usize) -> Vec<f32> {
        let number = |i: usize| ((rank * 7919 + i * 104_729) % 1009) as f32;
        (0..length).map(|i| (number(i) - 500.0) * 10_f32.powi((rank + i) as i32 % 7 - 3)).collect()
    }

    #[test]
    fn every_rank_gets_the_sum_of_halves() {
        for (of, length) in
            [(1, 5), (2, 1), (2, 8), (3, 4), (4, 0), (4, 3), (4, 1001), (5, 17), (6, 9), (8, 2), (8, 100)]
        {
            let all: Vec<Vec<f32>> = (0..of).map(|rank| values(rank, length)).collect();
            let found = Threads::run(of, |ranks| {
                let mut values = values(ranks.shard().rank, length);
                sum_over_ranks(ranks, &mut values).map(|()| values)
            });
            for (rank, found) in found.into_iter().enumerate() {
                assert_eq!(
                    found.expect("all ranks live"),
                    halves(&all),
                    "rank {rank} of {of}, {length} numbers"
                );
            }
        }
    }
}
