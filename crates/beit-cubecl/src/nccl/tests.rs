//! What is said and done where NCCL is missing, fails or never ends: with a library that is compiled here and knows no GPU.

use super::communicator::{Communicator, Part, Seat};
use super::{NcclError, NcclLibrary};
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What goes wrong, as `fake.c` counts it.
#[derive(Clone, Copy)]
enum Wrong {
    Nothing,
    JoinNeverEnds,
    JoinFails,
    JoinFailsLater,
    SumNeverEnds,
    SumFails,
    OtherFails,
    AbortNeverEnds,
}

/// Long enough for what ends, and short enough to be waited for.
const PATIENCE: Duration = Duration::from_millis(200);

/// The library, in a folder of its own: another file is another library, with its own counts.
struct Fake {
    folder: tempfile::TempDir,
}

impl Fake {
    fn compiled(flags: &[&str]) -> Self {
        let fake = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/nccl/fake.c");
        let mut compiler = Command::new(std::env::var("CXX").unwrap_or_else(|_| "g++".to_owned()));
        compiler.args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-x", "c"]).args(flags);
        let done =
            compiler.arg("-o").arg(fake.file()).arg(source).status().expect("a C compiler; Debian: g++");
        assert!(done.success(), "the library compiles");
        fake
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("libnccl.so.2")
    }

    fn library(&self) -> NcclLibrary {
        NcclLibrary::load_file(&self.file()).expect("a library with all functions")
    }

    fn aborted(&self) -> c_int {
        // SAFETY: it is there already, and the function has no arguments.
        unsafe {
            let library = libloading::Library::new(self.file()).expect("it was loaded before");
            library.get::<unsafe extern "C" fn() -> c_int>("fakeAborted").expect("it is a fake")()
        }
    }

    fn join(&self, wrong: Wrong, rank: usize, of: usize) -> Result<Communicator, NcclError> {
        let mut id = self.library().id().expect("an id");
        assert_eq!(id[127], 127);
        id[0] = wrong as u8;
        Communicator::join(self.library(), &Seat { id, rank, of }, PATIENCE)
    }
}

/// Sums two parts of the memory of the host, with a stream that is done when it is asked for the second time.
fn sum(communicator: &mut Communicator, numbers: &mut [f32; 3]) -> Result<(), NcclError> {
    let mut asked = 0;
    let over = || {
        asked += 1;
        Ok(asked == 2)
    };
    let address = numbers.as_mut_ptr().expose_provenance() as u64;
    let parts = [Part { address, len: 2 }, Part { address: address + 8, len: 1 }];
    // SAFETY: the library writes to these numbers before the call returns.
    unsafe { communicator.sum(&parts, std::ptr::null_mut(), over) }
}

#[test]
fn numbers_become_their_sums() {
    let fake = Fake::compiled(&[]);
    assert_eq!(fake.library().version().as_deref(), Ok("2.27.3"));
    let mut joined = fake.join(Wrong::Nothing, 2, 3).expect("nothing goes wrong");
    let mut numbers = [1.0, -2.0, 0.5];
    assert_eq!(sum(&mut joined, &mut numbers), Ok(()));
    assert_eq!(numbers, [3.0, -6.0, 1.5]);
    assert_eq!(fake.aborted(), 0);
    drop(joined);
    assert_eq!(fake.aborted(), 1);
}

#[test]
fn a_library_that_is_missing_or_is_none_is_said() {
    let said = |found: Result<NcclLibrary, NcclError>| found.expect_err("no library").to_string();
    let missing = said(NcclLibrary::search(&["libbeit-no-such.so.2", "libbeit-no-such.so"]));
    assert!(
        missing.starts_with(
            "NCCL is not on this machine: found no libnccl.so.2 and no libnccl.so (libbeit-no-such.so.2: "
        ),
        "{missing}"
    );
    assert!(missing.ends_with("named by the environment variable BEIT_NCCL"), "{missing}");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("libnccl.so.2");
    let named = |problem: &str| {
        let said = said(NcclLibrary::load_file(&file));
        assert!(said.starts_with(&format!("BEIT_NCCL={}: cannot be loaded (", file.display())), "{said}");
        assert!(said.contains(problem) && said.ends_with("expected the path of a libnccl.so.2"), "{said}");
    };
    named("No such file");
    std::fs::write(&file, "no library").expect("the disk has room");
    named("");

    let old = Fake::compiled(&["-DOLD"]);
    let expected =
        format!("{} has no ncclCommInitRankConfig: expected NCCL from 2.14 on", old.file().display());
    assert_eq!(said(NcclLibrary::load_file(&old.file())), expected);
}

