//! Which memory is added up.

use super::NcclError;
use crate::arena::filled_by;
use crate::gpu::Gpu;
use crate::tensor::{Dtype, Tensor};
use cubecl::prelude::*;
use cubecl::server::Handle;

/// Where these tensors lie, and how many numbers that is: in one piece where they fill an arena. Clones that share their memory keep the
/// old numbers.
pub(super) fn memory<R: Runtime>(
    gpu: &Gpu<R>,
    mut tensors: Vec<&mut Tensor>,
) -> Result<Vec<(Handle, usize)>, NcclError> {
    if let Some(tensor) = tensors.iter().find(|tensor| tensor.dtype != Dtype::F32) {
        return Err(NcclError::Device(format!(
            "a tensor in {:?} is to be added up; expected f32",
            tensor.dtype
        )));
    }
    for tensor in &mut tensors {
        gpu.own(tensor);
    }
    Ok(match filled_by(tensors.iter().map(|tensor| &**tensor)) {
        // The padding is zero, and stays so.
        Some(arena) => vec![(arena.elements.clone(), arena.len)],
        None => tensors.iter().map(|tensor| (tensor.handle().clone(), tensor.len())).collect(),
    })
}
