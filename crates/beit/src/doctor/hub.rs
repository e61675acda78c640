//! Checkpoints that a run would fetch.

use super::Finding;
use super::intended::Intended;

#[cfg(not(feature = "hub"))]
pub(super) fn findings(_: &Intended) -> Vec<Finding> {
    vec![Finding::ok("hub", "this build fetches nothing")]
}

#[cfg(feature = "hub")]
pub(super) fn findings(intended: &Intended) -> Vec<Finding> {
    of(&beit_weights::HubConfig::from_env(), intended)
}

/// The token itself is never shown.
#[cfg(feature = "hub")]
pub(super) fn of(config: &beit_weights::HubConfig, intended: &Intended) -> Vec<Finding> {
    const PART: &str = "hub";
    let cache = config.cache.display();
    let token =
        if config.token.is_some() { "there is a token" } else { "no token, which only private models need" };
    let way = if config.offline { "offline" } else { "online" };
    let there = if config.cache.is_dir() { "" } else { " (not there yet)" };
    let mut findings = vec![Finding::ok(PART, format!("cache {cache}{there}; {token}; {way}"))];
    for name in intended.models() {
        let text = name.to_string_lossy().into_owned();
        if name.exists() {
            findings.push(Finding::ok(PART, format!("{text} is on this machine")));
            continue;
        }
        let entry = crate::locate::known(&name);
        let id = entry.and_then(|entry| entry.hub.first()).map_or(text.as_str(), |hub| hub.id.as_str());
        let id = id.split('@').next().unwrap_or_default();
        let cached =
            config.cache.join(format!("models--{}", id.replace('/', "--"))).join("snapshots").is_dir();
        findings.push(match (cached, config.offline, id.contains('/')) {
            (true, ..) => Finding::ok(PART, format!("{text} is in the cache")),
            (false, _, false) => Finding::problem(
                PART,
                format!("{text}: no such file or folder, and no name on the hub"),
                "give a model that is there",
            ),
            (false, true, true) => Finding::problem(
                PART,
                format!("{text} is not in the cache, and HF_HUB_OFFLINE is set"),
                "fetch it on a machine with a network, or give a file",
            ),
            (false, false, true) => Finding::note(
                PART,
                format!("{text} is not in the cache"),
                "the run fetches it when it begins",
            ),
        });
    }
    findings
}