#[test]
fn failures_are_told_by_the_words_of_nccl() {
    let fake = Fake::compiled(&[]);
    let joined = |wrong, rank| fake.join(wrong, rank, 2).err().expect("it goes wrong").to_string();
    let refused = joined(Wrong::JoinFails, 0);
    assert_eq!(
        refused,
        "NCCL failed to join the other processes: unhandled cuda error (1): Duplicate GPU detected"
    );
    let refused = joined(Wrong::JoinFailsLater, 0);
    assert!(refused.ends_with("unhandled cuda error (1): connection refused"), "{refused}");
    assert_eq!(fake.aborted(), 1);
    let refused = joined(Wrong::Nothing, 2);
    assert!(refused.ends_with("invalid argument (4): Invalid rank requested"), "{refused}");

    for (wrong, words) in [
        (Wrong::SumFails, "invalid argument (4): misaligned address"),
        (Wrong::OtherFails, "unhandled cuda error (1): remote process exited"),
    ] {
        let mut joined = fake.join(wrong, 0, 2).expect("the sum goes wrong");
        let before = fake.aborted();
        let failed = sum(&mut joined, &mut [0.0; 3]).expect_err("it goes wrong").to_string();
        assert_eq!(failed, format!("NCCL failed to add up: {words}"));
        assert_eq!(fake.aborted(), before + 1, "what is on its way ends");
        assert_eq!(sum(&mut joined, &mut [0.0; 3]), Err(NcclError::Ended));
        drop(joined);
        assert_eq!(fake.aborted(), before + 1, "it ends once");
    }
}

#[test]
fn what_never_ends_is_ended() {
    let fake = Fake::compiled(&[]);
    let begun = Instant::now();
    let late = |failed: NcclError, doing: &str| {
        let expected =
            format!("NCCL failed to {doing} within 0.2 seconds: another process has ended or hangs");
        assert_eq!(failed.to_string(), expected);
    };
    late(fake.join(Wrong::JoinNeverEnds, 0, 2).err().expect("nobody comes"), "join the other processes");
    let mut joined = fake.join(Wrong::SumNeverEnds, 0, 2).expect("the sum goes wrong");
    late(sum(&mut joined, &mut [0.0; 3]).expect_err("nobody comes"), "add up");
    assert_eq!(fake.aborted(), 2);
    // Nor does an abort hold a process up.
    drop(fake.join(Wrong::AbortNeverEnds, 0, 2).expect("only the abort goes wrong"));
    assert!(begun.elapsed() < 20 * PATIENCE, "{:?}", begun.elapsed());
}

/// Which memory is added up needs no NVIDIA GPU.
#[test]
fn tensors_that_fill_an_arena_are_one_part() {
    use crate::arena::gather;
    use beit_ops::prelude::*;
    let gpu = crate::wgpu(crate::Precision::F32).expect("a Vulkan driver; Debian: mesa-vulkan-drivers");
    let mut tensors = [3, 2000].map(|len| gpu.upload([len], &vec![1.0; len]));
    let lens = |tensors: &mut [crate::Tensor]| {
        let memory = super::memory::memory(&gpu, tensors.iter_mut().collect()).expect("they are f32");
        memory.into_iter().map(|(_, len)| len).collect::<Vec<_>>()
    };
    assert_eq!(lens(&mut tensors), [3, 2000]);
    gather(&gpu, tensors.iter_mut().collect());
    assert_eq!(lens(&mut tensors), [1024 + 2048]);
    // A clone keeps its numbers: what is added up lies elsewhere then.
    let clone = tensors[0].clone();
    assert_eq!(lens(&mut tensors), [3, 2000]);
    assert_eq!(gpu.read(&clone), Ok(vec![1.0; 3]));
}

/// Where there is one, its functions are there, and it fails in words where it finds no GPU.
#[test]
fn the_library_of_this_machine() {
    use crate::OpenError;
    let library = match NcclLibrary::load() {
        Ok(library) => library,
        Err(error) => {
            let missing = OpenError::Missing { device: "nccl".to_owned(), reason: error.to_string() };
            return crate::testing::not_run("NCCL's own library", &missing);
        }
    };
    let version = library.version().expect("NCCL tells");
    assert!(version.starts_with("2."), "{version}");
    let joined = library
        .id()
        .and_then(|id| Communicator::join(library, &Seat { id, rank: 0, of: 1 }, Duration::from_secs(30)));
    match joined {
        Ok(_) => {}
        Err(NcclError::Failed { words, .. }) => assert!(!words.is_empty()),
        Err(error) => panic!("NCCL {version}: {error}"),
    }
}
