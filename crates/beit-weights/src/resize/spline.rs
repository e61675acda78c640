//! Interpolation between values at unequal distances, as weights of the values.
//!
//! Outside the knots the first and the last value go on.

use super::weights::Weights;

/// Values on straight lines between the values at `knots`, which rise.
pub(super) fn linear(knots: &[f64], at: &[f64]) -> Weights {
    weights(knots, at, |x| {
        let Some(Segment { left, a, b, .. }) = Segment::around(knots, x) else { return vec![1.0] };
        let mut row = vec![0.0; knots.len()];
        (row[left], row[left + 1]) = (a, b);
        row
    })
}

/// Values on the cubic spline through the values at `knots`, which rise.
///
/// Its ends are not-a-knot: the first two pieces are one polynomial, and the last two, as in FITPACK and
/// `scipy.interpolate.interp2d(kind="cubic")`. Of fewer than 4 values it is the polynomial through them.
pub(super) fn cubic(knots: &[f64], at: &[f64]) -> Weights {
    if knots.len() < 4 {
        return weights(knots, at, |x| polynomial(knots, x));
    }
    let curvatures = curvatures(knots);
    weights(knots, at, |x| spline(knots, &curvatures, x))
}

/// One row for each of `at`, held within the knots.
fn weights(knots: &[f64], at: &[f64], row: impl Fn(f64) -> Vec<f64>) -> Weights {
    let (first, last) = (knots[0], knots[knots.len() - 1]);
    Weights::new(knots.len(), at.iter().map(|x| row(x.clamp(first, last))).collect())
}

/// The piece that `x` lies in: `x = a knots[left] + b knots[left + 1]`, `a + b = 1`.
struct Segment {
    left: usize,
    h: f64,
    a: f64,
    b: f64,
}

impl Segment {
    /// None if there is but one knot.
    fn around(knots: &[f64], x: f64) -> Option<Self> {
        let last = knots.len().checked_sub(2)?;
        let left = knots.partition_point(|&knot| knot <= x).saturating_sub(1).min(last);
        let h = knots[left + 1] - knots[left];
        Some(Self { left, h, a: (knots[left + 1] - x) / h, b: (x - knots[left]) / h })
    }
}

/// Lagrange's weights: `w[i] = prod_(j != i) (x - x[j]) / (x[i] - x[j])`.
fn polynomial(knots: &[f64], x: f64) -> Vec<f64> {
    let weight = |i: usize| {
        let others = knots.iter().enumerate().filter(|&(j, _)| j != i);
        others.map(|(_, other)| (x - other) / (knots[i] - other)).product()
    };
    (0..knots.len()).map(weight).collect()
}

/// `y = a y[l] + b y[l+1] + h^2/6 ((a^3 - a) m[l] + (b^3 - b) m[l+1])` with second derivatives `m`.
fn spline(knots: &[f64], curvatures: &[Vec<f64>], x: f64) -> Vec<f64> {
    let Some(Segment { left, h, a, b }) = Segment::around(knots, x) else { return vec![1.0] };
    let bent = |t: f64| (t * t * t - t) * h * h / 6.0;
    let pairs = curvatures[left].iter().zip(&curvatures[left + 1]);
    let mut row: Vec<f64> = pairs.map(|(m, n)| bent(a) * m + bent(b) * n).collect();
    row[left] += a;
    row[left + 1] += b;
    row
}

/// `lower m[i-1] + diagonal m[i] + upper m[i+1] = right`, where the right side is weights of the values.
struct Equation {
    lower: f64,
    diagonal: f64,
    upper: f64,
    right: Vec<f64>,
}

/// The second derivatives at the knots of the spline through values there: `m = W y`, `W [n, n]`.
fn curvatures(knots: &[f64]) -> Vec<Vec<f64>> {
    let n = knots.len();
    let h: Vec<f64> = knots.windows(2).map(|x| x[1] - x[0]).collect();
    let mut equations: Vec<Equation> = (1..n - 1).map(|i| smooth(&h, i)).collect();
    // The third derivative goes on through the second knot: m[0] = m[1] + r (m[1] - m[2]). The end itself mirrors.
    let (first, last) = (h[0] / h[1], h[n - 2] / h[n - 3]);
    equations[0].diagonal += h[0] * (1.0 + first);
    equations[0].upper -= h[0] * first;
    equations[n - 3].diagonal += h[n - 2] * (1.0 + last);
    equations[n - 3].lower -= h[n - 2] * last;

    let mut m = solve(equations);
    let start = combine(&m[0], 1.0 + first, &m[1], -first);
    let end = combine(&m[n - 3], 1.0 + last, &m[n - 4], -last);
    m.insert(0, start);
    m.push(end);
    m
}

