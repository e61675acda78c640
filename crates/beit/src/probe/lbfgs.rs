//! L-BFGS, the limited-memory quasi-Newton method: Nocedal and Wright, Numerical Optimization, Algorithms 7.4 and 7.5.

use std::collections::VecDeque;

/// Steps that the curvature is estimated from, as in scipy.
const MEMORY: usize = 10;
/// The part of the expected decrease that a step must achieve, Nocedal and Wright (3.4).
const DECREASE: f64 = 1e-4;
/// Values closer than this, relatively, are equal: they are computed in single precision.
const NOISE: f64 = 1e-6;
/// Shorter steps are tried no more often than this.
const MOST_TRIALS: usize = 20;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// Greatest component of the gradient.
    pub(super) tolerance: f64,
    pub(super) max_iterations: usize,
}

/// Where a function was looked at.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) x: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// The value of a function at `x`, and its gradient into the second slice.
pub(super) type Function<'a> = dyn FnMut(&[f64], &mut [f64]) -> f64 + 'a;

/// The minimum of a convex function, from `x`, and the steps it took: where the gradient is small enough, or where no step helps.
pub(super) fn minimise(x: Vec<f64>, stop: Stop, f: &mut Function<'_>) -> (Point, usize) {
    let mut memory = Memory::default();
    let mut at = Point::at(x, f);
    for iteration in 0..stop.max_iterations {
        if at.slope() <= stop.tolerance {
            return (at, iteration);
        }
        let Some(next) = at.step_along(&memory.direction(&at.gradient), f) else {
            return (at, iteration);
        };
        memory.remember(difference(&next.x, &at.x), difference(&next.gradient, &at.gradient));
        at = next;
    }
    (at, stop.max_iterations)
}

impl Point {
    fn at(x: Vec<f64>, f: &mut Function<'_>) -> Self {
        let mut gradient = vec![0.0; x.len()];
        let value = f(&x, &mut gradient);
        Self { x, value, gradient }
    }

    /// The greatest component of the gradient.
    pub(super) fn slope(&self) -> f64 {
        self.gradient.iter().fold(0.0, |greatest, g| greatest.max(g.abs()))
    }

    /// The first of shorter and shorter steps that goes down enough.
    fn step_along(&self, direction: &[f64], f: &mut Function<'_>) -> Option<Self> {
        let slope = dot(&self.gradient, direction);
        let mut length = 1.0;
        for _ in 0..MOST_TRIALS {
            let mut x = self.x.clone();
            add(&mut x, length, direction);
            let next = Self::at(x, f);
            if next.value <= self.value + DECREASE * length * slope || self.is_level(&next, direction, slope)
            {
                return Some(next);
            }
            // The minimum of the parabola through both values and the first slope.
            let excess = next.value - self.value - length * slope;
            length *= (-0.5 * length * slope / excess).clamp(0.1, 0.5);
        }
        None
    }

    /// Close to the minimum rounding hides the decrease; there the slope along the direction tells that the step does not overshoot.
    fn is_level(&self, next: &Self, direction: &[f64], slope: f64) -> bool {
        let change = (next.value - self.value).abs();
        change <= NOISE * self.value.abs() && dot(&next.gradient, direction) <= -0.9 * slope
    }
}

/// The last steps, oldest first.
#[derive(Default)]
struct Memory(VecDeque<Pair>);

struct Pair {
    step: Vec<f64>,
    /// Of the gradient along the step.
    change: Vec<f64>,
    /// `step · change`
    curvature: f64,
}

impl Memory {
    /// Keeps a step, unless rounding hides its curvature.
    fn remember(&mut self, step: Vec<f64>, change: Vec<f64>) {
        let curvature = dot(&step, &change);
        if curvature > f64::EPSILON * dot(&change, &change) {
            self.0.push_back(Pair { step, change, curvature });
        }
        if self.0.len() > MEMORY {
            self.0.pop_front();
        }
    }

    /// `-H g`, where H estimates the inverse of the Hessian; the first step is of length 1.
    fn direction(&self, gradient: &[f64]) -> Vec<f64> {
        let mut d: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut weights = Vec::with_capacity(MEMORY);
        for pair in self.0.iter().rev() {
            let weight = dot(&pair.step, &d) / pair.curvature;
            add(&mut d, -weight, &pair.change);
            weights.push(weight);
        }
        let scale = match self.0.back() {
            Some(last) => last.curvature / dot(&last.change, &last.change),
            None => dot(gradient, gradient).sqrt().recip(),
        };
        d.iter_mut().for_each(|d| *d *= scale);
        for (pair, weight) in self.0.iter().zip(weights.into_iter().rev()) {
            let other = dot(&pair.change, &d) / pair.curvature;
            add(&mut d, weight - other, &pair.step);
        }
        d
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `y += factor x`
fn add(y: &mut [f64], factor: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Stop = Stop { tolerance: 1e-9, max_iterations: 200 };

    /// `Σ cosh(s_i (x_i - i))`, whose curvatures differ a hundredfold.
    fn valley(x: &[f64], gradient: &mut [f64]) -> f64 {
        let mut value = 0.0;
        for (i, (x, g)) in x.iter().zip(gradient).enumerate() {
            let scale = 0.1 * 2_f64.powi(i as i32);
            let z = scale * (x - i as f64);
            (value, *g) = (value + z.cosh(), scale * z.sinh());
        }
        value
    }

    #[test]
    fn the_minimum_of_a_convex_function_is_found() {
        let (found, steps) = minimise(vec![1.0; 5], STOP, &mut valley);
        assert!(found.slope() <= STOP.tolerance && steps < 60, "{found:?} after {steps} steps");
        for (i, x) in found.x.iter().enumerate() {
            // The least curvature is 0.01, and a hundred times the slope that is left how far the minimum can be.
            assert!((x - i as f64).abs() < 2e-7, "{found:?}");
        }
    }

    #[test]
    fn it_ends_where_no_step_helps_or_none_is_left() {
        let mut wrong = |x: &[f64], gradient: &mut [f64]| {
            gradient[0] = 1.0;
            if x[0] == 0.0 { 1.0 } else { 2.0 }
        };
        assert_eq!(minimise(vec![0.0], STOP, &mut wrong).1, 0);
        assert_eq!(minimise(vec![9.0; 3], Stop { max_iterations: 2, ..STOP }, &mut valley).1, 2);
    }
}
