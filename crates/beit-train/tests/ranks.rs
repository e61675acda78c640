//! One, two, four and eight ranks end with the same bits, whatever is trained.

use crate::common::{self, Array, Bright, bits, loader, reports, training};
use crate::trained::{TrainingOf, Visit, alone, recipe, shared, visit_all};
use beit_data::{Loader, LoaderConfig, Shard};
use beit_heads::Classifier;
use beit_ops::{Host, Tree};
use beit_train::{
    Background, Changes, Classification, Communicator, Error, Hooks, NoHooks, Ranks, Recipe, Result, Sums,
    Task, Threads,
};

/// As many ranks as `of` says, each with the moments of its parameters that `moments` gives it.
struct SameBits {
    of: &'static [usize],
    moments: fn(Shard) -> Shard,
}

impl Visit for SameBits {
    fn visit<K: Task<Host<f32>>>(
        &mut self,
        name: &str,
        make: impl Fn(Recipe) -> TrainingOf<K> + Sync,
        loader: impl Fn() -> Loader<K::Sample> + Sync,
    ) {
        let (wanted, moments) = (alone(&make, &loader), self.moments);
        for &of in self.of {
            let ends = Threads::run(of, |ranks| {
                let shard = moments(ranks.shard());
                shared(ranks, None, |recipe| make(recipe).sharded(shard), &loader).expect("training works")
            });
            for (rank, end) in ends.into_iter().enumerate() {
                assert!(end == wanted, "{name}: rank {rank} of {of}");
            }
        }
    }
}

/// The same where the gradients of a block travel while earlier blocks are computed.
struct InBackground;

impl Visit for InBackground {
    fn visit<K: Task<Host<f32>>>(
        &mut self,
        name: &str,
        make: impl Fn(Recipe) -> TrainingOf<K> + Sync,
        loader: impl Fn() -> Loader<K::Sample> + Sync,
    ) {
        let wanted = alone(&make, &loader);
        // The last of these have one micro-batch each, whose gradients need not wait for another's.
        for of in [2, 8] {
            std::thread::scope(|scope| {
                let (wanted, make, loader) = (&wanted, &make, &loader);
                for ranks in Threads::new(of) {
                    scope.spawn(move || {
                        let mut ranks = Background::start(move || Ok(ranks)).expect("a thread");
                        let end = shared(&mut ranks, None, make, loader).expect("training works");
                        assert!(end == *wanted, "{name}: rank {} of {of}", ranks.shard().rank);
                    });
                }
            });
        }
    }
}

#[test]
fn shared_moments_end_with_the_same_bits() {
    visit_all(&mut SameBits { of: &[2, 4, 8], moments: |shard| shard });
}

#[test]
fn gradients_that_travel_early_end_with_the_same_bits() {
    visit_all(&mut InBackground);
}

#[test]
fn everything_ends_with_the_same_bits() {
    visit_all(&mut SameBits { of: &[1, 2, 4, 8], moments: |_| Shard::WHOLE });
}

/// Counts what each gradient that begins to travel is the sum of.
struct Early<'a>(Ranks<'a, Threads, NoHooks, Host<f32>>, Vec<usize>);

impl Hooks<Host<f32>, Classification> for Early<'_> {
    fn shard(&self) -> Shard {
        Hooks::<_, Classification>::shard(&self.0)
    }
    fn finished(&mut self, ops: &Host<f32>, grads: Vec<Vec<&Array>>) -> Result<()> {
        self.1.extend(grads.iter().map(Vec::len));
        Hooks::<_, Classification>::finished(&mut self.0, ops, grads)
    }
    fn reduce(
        &mut self,
        ops: &Host<f32>,
        sum: Changes<'_, Classifier<Array>, ()>,
        sums: &mut Sums<Array>,
    ) -> Result<()> {
        Hooks::<_, Classification>::reduce(&mut self.0, ops, sum, sums)
    }
}

/// Two ranks have four of eight micro-batches each: a gradient of the last is added to the third's, and then to that of the first two.
#[test]
fn gradients_of_the_last_micro_batch_travel_early() {
    let counted = Threads::run(2, |ranks| {
        let mut hooks = NoHooks;
        let mut early = Early(Ranks::new(ranks, &mut hooks), Vec::new());
        reports(&mut training(recipe(8)), &loader(2), 6, &mut early).expect("training works");
        early.1
    });
    let block = training(recipe(8)).params.vit.blocks[0].leaves().len();
    assert!(counted.iter().all(|lens| *lens == vec![3; 6 * 2 * block]), "{counted:?}");
}

/// Pauses after some steps.
struct Pause(u64);

impl<K: Task<Host<f32>>> Hooks<Host<f32>, K> for Pause {
    fn pause(&mut self, step: u64) -> Result<bool> {
        Ok(step == self.0)
    }
}

#[test]
fn where_one_rank_pauses_all_do() {
    let steps = Threads::run(2, |ranks| {
        let at = if ranks.shard().rank == 1 { 2 } else { u64::MAX };
        let mut training = training(recipe(2));
        reports(&mut training, &loader(2), 6, &mut Ranks::new(ranks, &mut Pause(at)))
            .expect("training works");
        training.optimiser.steps()
    });
    assert_eq!(steps, [2, 2]);
}

