//! Opening and reading files that others have made: only regular ones, and never more of them than there should be.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Opens a regular file, or a link to one, of at most `max_bytes`.
///
/// What the path leads to is looked at after it is opened, so that nothing can take its place in between, and opening never waits:
/// a pipe would wait for whoever writes into it.
///
/// # Errors
///
/// Those of the operating system; and where there is a folder, a pipe, a socket or a device, or a longer file, saying what was
/// found and what was expected, without the path.
pub fn open_regular(path: impl AsRef<Path>, max_bytes: u64) -> io::Result<File> {
    let path = path.as_ref();
    let file = match at_once().open(path) {
        Ok(file) => file,
        // Sockets cannot be opened at all, nor folders on some systems.
        Err(error) => return Err(irregular(path).unwrap_or(error)),
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(not_regular(found.file_type()));
    }
    if found.len() > max_bytes {
        return Err(too_long(&format!("{} bytes", found.len()), max_bytes));
    }
    Ok(file)
}

/// Reads a regular file, or a link to one, of at most `max_bytes`.
///
/// # Errors
///
/// Those of [`open_regular`]; also where a file turns out to be longer than the file system says.
pub fn read_regular(path: impl AsRef<Path>, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path, max_bytes)?;
    let mut bytes = Vec::with_capacity(file.metadata()?.len().min(max_bytes) as usize);
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_long("more", max_bytes));
    }
    Ok(bytes)
}

/// Fills `bytes` from a place in a file, whatever place others read from.
///
/// # Errors
///
/// Those of the operating system, and [`io::ErrorKind::UnexpectedEof`] where the file ends before.
#[cfg(any(feature = "parquet", feature = "arrow"))]
pub(crate) fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_exact_at(file, bytes, at);
    #[cfg(not(unix))]
    {
        use std::io::{Seek, SeekFrom};
        let mut file = file;
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(bytes)
    }
}

/// Reading that does not wait for a writer, and takes no terminal over.
#[cfg(unix)]
fn at_once() -> OpenOptions {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32);
    options
}

#[cfg(not(unix))]
fn at_once() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    options
}

/// What is wrong with something that could not be opened, if it is there and no regular file.
fn irregular(path: &Path) -> Option<io::Error> {
    let found = path.metadata().ok()?;
    (!found.is_file()).then(|| not_regular(found.file_type()))
}

fn not_regular(found: FileType) -> io::Error {
    let text = format!("it is {}, expected a regular file", kind(found));
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn too_long(found: &str, max_bytes: u64) -> io::Error {
    let text = format!("expected at most {max_bytes} bytes, found {found}");
    io::Error::new(io::ErrorKind::FileTooLarge, text)
}

/// What it is, for people.
fn kind(found: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if found.is_fifo() {
            return "a named pipe";
        } else if found.is_socket() {
            return "a socket";
        } else if found.is_char_device() || found.is_block_device() {
            return "a device";
        }
    }
    if found.is_dir() { "a folder" } else { "no file" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_regular(&path, 5).unwrap(), b"12345");
        let error = read_regular(&path, 4).unwrap_err();
        assert_eq!(error.to_string(), "expected at most 4 bytes, found 5 bytes");
        assert_eq!(read_regular(folder.path().join("none"), 4).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(
            read_regular(folder.path(), 4).unwrap_err().to_string(),
            "it is a folder, expected a regular file"
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_to_regular_files_alone() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let (file, link, device) =
            (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        std::fs::write(&file, "1").unwrap();
        symlink(&file, &link).unwrap();
        symlink("/dev/zero", &device).unwrap();
        assert_eq!(read_regular(&link, 9).unwrap(), b"1");
        let error = read_regular(&device, 9).unwrap_err();
        assert_eq!(error.to_string(), "it is a device, expected a regular file");
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_or_a_socket_is_called_so_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, kind) in [(pipe, "a named pipe"), (socket, "a socket")] {
            let error = open_regular(&path, u64::MAX).unwrap_err();
            assert_eq!(error.to_string(), format!("it is {kind}, expected a regular file"));
        }
    }

    /// Files of the kernel have no length, but bytes.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_length_that_is_not_true_does_not_matter() {
        let error = read_regular("/proc/self/maps", 9).unwrap_err();
        assert_eq!(error.to_string(), "expected at most 9 bytes, found more");
    }
}
