//! Kernels written in CUDA C++, for instructions that CubeCL has no names for, such as the tensor cores of Hopper.
//!
//! CubeCL launches them as it does its own. Arguments follow its convention: tensor maps by value, where there are any, with a pointer for
//! the buffer of each after all of them; a pointer for each other buffer; then one structure with all numbers. The tilings are drawn in the files of `cuda/`.

use crate::gpu::Gpu;
use crate::tensor::Tensor;
use cubecl::compute::KernelBuilder;
use cubecl::prelude::*;
use cubecl::server::{KernelArguments, MetadataBindingInfo, TensorMapBinding};
use cubecl::{CompilationError, Compiler, CubeTask, KernelSettings};
use std::fmt::Write;

/// The files of a kernel, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    files: &'static [&'static str],
    /// Of the text, so that a cache of compiled kernels tells an edited file from the one it was made of.
    digest: u64,
}

impl Source {
    /// Of the text of these files. Meant for constants: kernels are named at each launch, and the text is long.
    pub const fn new(files: &'static [&'static str]) -> Self {
        Self { files, digest: digest(files) }
    }
}

/// FNV-1a of 64 bits, of one file after another.
const fn digest(files: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut file = 0;
    while file < files.len() {
        let bytes = files[file].as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            hash = (hash ^ bytes[i] as u64).wrapping_mul(0x100_0000_01b3);
            i += 1;
        }
        file += 1;
    }
    hash
}

/// A kernel in CUDA C++, and what it is compiled for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Native {
    /// The function, `extern "C" __global__`.
    pub name: &'static str,
    /// Its text, behind the macros.
    pub source: Source,
    /// Macros that the source takes for numbers.
    pub defines: Vec<(&'static str, usize)>,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory.
    pub shared: usize,
}

impl Native {
    /// Launches it on buffers, then numbers: `u32`, or the bits of `f32`. `None` is a buffer that the variant does not read.
    pub(crate) fn launch<R: Runtime>(
        self,
        gpu: &Gpu<R>,
        count: CubeCount,
        buffers: &[Option<&Tensor>],
        numbers: &[u32],
    ) {
        self.launch_with_maps(gpu, count, Vec::new(), buffers, numbers);
    }

    /// The same with tensor maps, which come first: all of them by value, then a pointer for the buffer of each.
    pub(crate) fn launch_with_maps<R: Runtime>(
        self,
        gpu: &Gpu<R>,
        count: CubeCount,
        maps: Vec<TensorMapBinding>,
        buffers: &[Option<&Tensor>],
        numbers: &[u32],
    ) {
        let binding = |buffer: &Option<&Tensor>| {
            buffer.map_or(&gpu.placeholder, |tensor| tensor.handle()).clone().binding()
        };
        // CubeCL passes words of 64 bits: two numbers each, in the order in which the structure has them.
        let words =
            numbers.chunks(2).map(|two| u64::from(two[0]) | u64::from(*two.get(1).unwrap_or(&0)) << 32);
        let words: Vec<u64> = words.collect();
        let fixed = words.len();
        let arguments = KernelArguments::new()
            .with_tensor_maps(maps)
            .with_buffers(buffers.iter().map(binding).collect())
            .with_info(MetadataBindingInfo::new(words, fixed));
        // SAFETY: the kernel compares what it reads and writes with the extents among its numbers, and every loop in it ends.
        unsafe { gpu.client.launch_unchecked(Box::new(self), count, arguments) }
    }

    fn text(&self) -> String {
        // The name is part of the text, since a cache by text must tell the kernels of one file apart.
        let mut text = format!("// {}\n#include <cuda_bf16.h>\n", self.name);
        let _ = writeln!(text, "#define SHARED_BYTES {}", self.shared);
        for (name, value) in &self.defines {
            let _ = writeln!(text, "#define {name} {value}");
        }
        self.source.files.iter().for_each(|file| text.push_str(file));
        text
    }
}

impl KernelMetadata for Native {
    fn name(&self) -> &'static str {
        self.name
    }

    fn id(&self) -> KernelId {
        let variant = (self.name, self.defines.clone(), self.shared, self.source.digest);
        KernelId::new::<Self>().cube_dim(CubeDim::new_1d(self.threads)).info(variant)
    }

    fn address_type(&self) -> StorageType {
        AddressType::U32.unsigned_type()
    }
}

/// Declares shared memory, so that CubeCL knows how many bytes the launch needs.
#[cube]
fn declare_shared(#[comptime] words: usize) {
    let mut shared = SharedMemory::<u32>::new_aligned(words, 1024usize);
    shared[0] = 0u32;
}

impl CubeKernel for Native {
    /// A kernel with the same launch that does nothing: CubeCL compiles it for its metadata, and its source is replaced.
    fn define(&self) -> KernelDefinition {
        let mut builder = KernelBuilder::default();
        AddressType::U32.register(&mut builder.scope);
        declare_shared::expand(&mut builder.scope, self.shared / 4);
        builder.build(KernelSettings::default().cube_dim(CubeDim::new_1d(self.threads)))
    }
}

impl<C: Compiler> CubeTask<C> for Native {
    fn compile(
        &self,
        compiler: &mut C,
        options: &C::CompilationOptions,
        mode: ExecutionMode,
        address: StorageType,
    ) -> Result<CompiledKernel<C>, CompilationError> {
        let shell = KernelTask::<C, Self>::new(self.clone()).compile(compiler, options, mode, address)?;
        Ok(CompiledKernel { entrypoint_name: self.name.to_owned(), source: self.text(), ..shell })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(source: Source) -> Native {
        Native { name: "product", source, defines: vec![("BIAS", 1)], threads: 256, shared: 1024 }
    }

    /// Where compiled kernels are kept from run to run, they are found by this.
    #[test]
    fn an_edited_source_is_another_kernel() {
        let [before, same, edited] =
            [&["a;", "b;"], &["a;", "b;"], &["a;", "c;"]].map(|files| kernel(Source::new(files)).id());
        assert_eq!((&before, before.stable_hash()), (&same, same.stable_hash()));
        assert_ne!(before, edited);
        assert_ne!(before.stable_hash(), edited.stable_hash());
    }

    /// <http://www.isthe.com/chongo/tech/comp/fnv> has the numbers.
    #[test]
    fn digests_are_those_published() {
        assert_eq!(digest(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(digest(&["a"]), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(digest(&["foo", "bar"]), 0x8594_4171_f739_67e8);
    }
}
