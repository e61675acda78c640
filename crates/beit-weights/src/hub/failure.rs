//! Failures on the way to an error that names the model.

use super::address::shown_origin;
use super::id::HubId;
use super::problem::HubProblem;
use crate::error::Error;
use std::time::Duration;

/// A failure inside this module, which does not know yet for which model.
#[derive(Debug)]
pub(super) enum Failure {
    Hub(HubProblem),
    /// The disk's; its message names the path.
    Disk(Error),
}

impl Failure {
    /// For `map_err` where the model is known.
    pub(super) fn of_model(id: &HubId) -> impl FnOnce(Self) -> Error + '_ {
        |failure| match failure {
            Self::Hub(problem) => Error::Hub { id: id.to_string(), problem },
            Self::Disk(error) => error,
        }
    }

    /// Whether it may be gone when the same is tried again.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Hub(HubProblem::Status { status, .. }) => matches!(status, 408 | 425 | 429 | 500..),
            Self::Hub(HubProblem::Cut { .. } | HubProblem::Unreachable { .. }) => true,
            _ => false,
        }
    }

    /// How long the hub asks to wait before the next try.
    pub(super) fn asks_to_wait(&self) -> Option<Duration> {
        match self {
            Self::Hub(HubProblem::Status { after, .. }) => *after,
            _ => None,
        }
    }

    /// In a few words.
    pub(super) fn brief(&self) -> String {
        match self {
            Self::Hub(HubProblem::Status { url, status, .. }) => {
                format!("{} answered {status}", shown_origin(url))
            }
            Self::Hub(HubProblem::Cut { file, got, .. }) => {
                format!("the transfer of {file} broke off after {got} bytes")
            }
            Self::Hub(problem) => problem.to_string(),
            Self::Disk(error) => error.to_string(),
        }
    }

    /// Whether the cache cannot be written, whatever room there is.
    pub(super) fn is_read_only(&self) -> bool {
        use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(self, Self::Disk(Error::Write { source, .. })
            if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem))
    }

    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Hub(HubProblem::Unreachable { .. }))
    }

    /// Adds what the model has to a complaint about what it lacks.
    pub(super) fn beside(mut self, files: &[String]) -> Self {
        if let Self::Hub(HubProblem::NoFile { has, .. } | HubProblem::NoWeights { has }) = &mut self {
            *has = files.to_vec();
        }
        self
    }
}

impl From<HubProblem> for Failure {
    fn from(problem: HubProblem) -> Self {
        Self::Hub(problem)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Disk(error)
    }
}
