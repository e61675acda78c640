//! Goldens and end-to-end runs; the tests are in `tests/`, what they share is here.

mod compare;
mod golden;
mod gpu;
pub mod mim;
pub mod tolerance;

pub use compare::Comparison;
pub use golden::{Golden, stored};
pub use gpu::wgpu;
