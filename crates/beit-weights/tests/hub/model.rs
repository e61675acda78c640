//! A model as the hub shows it: what is asked of the hub, and what of the other host that keeps large files.

use crate::server::{Reply, Seen, Server};
use beit_weights::{Hub, HubConfig, HubId, Progress};
use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const WEIGHTS: &str = "model.safetensors";

/// Files by name.
pub(crate) type Files = Vec<(&'static str, Vec<u8>)>;

pub(crate) fn id() -> HubId {
    "org/beit".parse().unwrap()
}

/// Bytes that differ wherever two of them could be mistaken for each other.
pub(crate) fn weights(len: u32) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// A model as most are.
pub(crate) fn usual() -> Files {
    vec![
        ("README.md", b"words".to_vec()),
        ("config.json", b"{\"a\": 1}".to_vec()),
        ("preprocessor_config.json", b"{\"b\": 2}".to_vec()),
        (WEIGHTS, weights(300_000)),
    ]
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&SHA256, bytes)
}

/// What Git names a content by.
pub(crate) fn git_hash(bytes: &[u8]) -> String {
    let blob = [format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat();
    hexadecimal(&SHA1_FOR_LEGACY_USE_ONLY, &blob)
}

fn hexadecimal(algorithm: &'static Algorithm, bytes: &[u8]) -> String {
    digest(algorithm, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Weights and the like are large: the hub gives their hash, and sends to the other host.
fn is_large(name: &str) -> bool {
    !name.ends_with("json")
}

/// What the hub answers.
pub(crate) fn hub_answer(files: &Files, cdn: &str, seen: &Seen) -> Reply {
    let revision = seen.path.strip_prefix("/api/models/org/beit/revision/");
    if revision.is_some_and(|revision| ["main", "refs%2Fpr%2F2", COMMIT].contains(&revision)) {
        let siblings: Vec<String> =
            files.iter().map(|(name, _)| format!("{{\"rfilename\": \"{name}\"}}")).collect();
        return Reply::body(format!("{{\"sha\": \"{COMMIT}\", \"siblings\": [{}]}}", siblings.join(",")));
    }
    let wanted = seen.path.strip_prefix(&format!("/org/beit/resolve/{COMMIT}/"));
    let Some((name, body)) = files.iter().find(|(name, _)| Some(*name) == wanted) else {
        return Reply::status(404)
            .with("x-error-code", if wanted.is_some() { "EntryNotFound" } else { "RepoNotFound" });
    };
    let sha256 = sha256(body);
    if is_large(name) {
        return Reply { status: 302, ..Reply::body("elsewhere") }
            .with("x-repo-commit", COMMIT)
            .with("x-linked-size", body.len().to_string())
            .with("x-linked-etag", format!("\"{sha256}\""))
            .with("location", format!("{cdn}/{name}"));
    }
    Reply::part(body, seen).with("x-repo-commit", COMMIT).with("etag", format!("\"{}\"", git_hash(body)))
}

/// What the host of the large files answers.
pub(crate) fn cdn_answer(files: &Files, seen: &Seen) -> Reply {
    let found = files.iter().find(|(name, _)| seen.path.strip_prefix('/') == Some(name));
    found.map_or(Reply::status(404), |(_, body)| Reply::part(body, seen).with("etag", "\"of-the-cdn\""))
}

/// A hub, the host of its large files, and a cache.
pub(crate) struct World {
    pub(crate) hub: Server,
    pub(crate) cdn: Server,
    pub(crate) cache: TempDir,
}

impl World {
    /// With a model that is served without a fault.
    pub(crate) fn of(files: Files) -> Self {
        Self::with(files, |_, reply| reply, |_, reply| reply)
    }

    /// With answers that are changed on their way: of the hub, and of the other host.
    pub(crate) fn with(
        files: Files,
        hub: impl Fn(&Seen, Reply) -> Reply + Send + 'static,
        cdn: impl Fn(&Seen, Reply) -> Reply + Send + 'static,
    ) -> Self {
        let large = files.clone();
        let cdn = Server::new(move |seen| cdn(seen, cdn_answer(&large, seen)));
        let url = cdn.url();
        let hub = Server::new(move |seen| hub(seen, hub_answer(&files, &url, seen)));
        Self { hub, cdn, cache: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn config(&self) -> HubConfig {
        HubConfig {
            cache: self.cache.path().to_owned(),
            endpoint: self.hub.url(),
            token: None,
            offline: false,
            retries: 2,
            pause: Duration::from_millis(1),
        }
    }

    pub(crate) fn client(&self) -> Hub {
        Hub::new(self.config())
    }

    pub(crate) fn offline(&self) -> Hub {
        Hub::new(HubConfig { offline: true, ..self.config() })
    }

    /// Requests to either host since the last call.
    pub(crate) fn requests(&self) -> usize {
        self.hub.seen().len() + self.cdn.seen().len()
    }

    /// What the cache has of contents: whole ones, and parts.
    pub(crate) fn blobs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.cache.path().join("models--org--beit/blobs"));
        let mut blobs: Vec<PathBuf> =
            entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        blobs.sort();
        blobs
    }

    pub(crate) fn snapshot(&self) -> PathBuf {
        self.cache.path().join("models--org--beit/snapshots").join(COMMIT)
    }

    /// The part that is there of the usual weights.
    pub(crate) fn part(&self) -> PathBuf {
        let name = format!("{}.incomplete", sha256(&weights(300_000)));
        self.cache.path().join("models--org--beit/blobs").join(name)
    }
}

/// The files of a folder, links followed.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Notes the last state of each file.
#[derive(Default)]
pub(crate) struct Notes(pub(crate) Vec<(String, u64, u64)>);

impl Progress for Notes {
    fn begin(&mut self, file: &str, bytes: u64) {
        self.0.retain(|(name, ..)| name != file);
        self.0.push((file.to_owned(), bytes, 0));
    }
    fn advance(&mut self, bytes: u64) {
        self.0.last_mut().unwrap().2 += bytes;
    }
    fn end(&mut self) {}
}

/// Notes what is waited for.
#[derive(Default)]
pub(crate) struct Words(pub(crate) Vec<String>);

impl Progress for Words {
    fn begin(&mut self, _: &str, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn end(&mut self) {}
    fn wait(&mut self, what: &str) {
        self.0.push(what.to_owned());
    }
}
