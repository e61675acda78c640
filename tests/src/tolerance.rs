//! How far results may be from the goldens, relative to the greatest magnitude of each tensor.
//!
//! The goldens are float64 results from float32 weights. `goldens/rounding.json` says how far float32 PyTorch is from them; the
//! limits are ten to a hundred times that, for another order of summation, and far below any wrong formula.

/// PyTorch: at most 1e-6. A layer norm epsilon of 1e-6 in place of 1e-12 moves logits by 2e-3.
pub const LOGITS: f64 = 1e-5;
/// PyTorch: at most 1e-7.
pub const LOSS: f64 = 1e-5;
/// PyTorch: at most 9e-7.
pub const GRADIENTS: f64 = 1e-4;
/// Ten steps multiply rounding; PyTorch: losses 7e-8, norms 2e-7.
pub const TRAINING: f64 = 1e-5;
/// PyTorch: at most 4e-6 after ten steps.
pub const FINAL_PARAMETERS: f64 = 1e-4;
/// Learning rates are computed in float64 here and stored in float32.
pub const RATES: f64 = 1e-7;
/// Single operations. PyTorch: at most 8e-7.
pub const OPERATIONS: f64 = 1e-5;
/// Of one batch norm, whose gradients are differences of sums over a batch. PyTorch: at most 3e-6.
pub const NORM_GRADIENTS: f64 = 5e-5;
/// PyTorch: at most 8e-6. Batch norms over as few as three elements, and tens of them one after the other, multiply rounding.
pub const SEGMENTER_GRADIENTS: f64 = 1e-4;
/// Of gradients that are zero, relative to the greatest of all: the sum of hundreds of terms of either sign.
pub const NO_GRADIENT: f64 = 1e-5;
/// Running statistics after three steps. PyTorch: at most 1e-6.
pub const RUNNING: f64 = 1e-5;
