//! How long a run would take with more processes and machines than there are.

use super::launch::MOST;
use crate::error::{Result, setting};
use crate::settings::ClusterSettings;
use crate::settings::number::within;
use serde::Serialize;

/// Seconds until the first byte of a message is there, between machines: usual for Ethernet, and what many switches promise less of.
const LATENCY: f64 = 50e-6;
const SECONDS_OF_A_DAY: f64 = 86_400.0;

/// A step, as far as a prediction needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Over all processes.
    pub(crate) images: u64,
    /// Micro-batches that the images are in.
    pub(crate) micro_batches: u64,
    /// Numbers of the model, each of which has a gradient of four bytes.
    pub(crate) parameters: u64,
    /// Whether parameters travel too, each from the process that has stepped it.
    pub(crate) sharded: bool,
    /// Of the run.
    pub(crate) steps: u64,
    /// Images a second of one process.
    pub(crate) rate: f64,
}

/// What a number of processes would make of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Predicted {
    /// Processes, on all machines.
    pub ranks: u64,
    /// Machines.
    pub nodes: u64,
    /// Seconds of a step in which a process computes.
    pub compute: f64,
    /// Seconds of a step in which gradients are added up. Nothing else happens then.
    pub exchange: f64,
    /// Bytes that a machine sends to others in a step.
    pub sent: f64,
    /// Images a second of all.
    pub images_per_second: f64,
    /// Of what as many processes that need not talk would do.
    pub efficiency: f64,
    /// Days of the run.
    pub days: f64,
}

impl ClusterSettings {
    /// Refuses what no cluster has.
    pub(crate) fn check(&self, ranks: usize) -> Result<()> {
        within("--link", "gigabits a second", self.link, f64::MIN_POSITIVE..)?;
        within("--local-link", "gigabits a second", self.local_link, f64::MIN_POSITIVE..)?;
        self.rate.map_or(Ok(()), |rate| within("--rate", "images a second", rate, f64::MIN_POSITIVE..))?;
        if ranks > MOST {
            setting!("--ranks {ranks}: expected at most {MOST}");
        }
        if self.nodes == 0 || !ranks.is_multiple_of(self.nodes) {
            setting!(
                "--nodes {}: expected a number of machines that {ranks} processes can be spread over evenly",
                self.nodes
            );
        }
        if !ranks.is_power_of_two() || !self.nodes.is_power_of_two() {
            setting!("--ranks {ranks} --nodes {}: a prediction is made for powers of two", self.nodes);
        }
        Ok(())
    }
}

impl Step {
    /// The same run with one process, two, four, … up to all, which fill one machine after another, as far as its micro-batches can be shared
    /// evenly.
    pub(crate) fn predict(&self, ranks: u64, cluster: &ClusterSettings) -> Vec<Predicted> {
        let each = ranks / cluster.nodes as u64;
        let numbers = std::iter::successors(Some(1), |ranks| Some(2 * ranks)).take_while(|&few| few <= ranks);
        let shared = numbers.filter(|&ranks| self.micro_batches.is_multiple_of(ranks));
        shared.map(|few| self.predicted([few, (few / each).max(1)], cluster)).collect()
    }

    fn predicted(&self, [ranks, nodes]: [u64; 2], cluster: &ClusterSettings) -> Predicted {
        let bytes = 4.0 * self.parameters as f64;
        let [local, link] = [cluster.local_link, cluster.link].map(|gigabits| gigabits * 1e9 / 8.0);
        let of_machine = (ranks / nodes) as f64;
        // A sum is halves of it, and these put together again.
        let passes = if self.sharded { 3.0 } else { 2.0 };
        // Halves are exchanged within machines first: what is left for the network is small, and shared by all ranks of a machine.
        let within = passes * bytes * (1.0 - 1.0 / of_machine);
        let sent = passes * bytes * (1.0 - 1.0 / nodes as f64);
        let rounds = passes * f64::from(nodes.max(1).ilog2());
        let exchange = within / local + sent / link + rounds * LATENCY;
        let compute = self.images as f64 / (ranks as f64 * self.rate);
        let seconds = compute + exchange;
        Predicted {
            ranks,
            nodes,
            compute,
            exchange,
            sent,
            images_per_second: self.images as f64 / seconds,
            efficiency: compute / seconds,
            days: seconds * self.steps as f64 / SECONDS_OF_A_DAY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Step = Step {
        images: 2048,
        micro_batches: 16,
        parameters: 100_000_000,
        sharded: false,
        steps: 1000,
        rate: 64.0,
    };

    #[test]
    fn one_process_only_computes() {
        let one = STEP.predict(1, &ClusterSettings::default());
        let days = 32.0 * 1000.0 / SECONDS_OF_A_DAY;
        let expected = Predicted {
            ranks: 1,
            nodes: 1,
            compute: 32.0,
            exchange: 0.0,
            sent: 0.0,
            images_per_second: 64.0,
            efficiency: 1.0,
            days,
        };
        assert_eq!(one, [expected]);
    }

    #[test]
    fn parameters_travel_as_well() {
        let cluster = ClusterSettings { nodes: 2, link: 100.0, ..Default::default() };
        let sent = |sharded| Step { sharded, ..STEP }.predict(2, &cluster)[1].sent;
        assert!((sent(true) / sent(false) - 1.5).abs() < 1e-9);
    }

    #[test]
    fn machines_are_filled_one_after_another() {
        let cluster = ClusterSettings { nodes: 4, link: 8.0, local_link: 80.0, rate: None };
        let all = STEP.predict(16, &cluster);
        assert_eq!(
            all.iter().map(|few| [few.ranks, few.nodes]).collect::<Vec<_>>(),
            [[1, 1], [2, 1], [4, 1], [8, 2], [16, 4]]
        );
        let last = all.last().expect("five");
        // 400 MB of gradients: three quarters of them twice within a machine at 10 GB/s, and twice out of it at 1 GB/s.
        assert!((last.exchange - (0.06 + 0.6 + 4.0 * LATENCY)).abs() < 1e-9, "{last:?}");
        assert!((last.sent - 6e8).abs() < 1.0 && (last.compute - 2.0).abs() < 1e-9, "{last:?}");
        assert!(all.windows(2).all(|pair| pair[1].efficiency < pair[0].efficiency));
        // Four micro-batches are not shared by eight.
        assert_eq!(Step { micro_batches: 4, ..STEP }.predict(16, &cluster).len(), 3);
    }

    #[test]
    fn what_no_cluster_has_is_refused() {
        let refused = |change: fn(&mut ClusterSettings), ranks| {
            let mut cluster = ClusterSettings::default();
            change(&mut cluster);
            cluster.check(ranks).expect_err("no cluster").to_string()
        };
        assert!(refused(|cluster| cluster.nodes = 3, 8).contains("--nodes 3: expected"));
        assert!(refused(|cluster| cluster.nodes = 0, 8).contains("--nodes 0: expected"));
        assert!(refused(|_| (), 6).contains("powers of two"));
        assert!(refused(|cluster| cluster.link = 0.0, 8).contains("--link 0: expected gigabits"));
        assert!(refused(|cluster| cluster.rate = Some(-1.0), 8).contains("--rate -1: expected images"));
    }
}
