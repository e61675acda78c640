//! Room for checkpoints.

use super::Finding;
use super::intended::Sizes;
use crate::memory::readable;
use std::path::{Path, PathBuf};

const PART: &str = "disk";

/// Where checkpoints would lie.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// The folder, or the nearest above it that is there.
    pub(super) path: PathBuf,
    /// Bytes that can be written; none where the system does not tell.
    pub(super) free: Option<u64>,
    /// Whether this user may write there.
    pub(super) writable: bool,
}

impl Disk {
    pub(super) fn at(out: &Path) -> Self {
        let here = Path::new(".");
        let there = out.ancestors().find(|path| path.exists() && !path.as_os_str().is_empty());
        let path = there.unwrap_or(here).to_owned();
        Self { free: free(&path), writable: is_writable(&path), path }
    }
}

#[cfg(unix)]
fn free(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(unix)]
fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(not(unix))]
fn free(_: &Path) -> Option<u64> {
    None
}

#[cfg(not(unix))]
fn is_writable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| !metadata.permissions().readonly())
}

pub(super) fn finding(disk: &Disk, sizes: &Sizes) -> Finding {
    let path = disk.path.display();
    let needed = sizes.checkpoint.saturating_mul(sizes.keep as u128 + 1);
    let each = format!("{} checkpoints of {}", sizes.keep + 1, readable(sizes.checkpoint));
    if !disk.writable {
        return Finding::problem(PART, format!("{path} cannot be written to"), "choose another --out");
    }
    match disk.free {
        None => Finding::note(
            PART,
            format!("{each} go to {path}"),
            "see that there is room: the system does not tell",
        ),
        Some(free) if needed > u128::from(free) => Finding::problem(
            PART,
            format!("{each} need {}, and {} are free at {path}", readable(needed), readable(free.into())),
            "choose another --out, keep fewer (--keep 1), or make room",
        ),
        Some(free) => Finding::ok(
            PART,
            format!("{each} need {}, and {} are free at {path}", readable(needed), readable(free.into())),
        ),
    }
}
