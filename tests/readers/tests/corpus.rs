//! Every reader on the inputs of its corpus, and on each of them damaged in many ways. The damage is the same in every run.
// The allocator that counts is unsafe to implement.
#![allow(unsafe_code)]

mod memory;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use readers::{READERS, read};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Damaged inputs of each reader, shared among the files of its corpus. One takes a millisecond or two.
const DAMAGED: usize = 1500;

/// Longest input.
const LONGEST: usize = 1 << 16;

/// Most bytes of one allocation, and of all of the process together; longest time for one input. The fuzzers have the same.
const ALLOCATION: usize = 512 << 20;
const MEMORY: usize = 2 << 30;
const TIME: Duration = Duration::from_secs(10);

macro_rules! readers {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            withstands(stringify!($name));
        })*

        #[test]
        fn all_are_here() {
            assert_eq!(READERS.map(|(name, _)| name), [$(stringify!($name)),*]);
        }
    };
}

readers! { arrow channels config folder idx image masks parquet pickle resume safetensors shards }

/// The fuzz targets are a workspace of their own, so no other step would say that one is missing.
#[test]
fn each_has_a_fuzz_target() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("it is there");
    let manifest: toml::Table = manifest.parse().expect("it is TOML");
    let targets = manifest["bin"].as_array().expect("it has targets").iter();
    let named: Vec<&str> = targets.filter_map(|target| target["name"].as_str()).collect();
    for (name, _) in READERS {
        assert!(named.contains(&name), "{name} is no target of fuzz/Cargo.toml");
        let text = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).expect("it is there");
        assert!(text.contains(&format!("readers::read(\"{name}\", bytes)")), "{name}");
    }
    assert_eq!(named.len(), READERS.len());
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn withstands(reader: &str) {
    let inputs = corpus(reader);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for input in &inputs {
        survives(reader, input);
        for _ in 0..DAMAGED.div_ceil(inputs.len()) {
            survives(reader, &damaged(input, &inputs, &mut rng));
        }
    }
}

/// The files of a corpus, in the order of their names.
fn corpus(reader: &str) -> Vec<Vec<u8>> {
    let folder = fuzz().join("corpus").join(reader);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.iter().map(|path| fs::read(path).expect("it can be read")).collect()
}

/// An input that breaks the reader, or asks too much of it, is left in a file, which a fuzz target takes too.
fn survives(reader: &str, input: &[u8]) {
    memory::largest();
    let begun = Instant::now();
    let read = catch_unwind(AssertUnwindSafe(|| read(reader, input)));
    let (took, largest, most) = (begun.elapsed(), memory::largest(), memory::most());
    if read.is_err() || took > TIME || largest > ALLOCATION || most > MEMORY {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("breaks-{reader}"));
        fs::write(&path, input).expect("the folder for tests is writable");
        panic!(
            "{reader} breaks on {}: in {took:?}, with an allocation of {largest} bytes and {most} in all; a panic is said above",
            path.display()
        );
    }
}

/// One to four changes, small ones in one place or larger ones that move bytes.
fn damaged(input: &[u8], others: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = input.to_owned();
    for _ in 0..rng.random_range(1..=4) {
        change(&mut bytes, others, rng);
        bytes.truncate(LONGEST);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut ChaCha8Rng) {
    let kind = if bytes.is_empty() { 5 } else { rng.random_range(0..8) };
    let at = rng.random_range(0..=bytes.len().saturating_sub(1));
    let end = (at + rng.random_range(1..=64)).min(bytes.len());
    match kind {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = rng.random(),
        2 => number(&mut bytes[at..], rng),
        3 => drop(bytes.drain(at..end)),
        4 => bytes.truncate(at),
        5 => {
            let mut more = vec![0; rng.random_range(1..=16)];
            rng.fill_bytes(&mut more);
            bytes.splice(at..at, more);
        }
        6 => {
            let again = bytes[at..end].to_owned();
            bytes.splice(at..at, again);
        }
        // The end of another input.
        _ => {
            let other = &others[rng.random_range(0..others.len())];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[at.min(other.len())..]);
        }
    }
}

/// A number at the limit of what its size can hold, in either order of its bytes.
fn number(bytes: &mut [u8], rng: &mut ChaCha8Rng) {
    let size = [1, 2, 4, 8][rng.random_range(0..4)].min(bytes.len());
    let limits = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];
    let number = limits[rng.random_range(0..limits.len())];
    let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
    let chosen = if rng.random() { &little[..size] } else { &big[8 - size..] };
    bytes[..size].copy_from_slice(chosen);
}
