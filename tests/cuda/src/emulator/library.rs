//! A kernel as a shared library of the CPU.

use crate::{Kernel, order::in_order, toolkit};
use std::ffi::{CStr, c_char, c_uint, c_void};
use std::fmt::Debug;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// CUDA's headers for the CPU. Every kernel and every other header includes the first.
const HEADERS: [(&str, &str); 18] = [
    ("cuda_runtime.h", include_str!("include/cuda_runtime.h")),
    ("fibres.h", include_str!("include/fibres.h")),
    ("races.h", include_str!("include/races.h")),
    ("async.h", include_str!("include/async.h")),
    ("barriers.h", include_str!("include/barriers.h")),
    ("products.h", include_str!("include/products.h")),
    ("tensor_map.h", include_str!("include/tensor_map.h")),
    ("accesses.h", include_str!("include/accesses.h")),
    ("tma.h", include_str!("include/tma.h")),
    ("blocks.h", include_str!("include/blocks.h")),
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
const FLAGS: [&str; 11] = [
    "-std=c++17",
    "-O1",
    "-ftree-vectorize",
    "-march=native",
    "-fPIC",
    // Two kernels have nothing in common, and a library shows `emulate` alone.
    "-fvisibility=hidden",
    "-fno-strict-aliasing",
    // No thread-local variable of another file has anything to do before its first use.
    "-fno-extern-tls-init",
    "-fsanitize=alignment,bounds,integer-divide-by-zero",
    "-w",
    "-pthread",
];

/// Linked without the flags: the checks call functions of machine.cpp and of accesses.h, not those of the sanitizer's libraries.
const LINK: [&str; 3] = ["-shared", "-pthread", "-Wl,-z,defs"];

/// What more a kernel is compiled with that works in the background: its accesses to memory call functions of accesses.h.
const SEEN: [&str; 3] = ["-fsanitize=thread", "--param", "tsan-instrument-func-entry-exit=0"];

/// Whether a kernel includes headers of the emulator for instructions that work in the background.
pub(super) fn in_background(source: &str) -> bool {
    source.contains("BEIT_EMULATED")
}

/// The flags of a kernel.
fn flags(source: &str) -> Vec<&'static str> {
    let mut flags = FLAGS.to_vec();
    if in_background(source) {
        flags.extend(SEEN);
    }
    flags
}

/// Compiles kernels in a folder of its own, and caches the results for later runs.
#[derive(Debug)]
pub(super) struct Builder {
    folder: TempDir,
    cache: PathBuf,
    /// What the compiler says that it is.
    version: Vec<u8>,
    built: AtomicUsize,
}

impl Builder {
    pub(super) fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        for (name, text) in HEADERS {
            fs::write(folder.path().join(name), text).map_err(|e| e.to_string())?;
        }
        fs::write(folder.path().join("machine.cpp"), MACHINE).map_err(|e| e.to_string())?;
        // What all kernels share is compiled once: the machine, and for each set of flags the standard headers. The compiler takes
        // those that have its own.
        fs::create_dir(folder.path().join("cuda_runtime.h.gch")).map_err(|e| e.to_string())?;
        for (name, more) in [("plain", &[][..]), ("seen", &SEEN)] {
            let to = format!("cuda_runtime.h.gch/{name}");
            let header = ["-x", "c++-header", "cuda_runtime.h", "-o", &to];
            execute(folder.path(), &[&FLAGS, more, &header].concat())?;
        }
        execute(folder.path(), &[&FLAGS[..], &["-c", "machine.cpp", "-o", "machine.o"]].concat())?;
        let cache = toolkit::target().join("emulated");
        fs::create_dir_all(&cache).map_err(|e| format!("{}: {e}", cache.display()))?;
        let version = Command::new(compiler()).arg("--version").output();
        let version = version.map_err(|e| format!("{}: {e}", compiler()))?.stdout;
        Ok(Self { folder, cache, version, built: AtomicUsize::new(0) })
    }

    /// The file of a kernel's library in the cache. Its name is a digest of all that it is made of, the instructions of this machine's
    /// processor among them, and of the bytes of shared memory, which depend on the order of the arrays where these are aligned.
    fn cached(&self, source: &str, shared: usize) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let instructions = cpu.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
        (HEADERS, MACHINE, flags(source), LINK, compiler(), &self.version).hash(&mut hasher);
        (instructions, in_order(source), shared).hash(&mut hasher);
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
        fs::write(self.folder.path().join(&text), &source).map_err(|e| e.to_string())?;
        execute(self.folder.path(), &[&flags(&source)[..], &["-c", &text, "-o", &object]].concat())?;
        // Of what both objects define the kernel's is taken, which is the first.
        let objects = [object.as_str(), "machine.o", "-o", &library];
        execute(self.folder.path(), &[&LINK[..], &objects].concat())?;
        // Complete or absent, also when two processes build the same kernel.
        let built = self.folder.path().join(library);
        let copy = cached.with_extension(format!("{}-{number}", std::process::id()));
        let moved = fs::copy(&built, &copy).and_then(|_| fs::rename(&copy, &cached));
        moved.map_err(|e| format!("{}: {e}", cached.display()))?;
        Library::open(&cached)
    }
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

