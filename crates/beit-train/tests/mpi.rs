//! Ranks that MPI starts end with the same bits as one process.
//!
//! The first test starts this program again, under `mpirun`; the others are what it does there.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a rank says to the test that started it"
)]

mod common;
mod noise;
mod trained;

use beit_data::Loader;
use beit_ops::Host;
use beit_train::{Communicator, Mpi, Recipe, Task, sum_over_ranks};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use trained::{TrainingOf, Visit, alone, shared, visit_all};

/// Which of the parts below a process that `mpirun` started does.
const PART: &str = "BEIT_TEST_PART";

/// Runs a part with so many ranks.
fn mpirun(part: &str, ranks: usize) -> Output {
    // One after another: waiting ranks keep cores busy.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let launcher = std::env::var("MPIRUN").unwrap_or_else(|_| "mpirun".to_owned());
    let this = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(&launcher);
    command.args(["-n", &ranks.to_string()]).arg(this);
    command.args(["--exact", "what_a_rank_does", "--nocapture"]).env(PART, part);
    // Open MPI 4 and 5: more ranks than cores, and the one user that machines of tests have.
    command.env("OMPI_MCA_rmaps_base_oversubscribe", "1");
    command.env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.output().unwrap_or_else(|error| panic!("cannot start {launcher}: {error}"))
}

fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn ranks_of_mpi_end_with_the_bits_of_one_process() {
    for ranks in [1, 2, 4] {
        let output = mpirun("train", ranks);
        let text = text(&output);
        assert!(output.status.success(), "{ranks} ranks\n{text}");
        assert_eq!(text.matches("all bits are equal").count(), ranks, "{text}");
    }
}

#[test]
fn numbers_and_records_travel() {
    for ranks in [2, 3, 4] {
        let output = mpirun("talk", ranks);
        assert!(output.status.success(), "{ranks} ranks\n{}", text(&output));
    }
}

#[test]
fn a_rank_that_sleeps_is_named_and_all_end() {
    let output = mpirun("sleep", 2);
    let text = text(&output);
    assert!(!output.status.success(), "{text}");
    assert!(
        text.contains("rank 0 of this run cannot go on: rank 1 has said nothing for 0.5 seconds"),
        "{text}"
    );
}

#[test]
fn ranks_that_disagree_are_found() {
    for (part, said) in [
        ("lengths", "rank 1 sent 2 numbers, expected 3"),
        ("kinds", "rank 1 sent a record, expected numbers"),
    ] {
        let output = mpirun(part, 2);
        let text = text(&output);
        assert!(!output.status.success(), "{text}");
        assert!(text.contains(said), "expected `{said}`\n{text}");
    }
}

/// Nothing, unless `mpirun` started it.
#[test]
fn what_a_rank_does() {
    let Ok(part) = std::env::var(PART) else { return };
    let patience = if part == "sleep" { 0.5 } else { 60.0 };
    let mut mpi = Mpi::start().expect("mpirun started it").with_patience(Duration::from_secs_f64(patience));
    let rank = mpi.shard().rank;
    match &*part {
        "train" => {
            visit_all(&mut SameBits(&mut mpi));
            println!("all bits are equal");
        }
        "talk" => talk(&mut mpi),
        "sleep" if rank == 1 => std::thread::sleep(Duration::from_secs(600)),
        "lengths" if rank == 1 => drop(mpi.exchange(0, &[1.0; 2], &mut [])),
        "kinds" if rank == 1 => drop(mpi.gather(&[])),
        _ => {
            let failed = mpi.exchange(1, &[], &mut [0.0; 3]).expect_err("rank 1 does something else");
            eprintln!("{failed}");
            mpi.abort(1);
        }
    }
}

/// Sums of lengths that cannot be halved, and records of several lengths.
fn talk(mpi: &mut Mpi) {
    let shard = mpi.shard();
    let of = shard.of as f32;
    for length in [0, 1, 7, 1001, 300_000] {
        let mut values: Vec<f32> = (0..length).map(|i| (i % 17 + shard.rank) as f32).collect();
        sum_over_ranks(mpi, &mut values).expect("all ranks are there");
        for (i, value) in values.into_iter().enumerate() {
            assert_eq!(value, of * (i % 17) as f32 + of * (of - 1.0) / 2.0, "number {i} of {length}");
        }
        // Far beyond what MPI keeps for a rank that is late.
        let record = |rank: usize| vec![5 + rank as u8; rank * length];
        let records = mpi.gather(&record(shard.rank)).expect("all ranks are there");
        assert!(records.into_iter().enumerate().all(|(rank, found)| found == record(rank)));
    }
}

struct SameBits<'a>(&'a mut Mpi);

impl Visit for SameBits<'_> {
    fn visit<K: Task<Host<f32>>>(
        &mut self,
        name: &str,
        make: impl Fn(Recipe) -> TrainingOf<K> + Sync,
        loader: impl Fn() -> Loader<K::Sample> + Sync,
    ) {
        let end = shared(self.0, None, &make, &loader).expect("training works");
        assert!(
            end == alone(&make, &loader),
            "{name}: rank {} of {}",
            self.0.shard().rank,
            self.0.shard().of
        );
    }
}
