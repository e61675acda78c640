//! The name of a model on the hub.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// A model on the hub, `org/name` or `org/name@revision`.
///
/// The revision is a branch, a tag, a commit or a reference such as `refs/pr/2`; without one, it is the branch `main`. Both parts
/// become paths in the cache, so nothing is accepted that could lead out of it.
///
/// ```
/// let id: beit_weights::HubId = "microsoft/beit-base-patch16-224@refs/pr/2".parse()?;
/// assert_eq!(id.repo(), "microsoft/beit-base-patch16-224");
/// assert_eq!(id.revision(), "refs/pr/2");
/// assert_eq!(id.to_string(), "microsoft/beit-base-patch16-224@refs/pr/2");
/// # Ok::<(), beit_weights::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HubId {
    repo: String,
    revision: Option<String>,
}

impl HubId {
    /// `org/name`.
    #[must_use]
    pub fn repo(&self) -> &str {
        &self.repo
    }

    /// The branch, tag, commit or reference.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

impl FromStr for HubId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (repo, revision) = match text.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (text, None),
        };
        let checked = check_repo(repo).and_then(|()| revision.map_or(Ok(()), check_revision));
        checked.map_err(|problem| Error::HubId { text: text.to_owned(), problem })?;
        Ok(Self { repo: repo.to_owned(), revision: revision.map(str::to_owned) })
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repo)?;
        self.revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
    }
}

/// The longest name that the hub allows.
const LONGEST_REPO: usize = 96;
/// The longest name of a file on the usual file systems.
const LONGEST_PART: usize = 255;

/// The hub's own rules. It forbids `--` because the cache writes a slash that way.
fn check_repo(repo: &str) -> Result<(), &'static str> {
    let Some((org, name)) = repo.split_once('/') else { return Err("it has no slash") };
    if repo.len() > LONGEST_REPO {
        return Err("it is longer than 96 characters");
    }
    for part in [org, name] {
        if part.is_empty() {
            return Err("a part of it is empty");
        }
        if !part.chars().all(plain) {
            return Err("it has characters other than letters, digits, `-`, `_` and `.`");
        }
        if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
            return Err("a part of it starts or ends with `-` or `.`");
        }
        if part.contains("--") || part.contains("..") {
            return Err("it has `--` or `..`");
        }
    }
    Ok(())
}

fn check_revision(revision: &str) -> Result<(), &'static str> {
    for part in revision.split('/') {
        if part.is_empty() {
            return Err("a part of the revision is empty");
        }
        if part.len() > LONGEST_PART {
            return Err("the revision is too long");
        }
        if !part.chars().all(plain) {
            return Err("the revision has characters other than letters, digits, `-`, `_`, `.` and `/`");
        }
        if part.starts_with(['-', '.']) || part.contains("..") {
            return Err("a part of the revision starts with `-` or `.`, or has `..`");
        }
    }
    Ok(())
}

fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// Whether a revision, or what a file or a hub calls one, is the hash of a commit.
pub(super) fn is_commit(text: &str) -> bool {
    is_hex(text, 40)
}

pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
}

/// Whether the name of a file, which may come from the network, stays inside the folder it is joined to.
pub(super) fn is_inside(file: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    let part_ok = |part: &str| !part.is_empty() && part.len() <= LONGEST_PART && part != "." && part != "..";
    !file.contains(odd) && file.split('/').all(part_ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_read() {
        let commit = "a".repeat(40);
        let names =
            ["a/b", "timm/beit_base.in22k@main", "org/n-1@v1.0", "o/n@refs/pr/2", &format!("o/n@{commit}")];
        for name in names {
            let id: HubId = name.parse().unwrap();
            assert_eq!(id.to_string(), *name);
        }
        assert_eq!("a/b".parse::<HubId>().unwrap().revision(), "main");
    }

    #[test]
    fn names_that_are_refused() {
        let long = format!("a/{}", "b".repeat(95));
        let names = [
            "",
            "a",
            "/a",
            "a/",
            "a/b/c",
            "/a/b",
            "../b",
            "a/..",
            "a/b..c",
            "a/b--c",
            "a/-b",
            "a/b.",
            "a b/c",
            "a/b\n",
            "a/b@",
            "a/b@/x",
            "a/b@x/",
            "a/b@..",
            "a/b@x/../y",
            "a/b@-x",
            "a/b@x y",
            "a/b@x@y",
            "a/b@x\\y",
            "ä/b",
            &long,
        ];
        for name in names {
            let error = name.parse::<HubId>().expect_err(name).to_string();
            assert!(error.contains("expected org/name"), "{error}");
        }
    }

    #[test]
    fn files_stay_inside() {
        for name in ["config.json", "sub/encoder.pkl", "model-00001-of-00002.safetensors"] {
            assert!(is_inside(name), "{name}");
        }
        for name in ["", "/etc/passwd", "..", "a/../b", "a//b", "./a", "a\\b", "c:x", "a\0"] {
            assert!(!is_inside(name), "{name}");
        }
    }
}
