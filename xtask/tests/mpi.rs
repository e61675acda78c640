//! Processes that an MPI launcher starts train together as one would.
#![cfg(all(unix, feature = "mpi"))]

use crate::common::{Outcome, Place};
use std::process::{Command, Stdio};
use std::time::Duration;

const SHORT: &str = "pretrain --data folder:photos --tokenizer-kind dvae --accept-tokenizer --tokenizer-steps 2 --drop-path 0.2 \
                     --update-freq 4 --batch-size 4 --threads 1 --steps";

/// What `mpirun` starts so many of: more than there are cores, by the one user that machines of tests have.
fn mpirun(place: &Place, ranks: usize, args: &str) -> Command {
    let mut command = Command::new(std::env::var("MPIRUN").unwrap_or_else(|_| "mpirun".to_owned()));
    command.args(["-n", &ranks.to_string(), env!("CARGO_BIN_EXE_xtask")]).args(args.split_whitespace());
    command.env("OMPI_MCA_rmaps_base_oversubscribe", "1");
    command.env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.current_dir(place.path("")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(mut command: Command) -> Outcome {
    Outcome::of("", command.output().expect("mpirun is there"))
}

#[test]
fn the_same_bits_over_mpi() {
    let place = Place::with_photos();
    place.good(&format!("{SHORT} 3 --out one"));
    let outcome = ended(mpirun(&place, 4, &format!("{SHORT} 3 --out four")));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let said = "rank 0 of 4, by OMPI_COMM_WORLD_RANK, of Open MPI";
    assert!(outcome.stderr.contains(said) && outcome.stderr.contains("over MPI"), "{outcome}");
    for part in ["last/", "tokenizer", "pictures"] {
        let [one, four] = ["one", "four"].map(|run| place.contents(&format!("{run}/{part}")));
        assert!(one == four && !one.is_empty(), "{part} of 4 ranks differs");
    }
}

#[test]
fn what_one_rank_refuses_ends_all() {
    let place = Place::with_photos();
    place.good(&format!("{SHORT} 1 --out taken"));
    // Rank 0 alone looks into the folder.
    let outcome = ended(mpirun(&place, 2, &format!("{SHORT} 1 --out taken")));
    assert!(outcome.code != Some(0) && outcome.stderr.contains("error: taken is not empty"), "{outcome}");
    let outcome = ended(mpirun(
        &place,
        2,
        &format!("{SHORT} 1 --out other --update-freq 3").replace("--update-freq 4 ", ""),
    ));
    assert!(
        outcome.stderr.contains("--update-freq 3: the micro-batches of a step are shared by 2"),
        "{outcome}"
    );
}

#[test]
fn a_rank_that_is_killed_ends_all_and_another_number_goes_on() {
    let place = Place::with_photos();
    // A name that no other process of this machine has.
    let own = &format!("run-{}", std::process::id());
    place.good(&format!("{SHORT} 20 --save-every 2 --out whole"));
    let mut launcher = mpirun(&place, 2, &format!("{SHORT} 20 --save-every 2 --out {own}"))
        .spawn()
        .expect("mpirun is there");
    while !place.path(&format!("{own}/last/model.safetensors")).exists() {
        assert!(launcher.try_wait().unwrap().is_none(), "it ended before it saved");
        std::thread::sleep(Duration::from_millis(2));
    }
    let victim =
        Command::new("pkill").args(["-KILL", "-n", "-f", &format!("xtask pretrain.*--out {own}$")]).status();
    assert!(victim.unwrap().success());
    let outcome = Outcome::of("", launcher.wait_with_output().unwrap());
    assert!(outcome.code != Some(0), "{outcome}");
    let outcome = ended(mpirun(&place, 4, &format!("pretrain --resume --out {own} --threads 1")));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let [whole, run] = ["whole", own].map(|run| place.contents(&format!("{run}/last/")));
    assert!(whole == run, "it goes on to other numbers");
    place.nothing_half_written(own);
}
