//! The device: what it can do, and the memory it hands out.

use crate::kernels::tile::Tile;
use crate::launch::vector_width;
use crate::precision::{OpenError, Precision};
use crate::tensor::{Dtype, Ids, Tensor};
use beit_ops::{DeviceError, Shape};
use bytemuck::cast_slice;
use cubecl::bytes::Bytes;
use cubecl::client::ComputeClient;
use cubecl::features::Tma;
use cubecl::prelude::*;
use cubecl::server::Handle;
use half::bf16;

/// A GPU, through the CubeCL runtime `R`.
///
/// One thread of the host launches, and results are the same bits in every run. Launches return at once. Their errors come
/// back from [`read`](beit_ops::Device::read) and [`sync`](Gpu::sync).
pub struct Gpu<R: Runtime> {
    pub(crate) client: ComputeClient<R>,
    precision: Precision,
    name: String,
    index: usize,
    /// The tile of every matrix product, instead of the table's.
    pub(crate) tile: Option<Tile>,
    /// Blocks that the grid of a matrix product may have along y.
    pub(crate) most_blocks: usize,
    /// Passed where a kernel takes a buffer that its variant does not read: [`PLACEHOLDER_LEN`] elements of f32.
    pub(crate) placeholder: Handle,
}

impl<R: Runtime> Gpu<R> {
    /// The device behind `client`.
    ///
    /// # Errors
    ///
    /// [`OpenError::Unsupported`] where the precision asks for what the device does not have.
    pub fn new(client: ComputeClient<R>, precision: Precision) -> Result<Self, OpenError> {
        let name = R::name(&client).to_owned();
        precision.check(&client, &name)?;
        let placeholder = client.empty(4 * PLACEHOLDER_LEN);
        let most_blocks = client.properties().hardware.max_cube_count.1 as usize;
        Ok(Self { client, precision, name, index: 0, tile: None, most_blocks, placeholder })
    }

    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    pub(crate) fn named(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn numbered(mut self, index: usize) -> Self {
        self.index = index;
        self
    }

    /// The same device with one tile for all matrix products on tensor cores: for measuring the
    /// [candidates](crate::CANDIDATES).
    #[must_use]
    pub fn with_tile(mut self, tile: Tile) -> Self {
        self.tile = Some(tile);
        self
    }

    /// The same device, where grids of matrix products have at most so many blocks along y, and persistent products so many in all: for
    /// testing on small results how those are launched that have more tiles.
    #[must_use]
    pub fn with_most_blocks(mut self, most_blocks: usize) -> Self {
        self.most_blocks = most_blocks;
        self
    }

    /// What the device is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which of the devices of its driver it is, as `cuda` takes it; 0 for others.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The type that matrix products read.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The type of activations that only matrix products and their neighbours read.
    pub(crate) fn activation(&self) -> Dtype {
        match self.precision {
            Precision::F32 => Dtype::F32,
            Precision::Bf16 => Dtype::Bf16,
        }
    }

    /// Elements that a thread loads at once in kernels that wait for memory: 16 bytes of the type of activations, less where that does
    /// not divide all `extents`.
    pub(crate) fn vector(&self, extents: &[usize]) -> usize {
        let most = match self.activation() {
            Dtype::Bf16 => 8,
            Dtype::F32 => 4,
        };
        vector_width(most, extents)
    }

    /// Whether matrix products run on tensor cores.
    pub(crate) fn tensor_cores(&self) -> bool {
        self.precision == Precision::Bf16
    }

    /// Whether kernels in CUDA C++ can use `mma.sync`, `ldmatrix` and `cp.async`: devices from Ampere on. CubeCL has no flag for
    /// them, but reports asynchronous copies exactly there.
    pub(crate) fn has_mma(&self) -> bool {
        self.tensor_cores() && self.client.properties().features.copy_async
    }

    /// Bytes of shared memory that a block can have.
    pub(crate) fn shared_memory(&self) -> usize {
        self.client.properties().hardware.max_shared_memory_size
    }

    /// Whether kernels in CUDA C++ can use `wgmma`, the tensor cores of Hopper. CubeCL reports bulk copies from Hopper on, and
    /// their wide form for the next generation, which has no `wgmma`.
    pub(crate) fn has_wgmma(&self) -> bool {
        let tma = self.client.properties().features.tma;
        self.tensor_cores() && tma.contains(Tma::Base) && !tma.contains(Tma::Im2colWide)
    }

    /// Multiprocessors: at least so many blocks run at a time.
    pub(crate) fn multiprocessors(&self) -> usize {
        let reported = self.client.properties().hardware.num_streaming_multiprocessors;
        reported.map_or(UNKNOWN_MULTIPROCESSORS, |n| n as usize)
    }

    /// Waits until everything that was launched has run.
    ///
    /// # Errors
    ///
    /// What went wrong since the last call.
    pub fn sync(&self) -> Result<(), DeviceError> {
        cubecl::future::block_on(self.client.sync()).map_err(|error| fault(&error))
    }

    /// Bytes in use and bytes taken from the device.
    ///
    /// # Errors
    ///
    /// What went wrong on the device.
    pub fn memory(&self) -> Result<[u64; 2], DeviceError> {
        let usage = self.client.memory_usage().map_err(|error| fault(&error))?;
        Ok([usage.bytes_in_use, usage.bytes_reserved])
    }

    /// A tensor whose elements are undefined.
    pub(crate) fn empty(&self, shape: impl Into<Shape>, dtype: Dtype) -> Tensor {
        let shape = shape.into();
        Tensor::new(shape, dtype, self.buffer(shape.elements(), dtype))
    }

    pub(crate) fn buffer(&self, elements: usize, dtype: Dtype) -> Handle {
        self.client.empty(elements.max(1) * dtype.bytes())
    }

    pub(crate) fn empty_ids(&self, len: usize) -> Ids {
        Ids { len, handle: self.client.empty(4 * len.max(1)) }
    }

    pub(crate) fn upload_f32(&self, shape: impl Into<Shape>, data: &[f32]) -> Tensor {
        let shape = shape.into();
        assert_eq!(shape.elements(), data.len(), "a tensor of shape {shape} has another number of elements");
        Tensor::new(shape, Dtype::F32, self.send(cast_slice(data)))
    }

    /// Copies bytes to the device. Many bytes go through pinned memory where the runtime has it: such a copy runs beside
    /// kernels and the host does not wait for it.
    fn send(&self, bytes: &[u8]) -> Handle {
        if bytes.len() < PINNED_FROM {
            return self.client.create_from_slice(bytes);
        }
        let mut bytes = Bytes::from_bytes_vec(bytes.to_vec());
        self.client.staging(std::iter::once(&mut bytes), false);
        self.client.create(bytes)
    }

    pub(crate) fn upload_u32(&self, ids: &[u32]) -> Ids {
        Ids { len: ids.len(), handle: self.client.create_from_slice(cast_slice(ids)) }
    }

    pub(crate) fn download(&self, x: &Tensor) -> Result<Vec<f32>, DeviceError> {
        let bytes = self.bytes(x.handle())?;
        Ok(match x.dtype {
            Dtype::F32 => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            Dtype::Bf16 => {
                bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
        })
    }

    pub(crate) fn download_ids(&self, ids: &Ids) -> Result<Vec<u32>, DeviceError> {
        let bytes = self.bytes(&ids.handle)?;
        Ok(bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    /// The bytes of a buffer. A read after a failed launch may succeed with undefined bytes, so errors of launches are asked
    /// for first.
    fn bytes(&self, handle: &Handle) -> Result<Vec<u8>, DeviceError> {
        self.sync()?;
        let bytes = self.client.read_one(handle.clone()).map_err(|error| fault(&error))?;
        Ok(bytes.to_vec())
    }
}

/// Bytes from which on a copy goes through pinned memory. For fewer, allocating the pinned memory costs more than the copy.
const PINNED_FROM: usize = 1 << 20;

/// Assumed where a runtime does not report them: few enough for small devices, and more than one, so that long sums are split
/// there too.
const UNKNOWN_MULTIPROCESSORS: usize = 16;

/// Elements of the placeholder buffer: one vector of the widest loads.
pub(crate) const PLACEHOLDER_LEN: usize = 8;

/// What a device reported, in one line.
pub(crate) fn fault(error: &impl std::fmt::Debug) -> DeviceError {
    let text = format!("{error:?}");
    DeviceError(text.split_whitespace().collect::<Vec<_>>().join(" "))
}
