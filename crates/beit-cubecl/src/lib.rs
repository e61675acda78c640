#![doc = include_str!("../README.md")]
// Kernels are launched without the bounds checks of CubeCL, since each checks its own: see `launch.rs`, the one place.
#![allow(unsafe_code)]
// The kernel language has no `div_ceil`.
#![allow(clippy::manual_div_ceil)]

mod arena;
mod device;
mod gpu;
mod kernels;
mod launch;
mod ops;
mod tensor;
pub mod testing;

#[cfg(feature = "cuda")]
pub use device::cuda;
#[cfg(feature = "wgpu")]
pub use device::wgpu;
pub use device::{OpenError, Precision};
pub use gpu::Gpu;
pub use kernels::tile::{CANDIDATES, HOPPER, Hopper, Tile};
pub use tensor::{Dtype, Ids, Probs, Tensor};

pub use cubecl;
pub use cubecl::Runtime;
