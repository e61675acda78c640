//! Files of named tensors, whatever they mean.

mod reader;
mod writer;

pub use reader::TensorFile;
pub use writer::TensorWriter;
