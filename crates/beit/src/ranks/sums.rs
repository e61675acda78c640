//! Where gradients of GPUs are added up: all processes of a run do it in the same place.

use super::Team;
use crate::error::{Error, Result, setting, unfit};
use crate::progress::Watch;
use crate::settings::GpuSums;
use beit_train::TensorSums;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::rc::Rc;

/// Devices of the type `O` that add up by themselves.
pub(crate) type DeviceSums<O> = Rc<RefCell<dyn TensorSums<O>>>;

/// What the device of a process can add up by, as the others must know it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Means {
    /// NCCL of this version, on the GPU with this name of its maker's.
    Nccl { version: String, gpu: String },
    /// It is a GPU that has nothing, and why.
    Nothing(String),
    /// Its memory is the host's, so it needs nothing.
    Host,
}

impl Means {
    /// Refuses what is not NCCL.
    fn check(&self) -> Result<()> {
        match self {
            Self::Nccl { .. } => Ok(()),
            Self::Nothing(problem) => unfit!("--gpu-sums nccl: {problem}"),
            Self::Host => setting!(
                "--gpu-sums nccl: NCCL adds up on NVIDIA's GPUs, and this is the CPU; take --device cuda, or leave --gpu-sums out"
            ),
        }
    }
}

/// Whether all processes add up on their devices, by what is asked for and by what they can. All of them call this.
pub(crate) fn decided(
    team: &Team,
    asked: GpuSums,
    own: impl FnOnce() -> Means,
    watch: &Watch,
) -> Result<bool> {
    team.same(&asked.to_string(), |first, other| {
        format!("--gpu-sums is {other} there and {first} in rank 0")
    })?;
    // What one process has is its sum.
    if asked == GpuSums::Host || (asked == GpuSums::Auto && team.shard().of == 1) {
        return Ok(false);
    }
    let own = own();
    if asked == GpuSums::Nccl {
        own.check()?;
    }
    let records = team.ranks().gather(&serde_json::to_vec(&own).unwrap_or_default())?;
    let all: Option<Vec<Means>> = records.iter().map(|record| serde_json::from_slice(record).ok()).collect();
    let all = all.ok_or_else(|| Error::Unfit("the processes of this run are not one program".to_owned()))?;
    match problem(&all) {
        None => Ok(all[0] != Means::Host),
        Some(problem) if asked == GpuSums::Nccl => unfit!("--gpu-sums nccl: {problem}"),
        Some(problem) => {
            watch.note(&format!(
                "gradients are added up through the memory of the hosts, which is slow: {problem}"
            ));
            Ok(false)
        }
    }
}

/// Why these cannot add up on their devices together. None where they can, and where none of them needs to.
fn problem(all: &[Means]) -> Option<String> {
    if all.iter().all(|means| *means == Means::Host) {
        return None;
    }
    let mut seen: Vec<[&str; 2]> = Vec::new();
    for (rank, means) in all.iter().enumerate() {
        let (version, gpu) = match means {
            Means::Nccl { version, gpu } => (version, gpu),
            Means::Nothing(problem) => return Some(format!("rank {rank}: {problem}")),
            Means::Host => return Some(format!("rank {rank} computes on the CPU, where others have a GPU")),
        };
        if let Some(other) = seen.iter().position(|[_, other]| other == gpu) {
            return Some(format!(
                "ranks {other} and {rank} are on one GPU, and NCCL takes one process on each; start as many as there are GPUs"
            ));
        }
        if let Some([first, _]) = seen.first().filter(|[first, _]| first != version) {
            return Some(format!(
                "rank {rank} has NCCL {version}, and rank 0 {first}; expected the same version"
            ));
        }
        seen.push([version, gpu]);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use beit_train::Threads;

    fn nccl(version: &str, gpu: &str) -> Means {
        Means::Nccl { version: version.to_owned(), gpu: gpu.to_owned() }
    }

    /// What each of these ranks decides.
    fn decided_by(asked: &[GpuSums], means: &[Means]) -> Vec<Result<bool, String>> {
        std::thread::scope(|scope| {
            let ranks = Threads::new(means.len()).into_iter().zip(asked).zip(means);
            let ranks: Vec<_> = ranks
                .map(|((ranks, &asked), own)| {
                    let decide = move || {
                        let team = Team::of(ranks);
                        decided(&team, asked, || own.clone(), &Watch::silent())
                            .map_err(|error| error.to_string())
                    };
                    scope.spawn(decide)
                })
                .collect();
            ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect()
        })
    }

    #[test]
    fn all_processes_decide_alike() {
        let (one, other) = (nccl("2.27.3", "a"), nccl("2.27.3", "b"));
        let none = Means::Nothing("no library".to_owned());
        for (asked, means, expected) in [
            (GpuSums::Auto, [one.clone(), other.clone()], true),
            (GpuSums::Nccl, [one.clone(), other.clone()], true),
            (GpuSums::Host, [one.clone(), other.clone()], false),
            (GpuSums::Auto, [one.clone(), none.clone()], false),
            (GpuSums::Auto, [one.clone(), one.clone()], false),
            (GpuSums::Auto, [one.clone(), nccl("2.20.5", "b")], false),
            (GpuSums::Auto, [Means::Host, one.clone()], false),
            (GpuSums::Auto, [Means::Host, Means::Host], false),
        ] {
            let found = decided_by(&[asked; 2], &means);
            assert_eq!(found, [Ok(expected), Ok(expected)], "{asked} {means:?}");
        }
        for (asked, expected) in [(GpuSums::Auto, false), (GpuSums::Nccl, true)] {
            assert_eq!(decided_by(&[asked], std::slice::from_ref(&one)), [Ok(expected)], "{asked} alone");
        }
    }

    #[test]
    fn what_stands_in_the_way_is_said() {
        let (one, none) = (nccl("2.27.3", "a"), Means::Nothing("no library".to_owned()));
        let refused =
            |means: [Means; 2]| decided_by(&[GpuSums::Nccl; 2], &means)[1].clone().expect_err("refused");
        assert_eq!(refused([one.clone(), none]), "--gpu-sums nccl: no library");
        assert!(refused([one.clone(), Means::Host]).contains("this is the CPU; take --device cuda"));
        assert!(refused([one.clone(), one.clone()]).contains("ranks 0 and 1 are on one GPU"));
        let versions = refused([one.clone(), nccl("2.20.5", "b")]);
        assert!(versions.ends_with("rank 1 has NCCL 2.20.5, and rank 0 2.27.3; expected the same version"));
        let asked = [GpuSums::Auto, GpuSums::Host];
        let differ =
            decided_by(&asked, &[one.clone(), nccl("2.27.3", "b")])[0].clone().expect_err("they differ");
        assert!(differ.ends_with("--gpu-sums is host there and auto in rank 0"), "{differ}");
    }
}