/// `emulate` of machine.cpp: arguments, grid, message.
type Emulate = unsafe extern "C" fn(*mut *mut c_void, *const Grid, *mut c_char, usize) -> bool;

/// `Grid` of machine.cpp.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Grid {
    cubes: [c_uint; 3],
    dim: [c_uint; 3],
    shared: c_uint,
    workers: c_uint,
    order: Order,
    blocks: *const u64,
    count: u64,
}

/// `Order` of fibres.h: when things happen whose time CUDA leaves open.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    /// Not 0: copies are done when they are begun, and not when they are waited for.
    pub(super) copies_at_issue: c_uint,
    /// The same of products.
    pub(super) products_at_issue: c_uint,
    /// Shuffles the order of warps; 0 does not.
    pub(super) seed: c_uint,
}

/// What of a grid is run, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    pub(super) cubes: [u32; 3],
    pub(super) dim: [u32; 3],
    /// Bytes of shared memory of a block.
    pub(super) shared: usize,
    pub(super) order: Order,
    /// Numbers of blocks; all of them where there are none.
    pub(super) blocks: &'a [u64],
}

impl Library {
    fn open(path: &Path) -> Result<Self, String> {
        // SAFETY: the library was just built from our headers and a kernel; its initialisers are those of the C++ library.
        let library = unsafe { libloading::Library::new(path) }.map_err(|e| e.to_string())?;
        // SAFETY: machine.cpp defines the function with this type.
        let emulate = *unsafe { library.get(b"emulate\0") }.map_err(|e| e.to_string())?;
        Ok(Self { emulate, _library: library })
    }

    /// Runs a grid. The arguments are the addresses of the kernel's parameters.
    pub(super) fn run(&self, arguments: &mut [*mut c_void], run: &Run<'_>) -> Result<(), String> {
        let &Run { cubes, dim, shared, order, blocks } = run;
        let workers = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        let grid = Grid {
            cubes,
            dim,
            shared: shared as c_uint,
            workers,
            order,
            blocks: if blocks.is_empty() { ptr::null() } else { blocks.as_ptr() },
            count: blocks.len() as u64,
        };
        let mut message = [0 as c_char; 640];
        // SAFETY: the blocks live beyond the call, and the arguments are those of the kernel's signature.
        let good = unsafe {
            (self.emulate)(arguments.as_mut_ptr(), &raw const grid, message.as_mut_ptr(), message.len())
        };
        if good {
            return Ok(());
        }
        // SAFETY: the message ends in zero.
        Err(unsafe { CStr::from_ptr(message.as_ptr()) }.to_string_lossy().into_owned())
    }
}
