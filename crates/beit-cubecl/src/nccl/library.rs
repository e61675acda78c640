//! NCCL's library, which is looked for when it is needed.
//!
//! The bindings of `cudarc` never look for `libnccl.so.2`, the name under which NVIDIA installs it, and panic where they find nothing.
//! Few functions are needed, so these are found here.

use super::error::NcclError;
use libloading::Library;
use std::error::Error;
use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::ptr::null_mut;

/// What the system's libraries are searched for.
pub(super) const NAMES: [&str; 2] = ["libnccl.so.2", "libnccl.so"];
/// The environment variable that names the file instead.
pub(super) const FILE: &str = "BEIT_NCCL";

/// `ncclResult_t`
pub(super) type Code = c_int;
/// `ncclSuccess`
pub(super) const SUCCESS: Code = 0;
/// `ncclInProgress`
pub(super) const IN_PROGRESS: Code = 7;
/// `ncclFloat32`
pub(super) const FLOAT32: c_int = 7;
/// `ncclSum`
pub(super) const SUM: c_int = 0;
/// `ncclComm_t`
pub(super) type Comm = *mut c_void;
/// `cudaStream_t`
pub(super) type Stream = *mut c_void;

/// `ncclUniqueId`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct UniqueId(pub(super) [u8; 128]);

/// `ncclConfig_t` as it was in NCCL 2.14, which is what it began with. Later versions read no more of it than its size says, and take
/// what is usual for the rest.
#[repr(C)]
pub(super) struct Config {
    size: usize,
    magic: c_uint,
    version: c_uint,
    blocking: c_int,
}

impl Config {
    /// Calls return before they are done: what takes too long can then be ended.
    pub(super) const fn without_waiting() -> Self {
        Self { size: size_of::<Self>(), magic: 0xcafe_beef, version: 21_400, blocking: 0 }
    }
}

macro_rules! functions {
    ($($name:ident = $symbol:literal($($argument:ty),*) -> $result:ty;)*) => {
        /// The functions that are used, by their names without `nccl`.
        #[derive(Clone, Copy, Debug)]
        pub(super) struct Functions {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Functions {
            /// Those of a library, or the name of one that it lacks.
            fn of(library: &Library) -> Result<Self, &'static str> {
                // SAFETY: the types are those of nccl.h, which keeps them.
                Ok(Self { $($name: *unsafe { library.get($symbol) }.map_err(|_| $symbol)?,)* })
            }
        }
    };
}

functions! {
    get_version = "ncclGetVersion"(*mut c_int) -> Code;
    get_unique_id = "ncclGetUniqueId"(*mut UniqueId) -> Code;
    get_error_string = "ncclGetErrorString"(Code) -> *const c_char;
    get_last_error = "ncclGetLastError"(Comm) -> *const c_char;
    init_rank = "ncclCommInitRankConfig"(*mut Comm, c_int, UniqueId, c_int, *mut Config) -> Code;
    get_async_error = "ncclCommGetAsyncError"(Comm, *mut Code) -> Code;
    abort = "ncclCommAbort"(Comm) -> Code;
    group_start = "ncclGroupStart"() -> Code;
    group_end = "ncclGroupEnd"() -> Code;
    all_reduce = "ncclAllReduce"(*const c_void, *mut c_void, usize, c_int, c_int, Comm, Stream) -> Code;
}

/// NCCL, as it is on this machine.
#[derive(Clone, Copy, Debug)]
pub struct NcclLibrary {
    pub(super) functions: Functions,
}

impl NcclLibrary {
    /// The file that the environment variable `BEIT_NCCL` names, else `libnccl.so.2` or `libnccl.so` among the system's libraries.
    ///
    /// # Errors
    ///
    /// None there, one that cannot be loaded, or one that is too old.
    pub fn load() -> Result<Self, NcclError> {
        match std::env::var_os(FILE).filter(|file| !file.is_empty()) {
            Some(file) => Self::load_file(Path::new(&file)),
            None => Self::search(&NAMES),
        }
    }

