//! The filters of a convolution, and the orders in which they are read.

use crate::host::array::{Array, extents4, view};
use crate::host::product::Engine;
use crate::host::real::Real;
use alloc::vec;
use alloc::vec::Vec;

#[cfg(feature = "std")]
use crate::host::cached::{Cacheable, MaybeCached};
#[cfg(feature = "std")]
use core::any::Any;

/// The filters of a convolution.
pub(super) enum Filters<'a, F: Real> {
    /// The weight `[O, I, k, k]` of the layer.
    Forward(&'a Array<F>),
    /// For the gradient of the input: each filter rotated by 180 degrees, the channels exchanged, `[I, O, k, k]`.
    Rotated(&'a Array<F>),
}

impl<F: Real> Filters<'_, F> {
    /// The extents of the weight, `[O, I, k, k]`.
    pub(super) fn extents(&self) -> [usize; 4] {
        match self {
            Self::Forward(weight) | Self::Rotated(weight) => extents4(weight),
        }
    }

    /// Input channels of this convolution.
    pub(super) fn inputs(&self) -> usize {
        let [o, i, ..] = self.extents();
        match self {
            Self::Forward(_) => i,
            Self::Rotated(_) => o,
        }
    }

    /// Output channels of this convolution.
    pub(super) fn outputs(&self) -> usize {
        let [o, i, ..] = self.extents();
        match self {
            Self::Forward(_) => o,
            Self::Rotated(_) => i,
        }
    }

    /// The filter of 3 x 3 from one channel to another.
    #[inline(always)]
    pub(super) fn filter(&self, output: usize, input: usize) -> [F; 9] {
        let (weight, index) = match self {
            Self::Forward(weight) => (weight, output * self.inputs() + input),
            Self::Rotated(weight) => (weight, input * self.outputs() + output),
        };
        let taps = *weight[9 * index..].first_chunk().expect("nine taps");
        match self {
            Self::Forward(_) => taps,
            Self::Rotated(_) => core::array::from_fn(|i| taps[8 - i]),
        }
    }

    /// A copy of the filters in another order. That of the forward direction is cached if the weight is used again before it
    /// changes.
    #[cfg(feature = "std")]
    pub(super) fn copy<T: Cacheable + Any + Send + Sync>(
        &self,
        make: impl FnOnce(&Self) -> T,
    ) -> MaybeCached<'_, T> {
        match self {
            Self::Forward(weight) => weight.cached_copy(|| make(self)),
            Self::Rotated(_) => MaybeCached::Owned(make(self)),
        }
    }

    /// A copy of the filters in another order.
    #[cfg(not(feature = "std"))]
    pub(super) fn copy<T>(&self, make: impl FnOnce(&Self) -> T) -> T {
        make(self)
    }

    /// The filters as a right operand `[k·k·inputs, outputs]`.
    pub(super) fn pack<E: Engine<F>>(&self, engine: E) -> E::Right {
        let [o, i, k, _] = self.extents();
        match self {
            Self::Forward(weight) => engine.pack(view(&tap_major(weight, [o, i, k]), [k * k * i, o]).t()),
            Self::Rotated(weight) => {
                engine.pack(view(&tap_major_rotated(weight, [o, i, k]), [k * k * o, i]).t())
            }
        }
    }
}

/// `weight [O, I, k, k] -> [k·k·I, O]`
fn tap_major<F: Real>(weight: &[F], [o_n, i_n, k]: [usize; 3]) -> Vec<F> {
    let mut filters = vec![F::from_f64(0.0); weight.len()];
    for (oi, taps) in weight.chunks_exact(k * k).enumerate() {
        let (o, i) = (oi / i_n, oi % i_n);
        for (tap, &v) in taps.iter().enumerate() {
            filters[(tap * i_n + i) * o_n + o] = v;
        }
    }
    filters
}

/// `weight [O, I, k, k] -> [k·k·O, I]`, the taps in reverse order.
fn tap_major_rotated<F: Real>(weight: &[F], [o_n, i_n, k]: [usize; 3]) -> Vec<F> {
    let mut filters = vec![F::from_f64(0.0); weight.len()];
    for (oi, taps) in weight.chunks_exact(k * k).enumerate() {
        let (o, i) = (oi / i_n, oi % i_n);
        for (tap, &v) in taps.iter().rev().enumerate() {
            filters[(tap * o_n + o) * i_n + i] = v;
        }
    }
    filters
}

/// `weight [O, I, k, k] += filters [k·k·I, O]`
pub(super) fn add_tap_major<F: Real>(filters: &[F], [o_n, i_n, k]: [usize; 3], weight: &mut [F]) {
    for (oi, taps) in weight.chunks_exact_mut(k * k).enumerate() {
        let (o, i) = (oi / i_n, oi % i_n);
        for (tap, v) in taps.iter_mut().enumerate() {
            *v += filters[(tap * i_n + i) * o_n + o];
        }
    }
}
