//! Hubs and processes that let us wait.

use crate::model::{WEIGHTS, Words, World, id, sha256, usual, weights};
use crate::server::{Reply, Seen};
use beit_weights::{Hub, HubConfig, NoProgress, Waits};
use std::fs::{self, File};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn waits(word: u64, silence: u64, end: u64) -> Waits {
    let [word, silence, end] = [word, silence, end].map(Duration::from_millis);
    Waits { word, silence, end, ..Waits::default() }
}

/// Fetches; what was said of waiting, and how it ended.
fn fetch(world: &World, waits: Waits) -> (Vec<String>, Result<(), String>) {
    let mut words = Words::default();
    let fetched = world.client().with_waits(waits).fetch(&id(), &mut words);
    (words.0, fetched.map(drop).map_err(|error| error.to_string()))
}

fn assert_said(words: &[String], parts: &[&str]) {
    let found = words.iter().any(|word| parts.iter().all(|part| word.contains(part)));
    assert!(found, "{parts:?} is not in {words:?}");
}

/// Changes the first answer.
fn once(change: impl Fn(Reply) -> Reply + Send) -> impl Fn(&Seen, Reply) -> Reply + Send {
    let left = AtomicUsize::new(1);
    move |_, reply| match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
        Ok(_) => change(reply),
        Err(_) => reply,
    }
}

fn sleeping(millis: u64) -> impl Fn(&Seen, Reply) -> Reply + Send {
    move |_, reply| {
        std::thread::sleep(Duration::from_millis(millis));
        reply
    }
}

#[test]
fn a_slow_hub_is_named() {
    let world = World::with(usual(), sleeping(250), |_, reply| reply);
    let (words, fetched) = fetch(&world, waits(60, 20_000, 20_000));
    fetched.unwrap();
    assert_said(&words, &["waiting for an answer of", &world.hub.url(), "given up after 20 s"]);
}

#[test]
fn a_silent_hub_is_given_up() {
    let world = World::with(usual(), sleeping(600), |_, reply| reply);
    let hub = Hub::new(HubConfig { retries: 100, ..world.config() }).with_waits(waits(60, 200, 500));
    let (mut words, begun) = (Words::default(), Instant::now());
    let error = hub.fetch(&id(), &mut words).unwrap_err().to_string();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}: {error}", begun.elapsed());
    assert!(error.contains("org/beit"), "{error}");
    assert_said(&words.0, &["waiting for an answer of", &world.hub.url()]);
}

#[test]
fn a_transfer_that_stalls_is_named_and_continued() {
    let stall = once(|reply| reply.cut(100_000).stall(Duration::from_millis(500)));
    let world = World::with(usual(), |_, reply| reply, stall);
    let (words, fetched) = fetch(&world, waits(60, 250, 20_000));
    fetched.unwrap();
    assert_said(&words, &["waiting for more of model.safetensors"]);
    assert_eq!(fs::read(world.snapshot().join(WEIGHTS)).unwrap(), weights(300_000));
}

#[test]
fn a_busy_hub_is_asked_again_when_it_says() {
    for status in [429, 503] {
        let busy = once(move |_| Reply::status(status).with("retry-after", "1"));
        let world = World::with(usual(), busy, |_, reply| reply);
        let begun = Instant::now();
        let (words, fetched) = fetch(&world, Waits::default());
        fetched.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_said(&words, &[&world.hub.url(), &status.to_string(), "asked again in 1 s"]);
    }
}

#[test]
fn a_hub_that_asks_for_too_long_a_pause() {
    let busy = |_: &Seen, _: Reply| Reply::status(429).with("retry-after", "100000");
    let world = World::with(usual(), busy, |_, reply| reply);
    let (words, fetched) = fetch(&world, Waits::default());
    let error = fetched.unwrap_err();
    assert!(error.contains("answered 429; try again in 100000 s, as it asks"), "{error}");
    assert_eq!((words.len(), world.requests()), (0, 1));
}

/// The lock of the weights, held by somebody else.
fn held(world: &World) -> (File, String) {
    let path =
        world.cache.path().join(format!(".locks/models--org--beit/{}.lock", sha256(&weights(300_000))));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let lock = File::create(&path).unwrap();
    lock.lock().unwrap();
    (lock, path.display().to_string())
}

#[test]
fn a_lock_held_elsewhere_is_named_and_given_up() {
    let world = World::of(usual());
    let (_lock, path) = held(&world);
    let (words, fetched) = fetch(&world, waits(60, 20_000, 400));
    let error = fetched.unwrap_err();
    assert!(error.contains("another process holds") && error.contains(&path), "{error}");
    assert_said(&words, &["another process is fetching the same file", &path]);
}

#[test]
fn a_lock_that_becomes_free_is_taken() {
    let world = World::of(usual());
    let (lock, path) = held(&world);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(1500));
            drop(lock);
        });
        let (words, fetched) = fetch(&world, waits(60, 20_000, 20_000));
        fetched.unwrap();
        assert_said(&words, &[&path]);
    });
}

/// Where everything is there, nothing needs to be written: neither what there is not, nor the commit.
#[test]
fn a_whole_cache_that_cannot_be_written() {
    let files: Vec<_> = usual().into_iter().filter(|(name, _)| !name.starts_with("pre")).collect();
    let world = World::of(files);
    let folder = world.client().fetch(&id(), &mut NoProgress).unwrap();
    let model = world.cache.path().join("models--org--beit");
    // As another tool leaves it, which does not note what there is not; and nobody can, not even who may do everything.
    fs::remove_dir_all(model.join(".no_exist")).unwrap();
    fs::write(model.join(".no_exist"), "").unwrap();
    assert_eq!(world.client().fetch(&id(), &mut NoProgress).unwrap(), folder);
    fs::remove_dir_all(model.join("refs")).unwrap();
    fs::write(model.join("refs"), "").unwrap();
    assert_eq!(world.client().fetch(&id(), &mut NoProgress).unwrap(), folder);
}
