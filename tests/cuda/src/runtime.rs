//! CUDA as CubeCL sees it: a runtime whose launches go to a [`Machine`].

use crate::server::Server;
use crate::{Sm, TensorMap};
use cubecl::prelude::*;
use cubecl::zspace::{Shape, Strides, striding::has_pitched_row_major_strides};
use cubecl_common::device::{Device, DeviceId};
use cubecl_cpp::cuda::CudaDialect;
use cubecl_cpp::cuda::mma::{CudaWmmaCompiler, contiguous_elements_cuda};
use cubecl_cpp::shared::CppCompiler;
use cubecl_ir::{ContiguousElements, MatrixLayout, MmaProperties, TargetProperties};
use cubecl_runtime::storage::BytesResource;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

/// From CubeCL's representation to CUDA C++, as cubecl-cuda does it.
pub(crate) type CudaCompiler = CppCompiler<CudaDialect<CudaWmmaCompiler>>;

/// What is done with the kernels that a [`Fake`] device is asked to launch.
pub trait Machine: Debug + Send + Sync + 'static {
    /// Whether kernels are executed. Where they are not, writes of the host are dropped and all reads give zeros.
    const EXECUTES: bool;

    /// The machine of a device.
    fn new(sm: Sm) -> Self;

    /// Launches a kernel. An error reaches the host at its next read, as on a GPU.
    fn launch(&mut self, launch: Launch) -> Result<(), String>;

    /// Called for a launch that is impossible: CubeCL cannot translate the kernel, or CUDA would refuse it.
    fn refuse(&mut self, kernel: &Kernel, error: String) -> Result<(), String> {
        let _ = kernel;
        Err(error)
    }
}

/// A kernel as CUDA C++.
#[derive(Debug)]
pub struct Kernel {
    /// Function and type parameters, in Rust.
    pub name: String,
    /// What else it was specialised by.
    pub variant: String,
    /// Function in the source.
    pub entry: String,
    /// CUDA C++.
    pub source: String,
    /// The source as it is compared with others: equal where two kernels do the same.
    pub compared: String,
    /// Threads of a block in each direction.
    pub cube_dim: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared_memory: usize,
    /// Why there is no source.
    pub refused: Option<String>,
}

/// One launch.
#[derive(Debug)]
pub struct Launch {
    /// The same value whenever the same variant of a kernel is launched.
    pub kernel: Arc<Kernel>,
    /// Blocks in each direction.
    pub cubes: [u32; 3],
    /// Tensor maps: the first arguments, by value. Each is of the buffer with its number.
    pub maps: Vec<TensorMap>,
    /// The arguments after those, in order.
    pub buffers: Vec<Buffer>,
    /// Scalars and shapes: the last argument, by value.
    pub info: Vec<u64>,
    /// Where in `info` the part begins that goes by reference.
    pub dynamic_info: usize,
}

/// One buffer of a launch.
#[derive(Debug)]
pub struct Buffer {
    /// Of the allocation: equal where two buffers may overlap.
    pub allocation: usize,
    /// Where in the allocation the kernel may read and write.
    pub range: Range<usize>,
    /// The memory.
    pub memory: BytesResource,
}

/// A CUDA runtime without a GPU.
pub struct Fake<M>(PhantomData<M>);

impl<M> Debug for Fake<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

impl<M> Clone for Fake<M> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<M: Machine> Runtime for Fake<M> {
    type Compiler = CudaCompiler;
    type Server = Server<M>;
    type Device = Sm;

    fn client(device: &Sm) -> ComputeClient<Self> {
        ComputeClient::load(device)
    }

    fn name(_: &ComputeClient<Self>) -> &'static str {
        "cuda"
    }

    fn require_array_lengths() -> bool {
        true
    }

    fn max_cube_count() -> (u32, u32, u32) {
        (i32::MAX as u32, 65535, 65535)
    }

    fn can_read_tensor(shape: &Shape, strides: &Strides) -> bool {
        has_pitched_row_major_strides(shape, strides)
    }

    fn target_properties() -> TargetProperties {
        let mma = MmaProperties {
            register_size_bits: 32,
            const_plane_size: 32,
            register_layout_a: MatrixLayout::RowMajor,
            register_layout_b: MatrixLayout::ColMajor,
            register_layout_acc: MatrixLayout::RowMajor,
            register_duplication_a: 1,
            register_duplication_b: 1,
            register_duplication_acc: 1,
            contiguous_elements: ContiguousElements::new(contiguous_elements_cuda),
        };
        TargetProperties { mma }
    }

    fn enumerate_devices(_: u16, _: &()) -> Vec<DeviceId> {
        [80, 90].map(|sm| Sm(sm).to_id()).into()
    }
}
