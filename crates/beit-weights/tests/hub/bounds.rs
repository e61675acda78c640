//! What is larger than it can be, or is not what its name says.

use crate::model::{WEIGHTS, World, git_hash, id, usual};
use crate::server::{Reply, Seen};
use beit_weights::{Error, HubProblem, NoProgress};
use std::fs;

const CONFIG: &str = "/config.json";
/// The largest configuration that is taken.
const MOST: u64 = 16 << 20;

fn refused(world: &World) -> HubProblem {
    match world.client().fetch(&id(), &mut NoProgress).unwrap_err() {
        Error::Hub { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

/// What the cache holds, in bytes.
fn cached(world: &World) -> u64 {
    world.blobs().iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

/// Neither the one before nor the transfer itself tells a length.
#[test]
fn a_body_without_an_end() {
    let endless = |seen: &Seen, reply: Reply| match seen.path.ends_with(CONFIG) {
        true => {
            let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
            Reply::body(chunk).with("transfer-encoding", "chunked").with("etag", "\"abc\"").endless()
        }
        false => reply,
    };
    let world = World::with(usual(), endless, |_, reply| reply);
    let problem = refused(&world);
    let HubProblem::TooLarge { file, found, most } = &problem else { panic!("{problem}") };
    assert_eq!((file.as_str(), *most), ("config.json", MOST));
    assert!(*found > MOST && *found < 2 * MOST, "{found} bytes were taken");
    let text = problem.to_string();
    assert!(text.contains("config.json") && text.contains("at most 16777216"), "{text}");
    assert_eq!(cached(&world), 0);
}

/// Nothing is asked for that is announced to be too large.
#[test]
fn an_announced_length_beyond_the_bound() {
    let huge = |seen: &Seen, reply: Reply| match seen.path.ends_with(CONFIG) {
        true => Reply::body(" ").with("content-length", "6000000000").with("etag", "\"abc\""),
        false => reply,
    };
    let world = World::with(usual(), huge, |_, reply| reply);
    let problem = refused(&world);
    assert!(matches!(problem, HubProblem::TooLarge { found: 6_000_000_000, .. }), "{problem}");
    assert!(world.hub.seen().iter().all(|seen| seen.method == "HEAD" || !seen.path.ends_with(CONFIG)));
}

/// The hub names small files by Git's hash of their contents.
#[test]
fn small_files_that_are_not_what_their_name_says() {
    let wrong = |seen: &Seen, mut reply: Reply| {
        if seen.path.ends_with(CONFIG) && seen.method == "GET" {
            reply.body[2] = b'z';
        }
        reply
    };
    let world = World::with(usual(), wrong, |_, reply| reply);
    let problem = refused(&world);
    let expected = git_hash(&usual()[1].1);
    assert!(matches!(&problem, HubProblem::Hash { kind: "Git's hash", .. }), "{problem}");
    let text = problem.to_string();
    assert!(text.contains("config.json has Git's hash") && text.contains(&expected), "{text}");
    assert_eq!(cached(&world), 0);
    // As `git hash-object` says.
    assert_eq!(git_hash(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
    let sound = World::of(usual());
    sound.client().fetch(&id(), &mut NoProgress).unwrap();
    assert!(sound.snapshot().join(WEIGHTS).exists());
}
