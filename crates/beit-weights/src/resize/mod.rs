//! Position parameters of a checkpoint, brought to another window of patches.
//!
//! A window is `[height, width]` in patches. Every method here is linear and separable: each axis has one matrix of weights, made
//! once and applied to all heads or channels. Values are float64 inside and rounded once at the end.

mod geometric;
mod positions;
mod resizing;
mod samples;
mod spline;
mod table;
mod weights;

pub use positions::{PositionResize, resize_positions};
pub use resizing::Resizing;
pub use table::{TableResize, resize_relative_table};

use weights::Weights;

/// Resizes both axes of a grid: `x [h, w, inner] -> y [h', w', inner]`.
fn resize_grid(x: &[f32], inner: usize, [vertical, horizontal]: &[Weights; 2]) -> Vec<f32> {
    let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
    let x = horizontal.apply(&x, inner);
    let x = vertical.apply(&x, horizontal.to() * inner);
    x.into_iter().map(|x| x as f32).collect()
}
