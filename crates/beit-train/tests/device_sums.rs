//! Gradients that devices add up among themselves do not travel from host to host, and a run ends as it would if they did.

use crate::common::{self, Array, reports};
use crate::trained::{TrainingOf, Visit, alone, recipe, shared, visit_all};
use beit_data::{Loader, Shard};
use beit_ops::{Device, Host};
use beit_train::{
    Communicator, Error, Failure, NoHooks, Ranks, Recipe, Result, Task, TensorSums, Threads, sum_over_ranks,
};
use std::time::Duration;

/// Devices that add up in the order in which hosts do.
struct Devices(Threads);

impl TensorSums<Host<f32>> for Devices {
    fn sum(&mut self, ops: &Host<f32>, tensors: Vec<&mut Array>) -> Result<Duration> {
        for tensor in tensors {
            let mut values = ops.read(tensor)?;
            sum_over_ranks(&mut self.0, &mut values)?;
            *tensor = ops.upload(ops.shape(tensor), &values);
        }
        Ok(Duration::from_micros(1))
    }
}

/// Hosts that have records for each other and no gradients.
struct RecordsOnly(Threads);

impl Communicator for RecordsOnly {
    fn shard(&self) -> Shard {
        self.0.shard()
    }
    fn exchange(&mut self, _: usize, _: &[f32], _: &mut [f32]) -> Result<()> {
        unreachable!("gradients stay where they are")
    }
    fn gather(&mut self, record: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.0.gather(record)
    }
    fn fail(&mut self, failure: &Failure) {
        self.0.fail(failure);
    }
}

/// Does the work as each of so many ranks.
fn each<T: Send>(of: usize, work: impl Fn(RecordsOnly, Devices) -> T + Sync) -> Vec<T> {
    let (work, hosts, devices) = (&work, Threads::new(of), Threads::new(of));
    std::thread::scope(|scope| {
        let ranks = hosts.into_iter().zip(devices);
        let ranks: Vec<_> = ranks
            .map(|(host, device)| scope.spawn(move || work(RecordsOnly(host), Devices(device))))
            .collect();
        ranks.into_iter().map(|rank| rank.join().expect("no panic")).collect()
    })
}

struct SameBits;

impl Visit for SameBits {
    fn visit<K: Task<Host<f32>>>(
        &mut self,
        name: &str,
        make: impl Fn(Recipe) -> TrainingOf<K> + Sync,
        loader: impl Fn() -> Loader<K::Sample> + Sync,
    ) {
        let wanted = alone(&make, &loader);
        // One rank as well: what a world of one sums stays what it is.
        for (of, sharded) in [(1, false), (2, false), (4, false), (4, true)] {
            let ends = each(of, |mut hosts, mut devices| {
                let shard = if sharded { hosts.shard() } else { Shard::WHOLE };
                let make = |recipe| make(recipe).sharded(shard);
                shared(&mut hosts, Some(&mut devices), make, &loader).expect("training works")
            });
            for (rank, end) in ends.into_iter().enumerate() {
                assert!(end == wanted, "{name}: rank {rank} of {of}");
            }
        }
    }
}

#[test]
fn everything_ends_with_the_same_bits() {
    visit_all(&mut SameBits);
}

/// Devices that fail, as those do that wait for another in vain.
struct Late;

impl TensorSums<Host<f32>> for Late {
    fn sum(&mut self, _: &Host<f32>, _: Vec<&mut Array>) -> Result<Duration> {
        Err(beit_ops::DeviceError("a sum was not over in time".to_owned()).into())
    }
}

/// The only rank, for which another is gone after so many records.
struct Gone(u32);

impl Communicator for Gone {
    fn shard(&self) -> Shard {
        Shard::WHOLE
    }
    fn exchange(&mut self, _: usize, _: &[f32], _: &mut [f32]) -> Result<()> {
        unreachable!("gradients stay where they are")
    }
    fn gather(&mut self, record: &[u8]) -> Result<Vec<Vec<u8>>> {
        match self.0.checked_sub(1) {
            Some(left) => self.0 = left,
            None => return Err(Error::Ranks { rank: 0, other: 1, problem: "has ended".to_owned() }),
        }
        Ok(vec![record.to_vec()])
    }
    fn fail(&mut self, _: &Failure) {}
}

/// Devices of which that of rank 1 fails when the others have the sum.
struct OneFails(Devices);

impl TensorSums<Host<f32>> for OneFails {
    fn sum(&mut self, ops: &Host<f32>, tensors: Vec<&mut Array>) -> Result<Duration> {
        let summed = self.0.sum(ops, tensors);
        if self.0.0.shard().rank == 1 {
            return Err(beit_ops::DeviceError("it is too hot".to_owned()).into());
        }
        summed
    }
}

#[test]
fn a_device_that_fails_alone_is_named_by_the_others() {
    let errors = each(2, |mut hosts, devices| {
        let mut training = common::training(recipe(2));
        let (mut hooks, mut devices) = (NoHooks, OneFails(devices));
        let mut ranks = Ranks::new(&mut hosts, &mut hooks).on_the_devices(Some(&mut devices));
        reports(&mut training, &common::loader(2), 6, &mut ranks).expect_err("no sum").to_string()
    });
    assert!(errors[0].contains("rank 1 failed in a sum of the devices"), "{errors:?}");
    assert!(errors[1].contains("it is too hot"), "{errors:?}");
}

#[test]
fn hosts_name_the_rank_that_devices_waited_for() {
    // A pause and measures travel before devices add up.
    for (records, said) in
        [(2, "rank 0 of this run cannot go on: rank 1 has ended"), (3, "a sum was not over in time")]
    {
        let mut training = common::training(recipe(1));
        let (mut hosts, mut hooks, mut devices) = (Gone(records), NoHooks, Late);
        let mut ranks = Ranks::new(&mut hosts, &mut hooks).on_the_devices(Some(&mut devices));
        let error =
            reports(&mut training, &common::loader(2), 6, &mut ranks).expect_err("no sum").to_string();
        assert!(error.ends_with(said), "{error}");
    }
}
