//! Random initial values from the counter-based stream: they depend on the seed and the stream's number only.

use crate::philox::uniforms;
use alloc::vec::Vec;

/// An endless stream of uniforms and normals, keyed by a seed and a number (for parameters: their position in the tree).
///
/// ```
/// let mut a = beit_ops::init::Stream::new(7, 0);
/// let mut b = beit_ops::init::Stream::new(7, 0);
/// assert_eq!(a.normals(5, 0.02), b.normals(5, 0.02));
/// ```
#[derive(Clone, Debug)]
pub struct Stream {
    seed: u64,
    number: u64,
    drawn: u64,
}

impl Stream {
    /// The stream `number` under `seed`.
    pub const fn new(seed: u64, number: u64) -> Self {
        Self { seed, number, drawn: 0 }
    }

    /// The next uniform in (0, 1).
    pub fn uniform(&mut self) -> f32 {
        let lane = (self.drawn % 4) as usize;
        let value = uniforms(self.seed, self.number, self.drawn / 4)[lane];
        self.drawn += 1;
        value
    }

    /// The next normal of deviation 1 (Box-Muller, the cosine half).
    pub fn normal(&mut self) -> f32 {
        let radius = libm::sqrt(-2.0 * libm::log(f64::from(self.uniform())));
        (radius * libm::cos(2.0 * core::f64::consts::PI * f64::from(self.uniform()))) as f32
    }

    /// `n` normals of deviation `std`.
    pub fn normals(&mut self, n: usize, std: f32) -> Vec<f32> {
        (0..n).map(|_| std * self.normal()).collect()
    }

    /// `n` normals of deviation `std`, drawn again while beyond `±cut`.
    pub fn truncated_normals(&mut self, n: usize, std: f32, cut: f32) -> Vec<f32> {
        let mut draw = || loop {
            let value = std * self.normal();
            if value.abs() <= cut {
                return value;
            }
        };
        (0..n).map(|_| draw()).collect()
    }

    /// `n` uniforms in (-bound, bound).
    pub fn uniforms_within(&mut self, n: usize, bound: f32) -> Vec<f32> {
        (0..n).map(|_| bound * (2.0 * self.uniform() - 1.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let n = 40_000;
        let deviation = |x: &[f32]| (x.iter().map(|v| v * v).sum::<f32>() / n as f32).sqrt();
        // The deviation of an estimated deviation is 1/sqrt(2n) = 0.0035 relative.
        let normals = Stream::new(1, 2).normals(n, 0.02);
        assert!((deviation(&normals) / 0.02 - 1.0).abs() < 0.02);
        // Cut at one sigma, the deviation is 0.5396 sigma.
        let cut = Stream::new(1, 3).truncated_normals(n, 0.02, 0.02);
        assert!((deviation(&cut) / 0.02 - 0.5396).abs() < 0.01);
        assert!(cut.iter().all(|v| v.abs() <= 0.02));
    }
}
