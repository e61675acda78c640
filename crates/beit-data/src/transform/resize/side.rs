//! One side of a picture on its way to another length.

use core::ops::Range;
use std::borrow::Cow;

use super::filter::Filter;
use super::passes;
use super::taps::Taps;
use super::value::Value;

/// How a part of the outputs along one side comes about.
pub(super) enum Side<V: Value> {
    /// The side keeps its length: these inputs are the outputs.
    Kept(Range<usize>),
    /// Each output is a weighted sum of inputs.
    Resampled(Taps<V>),
}

impl<V: Value> Side<V> {
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

    /// `values [H, width, channels] -> [H, outputs, channels]`
    pub(super) fn across<'a>(&self, values: &'a [V], width: usize, channels: usize) -> Cow<'a, [V]> {
        match self {
            Self::Kept(part) if part.len() == width => Cow::Borrowed(values),
            Self::Kept(part) => {
                let rows = values.chunks_exact(width * channels);
                rows.flat_map(|row| &row[part.start * channels..part.end * channels]).copied().collect()
            }
            Self::Resampled(taps) => passes::horizontal(values, width, channels, taps).into(),
        }
    }

    /// `values [H, stride] -> [outputs, stride]`
    pub(super) fn down<'a>(&self, values: &'a [V], stride: usize) -> Cow<'a, [V]> {
        match self {
            Self::Kept(part) => Cow::Borrowed(&values[part.start * stride..part.end * stride]),
            Self::Resampled(taps) => passes::vertical(values, stride, taps).into(),
        }
    }
}
