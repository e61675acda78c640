//! NVIDIA's compiler as a library: CUDA C++ to machine code, without a driver.

use crate::Toolkit;
use libloading::Library;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

/// Machine code, and what the compiler said.
#[derive(Debug)]
pub(crate) struct Cubin {
    pub(crate) bytes: Vec<u8>,
    pub(crate) log: String,
}

/// Compiles to machine code for `architecture`, such as `sm_80`. The error is the compiler's log: lines are those of `name`.
pub(crate) fn compile(source: &str, name: &str, architecture: &str) -> Result<Cubin, String> {
    static NVRTC: OnceLock<Result<Nvrtc, String>> = OnceLock::new();
    NVRTC.get_or_init(Nvrtc::load).as_ref().map_err(Clone::clone)?.compile(source, name, architecture)
}

type Program = *mut c_void;

/// The functions that are called, as nvrtc.h declares them.
struct Nvrtc {
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    log_size: Size,
    log: Get,
    cubin_size: Size,
    cubin: Get,
    includes: Vec<String>,
}

type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Get = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

impl Nvrtc {
    fn load() -> Result<Self, String> {
        let toolkit = Toolkit::find()?;
        let path = toolkit.nvrtc().into_iter().next().ok_or("no libnvrtc in the toolkit")?;
        // SAFETY: the initialisers of NVRTC do nothing but set up the library.
        let library = unsafe { Library::new(&path) }.map_err(|e| format!("{}: {e}", path.display()))?;
        // The functions are called until the process ends.
        let library: &'static Library = Box::leak(Box::new(library));
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the fields of `Nvrtc` have the types that nvrtc.h gives to these names.
                *unsafe { library.get(concat!($name, "\0").as_bytes()) }.map_err(|e| e.to_string())?
            };
        }
        Ok(Self {
            create: function!("nvrtcCreateProgram"),
            compile: function!("nvrtcCompileProgram"),
            destroy: function!("nvrtcDestroyProgram"),
            log_size: function!("nvrtcGetProgramLogSize"),
            log: function!("nvrtcGetProgramLog"),
            cubin_size: function!("nvrtcGetCUBINSize"),
            cubin: function!("nvrtcGetCUBIN"),
            includes: toolkit.include().map(|p| format!("--include-path={}", p.display())).into(),
        })
    }

    fn compile(&self, source: &str, name: &str, architecture: &str) -> Result<Cubin, String> {
        let source = CString::new(source).map_err(|e| e.to_string())?;
        let name = CString::new(name).map_err(|e| e.to_string())?;
        // What cubecl-cuda passes, and the report of the assembler.
        let mut options = vec![format!("--gpu-architecture={architecture}"), "-lineinfo".into()];
        options.push("--ptxas-options=-v".into());
        // The headers are read once for all kernels.
        options.push("--pch".into());
        options.extend(self.includes.iter().cloned());
        let options: Vec<_> = options.into_iter().filter_map(|o| CString::new(o).ok()).collect();
        let pointers: Vec<_> = options.iter().map(|o| o.as_ptr()).collect();

        let mut program = ptr::null_mut();
        // SAFETY: the strings end in zero and live beyond the call; there are no headers to pass.
        let status = unsafe {
            (self.create)(&mut program, source.as_ptr(), name.as_ptr(), 0, ptr::null(), ptr::null())
        };
        if status != 0 {
            return Err(format!("nvrtcCreateProgram: error {status}"));
        }
        // SAFETY: the program was created, and there are as many options as is said.
        let status = unsafe { (self.compile)(program, pointers.len() as c_int, pointers.as_ptr()) };
        let log = self.fetch(program, self.log_size, self.log);
        let log = String::from_utf8_lossy(&log).trim_end_matches('\0').trim().to_owned();
        let bytes = if status == 0 { self.fetch(program, self.cubin_size, self.cubin) } else { Vec::new() };
        // SAFETY: the program was created and is not used again.
        unsafe { (self.destroy)(&mut program) };
        match status {
            0 => Ok(Cubin { bytes, log }),
            _ => Err(if log.is_empty() { format!("nvrtcCompileProgram: error {status}") } else { log }),
        }
    }

    fn fetch(&self, program: Program, size: Size, get: Get) -> Vec<u8> {
        let mut bytes = 0;
        // SAFETY: the program exists, and the size is written to `bytes`.
        if unsafe { size(program, &mut bytes) } != 0 {
            return Vec::new();
        }
        let mut out = vec![0u8; bytes];
        // SAFETY: the buffer has the size that was just asked for.
        let status = unsafe { get(program, out.as_mut_ptr().cast()) };
        if status == 0 { out } else { Vec::new() }
    }
}
