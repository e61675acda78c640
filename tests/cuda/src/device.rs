//! What a CUDA device of some compute capability tells CubeCL about itself.

use cubecl_common::device::{Device, DeviceId};
use cubecl_common::profile::TimingMethod;
use cubecl_cpp::cuda::arch::CudaArchitecture;
use cubecl_cpp::cuda::mma::CudaWmmaCompiler;
use cubecl_cpp::shared::{
    CompilationOptions, CppSupportedFeatures, register_mma_features, register_scaled_mma_features,
    register_wmma_features,
};
use cubecl_cpp::{DialectWmmaCompiler, register_supported_types};
use cubecl_ir::features::{AtomicUsage, Plane, Tma, TypeUsage};
use cubecl_ir::{
    BarrierLevel, DeviceProperties, ElemType, FloatKind, HardwareProperties, MemoryDeviceProperties,
    OpaqueType, SemanticType, StorageType, Type, VectorSize,
};

/// A device with this compute capability, ten times its number: 80 is A100, 90 is H100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sm(pub u16);

impl Default for Sm {
    fn default() -> Self {
        Self(80)
    }
}

impl Device for Sm {
    fn from_id(id: DeviceId) -> Self {
        Self(id.index_id)
    }

    fn to_id(&self) -> DeviceId {
        DeviceId { type_id: 0, index_id: self.0 }
    }
}

impl Sm {
    /// The largest shared memory of a block: CUDA C++ Programming Guide, technical specifications per compute capability.
    pub fn shared_memory(self) -> usize {
        if self.0 >= 90 { 227 * 1024 } else { 163 * 1024 }
    }

    /// What NVRTC calls the device: `a` for the instructions that only one architecture has, as cubecl-cuda asks for them.
    pub fn architecture(self) -> String {
        if self.0 >= 90 { format!("sm_{}a", self.0) } else { format!("sm_{}", self.0) }
    }

    pub(crate) fn options(self) -> CompilationOptions {
        let supports_features = CppSupportedFeatures {
            grid_constants: true,
            clusters: self.0 >= 90,
            fast_math: true,
            fast_tanh: true,
            elect_sync: self.0 >= 90,
        };
        CompilationOptions { warp_size: 32, supports_features }
    }

    /// `cubecl_cuda::runtime` 0.10.0 for this device, in its order; what needs the driver there is a constant here.
    pub(crate) fn properties(self) -> DeviceProperties {
        let memory = MemoryDeviceProperties { max_page_size: 1 << 32, alignment: 512 };
        let mut p = DeviceProperties::new(Default::default(), memory, self.hardware(), TimingMethod::System);
        register_supported_types(&mut p);
        p.register_type_usage(ElemType::Float(FloatKind::TF32), TypeUsage::Conversion);
        let atomic = |kind| Type::new(StorageType::Atomic(ElemType::Float(kind)));
        let added = || AtomicUsage::Add | AtomicUsage::LoadStore;
        p.register_atomic_type_usage(atomic(FloatKind::F64), added());
        p.register_atomic_type_usage(atomic(FloatKind::F16), added());
        p.register_atomic_type_usage(atomic(FloatKind::F16).with_vector_size(2), added());
        p.register_semantic_type(SemanticType::Pipeline);
        p.register_type_usage(OpaqueType::Barrier(BarrierLevel::Unit), TypeUsage::Buffer);
        p.register_type_usage(OpaqueType::Barrier(BarrierLevel::Cube), TypeUsage::Buffer);
        p.features.plane.insert(Plane::Sync);
        let halves = [FloatKind::F16, FloatKind::BF16];
        p.features.matmul.ldmatrix.extend(halves.map(|kind| StorageType::from(ElemType::Float(kind))));
        p.features.copy_async = true;
        if self.0 >= 90 {
            for kind in [FloatKind::E4M3, FloatKind::E5M2] {
                p.register_type_usage(ElemType::Float(kind), TypeUsage::Conversion | TypeUsage::Buffer);
            }
            p.features.tma.insert(Tma::Base);
            p.register_semantic_type(SemanticType::TensorMap);
            p.features.cube_cluster = true;
            p.features.matmul.stmatrix.extend(halves.map(|kind| StorageType::from(ElemType::Float(kind))));
            p.register_atomic_type_usage(atomic(FloatKind::F32).with_vector_size(2), added());
            p.register_atomic_type_usage(atomic(FloatKind::F32).with_vector_size(4), added());
        }
        p.features.memory_reinterpret = true;
        p.features.alignment = true;
        p.features.plane.insert(Plane::Ops);
        p.features.plane.insert(Plane::NonUniformControlFlow);
        let arch = CudaArchitecture { version: u32::from(self.0) };
        register_wmma_features(CudaWmmaCompiler::supported_wmma_combinations(&arch), &mut p);
        register_mma_features(CudaWmmaCompiler::supported_mma_combinations(&arch), &mut p);
        register_scaled_mma_features(CudaWmmaCompiler::supported_scaled_mma_combinations(&arch), &mut p);
        p
    }

    fn hardware(self) -> HardwareProperties {
        HardwareProperties {
            load_width: 128,
            plane_size_min: 32,
            plane_size_max: 32,
            max_bindings: 1024,
            max_shared_memory_size: self.shared_memory(),
            max_cube_count: (i32::MAX as u32, 65535, 65535),
            max_units_per_cube: 1024,
            max_cube_dim: (1024, 1024, 64),
            num_streaming_multiprocessors: Some(if self.0 >= 90 { 132 } else { 108 }),
            num_tensor_cores: Some(4),
            min_tensor_cores_dim: Some(8),
            num_cpu_cores: None,
            max_vector_size: VectorSize::MAX,
        }
    }
}
