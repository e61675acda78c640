//! The server of the runtime: memory of the host, and kernels that become CUDA C++.

use crate::order::in_order;
use crate::runtime::{Buffer, CudaCompiler, Kernel, Launch, Machine};
use crate::{Sm, TensorMap, names};
use cubecl_common::backtrace::BackTrace;
use cubecl_common::bytes::Bytes;
use cubecl_common::device::{Device, DeviceId, DeviceService, ServerUtilitiesHandle};
use cubecl_common::future::DynFut;
use cubecl_common::profile::ProfileDuration;
use cubecl_common::stream_id::StreamId;
use cubecl_cpp::shared::CompilationOptions;
use cubecl_ir::DeviceProperties;
use cubecl_runtime::allocator::PitchedMemoryLayoutPolicy;
use cubecl_runtime::compiler::CubeTask;
use cubecl_runtime::id::KernelId;
use cubecl_runtime::kernel::CompiledKernel;
use cubecl_runtime::logging::ServerLogger;
use cubecl_runtime::memory_management::{
    ManagedMemoryHandle, MemoryAllocationMode, MemoryConfiguration, MemoryManagement,
    MemoryManagementOptions, MemoryUsage,
};
use cubecl_runtime::server::{
    Binding, ComputeServer, CopyDescriptor, CubeCount, ExecutionMode, KernelArguments, ProfileError,
    ProfilingToken, ServerCommunication, ServerError, ServerUtilities, TensorMapBinding,
};
use cubecl_runtime::storage::{BytesResource, BytesStorage, ManagedResource};
use cubecl_runtime::timestamp_profiler::TimestampProfiler;
use cubecl_runtime::validation::{validate_cube_dim, validate_units};
use std::collections::HashMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The server of a fake device.
#[derive(Debug)]
pub struct Server<M: Machine> {
    machine: M,
    memory: MemoryManagement<BytesStorage>,
    kernels: HashMap<KernelId, Arc<Kernel>>,
    /// Errors of the launches since the last read.
    errors: HashMap<StreamId, Vec<String>>,
    options: CompilationOptions,
    properties: DeviceProperties,
    timestamps: TimestampProfiler,
    utilities: Arc<ServerUtilities<Self>>,
}

impl<M: Machine> DeviceService for Server<M> {
    fn init(id: DeviceId) -> Self {
        let sm = Sm::from_id(id);
        let properties = sm.properties();
        let logger = Arc::new(ServerLogger::default());
        let memory = MemoryManagement::from_configuration(
            BytesStorage::default(),
            &properties.memory,
            // One page an allocation, so that memory which is not touched is not taken.
            MemoryConfiguration::ExclusivePages,
            logger.clone(),
            MemoryManagementOptions::new("host"),
        );
        let layout = PitchedMemoryLayoutPolicy::new(properties.memory.alignment as usize);
        let utilities = Arc::new(ServerUtilities::new(properties.clone(), logger, (), layout));
        Self {
            machine: M::new(sm),
            memory,
            kernels: HashMap::new(),
            errors: HashMap::new(),
            options: sm.options(),
            properties,
            timestamps: TimestampProfiler::default(),
            utilities,
        }
    }

    fn utilities(&self) -> ServerUtilitiesHandle {
        self.utilities.clone() as ServerUtilitiesHandle
    }
}

impl<M: Machine> Server<M> {
    fn resource(&mut self, binding: &Binding) -> Result<BytesResource, ServerError> {
        Ok(self.memory.get_resource(binding.memory.clone(), binding.offset_start, binding.offset_end)?)
    }

    fn copy_out(&mut self, descriptor: &CopyDescriptor) -> Result<Bytes, ServerError> {
        let resource = self.resource(&descriptor.handle)?;
        let mut out = Vec::new();
        for row in rows(descriptor) {
            out.extend_from_slice(&resource.read()[row]);
        }
        Ok(Bytes::from_bytes_vec(out))
    }

    fn copy_in(&mut self, descriptor: &CopyDescriptor, bytes: &[u8]) -> Result<(), ServerError> {
        let to = self.resource(&descriptor.handle)?.write();
        let mut from = bytes;
        for row in rows(descriptor) {
            let (bytes, rest) = from.split_at(row.len());
            to[row].copy_from_slice(bytes);
            from = rest;
        }
        Ok(())
    }

