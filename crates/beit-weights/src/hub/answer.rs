//! What the hub's answers say.

use super::address::shown_origin;
use super::failure::Failure;
use super::id::{HubId, is_commit, is_hex, is_inside};
use super::problem::HubProblem;
use serde::Deserialize;
use std::time::Duration;
use ureq::Body;
use ureq::http::Response;

/// The commit of a revision and its files.
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: Vec<String>,
}

#[derive(Deserialize)]
struct Model {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Listing {
    pub(super) fn read(url: &str, json: &[u8]) -> Result<Self, Failure> {
        let wrong = |problem: String| HubProblem::Answer { url: url.to_owned(), problem };
        let model: Model = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        if !is_commit(&model.sha) {
            return Err(wrong(format!("its `sha` is {:?}, expected 40 hexadecimal digits", model.sha)).into());
        }
        let names = model.siblings.into_iter().map(|sibling| sibling.rfilename);
        Ok(Self { commit: model.sha, files: names.filter(|name| is_inside(name)).collect() })
    }
}

/// What the hub says of a file.
#[derive(Default)]
pub(super) struct Facts {
    /// The name of its content.
    pub(super) etag: String,
    pub(super) size: Option<u64>,
    /// Of its content, where the hub knows it: for large files.
    pub(super) sha256: Option<String>,
}

/// How a hub names the content of a file.
pub(super) enum Digest<'a> {
    /// SHA-256, of large files.
    Sha256(&'a str),
    /// SHA-1 as Git computes it, of a header with the length and the content: of small files.
    Git(&'a str),
}

impl Facts {
    /// Adds what one answer says. A redirect speaks of the file in `x-linked-` headers only; its length is its own.
    pub(super) fn note(&mut self, response: &Response<Body>) {
        let size = |name| header(response, name).and_then(|value| value.parse().ok());
        if let Some(etag) = header(response, "x-linked-etag") {
            self.etag = bare(etag).to_owned();
            self.sha256 = is_hex(&self.etag, 64).then(|| self.etag.clone());
        } else if let (Some(etag), None) = (header(response, "etag"), &self.sha256) {
            self.etag = bare(etag).to_owned();
        }
        let length = if response.status().is_success() { size("content-length") } else { None };
        self.size = size("x-linked-size").or(self.size).or(length);
    }

    /// What the content can be checked with. Other servers than a hub have etags of other kinds.
    pub(super) fn digest(&self) -> Option<Digest<'_>> {
        match &self.sha256 {
            Some(sha256) => Some(Digest::Sha256(sha256)),
            None => is_hex(&self.etag, 40).then_some(Digest::Git(&self.etag)),
        }
    }

    /// The etag becomes the name of a file, so it must be a plain one.
    pub(super) fn checked(self, url: &str) -> Result<Self, Failure> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if !self.etag.is_empty() && self.etag.len() <= 128 && self.etag.chars().all(plain) {
            return Ok(self);
        }
        let problem = format!("its etag is {:?}, expected a hash", self.etag);
        Err(HubProblem::Answer { url: url.to_owned(), problem }.into())
    }
}

/// An etag without its quotes.
fn bare(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}

pub(super) fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The range of a partial answer, `bytes FIRST-LAST/SIZE`: its first byte, and the size of the whole where it is told.
pub(super) fn range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let (range, size) = header(response, "content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()))
}

/// Turns an answer that is no success into what it means for the reader.
pub(super) fn accept(
    response: &Response<Body>,
    url: &str,
    id: &HubId,
    file: Option<&str>,
) -> Result<(), Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let denied = || {
        let page = format!("{}/{}", shown_origin(url), id.repo());
        HubProblem::Denied { status: status.as_u16(), page }
    };
    let no_file = || file.map(|file| HubProblem::NoFile { file: file.to_owned(), has: Vec::new() });
    Err(match (header(response, "x-error-code"), status.as_u16()) {
        (Some("RepoNotFound"), _) => HubProblem::NoRepo,
        (Some("RevisionNotFound"), _) => HubProblem::NoRevision,
        (_, 401 | 403) => denied(),
        (_, 404) => no_file().unwrap_or(HubProblem::NoRepo),
        (_, status) => HubProblem::Status { url: url.to_owned(), status, after: retry_after(response) },
    }
    .into())
}

/// When a busy hub wants to be asked again. A date, which the protocol allows too, is passed over.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    header(response, "retry-after")?.trim().parse().ok().map(Duration::from_secs)
}
