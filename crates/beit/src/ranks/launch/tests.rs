use super::*;

/// What is said of a process with these variables, or the error.
fn said(mpi: bool, settings: &RankSettings, variables: &[(&str, &str)]) -> String {
    let env =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    match Launch::by(settings, &env, mpi) {
        Ok(Some(launch)) => launch.to_string(),
        Ok(None) => "alone".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn found(variables: &[(&str, &str)]) -> String {
    said(false, &RankSettings::default(), variables)
}

const TORCHRUN: [(&str, &str); 6] = [
    ("RANK", "3"),
    ("WORLD_SIZE", "4"),
    ("LOCAL_RANK", "1"),
    ("LOCAL_WORLD_SIZE", "2"),
    ("MASTER_ADDR", "node1"),
    ("MASTER_PORT", "29400"),
];
const SRUN: [(&str, &str); 7] = [
    ("SLURM_STEP_ID", "0"),
    ("SLURM_PROCID", "5"),
    ("SLURM_NTASKS", "8"),
    ("SLURM_LOCALID", "1"),
    ("SLURM_STEP_TASKS_PER_NODE", "4(x2)"),
    ("SLURM_STEP_NODELIST", "gpu[03-04]"),
    ("SLURM_JOB_ID", "123456"),
];
const MPIRUN: [(&str, &str); 4] = [
    ("OMPI_COMM_WORLD_RANK", "1"),
    ("OMPI_COMM_WORLD_SIZE", "2"),
    ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
    ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
];

#[test]
fn launchers_are_understood() {
    assert_eq!(found(&[]), "alone");
    assert_eq!(
        found(&TORCHRUN),
        "rank 3 of 4, by RANK and WORLD_SIZE, of torchrun; 1 of 2 on this machine; over TCP, meeting at node1:29400"
    );
    let elastic = [("TORCHELASTIC_USE_AGENT_STORE", "True"), ("TORCHELASTIC_RESTART_COUNT", "2")];
    assert!(found(&[&TORCHRUN[..], &elastic].concat()).ends_with("meeting by the store at node1:29400"));
    assert_eq!(
        found(&[&TORCHRUN[..2], &TORCHRUN[4..]].concat()),
        "rank 3 of 4, by RANK and WORLD_SIZE, with no LOCAL_RANK: taken for one process a machine; 0 of 1 on this machine; over TCP, \
         meeting at node1:29400"
    );
    assert_eq!(
        found(&SRUN),
        "rank 5 of 8, by SLURM_PROCID, of srun; 1 of 4 on this machine; over TCP, meeting at gpu03:13456"
    );
    assert_eq!(
        said(true, &RankSettings::default(), &MPIRUN),
        "rank 1 of 2, by OMPI_COMM_WORLD_RANK, of Open MPI; 1 of 2 on this machine; over MPI"
    );
    assert!(
        said(true, &RankSettings::default(), &[("PMI_RANK", "0"), ("PMI_SIZE", "2")]).ends_with("over MPI")
    );
    assert!(
        said(true, &RankSettings::default(), &[&SRUN[..], &[("PMIX_RANK", "5")]].concat())
            .ends_with("over MPI")
    );
    let pmi2 = [&SRUN[..], &[("PMI_RANK", "5"), ("PMI_SIZE", "8")]].concat();
    assert!(found(&pmi2).starts_with("rank 5 of 8, by SLURM_PROCID"));
    // A part of the tasks of a job.
    assert!(found(&[&SRUN[..], &[("SLURM_STEP_NUM_TASKS", "6")]].concat()).starts_with("rank 5 of 6, "));
    assert!(
        found(&[&MPIRUN[..], &[("MASTER_ADDR", "a")]].concat()).ends_with("over TCP, meeting at a:29500")
    );
    let job =
        RankSettings { world_size: Some(2), master_addr: Some("job-0.net".to_owned()), ..Default::default() };
    assert_eq!(
        said(false, &job, &[("JOB_COMPLETION_INDEX", "1")]),
        "rank 1 of 2, by JOB_COMPLETION_INDEX, of an indexed Job, and --world-size; 0 of 1 on this machine; over TCP, meeting at \
         job-0.net:29500"
    );
}

/// In the order that is documented.
#[test]
fn what_is_found_first_counts() {
    let flags =
        RankSettings { rank: Some(0), world_size: Some(3), local_rank: Some(2), ..Default::default() };
    let all = [&TORCHRUN[..], &SRUN, &MPIRUN].concat();
    assert!(said(true, &flags, &all).starts_with("rank 0 of 3, by --rank and --world-size; 2 on"));
    assert!(said(true, &RankSettings::default(), &all).contains("of torchrun"));
    let all = [&SRUN[..], &MPIRUN].concat();
    assert!(said(true, &RankSettings::default(), &all).contains("of Open MPI"));
}

#[test]
fn one_process_is_alone() {
    assert_eq!(found(&[("RANK", "0"), ("WORLD_SIZE", "1")]), "alone");
    assert_eq!(found(&[("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_COMM_WORLD_SIZE", "1")]), "alone");
    // The script of sbatch, and srun with one task.
    assert_eq!(found(&SRUN[1..]), "alone");
    assert_eq!(found(&[("SLURM_STEP_ID", "0"), ("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1")]), "alone");
    // An indexed Job whose pods have nothing to do with each other; a number that somebody else means.
    assert_eq!(found(&[("JOB_COMPLETION_INDEX", "4")]), "alone");
    assert_eq!(found(&[("RANK", "colonel")]), "alone");
}

#[test]
fn what_does_not_say_enough_is_refused() {
    for (variables, says) in [
        (
            &TORCHRUN[..4],
            "rank 3 of 4 (by RANK and WORLD_SIZE, of torchrun): expected --master-addr or MASTER_ADDR",
        ),
        (&MPIRUN[..], "this build has no MPI: take cargo xtask-mpi"),
        (&[("RANK", "1"), ("WORLD_SIZE", "x")], "WORLD_SIZE is \"x\", expected a number"),
        (&[("RANK", "4"), ("WORLD_SIZE", "4"), ("MASTER_ADDR", "a")], "rank 4 of 4 (by RANK and WORLD_SIZE"),
        (&[("RANK", "0"), ("WORLD_SIZE", "0"), ("MASTER_ADDR", "a")], "0 processes (by RANK and WORLD_SIZE"),
        (&[("RANK", "0"), ("WORLD_SIZE", "1000000000000"), ("MASTER_ADDR", "a")], "expected at most 65536"),
        (
            &[("RANK", "1"), ("WORLD_SIZE", "4"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "70000")],
            "MASTER_PORT is \"70000\"",
        ),
    ] {
        let found = found(variables);
        assert!(found.contains(says), "{found}");
    }
    let world = RankSettings { world_size: Some(2), ..Default::default() };
    assert!(said(false, &world, &[]).contains("--world-size 2 without --rank"));
}

/// On one machine, too, its name may lead to an address of the network: rank 0 must listen there.
#[test]
fn only_ranks_that_this_program_starts_are_hidden_from_the_network() {
    let hidden = |variables: &[(&str, &str)]| {
        let env =
            |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let launch = Launch::by(&RankSettings::default(), &env, false)
            .expect("it is understood")
            .expect("one of many");
        launch.meeting(Duration::from_secs(1)).expect("it is over TCP").local
    };
    let here = [("LOCAL_RANK", "3"), ("LOCAL_WORLD_SIZE", "4"), ("MASTER_ADDR", "node1")];
    let here = [&TORCHRUN[..2], &here].concat();
    assert!(!hidden(&here));
    assert!(hidden(&[&here[..], &[(OWN, "1")]].concat()));
}
