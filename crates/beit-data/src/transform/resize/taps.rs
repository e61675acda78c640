use core::ops::Range;

use super::filter::Filter;
use super::value::Value;

/// What the outputs along one side are made of, for samples `V`.
pub(super) struct Taps<V: Value> {
    windows: Vec<Window>,
    weights: Vec<V::Number>,
}

/// Where the inputs of one output begin, and where its weights begin and end.
struct Window {
    first: usize,
    weights: Range<usize>,
}

impl<V: Value> Taps<V> {
    /// The outputs `part` of the `to` that `from` inputs become. Output `i` lies at `c = (i + 1/2) scale` and has the weights `f((x + 1/2 - c) / s)`,
    /// `s = max(scale, 1)`, of the inputs `x` within the filter's support of it, divided by their sum.
    pub(super) fn new(from: usize, to: usize, part: Range<usize>, filter: Filter) -> Self {
        let mut taps = Self { windows: Vec::with_capacity(part.len()), weights: Vec::new() };
        let scale = from as f64 / to as f64;
        part.for_each(|i| taps.push(from, (i as f64 + 0.5) * scale, scale.max(1.0), filter));
        taps
    }

    /// Steps and their order are those of the Python Imaging Library, so that every weight is rounded alike.
    fn push(&mut self, from: usize, centre: f64, stretch: f64, filter: Filter) {
        let support = filter.support() * stretch;
        // Conversion cuts off below zero and towards it.
        let first = (centre - support + 0.5) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let inverse = 1.0 / stretch;
        let weight = |x: usize| filter.weight((x as f64 - centre + 0.5) * inverse);
        let weights: Vec<f64> = (first..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let start = self.weights.len();
        self.weights.extend(weights.iter().map(|weight| V::weight(weight / sum)));
        self.windows.push(Window { first, weights: start..self.weights.len() });
    }

    /// From the first input that has a weight to behind the last.
    pub(super) fn inputs(&self) -> Range<usize> {
        let first = self.windows.iter().map(|window| window.first).min();
        let end = self.windows.iter().map(|window| window.first + window.weights.len()).max();
        first.unwrap_or(0)..end.unwrap_or(0)
    }

    /// The same where the first `count` inputs were left out; none of them has a weight.
    pub(super) fn behind(mut self, count: usize) -> Self {
        self.windows.iter_mut().for_each(|window| window.first -= count);
        self
    }

    /// Number of outputs.
    pub(super) fn len(&self) -> usize {
        self.windows.len()
    }

    /// First input and weights of every output, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[V::Number])> {
        self.windows.iter().map(|window| (window.first, &self.weights[window.weights.clone()]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::PRECISION;
    use super::*;

    #[test]
    fn weights_sum_to_one_but_for_their_rounding() {
        for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            for (from, to) in [(1, 9), (9, 1), (500, 224), (224, 500), (7, 1000)] {
                let taps = Taps::<u8>::new(from, to, 0..to, filter);
                assert_eq!(taps.len(), to);
                for (first, weights) in taps.iter() {
                    assert!(!weights.is_empty() && first + weights.len() <= from);
                    let error = weights.iter().sum::<i32>() - (1 << PRECISION);
                    assert!(
                        error.unsigned_abs() as usize * 2 <= weights.len(),
                        "{filter:?} {from} to {to}: {error}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_sum_fits_32_bits() {
        // The weights depend on the phase and the scale only; the least sides have the greatest at the borders.
        for (from, to) in (1..40).flat_map(|from| (1..80).map(move |to| (from, to))) {
            for (_, weights) in Taps::<u8>::new(from, to, 0..to, Filter::Lanczos).iter() {
                let size: u64 = weights.iter().map(|weight| u64::from(weight.unsigned_abs())).sum();
                assert!(size * 255 + (1 << (PRECISION - 1)) < 1 << 31, "{from} to {to}: {size}");
            }
        }
    }
}
