//! The cache that the hub's tools share, for one model.
//!
//! ```text
//! models--org--name/blobs/ETAG                   what was transferred, whole
//! models--org--name/blobs/ETAG.incomplete        a transfer under way, or broken off
//! models--org--name/snapshots/COMMIT/FILE        a link to a blob
//! models--org--name/refs/REVISION                the commit of a branch or tag
//! models--org--name/.no_exist/COMMIT/FILE        empty: the commit has no such file
//! .locks/models--org--name/ETAG.lock             held by the process that transfers the blob
//! ```

use super::failure::Failure;
use super::id::{HubId, is_commit};
use super::progress::Progress;
use super::waiting::Waits;
use crate::error::{Error, Result};
use beit_data::read_regular;
use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Longest note of a commit, in bytes. A commit has forty letters.
const MAX_NOTE: u64 = 1 << 10;

/// The part of the cache that belongs to one model.
pub(super) struct Store {
    layout: CacheRepo,
    revision: String,
    folder: PathBuf,
    locks: PathBuf,
}

impl Store {
    pub(super) fn new(cache: &Path, id: &HubId) -> Self {
        let revision = id.revision().to_owned();
        let repo = Repo::with_revision(id.repo().to_owned(), RepoType::Model, revision.clone());
        let name = repo.folder_name();
        let (folder, locks) = (cache.join(&name), cache.join(".locks").join(name));
        Self { layout: Cache::new(cache.to_owned()).repo(repo), revision, folder, locks }
    }

    /// The commit that the revision had when it was last fetched.
    pub(super) fn commit(&self) -> Option<String> {
        if is_commit(&self.revision) {
            return Some(self.revision.clone());
        }
        let note = self.folder.join("refs").join(&self.revision);
        let text = String::from_utf8(read_regular(note, MAX_NOTE).ok()?).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes the commit of the revision. It comes after the files: whoever finds it finds them.
    pub(super) fn set_commit(&self, commit: &str) -> Result<()> {
        if self.commit().as_deref() == Some(commit) {
            return Ok(());
        }
        self.layout.create_ref(commit).map_err(Error::write(&self.folder.join("refs").join(&self.revision)))
    }

    /// The folder that looks like a checkout of the commit.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.layout.pointer_path(commit)
    }

    /// A file of the commit, where it is there.
    pub(super) fn file(&self, commit: &str, name: &str) -> Option<PathBuf> {
        // `is_file` follows the link: a blob that was deleted is not there.
        Some(self.snapshot(commit).join(name)).filter(|path| path.is_file())
    }

    /// Whether the commit is known to lack a file.
    pub(super) fn lacks(&self, commit: &str, name: &str) -> bool {
        self.lack(commit, name).is_file()
    }

    /// Notes that the commit lacks a file, so that nobody needs to ask again.
    pub(super) fn set_lacks(&self, commit: &str, name: &str) -> Result<()> {
        let path = self.lack(commit, name);
        make_parent(&path)?;
        File::create(&path).map(drop).map_err(Error::write(&path))
    }

    fn lack(&self, commit: &str, name: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit).join(name)
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Waits until no other process transfers this blob; then where to transfer it to.
    pub(super) fn claim(
        &self,
        etag: &str,
        waits: Waits,
        progress: &mut dyn Progress,
    ) -> Result<Claim, Failure> {
        let blob = self.blob(etag);
        let path = self.locks.join(format!("{etag}.lock"));
        make_parent(&blob)?;
        make_parent(&path)?;
        let lock = File::create(&path).map_err(Error::write(&path))?;
        // Some network file systems have no locks. There the name is this process's own, and nobody continues the file.
        let shared = match lock.try_lock() {
            Ok(()) => true,
            Err(TryLockError::Error(_)) => false,
            Err(TryLockError::WouldBlock) => {
                let growing = blob.with_file_name(format!("{etag}.incomplete"));
                let got = || fs::metadata(&growing).map_or(0, |data| data.len());
                waits.lock(&path.display().to_string(), progress, || lock.try_lock().is_ok(), got)?;
                true
            }
        };
        let ending = if shared { "incomplete".to_owned() } else { format!("{}.incomplete", unique()) };
        let partial = blob.with_file_name(format!("{etag}.{ending}"));
        Ok(Claim { blob, partial, _lock: lock })
    }

    /// Gives a blob its name in the commit.
    pub(super) fn link(&self, commit: &str, name: &str, etag: &str) -> Result<PathBuf> {
        let path = self.snapshot(commit).join(name);
        if path.is_file() {
            return Ok(path);
        }
        make_parent(&path)?;
        let up = "../".repeat(2 + name.matches('/').count());
        let new = path.with_file_name(format!(".{}", unique()));
        point(&self.blob(etag), &format!("{up}blobs/{etag}"), &new).map_err(Error::write(&new))?;
        fs::rename(&new, &path).map_err(Error::write(&path))?;
        Ok(path)
    }
}

/// The right to transfer a blob, until it is dropped.
pub(super) struct Claim {
    /// Where the blob belongs.
    pub(super) blob: PathBuf,
    /// Where it grows.
    pub(super) partial: PathBuf,
    _lock: File,
}

impl Claim {
    /// Puts the transferred file in its place, once it is on the disk.
    pub(super) fn finish(self) -> Result<()> {
        File::open(&self.partial).and_then(|file| file.sync_all()).map_err(Error::write(&self.partial))?;
        fs::rename(&self.partial, &self.blob).map_err(Error::write(&self.blob))
    }
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(Error::write(parent))
}

/// A name that no other thread or process uses.
fn unique() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A link where there are links, else the same file under a second name, else a copy.
fn point(blob: &Path, relative: &str, at: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if std::os::unix::fs::symlink(relative, at).is_ok() {
        return Ok(());
    }
    let _ = relative;
    fs::hard_link(blob, at).or_else(|_| fs::copy(blob, at).map(drop))
}
