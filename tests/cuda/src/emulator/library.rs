//! A kernel as a shared library of the CPU.

use crate::{Kernel, order::in_order, toolkit};
use std::ffi::{CStr, c_char, c_uint, c_void};
use std::fmt::Debug;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// CUDA's headers for the CPU. Every kernel and every other header includes the first.
const HEADERS: [(&str, &str); 10] = [
    ("cuda_runtime.h", include_str!("include/cuda_runtime.h")),
    ("fibres.h", include_str!("include/fibres.h")),
    ("warp.h", include_str!("include/warp.h")),
    ("small_floats.h", include_str!("include/small_floats.h")),
    ("cuda_bf16.h", include_str!("include/cuda_bf16.h")),
    ("cuda_fp16.h", include_str!("include/cuda_fp16.h")),
    ("mma.h", include_str!("include/mma.h")),
    ("wgmma.h", include_str!("include/wgmma.h")),
    ("tensor.h", include_str!("include/tensor.h")),
    ("launch.h", include_str!("include/launch.h")),
];

/// What runs the threads of any kernel.
const MACHINE: &str = include_str!("include/machine.cpp");

/// Fast enough to run, quick to compile. Undefined behaviour that a GPU punishes is checked; aliasing follows the device's rules.
const FLAGS: [&str; 10] = [
    "-std=c++17",
    "-O1",
    "-ftree-vectorize",
    "-march=native",
    "-fPIC",
    "-fno-strict-aliasing",
    // No thread-local variable of another file has anything to do before its first use.
    "-fno-extern-tls-init",
    "-fsanitize=alignment,bounds,integer-divide-by-zero",
    "-w",
    "-pthread",
];

/// Compiles kernels in a folder of its own, and caches the results for later runs.
#[derive(Debug)]
pub(super) struct Builder {
    folder: TempDir,
    cache: PathBuf,
    built: AtomicUsize,
}

impl Builder {
    pub(super) fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        for (name, text) in HEADERS {
            fs::write(folder.path().join(name), text).map_err(|e| e.to_string())?;
        }
        fs::write(folder.path().join("machine.cpp"), MACHINE).map_err(|e| e.to_string())?;
        // What all kernels share is compiled once: the standard headers, and the machine.
        compile(folder.path(), &["-x", "c++-header", "cuda_runtime.h", "-o", "cuda_runtime.h.gch"])?;
        compile(folder.path(), &["-c", "machine.cpp", "-o", "machine.o"])?;
        let cache = toolkit::target().join("emulated");
        fs::create_dir_all(&cache).map_err(|e| format!("{}: {e}", cache.display()))?;
        Ok(Self { folder, cache, built: AtomicUsize::new(0) })
    }

    /// The file of a kernel's library in the cache. Its name is a digest of all that it is made of, the instructions of this machine's
    /// processor among them, and of the bytes of shared memory, which depend on the order of the arrays where these are aligned.
    fn cached(&self, source: &str, shared: usize) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let instructions = cpu.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
        (HEADERS, MACHINE, FLAGS, compiler(), instructions, in_order(source), shared).hash(&mut hasher);
        self.cache.join(format!("{:016x}.so", hasher.finish()))
    }

    pub(super) fn build(&self, kernel: &Kernel) -> Result<Library, String> {
        let Kernel { source, entry, .. } = kernel;
        // A precompiled header must come first; lines are counted from the kernel's own first.
        let source = format!(
            "#include \"cuda_runtime.h\"\n#line 1 \"{entry}\"\n{source}\n#include \"launch.h\"\nEMULATE({entry})\n"
        );
        let cached = self.cached(&source, kernel.shared_memory);
        if cached.exists() {
            return Library::open(&cached);
        }
        let number = self.built.fetch_add(1, Ordering::Relaxed);
        let [text, object, library] = ["cpp", "o", "so"].map(|kind| format!("{number}.{kind}"));
        fs::write(self.folder.path().join(&text), source).map_err(|e| e.to_string())?;
        compile(self.folder.path(), &["-c", &text, "-o", &object])?;
        // Linked without the flags: the checks call functions of machine.cpp, not those of the sanitizer's library.
        execute(self.folder.path(), &["-shared", "-pthread", &object, "machine.o", "-o", &library])?;
        // Complete or absent, also when two processes build the same kernel.
        let built = self.folder.path().join(library);
        let copy = cached.with_extension(format!("{}-{number}", std::process::id()));
        let moved = fs::copy(&built, &copy).and_then(|_| fs::rename(&copy, &cached));
        moved.map_err(|e| format!("{}: {e}", cached.display()))?;
        Library::open(&cached)
    }
}

fn compile(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let flags: Vec<_> = FLAGS.iter().chain(arguments).copied().collect();
    execute(folder, &flags)
}

fn compiler() -> String {
    std::env::var("CXX").unwrap_or_else(|_| "g++".into())
}

fn execute(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let compiler = compiler();
    let output = Command::new(&compiler).args(["-I", "."]).args(arguments).current_dir(folder).output();
    let output = output.map_err(|e| format!("{compiler}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(log.lines().take(20).collect::<Vec<_>>().join("\n"))
}

/// A compiled kernel.
pub(super) struct Library {
    emulate: Emulate,
    _library: libloading::Library,
}

impl Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Library")
    }
}

/// `emulate` of machine.cpp: arguments, blocks, threads of a block, shared memory, threads of the CPU, message.
type Emulate = unsafe extern "C" fn(
    *mut *mut c_void,
    *const c_uint,
    *const c_uint,
    c_uint,
    c_uint,
    *mut c_char,
    usize,
) -> bool;

impl Library {
    fn open(path: &Path) -> Result<Self, String> {
        // SAFETY: the library was just built from our headers and a kernel; its initialisers are those of the C++ library.
        let library = unsafe { libloading::Library::new(path) }.map_err(|e| e.to_string())?;
        // SAFETY: machine.cpp defines the function with this type.
        let emulate = *unsafe { library.get(b"emulate\0") }.map_err(|e| e.to_string())?;
        Ok(Self { emulate, _library: library })
    }

    /// Runs a grid. The arguments are the addresses of the kernel's parameters.
    pub(super) fn run(
        &self,
        arguments: &mut [*mut c_void],
        cubes: [u32; 3],
        dim: [u32; 3],
        shared_memory: usize,
    ) -> Result<(), String> {
        let workers = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        let mut message = [0 as c_char; 640];
        // SAFETY: the arrays have the lengths that the function expects, and the arguments are those of the kernel's signature.
        let good = unsafe {
            (self.emulate)(
                arguments.as_mut_ptr(),
                cubes.as_ptr(),
                dim.as_ptr(),
                shared_memory as c_uint,
                workers,
                message.as_mut_ptr(),
                message.len(),
            )
        };
        if good {
            return Ok(());
        }
        // SAFETY: the message ends in zero.
        Err(unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned())
    }
}
