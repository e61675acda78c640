//! One side of a picture on its way to another length.

use core::ops::Range;
use std::borrow::Cow;

use super::filter::Filter;
use super::passes;
use super::taps::Taps;

/// How a part of the outputs along one side comes about.
pub(super) enum Side {
    /// The side keeps its length: these inputs are the outputs.
    Kept(Range<usize>),
    /// Each output is a weighted sum of inputs.
    Resampled(Taps),
}

impl Side {
    /// The outputs `part` of the `to` that `from` inputs become.
    pub(super) fn new(from: usize, to: usize, part: Range<usize>, filter: Filter) -> Self {
        if from == to { Self::Kept(part) } else { Self::Resampled(Taps::new(from, to, part, filter)) }
    }

    /// The inputs that are looked at.
    pub(super) fn inputs(&self) -> Range<usize> {
        match self {
            Self::Kept(part) => part.clone(),
            Self::Resampled(taps) => taps.inputs(),
        }
    }

    /// The same where the first `count` inputs were left out; none of them is looked at.
    pub(super) fn behind(self, count: usize) -> Self {
        match self {
            Self::Kept(part) => Self::Kept(part.start - count..part.end - count),
            Self::Resampled(taps) => Self::Resampled(taps.behind(count)),
        }
    }

    /// `pixels [H, width, 3] -> [H, outputs, 3]`
    pub(super) fn across<'a>(&self, pixels: &'a [u8], width: usize) -> Cow<'a, [u8]> {
        match self {
            Self::Kept(part) if part.len() == width => Cow::Borrowed(pixels),
            Self::Kept(part) => {
                let rows = pixels.chunks_exact(width * 3);
                rows.flat_map(|row| &row[part.start * 3..part.end * 3]).copied().collect()
            }
            Self::Resampled(taps) => passes::horizontal(pixels, width, taps).into(),
        }
    }

    /// `pixels [H, width, 3] -> [outputs, width, 3]`
    pub(super) fn down<'a>(&self, pixels: &'a [u8], width: usize) -> Cow<'a, [u8]> {
        match self {
            Self::Kept(part) => Cow::Borrowed(&pixels[part.start * width * 3..part.end * width * 3]),
            Self::Resampled(taps) => passes::vertical(pixels, width, taps).into(),
        }
    }
}
