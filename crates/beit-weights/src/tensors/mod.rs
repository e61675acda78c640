//! Files of named tensors, whatever they mean.

mod file;
mod mapped;
mod numbers;
mod safetensors;
mod sharded;
mod torch;
mod writer;

pub use file::TensorFile;
pub(crate) use numbers::checked_floats;
#[cfg(feature = "hub")]
pub(crate) use sharded::{Shards, is_index};
pub(crate) use torch::{CLASS_NAMES, Wrapper, write_torch};
pub use writer::TensorWriter;
