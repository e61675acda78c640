//! Several processes of the command line, started as launchers start them.

use super::{Outcome, Place};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Steps of four micro-batches: what one, two and four processes share.
pub(crate) const STEPS: &str = "--update-freq 4 --batch-size 4 --threads 1 --steps 3";
/// Its masks hide different numbers of patches, and its tokenizer is trained by all processes as well.
pub(crate) const SHORT: &str = "pretrain --data folder:photos --tokenizer-kind dvae --accept-tokenizer --tokenizer-steps 2 --drop-path 0.2 --image-size 16";
/// Long enough to be disturbed.
pub(crate) const LONG: &str = "pretrain --data folder:photos --tokenizer-kind kmeans --accept-tokenizer --tokenizer-steps 1 --update-freq 4 \
                    --batch-size 4 --threads 1 --report-every 1 --save-every 2 --image-size 16";

/// A port that is free now, of those that are not given out by the system, and that no other test has.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + (std::process::id() * 97 % 18_000) as u16;
    let next = || first + NEXT.fetch_add(1, Ordering::Relaxed);
    std::iter::repeat_with(next).find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).expect("a port")
}

/// Parameters and state of training of the last checkpoint, bit by bit.
pub(crate) fn assert_same_end(place: &Place, one: &str, other: &str) {
    let [one, found] = [one, other].map(|run| place.contents(&format!("{run}/last/")));
    assert!(one.len() >= 5, "{:?}", one.keys());
    for (name, bytes) in &one {
        assert!(found.get(name) == Some(bytes), "{other}: {} differs", name.display());
    }
}

/// The variables of each of so many processes, as a launcher sets them.
pub(crate) type Variables = fn(rank: usize, of: usize, port: u16) -> Vec<(&'static str, String)>;

pub(crate) fn torchrun(rank: usize, of: usize, port: u16) -> Vec<(&'static str, String)> {
    let mut variables = pytorch_job(rank, of, port);
    variables.extend([("LOCAL_RANK", rank.to_string()), ("LOCAL_WORLD_SIZE", of.to_string())]);
    variables
}

pub(crate) fn pytorch_job(rank: usize, of: usize, port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("RANK", rank.to_string()),
        ("WORLD_SIZE", of.to_string()),
        ("MASTER_ADDR", "localhost".to_owned()),
        ("MASTER_PORT", port.to_string()),
    ]
}

pub(crate) fn srun(rank: usize, of: usize, port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("SLURM_JOB_ID", (40_000 + u32::from(port) - 10_000).to_string()),
        ("SLURM_STEP_ID", "0".to_owned()),
        ("SLURM_PROCID", rank.to_string()),
        ("SLURM_NTASKS", of.to_string()),
        ("SLURM_LOCALID", rank.to_string()),
        ("SLURM_STEP_TASKS_PER_NODE", of.to_string()),
        ("SLURM_STEP_NODELIST", "localhost".to_owned()),
    ]
}

pub(crate) fn indexed_job(rank: usize, _: usize, port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("JOB_COMPLETION_INDEX", rank.to_string()),
        ("MASTER_ADDR", "localhost".to_owned()),
        ("MASTER_PORT", port.to_string()),
    ]
}

/// Starts one of several processes.
pub(crate) fn start(place: &Place, args: &str, variables: Vec<(&'static str, String)>) -> Child {
    let mut command = place.command(args);
    command.envs(variables).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Two processes with these arguments, the second with others.
pub(crate) fn pair(place: &Place, [first, second]: [&str; 2], variables: Variables) -> [Child; 2] {
    let port = free_port();
    [(0, first), (1, second)].map(|(rank, args)| start(place, args, variables(rank, 2, port)))
}

pub(crate) fn ended<const N: usize>(children: [Child; N]) -> [Outcome; N] {
    children.map(|child| Outcome::of("", child.wait_with_output().unwrap()))
}

pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

pub(crate) fn wait_for(place: &Place, child: &mut Child, name: &str) {
    while !place.path(name).exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it wrote {name}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Until a run has saved a checkpoint, and drawn its page, which comes after that: a process that is killed in between leaves half of one.
pub(crate) fn wait_until_saved(place: &Place, child: &mut Child, run: &str) {
    wait_for(place, child, &format!("{run}/last/model.safetensors"));
    wait_for(place, child, &format!("{run}/report.html"));
}

/// The last line that a process said.
pub(crate) fn last(outcome: &Outcome) -> &str {
    outcome.stderr.lines().last().unwrap_or_default()
}
