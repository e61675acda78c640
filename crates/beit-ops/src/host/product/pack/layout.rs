//! Where each number of an operand stands in its panels.

use crate::host::product::micro::{Microkernel, Packed};
use core::ops::Range;

/// How a panel is laid out.
#[derive(Clone, Copy)]
pub(in crate::host::product) struct PanelLayout {
    /// The number of lanes.
    pub(super) width: usize,
    /// How many steps of one lane are contiguous, see [`Microkernel::DEPTH_GROUP`].
    pub(super) group: usize,
}

impl PanelLayout {
    /// That of left panels.
    #[inline(always)]
    pub(in crate::host::product) const fn left<M: Microkernel>() -> Self {
        Self { width: M::ROWS, group: M::DEPTH_GROUP }
    }

    /// That of right panels.
    #[inline(always)]
    pub(super) const fn right<M: Microkernel>() -> Self {
        Self { width: M::COLUMNS, group: 1 }
    }

    /// The position of a step of a lane.
    #[inline(always)]
    pub(super) const fn position(self, step: usize, lane: usize) -> usize {
        let Self { width, group } = self;
        step / group * group * width + lane * group + step % group
    }
}

/// The steps of a panel that has `numbers` numbers along the depth.
pub(in crate::host::product) const fn steps<M: Microkernel>(numbers: usize) -> usize {
    numbers.div_ceil(M::Packed::NUMBERS).next_multiple_of(M::DEPTH_GROUP)
}

/// Splits the depth into blocks of nearly one size, at most [`Microkernel::DEPTH`] steps each. All but the last are whole
/// numbers of steps and of groups.
pub(in crate::host::product) fn blocks<M: Microkernel>(depth: usize) -> impl Iterator<Item = Range<usize>> {
    let steps = depth.div_ceil(M::Packed::NUMBERS);
    let block = steps.div_ceil(steps.div_ceil(M::DEPTH).max(1)).max(1);
    let block = block.next_multiple_of(M::DEPTH_GROUP) * M::Packed::NUMBERS;
    (0..depth).step_by(block).map(move |begin| begin..depth.min(begin + block))
}
