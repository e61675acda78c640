//! In which orders the blocks of a launch are run, and which of its blocks.
//!
//! ```text
//!                        copies in the background     products in the background     warps
//! all blocks             when they are waited for     when they are waited for       one after another
//! a sample of them       when they are begun          when they are waited for       shuffled
//!                        when they are waited for     when they are begun            shuffled
//!                        when they are begun          when they are begun            shuffled
//!                        when they are waited for     when they are waited for       shuffled
//! ```
//!
//! A kernel that is right writes the same bytes in all of them. Faults of this kind are faults of a block, and the blocks of a launch
//! are alike: a few of them stand for all.

use super::library::{Order, in_background};
use crate::Launch;

/// How often a kernel was launched before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Launches {
    pub(super) all: usize,
    /// With the same grid and the same numbers.
    pub(super) alike: usize,
}

/// The orders of the sample of a launch: all of them at the first of a kernel, and of grids of one block, which are quick, at the first
/// with these numbers. Further launches say little that is new: they take one order in turn, or none where only the order of warps may
/// differ.
pub(super) fn of(launch: &Launch, before: Launches) -> Vec<Order> {
    let seed = 4 * before.all as u32;
    let order = |(copies_at_issue, products_at_issue, i)| Order {
        copies_at_issue,
        products_at_issue,
        seed: seed + i,
    };
    let orders = [(1, 0, 1), (0, 1, 2), (1, 1, 3), (0, 0, 4)].map(order);
    let is_new = before.all == 0 || (before.alike == 0 && blocks(launch.cubes) == 1);
    match (in_background(&launch.kernel.source), is_new) {
        (true, true) => orders.to_vec(),
        (true, false) => vec![orders[before.all % 4]],
        (false, true) => vec![Order { seed: 1, ..Order::default() }],
        (false, false) => Vec::new(),
    }
}

/// Blocks of a grid.
pub(super) fn blocks(cubes: [u32; 3]) -> u64 {
    cubes.iter().map(|&n| u64::from(n)).product()
}

/// The blocks that stand for all: the first and the last.
pub(super) fn sample(cubes: [u32; 3]) -> Vec<u64> {
    let mut sample: Vec<u64> = [0, blocks(cubes) - 1].into();
    sample.dedup();
    sample
}

/// An order in words.
pub(super) fn words(order: Order) -> String {
    let when = |at_issue: u32| if at_issue == 0 { "when they are waited for" } else { "when they are begun" };
    let (copies, products) = (when(order.copies_at_issue), when(order.products_at_issue));
    format!("copies done {copies}, products {products}, warps in order {}", order.seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_blocks_of_the_grid() {
        assert_eq!(sample([1, 1, 1]), [0]);
        assert_eq!(sample([2, 1, 1]), [0, 1]);
        assert_eq!(sample([5, 4, 3]), [0, 59]);
    }
}
