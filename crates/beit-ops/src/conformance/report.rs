//! How far a device may be off, and how far it is.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// How far a device may be from the reference, relative to the largest element of the tensor (or to 1 if that is larger).
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Of forward results.
    pub value: f64,
    /// Of gradients.
    pub gradient: f64,
}

impl Tolerance {
    /// `Host<f64>` against itself: the central differences are good to 1e-8, reading as f32 rounds at 6e-8.
    pub const F64: Self = Self { value: 1e-7, gradient: 1e-6 };
    /// f32 storage and sums: reductions here are at most 600 long, 600 roundings of 6e-8 stay below 4e-5.
    pub const F32: Self = Self { value: 5e-6, gradient: 2e-5 };
    /// bf16 operands and activations with sums in f32: operands are rounded to 8 bits, a part in 512; sums of products average
    /// the errors out, results are rounded once more, and gradients pass through two such steps.
    pub const BF16: Self = Self { value: 1e-2, gradient: 2e-2 };
}

/// What [`run`](super::run) found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Tensors that were compared.
    pub compared: usize,
    /// One line for each tensor that is off: operation, tensor, index, got, want, allowed.
    pub failures: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} tensors compared, {} off", self.compared, self.failures.len())?;
        self.failures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
