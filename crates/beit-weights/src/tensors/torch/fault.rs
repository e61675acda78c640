//! What is wrong with a file, said before anybody knows which file it is.

use crate::error::Error;
use std::fmt::Display;
use std::io;
use std::path::Path;

/// Why a PyTorch file is not read.
#[derive(Debug)]
pub(super) enum Fault {
    /// It names something to be called, or set up to be called, that no weights need.
    Calls(String),
    /// It is cut short, damaged, lies about itself or is of another kind.
    Unreadable(String),
    /// The disk's own error.
    Disk(io::Error),
}

pub(super) type Found<T> = Result<T, Fault>;

/// Short for the commonest fault.
pub(super) fn unreadable<T>(problem: impl Display) -> Found<T> {
    Err(Fault::Unreadable(problem.to_string()))
}

impl Fault {
    /// The error of this crate, with the file's name.
    pub(super) fn in_file(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Calls(callable) => Error::Calls { path, callable },
            Self::Unreadable(problem) => Error::Torch { path, problem },
            Self::Disk(source) => Error::Read { path, source },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Unreadable("it is cut short".to_owned()),
            _ => Self::Disk(error),
        }
    }
}