    /// The first of these that there is.
    pub(super) fn search(names: &[&str]) -> Result<Self, NcclError> {
        let mut reason = None;
        for name in names {
            match loaded(name.as_ref()) {
                Ok(library) => return Self::of(library, name.as_ref()),
                Err(problem) => drop(reason.get_or_insert(problem)),
            }
        }
        Err(NcclError::Missing { reason: reason.unwrap_or_default() })
    }

    /// A file by its path.
    ///
    /// # Errors
    ///
    /// One that cannot be loaded, or that is too old.
    pub fn load_file(file: &Path) -> Result<Self, NcclError> {
        let unusable = |reason| NcclError::Unusable { file: file.to_owned(), reason };
        Self::of(loaded(file.as_os_str()).map_err(unusable)?, file)
    }

    fn of(library: Library, file: &Path) -> Result<Self, NcclError> {
        let functions = Functions::of(&library)
            .map_err(|function| NcclError::Incomplete { file: file.to_owned(), function })?;
        // It starts threads that may outlive every communicator, so it is never unloaded.
        std::mem::forget(library);
        Ok(Self { functions })
    }

    /// Its version, as in `2.27.3`. Ranks of different versions do not understand each other.
    ///
    /// # Errors
    ///
    /// NCCL, by its own words.
    pub fn version(&self) -> Result<String, NcclError> {
        let mut code = 0;
        // SAFETY: the number is written before the call returns.
        let result = unsafe { (self.functions.get_version)(&raw mut code) };
        self.check(result, null_mut(), "tell its version")?;
        // The next digits were used up by 2.8.
        let [major, rest] =
            if code < 10_000 { [code / 1000, code % 1000] } else { [code / 10_000, code % 10_000] };
        Ok(format!("{major}.{}.{}", rest / 100, rest % 100))
    }

    /// What the ranks of a new world find each other by: made by one of them, and given to [`Nccl::join`](super::Nccl::join) by all.
    ///
    /// # Errors
    ///
    /// NCCL, by its own words.
    pub fn id(&self) -> Result<[u8; 128], NcclError> {
        let mut id = UniqueId([0; 128]);
        // SAFETY: the id is written before the call returns.
        let result = unsafe { (self.functions.get_unique_id)(&raw mut id) };
        self.check(result, null_mut(), "make an id")?;
        Ok(id.0)
    }

    /// Whether a call has done what it had to; false where it goes on.
    pub(super) fn check(&self, code: Code, comm: Comm, doing: &'static str) -> Result<bool, NcclError> {
        match code {
            SUCCESS => Ok(true),
            IN_PROGRESS => Ok(false),
            code => Err(NcclError::Failed { doing, words: self.words(code, comm) }),
        }
    }

    /// What NCCL says of a failure: which kind it is, and the last line that it would have logged.
    fn words(&self, code: Code, comm: Comm) -> String {
        // SAFETY: both are texts that NCCL keeps, or null.
        let [kind, last] = unsafe {
            [text((self.functions.get_error_string)(code)), text((self.functions.get_last_error)(comm))]
        };
        if last.is_empty() { format!("{kind} ({code})") } else { format!("{kind} ({code}): {last}") }
    }
}

fn loaded(file: &OsStr) -> Result<Library, String> {
    // What the system says is the cause of what `libloading` says.
    let says =
        |error: libloading::Error| error.source().map_or_else(|| error.to_string(), ToString::to_string);
    // SAFETY: what the file does when it is loaded is up to who installed it, as with every library of the system.
    unsafe { Library::new(file) }.map_err(|error| one_line(&says(error)))
}

/// # Safety
///
/// Null, or a text that ends with a zero.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's.
    one_line(&unsafe { CStr::from_ptr(text) }.to_string_lossy())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
