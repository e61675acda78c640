#![doc = include_str!("../README.md")]
// Kernels are launched without the bounds checks of CubeCL, since each kernel has its own. The launches are in `launch.rs` and
// `kernels/native.rs`.
#![allow(unsafe_code)]
// The kernel language has no `div_ceil`.
#![allow(clippy::manual_div_ceil)]

mod arena;
mod buffer;
mod device;
mod dtype;
mod gpu;
mod kernels;
mod launch;
#[cfg(any(feature = "nccl", test))]
pub mod nccl;
mod ops;
mod precision;
mod tensor;
pub mod testing;

#[cfg(feature = "wgpu")]
pub use device::wgpu;
#[cfg(feature = "cuda")]
pub use device::{TILE, cuda};
pub use gpu::Gpu;
pub use kernels::tile::{CANDIDATES, HOPPER, Hopper, Tile};
pub use precision::{OpenError, Precision};
pub use tensor::{Dtype, Ids, Probs, Tensor};

pub use cubecl;
pub use cubecl::Runtime;
