//! In which orders the blocks of a launch are run, and which of its blocks.
//!
//! ```text
//!                        copies in the background     products in the background     warps
//! all blocks             when they are waited for     when they are waited for       one after another
//! a sample of them       the same                     the same                       the same
//!                        when they are begun          when they are waited for       shuffled
//!                        when they are waited for     when they are begun            shuffled
//!                        when they are begun          when they are begun            shuffled
//!                        when they are waited for     when they are waited for       shuffled
//! ```
//!
//! A kernel that is right writes the same bytes in all of them. Faults of this kind are faults of a block, and the blocks of a launch
//! are alike: a few of them stand for all.

use super::library::{Order, in_background};
use crate::Launch;

/// How often the samples of a kernel without such instructions are run: where only the order of warps may differ, further launches
/// say little that is new.
const SHUFFLED_LAUNCHES: usize = 1;

/// The orders in which the sample of a launch is run, the first as all blocks were. `launches`: how many there were of this kernel before.
pub(super) fn of(launch: &Launch, launches: usize) -> Vec<Order> {
    let order = |copies_at_issue, products_at_issue, seed| Order { copies_at_issue, products_at_issue, seed };
    if in_background(&launch.kernel.source) {
        vec![order(0, 0, 0), order(1, 0, 1), order(0, 1, 2), order(1, 1, 3), order(0, 0, 4)]
    } else if launches < SHUFFLED_LAUNCHES {
        vec![order(0, 0, 0), order(0, 0, 1)]
    } else {
        Vec::new()
    }
}

/// The blocks that stand for all: the first and the last.
pub(super) fn sample(cubes: [u32; 3]) -> Vec<u64> {
    let blocks: u64 = cubes.iter().map(|&n| u64::from(n)).product();
    let mut sample: Vec<u64> = [0, blocks - 1].into();
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