/// That the first derivative goes on through knot `i`.
///
/// `h[i-1] m[i-1] + 2 (h[i-1] + h[i]) m[i] + h[i] m[i+1] = 6 ((y[i+1] - y[i]) / h[i] - (y[i] - y[i-1]) / h[i-1])`
fn smooth(h: &[f64], i: usize) -> Equation {
    let (before, after) = (h[i - 1], h[i]);
    let mut right = vec![0.0; h.len() + 1];
    right[i - 1] = 6.0 / before;
    right[i] = -6.0 / before - 6.0 / after;
    right[i + 1] = 6.0 / after;
    Equation { lower: before, diagonal: 2.0 * (before + after), upper: after, right }
}

/// Elimination downwards, substitution upwards. The diagonal dominates, so nothing needs to be exchanged.
fn solve(mut equations: Vec<Equation>) -> Vec<Vec<f64>> {
    for i in 1..equations.len() {
        let (above, below) = equations.split_at_mut(i);
        let (above, below) = (&above[i - 1], &mut below[0]);
        let factor = below.lower / above.diagonal;
        below.diagonal -= factor * above.upper;
        below.right = combine(&below.right, 1.0, &above.right, -factor);
    }
    let mut solved: Vec<Vec<f64>> = Vec::new();
    for Equation { diagonal, upper, right, .. } in equations.into_iter().rev() {
        let m = match solved.last() {
            Some(next) => combine(&right, 1.0 / diagonal, next, -upper / diagonal),
            None => right.iter().map(|x| x / diagonal).collect(),
        };
        solved.push(m);
    }
    solved.reverse();
    solved
}

/// `a x + b y`
fn combine(x: &[f64], a: f64, y: &[f64], b: f64) -> Vec<f64> {
    x.iter().zip(y).map(|(x, y)| a * x + b * y).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding of float64 in sums of some dozen terms.
    const ROUNDING: f64 = 1e-12;

    const KNOTS: [f64; 7] = [-4.0, -2.5, -1.0, 0.0, 1.0, 3.0, 4.5];
    const AT: [f64; 8] = [-4.0, -3.7, -1.0, -0.2, 0.5, 2.9, 3.3, 4.5];

    fn assert_reproduced(weights: &Weights, knots: &[f64], at: &[f64], f: impl Fn(f64) -> f64) {
        let values: Vec<f64> = knots.iter().map(|&x| f(x)).collect();
        for (&x, got) in at.iter().zip(weights.apply(&values, 1)) {
            assert!((got - f(x)).abs() <= ROUNDING * 100.0, "at {x}: got {got}, want {}", f(x));
        }
    }

    #[test]
    fn a_cubic_is_its_own_spline() {
        let f = |x: f64| 0.5 * x * x * x - x * x + 3.0 * x - 2.0;
        assert_reproduced(&cubic(&KNOTS, &AT), &KNOTS, &AT, f);
        assert_reproduced(&cubic(&KNOTS[1..5], &AT[2..5]), &KNOTS[1..5], &AT[2..5], f);
    }

    #[test]
    fn few_points_have_a_polynomial() {
        assert_reproduced(&cubic(&KNOTS[2..5], &AT[2..5]), &KNOTS[2..5], &AT[2..5], |x| {
            2.0 * x * x - x + 1.0
        });
        assert_reproduced(&cubic(&KNOTS[2..4], &AT[2..4]), &KNOTS[2..4], &AT[2..4], |x| 2.0 * x + 1.0);
        assert_eq!(cubic(&[0.0], &AT).apply(&[5.0], 1), [5.0; 8]);
    }

    #[test]
    fn lines_between_the_values() {
        assert_reproduced(&linear(&KNOTS, &AT), &KNOTS, &AT, |x| 2.0 * x + 1.0);
        assert_eq!(linear(&[0.0, 2.0, 3.0], &[1.0, 2.5]).apply(&[1.0, 3.0, 0.0], 1), [2.0, 1.5]);
        assert_eq!(linear(&[0.0], &AT).apply(&[5.0], 1), [5.0; 8]);
    }

    #[test]
    fn knots_are_met_exactly_and_the_ends_go_on() {
        let values = [0.1, -0.7, 0.3, 11.0, -5.0, 0.9, 0.2];
        for weights in [linear, cubic].map(|f| f(&KNOTS, &KNOTS)) {
            assert_eq!(weights.apply(&values, 1), values);
        }
        for weights in [linear, cubic].map(|f| f(&KNOTS, &[-9.0, 5.0])) {
            assert_eq!(weights.apply(&values, 1), [0.1, 0.2]);
        }
    }
}
