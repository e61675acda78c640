//! Connections that break.

use crate::model::{Notes, WEIGHTS, World, id, usual, weights};
use crate::server::{Reply, Seen};
use beit_weights::NoProgress;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Breaks the first `times` answers to a request for weights after `bytes`.
fn breaking(times: usize, bytes: usize) -> impl Fn(&Seen, Reply) -> Reply + Send {
    let left = AtomicUsize::new(times);
    move |_, reply| match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
        Ok(_) => reply.cut(bytes),
        Err(_) => reply,
    }
}

fn starts(world: &World) -> Vec<usize> {
    world.cdn.seen().iter().map(|seen| seen.from).collect()
}

#[test]
fn a_break_is_continued() {
    let world = World::with(usual(), |_, reply| reply, breaking(1, 100_000));
    let mut notes = Notes::default();
    let folder = world.client().fetch(&id(), &mut notes).unwrap();
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights(300_000));
    assert_eq!(starts(&world), [0, 100_000]);
    assert_eq!(notes.0.last().unwrap(), &(WEIGHTS.to_owned(), 300_000, 300_000));
    assert!(!world.part().exists());
}

#[test]
fn a_server_without_ranges_starts_anew() {
    let cut = breaking(1, 100_000);
    let whole = move |seen: &Seen, reply: Reply| {
        let reply = if reply.status == 206 { Reply::body(weights(300_000)) } else { reply };
        cut(seen, reply)
    };
    let world = World::with(usual(), |_, reply| reply, whole);
    let mut notes = Notes::default();
    let folder = world.client().fetch(&id(), &mut notes).unwrap();
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights(300_000));
    assert_eq!(notes.0.last().unwrap(), &(WEIGHTS.to_owned(), 300_000, 300_000));
}

#[test]
fn breaks_end_in_an_error_and_the_next_call_continues() {
    let broken = Arc::new(AtomicBool::new(true));
    let now = broken.clone();
    let cut = move |_: &Seen, reply: Reply| if now.load(Ordering::SeqCst) { reply.cut(1000) } else { reply };
    let world = World::with(usual(), |_, reply| reply, cut);
    let error = world.client().fetch(&id(), &mut NoProgress).unwrap_err().to_string();
    assert!(
        error.contains("org/beit: the transfer of model.safetensors broke off after 3000 of 300000"),
        "{error}"
    );
    assert!(error.contains("fetch it again to continue"), "{error}");
    assert_eq!(starts(&world), [0, 1000, 2000]);
    assert!(!world.snapshot().join(WEIGHTS).exists());
    assert_eq!(fs::metadata(world.part()).unwrap().len(), 3000);
    broken.store(false, Ordering::SeqCst);
    let folder = world.client().fetch(&id(), &mut NoProgress).unwrap();
    assert_eq!(starts(&world), [3000]);
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights(300_000));
}

/// What another tool, or a crash, may leave under the name of a part.
#[test]
fn odd_parts_do_no_harm() {
    let zeros = |len| vec![0; len];
    for part in [weights(300_000), zeros(300_000), zeros(1000), weights(400_000), Vec::new()] {
        let world = World::of(usual());
        fs::create_dir_all(world.part().parent().unwrap()).unwrap();
        fs::write(world.part(), &part).unwrap();
        let folder = world.client().fetch(&id(), &mut NoProgress).unwrap();
        assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights(300_000), "part of {}", part.len());
        assert_eq!(world.blobs().len(), 3);
    }
}

#[test]
fn a_busy_hub_is_asked_again() {
    let left = AtomicUsize::new(2);
    let busy = move |_: &Seen, reply: Reply| {
        let count = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if count.is_ok() { Reply::status(503) } else { reply }
    };
    let world = World::with(usual(), busy, |_, reply| reply);
    world.client().fetch(&id(), &mut NoProgress).unwrap();
}

/// A line that is closed before the end, where the length was not told.
#[test]
fn an_early_end_is_a_break() {
    let bare = AtomicUsize::new(1);
    let early =
        move |_: &Seen, reply: Reply| match bare
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
        {
            Ok(_) => Reply::body("5\r\n12345\r\n").with("transfer-encoding", "chunked").cut(7),
            Err(_) => reply,
        };
    let world = World::with(vec![("a.pkl", b"1234567890".to_vec())], |_, reply| reply, early);
    let path = world.client().fetch_file(&id(), "a.pkl", &mut NoProgress).unwrap();
    assert_eq!(fs::read(path).unwrap(), b"1234567890");
}