/// What was learnt by some ranks goes on with others.
#[test]
fn another_number_of_ranks_goes_on() {
    let straight = alone(training, || loader(2));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ends = Threads::run(4, |ranks| {
        let mut first = training(recipe(8));
        let rank = ranks.shard().rank;
        reports(&mut first, &loader(2), 3, &mut Ranks::new(ranks, &mut NoHooks)).expect("training works");
        let folder = folder.path().join(rank.to_string());
        std::fs::create_dir(&folder).expect("a new folder");
        first.save_state(&folder).expect("the disk has room");
        (folder, first.into_model().0)
    });
    let ends = Threads::run(2, |ranks| {
        let (folder, average) = &ends[3 - ranks.shard().rank];
        let mut second = training(recipe(8));
        second.params = average.clone();
        second.load_state(folder).expect("the state fits");
        reports(&mut second, &loader(2), 6, &mut Ranks::new(ranks, &mut NoHooks)).expect("training works");
        bits(&second.params)
    });
    assert!(ends.iter().all(|end| *end == straight.bits[0]));
}

/// Moments that four ranks share are brought to rank 0, whose checkpoint is that of one process; three go on with it.
#[test]
fn shared_moments_are_saved_by_one_and_read_by_others() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folders = [folder.path().join("one"), folder.path().join("four")];
    folders.iter().for_each(|folder| std::fs::create_dir(folder).expect("a new folder"));
    let mut one = training(recipe(12));
    reports(&mut one, &loader(2), 3, &mut NoHooks).expect("training works");
    one.save_state(&folders[0]).expect("the disk has room");
    let models = Threads::run(4, |ranks| {
        let shard = ranks.shard();
        let mut training = training(recipe(12)).sharded(shard);
        reports(&mut training, &loader(2), 3, &mut Ranks::new(ranks, &mut NoHooks)).expect("training works");
        let error = training.save_state(&folders[1]).expect_err("each has a part").to_string();
        assert!(error.contains("keeps moments that a checkpoint needs"), "{error}");
        training.collect(ranks).expect("all ranks live");
        if shard.rank == 0 {
            training.save_state(&folders[1]).expect("the disk has room");
            // What was collected is of the step at which it was.
            training.load_state(&folders[1]).expect("the state fits");
            assert!(training.save_state(&folders[1]).is_err(), "each has a part");
        }
        training.into_model().0
    });
    let states =
        folders.each_ref().map(|folder| std::fs::read(folder.join("training/optimiser.safetensors")));
    let [one, four] = states.map(|state| state.expect("it was saved"));
    assert!(one == four);

    let ends = |sharded: bool| {
        Threads::run(3, |ranks| {
            let shard = if sharded { ranks.shard() } else { Shard::WHOLE };
            let mut training = training(recipe(12)).sharded(shard);
            training.params = models[ranks.shard().rank].clone();
            training.load_state(&folders[1]).expect("the state fits");
            reports(&mut training, &loader(2), 6, &mut Ranks::new(ranks, &mut NoHooks))
                .expect("training works");
            bits(&training.params)
        })
    };
    let ends = [ends(true), ends(false)].concat();
    assert!(ends.iter().all(|end| *end == ends[0]));
}

#[test]
fn moments_that_others_share_are_refused() {
    let error = Threads::run(2, |ranks| {
        let mut training = training(recipe(2)).sharded(Shard { rank: 0, of: 4 });
        reports(&mut training, &loader(2), 6, &mut Ranks::new(ranks, &mut NoHooks)).expect_err("of four")
    });
    let said = "the optimiser is that of rank 0 of 4, expected that of rank 1 of 2";
    assert!(error[1].to_string().contains(said), "{}", error[1]);
}

/// Their gradients would be of one length, and their sum of no meaning.
#[test]
fn ranks_at_different_steps_are_refused() {
    let errors = Threads::run(2, |ranks| {
        let mut training = training(recipe(2));
        if ranks.shard().rank == 1 {
            let alone = &mut Threads::new(1).remove(0);
            let mut ahead = common::training(recipe(1));
            reports(&mut ahead, &loader(2), 1, &mut Ranks::new(alone, &mut NoHooks)).expect("training works");
            training.optimiser = ahead.optimiser;
        }
        reports(&mut training, &loader(2), 6, &mut Ranks::new(ranks, &mut NoHooks)).expect_err("another step")
    });
    assert!(errors[0].to_string().contains("rank 1 is not at step 1 of the run, but at 2"), "{}", errors[0]);
}

/// A rank whose data fail ends, and the others with it.
#[test]
fn a_rank_that_fails_ends_the_others() {
    let errors = Threads::run(2, |ranks| {
        let bad: &[usize] = if ranks.shard().rank == 1 { &[0, 1, 2, 3] } else { &[] };
        let loader = common::loader_of(Bright { bad }, (0..16).collect(), LoaderConfig::training(2, 1));
        let mut training = training(recipe(2));
        reports(&mut training, &loader, 6, &mut Ranks::new(ranks, &mut NoHooks))
            .expect_err("images are broken")
    });
    assert!(matches!(errors[0], Error::Ranks { rank: 0, other: 1, .. }), "{}", errors[0]);
    assert!(matches!(errors[1], Error::Data(_)), "{}", errors[1]);
}

#[test]
fn steps_that_cannot_be_shared_are_refused() {
    let errors = Threads::run(2, |ranks| {
        let mut training = training(recipe(3));
        reports(&mut training, &loader(2), 6, &mut Ranks::new(ranks, &mut NoHooks))
            .expect_err("three for two")
    });
    let said = "3 micro-batches in a step: expected a multiple of the 2 processes that share them";
    assert!(errors.iter().all(|error| error.to_string() == said), "{}", errors[0]);
}
