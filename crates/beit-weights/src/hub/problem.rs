//! What can go wrong between here and the hub.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;

/// A cause from below.
type Source = Box<dyn StdError + Send + Sync>;

/// Why the hub did not give what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubProblem {
    /// The hub knows no such model, or does not admit to it.
    #[error(
        "the hub has no such model, or it is private; check the name, or set HF_TOKEN to a token that may read it"
    )]
    NoRepo,
    /// The model has no such revision.
    #[error("it has no branch, tag or commit of this name; check what follows the `@`")]
    NoRevision,
    /// The model has no such file.
    #[error("it has no {file}; its files are {}", listed(.has))]
    NoFile {
        /// Which.
        file: String,
        /// What it has.
        has: Vec<String>,
    },
    /// The model has no weights under a usual name.
    #[error(
        "it has neither model.safetensors nor pytorch_model.bin, whole or in shards; its files are {}; \
         if the weights are one of them, ask for it by name", listed(.has)
    )]
    NoWeights {
        /// What it has.
        has: Vec<String>,
    },
    /// The name of a file that leads out of the model's folder.
    #[error("`{file}` is no name of a file on the hub; expected one such as folder/file, without `..`")]
    FileName {
        /// Which.
        file: String,
    },
    /// A gated or private model.
    #[error(
        "the hub does not let you read it ({status}); accept its licence at {page}, and set HF_TOKEN to your token"
    )]
    Denied {
        /// The HTTP status.
        status: u16,
        /// Where to ask for access.
        page: String,
    },
    /// A token that cannot be sent.
    #[error("the token has characters that no token has; correct HF_TOKEN or the file that holds it")]
    Token,
    /// A failure of the hub.
    #[error("{url} answered {status}; try again {}", later(.after))]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// When to ask again, where the hub says so.
        after: Option<Duration>,
    },
    /// A lock of another process, which does not get on.
    #[error(
        "another process holds {lock} and has fetched nothing for {seconds} s; end it, or fetch again when it is done"
    )]
    Locked {
        /// The file that is locked.
        lock: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// More than such a file can have.
    #[error(
        "{file} has {found} bytes or more, expected at most {most} of a file of its kind; it was discarded, check HF_ENDPOINT"
    )]
    TooLarge {
        /// Which file.
        file: String,
        /// What was announced, or came.
        found: u64,
        /// What is accepted.
        most: u64,
    },
    /// An answer that no hub gives.
    #[error("{url} is not what a hub answers: {problem}; check HF_ENDPOINT")]
    Answer {
        /// What was asked for.
        url: String,
        /// Expected and found.
        problem: String,
    },
    /// There is no way to the hub.
    #[error(
        "{host} cannot be reached ({source}); check the network and HF_ENDPOINT, set HF_HUB_OFFLINE=1 to use what is \
         cached, or give a local folder"
    )]
    Unreachable {
        /// Whom.
        host: String,
        /// Why.
        source: Source,
    },
    /// The connection broke, again and again.
    #[error("the transfer of {file} broke off after {got} of {} bytes ({source}); fetch it again to continue", or_unknown(.expected))]
    Cut {
        /// What was transferred.
        file: String,
        /// How much of it is there.
        got: u64,
        /// Its size, where the hub tells.
        expected: Option<u64>,
        /// Why.
        source: Source,
    },
    /// More or less than the hub announced.
    #[error(
        "{file} came with {found} bytes, but the hub announced {expected}; it was discarded, fetch it again"
    )]
    Size {
        /// Which file.
        file: String,
        /// What came.
        found: u64,
        /// What was announced.
        expected: u64,
    },
    /// The bytes are not those that the hub holds.
    #[error("{file} has {kind} {found}, but the hub announced {expected}; it was discarded, fetch it again")]
    Hash {
        /// Which file.
        file: String,
        /// Which hash: sha256, or Git's of a small file.
        kind: &'static str,
        /// Of what came.
        found: String,
        /// What was announced.
        expected: String,
    },
    /// The cache lacks a file, and the network may not be used.
    #[error(
        "HF_HUB_OFFLINE is set, and the cache {} lacks {lacks}; unset it, or give a local folder", .cache.display()
    )]
    Offline {
        /// Where it was looked for.
        cache: PathBuf,
        /// What is not there.
        lacks: String,
    },
}

/// Files that a message shows; a model may have hundreds.
const LISTED: usize = 12;

fn listed(files: &[String]) -> String {
    match files.len() {
        0 => "none".to_owned(),
        n if n > LISTED => format!("{} and {} more", files[..LISTED].join(", "), n - LISTED),
        _ => files.join(", "),
    }
}

fn or_unknown(bytes: &Option<u64>) -> String {
    bytes.map_or("an unknown number of".to_owned(), |bytes| bytes.to_string())
}

fn later(after: &Option<Duration>) -> String {
    after.map_or("later".to_owned(), |after| format!("in {} s, as it asks", after.as_secs()))
}
