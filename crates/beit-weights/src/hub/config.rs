//! Where the hub and its cache are.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How to reach the hub, and where to keep what it gives.
#[derive(Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// The folder that holds `models--org--name`.
    pub cache: PathBuf,
    /// The address before `/org/name`, without a slash at its end.
    pub endpoint: String,
    /// What opens private and gated models. It is sent to the endpoint and to no other host.
    pub token: Option<String>,
    /// Use what is in the cache, and never the network.
    pub offline: bool,
    /// How often a transfer that broke off is continued before it is given up.
    pub retries: u32,
    /// The wait before the first retry; it doubles with each.
    pub pause: Duration,
}

/// The hub itself, for those who set no other.
const ENDPOINT: &str = "https://huggingface.co";

impl HubConfig {
    /// The settings of the hub's other tools: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN` and
    /// `HF_TOKEN_PATH`, and the token that `hf auth login` stored.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_vars(|name| std::env::var(name).ok(), std::env::home_dir().unwrap_or_default())
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>, user: PathBuf) -> Self {
        let var =
            |name: &str| var(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let path = |name: &str| var(name).map(|value| expanded(&value, &user));
        let caches = path("XDG_CACHE_HOME").unwrap_or_else(|| user.join(".cache"));
        let home = path("HF_HOME").unwrap_or_else(|| caches.join("huggingface"));
        let stored = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        Self {
            cache: path("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub")),
            endpoint: var("HF_ENDPOINT")
                .map_or(ENDPOINT.to_owned(), |url| url.trim_end_matches('/').to_owned()),
            token: var("HF_TOKEN").or_else(|| read_token(&stored)),
            offline: var("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value)),
            retries: 5,
            pause: Duration::from_millis(500),
        }
    }
}

/// The token must not end up in a log.
impl fmt::Debug for HubConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubConfig")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("offline", &self.offline)
            .field("retries", &self.retries)
            .field("pause", &self.pause)
            .finish()
    }
}

fn expanded(path: &str, user: &Path) -> PathBuf {
    path.strip_prefix("~/").map_or_else(|| PathBuf::from(path), |rest| user.join(rest))
}

fn read_token(path: &Path) -> Option<String> {
    let token = fs::read_to_string(path).ok()?.trim().to_owned();
    (!token.is_empty()).then_some(token)
}

/// What the hub's other tools take for yes.
fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)], user: &Path) -> HubConfig {
        let value = |name: &str| vars.iter().find(|var| var.0 == name).map(|var| var.1.to_owned());
        HubConfig::from_vars(value, user.to_owned())
    }

    #[test]
    fn caches() {
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[], "/home/me/.cache/huggingface/hub"),
            (&[("HF_HOME", "/big/hf")], "/big/hf/hub"),
            (&[("HF_HOME", "")], "/home/me/.cache/huggingface/hub"),
            (&[("HF_HOME", "/big/hf"), ("HF_HUB_CACHE", "/fast")], "/fast"),
            (&[("HF_HUB_CACHE", "~/models")], "/home/me/models"),
            (&[("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub"),
        ];
        for (vars, want) in cases {
            assert_eq!(config(vars, Path::new("/home/me")).cache, Path::new(want), "{vars:?}");
        }
    }

    #[test]
    fn offline_and_endpoint() {
        for (value, want) in
            [("1", true), ("on", true), ("Yes", true), ("TRUE", true), ("0", false), ("", false)]
        {
            assert_eq!(config(&[("HF_HUB_OFFLINE", value)], Path::new("/")).offline, want, "{value}");
        }
        assert_eq!(config(&[], Path::new("/")).endpoint, "https://huggingface.co");
        assert_eq!(config(&[("HF_ENDPOINT", "http://mirror/")], Path::new("/")).endpoint, "http://mirror");
    }

    #[test]
    fn tokens() {
        let home = tempfile::tempdir().unwrap();
        let (stored, other) = (home.path().join("token"), home.path().join("other"));
        fs::write(&stored, "hf_stored\n").unwrap();
        fs::write(&other, " hf_other\n").unwrap();
        let hf_home = ("HF_HOME", home.path().to_str().unwrap());
        let token = |vars: &[(&str, &str)]| config(vars, Path::new("/nowhere")).token;
        assert_eq!(token(&[]), None);
        assert_eq!(token(&[hf_home]).as_deref(), Some("hf_stored"));
        assert_eq!(
            token(&[hf_home, ("HF_TOKEN_PATH", other.to_str().unwrap())]).as_deref(),
            Some("hf_other")
        );
        assert_eq!(token(&[hf_home, ("HF_TOKEN", "hf_var")]).as_deref(), Some("hf_var"));
        let debug = format!("{:?}", config(&[("HF_TOKEN", "hf_var")], Path::new("/")));
        assert!(!debug.contains("hf_var"), "{debug}");
    }
}