    /// The errors of earlier launches, once.
    fn settle(&mut self, stream: StreamId) -> Result<(), ServerError> {
        match self.errors.remove(&stream) {
            None => Ok(()),
            Some(errors) => {
                Err(ServerError::Generic { reason: errors.join("\n"), backtrace: BackTrace::capture() })
            }
        }
    }

    /// The CUDA C++ of a kernel, made once for each of its variants.
    fn kernel(&mut self, task: &dyn CubeTask<CudaCompiler>, mode: ExecutionMode) -> Arc<Kernel> {
        let mut id = task.id();
        id.mode(mode);
        if let Some(kernel) = self.kernels.get(&id) {
            return kernel.clone();
        }
        let dim = id.cube_dim;
        let mut kernel = Kernel {
            name: names::kernel(task.name()),
            variant: names::variant(&format!("{id:?}")),
            entry: String::new(),
            source: String::new(),
            compared: String::new(),
            cube_dim: [dim.x, dim.y, dim.z],
            shared_memory: 0,
            refused: None,
        };
        match self.translate(task, &id, mode) {
            Err(error) => kernel.refused = Some(error),
            Ok(compiled) => {
                kernel.entry = compiled.entrypoint_name;
                kernel.compared = in_order(&compiled.source);
                kernel.source = compiled.source;
                kernel.shared_memory = compiled.repr.map_or(0, |repr| repr.shared_memory_size());
                names::dump_source(&kernel);
            }
        }
        let kernel = Arc::new(kernel);
        self.kernels.insert(id, kernel.clone());
        kernel
    }

    fn translate(
        &self,
        task: &dyn CubeTask<CudaCompiler>,
        id: &KernelId,
        mode: ExecutionMode,
    ) -> Result<CompiledKernel<CudaCompiler>, String> {
        validate_cube_dim(&self.properties, id).map_err(|e| e.to_string())?;
        validate_units(&self.properties, id).map_err(|e| e.to_string())?;
        // A kernel that cannot be expanded panics. CubeCL would go on as if nothing had been launched.
        let compile = || {
            task.compile(&mut CudaCompiler::default(), &self.options, mode, task.address_type())
                .map_err(|e| e.to_string())
        };
        catch_unwind(AssertUnwindSafe(compile)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Err(format!("CubeCL panics: {}", text.unwrap_or_default()))
        })
    }

    /// The launch of a kernel, or why CUDA would refuse it.
    fn prepare(
        &mut self,
        kernel: &Arc<Kernel>,
        count: &CubeCount,
        arguments: KernelArguments,
    ) -> Result<Launch, String> {
        if let Some(error) = &kernel.refused {
            return Err(error.clone());
        }
        let &CubeCount::Static(x, y, z) = count else {
            return Err("a number of cubes that is not known to the host".to_owned());
        };
        let (cubes, max) = ([x, y, z], self.properties.hardware.max_cube_count);
        if cubes.iter().zip([max.0, max.1, max.2]).any(|(&n, max)| n == 0 || n > max) {
            return Err(format!("a grid of {cubes:?} cubes; {max:?} are allowed, and none of 0"));
        }
        let buffer = |binding: &Binding| {
            let memory = self.resource(binding).map_err(|e| e.to_string())?;
            let begin = binding.offset_start.unwrap_or(0) as usize;
            let allocation = memory.get_write_ptr_and_length().0 as usize - begin;
            Ok(Buffer { allocation, range: begin..begin + binding.size_in_used() as usize, memory })
        };
        let of_maps = arguments.tensor_maps.iter().map(|map| &map.binding);
        let buffers: Vec<_> = of_maps.chain(&arguments.buffers).map(buffer).collect::<Result<_, String>>()?;
        let map = |(map, buffer): (&TensorMapBinding, &Buffer)| TensorMap::new(&map.map, buffer.range.len());
        let maps = arguments.tensor_maps.iter().zip(&buffers).map(map).collect::<Result<_, String>>()?;
        let info = arguments.info;
        let dynamic_info = info.dynamic_metadata_offset;
        Ok(Launch { kernel: kernel.clone(), cubes, maps, buffers, info: info.data, dynamic_info })
    }
}

