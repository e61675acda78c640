#![doc = include_str!("../README.md")]
// Unsafe calls: NVRTC, kernels that were compiled for the CPU, and `launch` of CubeCL, which is unsafe to implement.
#![allow(unsafe_code)]

pub mod attention;
mod cache;
mod check;
mod device;
pub mod emulator;
pub mod models;
mod names;
mod nvrtc;
mod order;
mod report;
mod resources;
mod runtime;
pub mod segmentation;
mod server;
mod tensor_map;
mod toolkit;

pub use check::{Check, compile_source, records};
pub use device::Sm;
pub use emulator::Emulator;
pub use report::{table, write_csv};
pub use resources::{Allowed, Record, Resources, violations};
pub use runtime::{Buffer, Fake, Kernel, Launch, Machine};
pub use server::Server;
pub use tensor_map::TensorMap;
pub use toolkit::Toolkit;

/// A CUDA device that compiles every kernel and executes none.
pub type Compiled = Fake<Check>;
/// A CUDA device that is the CPU.
pub type Emulated = Fake<Emulator>;
