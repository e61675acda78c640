//! Where the compilers are.

use std::path::{Path, PathBuf};

/// Where cargo builds: the folder with its mark that this program is in.
pub(crate) fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let marked = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/cuda is two deep");
    marked.map_or_else(|| workspace.join("target"), Path::to_owned)
}

/// A folder with `lib/libnvrtc.so` and `include/cuda_runtime.h`, as `scripts/cuda-toolkit` makes it.
#[derive(Clone, Debug)]
pub struct Toolkit {
    root: PathBuf,
}

impl Toolkit {
    /// `CUDA_CHECK_TOOLKIT`, or `target/cuda-toolkit`.
    ///
    /// # Errors
    ///
    /// If it is not there: the message says how to get it.
    pub fn find() -> Result<Self, String> {
        let named = std::env::var_os("CUDA_CHECK_TOOLKIT").map(PathBuf::from);
        let root = named.unwrap_or_else(|| target().join("cuda-toolkit/cuda"));
        if root.join("include/cuda_runtime.h").exists() {
            return Ok(Self { root });
        }
        Err(format!("no CUDA headers in {}: run scripts/cuda-toolkit", root.display()))
    }

    /// The shared libraries of NVRTC that may be there, the best first.
    pub(crate) fn nvrtc(&self) -> Vec<PathBuf> {
        let names = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];
        let folders = [self.root.join("lib"), self.root.join("lib64")];
        folders.iter().flat_map(|folder| names.map(|name| folder.join(name))).filter(|p| p.exists()).collect()
    }

    /// Folders of headers.
    pub(crate) fn include(&self) -> [PathBuf; 2] {
        [self.root.join("include"), self.root.join("include/cccl")]
    }
}