/// The byte ranges of the rows of a tensor. It is contiguous, or its rows are padded to a pitch.
fn rows(d: &CopyDescriptor) -> impl Iterator<Item = Range<usize>> {
    let rank = d.shape.len();
    let width = d.shape.last().copied().unwrap_or(1) * d.elem_size;
    let height: usize = d.shape.iter().take(rank.saturating_sub(1)).product();
    let pitch = if rank > 1 { d.strides[rank - 2] * d.elem_size } else { width };
    (0..height).map(move |row| row * pitch..row * pitch + width)
}

impl<M: Machine> ServerCommunication for Server<M> {
    const SERVER_COMM_ENABLED: bool = false;
}

impl<M: Machine> ComputeServer for Server<M> {
    type Kernel = Box<dyn CubeTask<CudaCompiler>>;
    type Info = ();
    type MemoryLayoutPolicy = PitchedMemoryLayoutPolicy;
    type Storage = BytesStorage;

    fn initialize_memory(&mut self, memory: ManagedMemoryHandle, size: u64, _: StreamId) {
        let reserved = self.memory.reserve(size).expect("the host has memory");
        self.memory.bind(reserved, memory.clone(), 0).expect("reserved memory can be bound");
        if M::EXECUTES {
            // NaN in every type of float, so that reads before the first write show in the results.
            let resource = self.memory.get_resource(memory.binding(), None, None);
            resource.expect("bound memory is there").write().fill(0xff);
        }
    }

    fn logger(&self) -> Arc<ServerLogger> {
        self.utilities.logger.clone()
    }

    fn utilities(&self) -> Arc<ServerUtilities<Self>> {
        self.utilities.clone()
    }

    fn read(
        &mut self,
        descriptors: Vec<CopyDescriptor>,
        stream: StreamId,
    ) -> DynFut<Result<Vec<Bytes>, ServerError>> {
        let result =
            self.settle(stream).and_then(|()| descriptors.iter().map(|d| self.copy_out(d)).collect());
        Box::pin(async move { result })
    }

    fn write(&mut self, descriptors: Vec<(CopyDescriptor, Bytes)>, stream: StreamId) {
        for (descriptor, bytes) in descriptors.iter().filter(|_| M::EXECUTES) {
            if let Err(error) = self.copy_in(descriptor, bytes) {
                self.errors.entry(stream).or_default().push(error.to_string());
            }
        }
    }

    fn sync(&mut self, stream: StreamId) -> DynFut<Result<(), ServerError>> {
        let result = self.settle(stream);
        Box::pin(async move { result })
    }

    fn get_resource(
        &mut self,
        binding: Binding,
        _: StreamId,
    ) -> Result<ManagedResource<BytesResource>, ServerError> {
        let resource = self.resource(&binding)?;
        Ok(ManagedResource::new(binding.memory, resource))
    }

    unsafe fn launch(
        &mut self,
        kernel: Self::Kernel,
        count: CubeCount,
        arguments: KernelArguments,
        mode: ExecutionMode,
        stream: StreamId,
    ) {
        let kernel = self.kernel(&*kernel, mode);
        let result = match self.prepare(&kernel, &count, arguments) {
            Ok(launch) => self.machine.launch(launch),
            Err(error) => self.machine.refuse(&kernel, error),
        };
        if let Err(error) = result {
            let (errors, error) =
                (self.errors.entry(stream).or_default(), format!("{}: {error}", kernel.name));
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
    }

    fn flush(&mut self, _: StreamId) -> Result<(), ServerError> {
        Ok(())
    }

    fn memory_usage(&mut self, _: StreamId) -> Result<MemoryUsage, ServerError> {
        Ok(self.memory.memory_usage())
    }

    fn memory_cleanup(&mut self, _: StreamId) {
        self.memory.cleanup(true);
    }

    fn start_profile(&mut self, _: StreamId) -> Result<ProfilingToken, ServerError> {
        Ok(self.timestamps.start())
    }

    fn end_profile(&mut self, _: StreamId, token: ProfilingToken) -> Result<ProfileDuration, ProfileError> {
        self.timestamps.stop(token)
    }

    fn allocation_mode(&mut self, mode: MemoryAllocationMode, _: StreamId) {
        self.memory.mode(mode);
    }
}
