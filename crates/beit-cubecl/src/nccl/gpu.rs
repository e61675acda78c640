//! A GPU in a world of NCCL.

use super::communicator::{Communicator, Part};
use super::memory::memory;
use super::{NcclError, NcclLibrary, Seat};
use crate::gpu::{Gpu, fault};
use crate::tensor::Tensor;
use cubecl::cuda::CudaRuntime;
use cubecl::server::Handle;
use cudarc::driver::{CudaContext, CudaStream, DriverError, sys};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A GPU in a world of GPUs, each of which is another process's.
///
/// Sums repeat their bits where the same GPUs are connected in the same way, and all ranks get the same bits. NCCL chooses the order in
/// which it adds, so they are those of [`Host`](beit_ops::Host) to within the rounding of f32.
///
/// A rank waits for the others no longer than it was told, whether they have ended or hang. When it drops out, its part of the world is
/// aborted without a word; the others find that out, or wait as long as they were told.
pub struct Nccl {
    communicator: Communicator,
    /// CubeCL does not tell which streams it has.
    stream: Arc<CudaStream>,
}

impl Nccl {
    /// The GPU takes a seat in the world of its id. Returns when all have, and waits for nothing longer than `patience`, now and later.
    ///
    /// # Errors
    ///
    /// NCCL or the driver, by their own words; others that do not come.
    pub fn join(
        gpu: &Gpu<CudaRuntime>,
        library: NcclLibrary,
        seat: &Seat,
        patience: Duration,
    ) -> Result<Self, NcclError> {
        let stream = context(gpu).and_then(|context| context.new_stream()).map_err(driver)?;
        Ok(Self { communicator: Communicator::join(library, seat, patience)?, stream })
    }

    /// Every tensor becomes its sum over the ranks, which all call this with tensors of the same sizes in the same order. Tensors that fill an
    /// arena are added up in one piece. Returns how long that took, after what the GPU had to compute before.
    ///
    /// # Errors
    ///
    /// NCCL, the driver or the GPU, by their own words; others that do not come. Nothing can be added up after that, and the tensors hold no
    /// numbers of meaning.
    pub fn sum(&mut self, gpu: &Gpu<CudaRuntime>, tensors: Vec<&mut Tensor>) -> Result<Duration, NcclError> {
        let memory = memory(gpu, tensors)?;
        let resource = |(handle, _): &(Handle, usize)| gpu.client.get_resource(handle.clone());
        // They keep the memory for as long as it is used.
        let held: Result<Vec<_>, _> = memory.iter().map(resource).collect();
        let held = held.map_err(|error| NcclError::Device(fault(&error).0))?;
        let parts = held.iter().zip(&memory);
        let parts: Vec<_> =
            parts.map(|(held, &(_, len))| Part { address: held.resource().ptr, len }).collect();
        gpu.sync().map_err(|error| NcclError::Device(error.0))?;
        let begun = Instant::now();
        self.stream.context().bind_to_thread().map_err(driver)?;
        let stream = self.stream.cu_stream();
        // SAFETY: these are f32 of this device, all launches that use them are over, and none follows until this returns; where it runs on
        // the memory is never given back.
        let summed = unsafe { self.communicator.sum(&parts, stream.cast(), || over(stream)) };
        if self.communicator.runs_on() {
            std::mem::forget(held);
        }
        summed.map(|()| begun.elapsed())
    }
}

/// What tells this GPU from all others.
///
/// # Errors
///
/// The driver, by its own words.
pub fn uuid(gpu: &Gpu<CudaRuntime>) -> Result<String, NcclError> {
    let uuid = context(gpu).and_then(|context| context.uuid()).map_err(driver)?;
    Ok(uuid.bytes.iter().map(|byte| format!("{:02x}", *byte as u8)).collect())
}

/// The primary context of the device, which CubeCL uses too. It is current in this thread from here on.
fn context(gpu: &Gpu<CudaRuntime>) -> Result<Arc<CudaContext>, DriverError> {
    CudaContext::new(gpu.index())
}

/// Whether all that is in a stream is done.
fn over(stream: sys::CUstream) -> Result<bool, NcclError> {
    // SAFETY: the stream lives as long as the communicator.
    match unsafe { sys::cuStreamQuery(stream) } {
        sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
        result => result.result().map(|()| true).map_err(driver),
    }
}

fn driver(error: DriverError) -> NcclError {
    NcclError::Device(format!("the NVIDIA driver says: {error}"))
}
