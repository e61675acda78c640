//! What rank 0 tells the others of a run.

use std::path::{Path, PathBuf};

/// Where a run is, and what it goes on with.
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) newest: Option<PathBuf>,
}

impl Place {
    /// As it travels.
    pub(super) fn written(&self) -> String {
        let newest = self.newest.as_deref().unwrap_or(Path::new(""));
        format!("{}\0{}", self.dir.display(), newest.display())
    }

    pub(super) fn read(text: &str) -> Self {
        let (dir, newest) = text.split_once('\0').unwrap_or((text, ""));
        Self { dir: dir.into(), newest: (!newest.is_empty()).then(|| newest.into()) }
    }
}
