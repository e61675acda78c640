//! What is fetched when all goes well.

use crate::model::{COMMIT, Files, Notes, WEIGHTS, World, id, names, usual, weights};
use crate::server::Reply;
use beit_weights::{Hub, HubConfig, HubId, NoProgress};
use std::fs;

#[test]
fn a_checkpoint() {
    let world = World::of(usual());
    let mut notes = Notes::default();
    let folder = world.client().fetch(&id(), &mut notes).unwrap();
    assert_eq!(folder, world.snapshot());
    assert_eq!(names(&folder), ["config.json", WEIGHTS, "preprocessor_config.json"]);
    for (name, bytes) in usual().iter().filter(|(name, _)| *name != "README.md") {
        assert_eq!(&fs::read(folder.join(name)).unwrap(), bytes, "{name}");
    }
    let want = [("config.json", 8), ("preprocessor_config.json", 8), (WEIGHTS, 300_000)];
    assert_eq!(notes.0, want.map(|(name, size)| (name.to_owned(), size, size)));
    let main = world.cache.path().join("models--org--beit/refs/main");
    assert_eq!(fs::read_to_string(main).unwrap(), COMMIT);
    #[cfg(unix)]
    assert!(fs::read_link(folder.join(WEIGHTS)).unwrap().starts_with("../../blobs"));
}

#[test]
fn what_is_cached_needs_no_request() {
    let without_preprocessor: Files =
        usual().into_iter().filter(|(name, _)| !name.starts_with("pre")).collect();
    for files in [usual(), without_preprocessor] {
        let world = World::of(files);
        let first = world.client().fetch(&id(), &mut NoProgress).unwrap();
        assert!(world.requests() > 0);
        let commit: HubId = format!("org/beit@{COMMIT}").parse().unwrap();
        for again in [id(), commit] {
            assert_eq!(world.client().fetch(&again, &mut NoProgress).unwrap(), first);
            let config = world.client().fetch_file(&again, "config.json", &mut NoProgress).unwrap();
            assert_eq!(config, first.join("config.json"));
        }
        assert_eq!(world.requests(), 0);
    }
}

#[test]
fn contents_are_fetched_once() {
    let world = World::of(usual());
    world.client().fetch(&id(), &mut NoProgress).unwrap();
    fs::remove_dir_all(world.snapshot()).unwrap();
    world.cdn.seen();
    world.client().fetch(&"org/beit@refs/pr/2".parse().unwrap(), &mut NoProgress).unwrap();
    assert_eq!(world.cdn.seen(), []);
    assert!(world.cache.path().join("models--org--beit/refs/refs/pr/2").exists());
}

#[test]
fn shards() {
    let index = "{\"metadata\": {}, \"weight_map\": {\"a\": \"w-1.safetensors\", \"b\": \"w-2.safetensors\", \"c\": \"w-1.safetensors\"}}";
    let world = World::of(vec![
        ("config.json", b"{}".to_vec()),
        ("model.safetensors.index.json", index.into()),
        ("pytorch_model.bin", weights(10)),
        ("w-1.safetensors", weights(1000)),
        ("w-2.safetensors", weights(2000)),
    ]);
    let folder = world.client().fetch(&id(), &mut NoProgress).unwrap();
    let want = ["config.json", "model.safetensors.index.json", "w-1.safetensors", "w-2.safetensors"];
    assert_eq!(names(&folder), want);
    assert_eq!(fs::read(folder.join("w-2.safetensors")).unwrap(), weights(2000));
    world.requests();
    world.client().fetch(&id(), &mut NoProgress).unwrap();
    assert_eq!(world.requests(), 0);
    fs::remove_file(folder.join("w-2.safetensors")).unwrap();
    world.client().fetch(&id(), &mut NoProgress).unwrap();
    assert_eq!(names(&folder), want);
}

#[test]
fn weights_of_torch() {
    let world = World::of(vec![("config.json", b"{}".to_vec()), ("pytorch_model.bin", weights(5000))]);
    let folder = world.client().fetch(&id(), &mut NoProgress).unwrap();
    assert_eq!(names(&folder), ["config.json", "pytorch_model.bin"]);
}

#[test]
fn a_file_by_name() {
    let world = World::of(vec![("encoder.pkl", weights(5000)), ("sub/odd name.pth", weights(70))]);
    let path = world.client().fetch_file(&id(), "encoder.pkl", &mut NoProgress).unwrap();
    assert_eq!(fs::read(&path).unwrap(), weights(5000));
    let odd = World::with(
        vec![("sub/odd%20name.pth", weights(70))],
        |_, mut reply| {
            reply.body = String::from_utf8_lossy(&reply.body).replace("%20", " ").into_bytes();
            reply
        },
        |_, reply| reply,
    );
    let path = odd.client().fetch_file(&id(), "sub/odd name.pth", &mut NoProgress).unwrap();
    assert_eq!(path, odd.snapshot().join("sub/odd name.pth"));
    assert_eq!(fs::read(path).unwrap(), weights(70));
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let world = World::of(usual());
    let hub = Hub::new(HubConfig { token: Some("hf_secret".to_owned()), ..world.config() });
    hub.fetch(&id(), &mut NoProgress).unwrap();
    assert!(world.hub.seen().iter().all(|seen| seen.token.as_deref() == Some("Bearer hf_secret")));
    let elsewhere = world.cdn.seen();
    assert!(!elsewhere.is_empty() && elsewhere.iter().all(|seen| seen.token.is_none()), "{elsewhere:?}");
}

/// The hub sends small files through its own cache, by a redirect without a host.
#[test]
fn redirects_within_the_hub() {
    let files = usual();
    let config = files[1].1.clone();
    let answer = move |seen: &crate::server::Seen, reply: Reply| match seen.path.as_str() {
        path if path.ends_with("/config.json") && !path.starts_with("/moved") => {
            Reply { status: 307, ..Reply::body("Moved, and these words have a length") }
                .with("location", format!("/moved{path}"))
        }
        path if path.starts_with("/moved") => Reply::part(&config, seen).with("etag", "\"abc\""),
        _ => reply,
    };
    let world = World::with(files, answer, |_, reply| reply);
    let folder = world.client().fetch(&id(), &mut NoProgress).unwrap();
    assert_eq!(fs::read(folder.join("config.json")).unwrap(), usual()[1].1);
}

#[test]
fn two_at_once() {
    let world = World::of(usual());
    std::thread::scope(|scope| {
        let fetch = || world.client().fetch(&id(), &mut NoProgress).unwrap();
        let all: Vec<_> = (0..4).map(|_| scope.spawn(fetch)).collect();
        all.into_iter().for_each(|one| assert_eq!(one.join().unwrap(), world.snapshot()));
    });
    assert_eq!(fs::read(world.snapshot().join(WEIGHTS)).unwrap(), weights(300_000));
    assert_eq!(world.blobs().len(), 3, "{:?}", world.blobs());
    let transfers = world.cdn.seen().iter().filter(|seen| seen.method == "GET").count();
    assert_eq!(transfers, 1);
}
