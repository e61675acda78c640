//! Without a network.

use crate::model::{COMMIT, World, id, usual};
use crate::server::{Reply, Server};
use beit_weights::{Hub, HubConfig, NoProgress};
use std::fs;

#[test]
fn an_empty_cache() {
    let world = World::of(usual());
    let error = world.offline().fetch(&id(), &mut NoProgress).unwrap_err().to_string();
    let cache = world.cache.path().display().to_string();
    for part in ["org/beit", "HF_HUB_OFFLINE", &cache, "lacks this model", "local folder"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(world.requests(), 0);
}

#[test]
fn a_full_cache() {
    let world = World::of(usual());
    let folder = world.client().fetch(&id(), &mut NoProgress).unwrap();
    world.requests();
    assert_eq!(world.offline().fetch(&id(), &mut NoProgress).unwrap(), folder);
    let error = world.offline().fetch_file(&id(), "encoder.pkl", &mut NoProgress).unwrap_err().to_string();
    assert!(error.contains("lacks encoder.pkl"), "{error}");
    assert_eq!(world.requests(), 0);
}

/// Another tool fetched what it needed, and did not note what there is not.
#[test]
fn a_cache_of_another_tool() {
    let world = World::of(usual());
    let folder = world.snapshot();
    fs::create_dir_all(&folder).unwrap();
    fs::create_dir_all(folder.join("../../refs")).unwrap();
    fs::write(folder.join("../../refs/main"), COMMIT).unwrap();
    fs::write(folder.join("config.json"), "{}").unwrap();
    let error = world.offline().fetch(&id(), &mut NoProgress).unwrap_err().to_string();
    assert!(error.contains("lacks the weights"), "{error}");
    fs::write(folder.join("pytorch_model.bin"), "x").unwrap();
    assert_eq!(world.offline().fetch(&id(), &mut NoProgress).unwrap(), folder);
    assert_eq!(world.requests(), 0);
    // A dead network is no reason to refuse it either.
    let closed = Server::new(|_| Reply::status(500)).url();
    let dead = Hub::new(HubConfig { endpoint: closed, ..world.config() });
    assert_eq!(dead.fetch(&id(), &mut NoProgress).unwrap(), folder);
    // With a network, better weights are looked for.
    world.client().fetch(&id(), &mut NoProgress).unwrap();
    assert!(folder.join("model.safetensors").exists());
}
