//! Sums over the GPUs of several processes, by NCCL.

mod communicator;
mod error;
// The tests need neither CUDA nor a GPU.
#[cfg(feature = "nccl")]
mod gpu;
mod library;
mod memory;
#[cfg(test)]
mod tests;

pub use communicator::Seat;
pub use error::NcclError;
#[cfg(feature = "nccl")]
pub use gpu::{Nccl, uuid};
pub use library::NcclLibrary;
