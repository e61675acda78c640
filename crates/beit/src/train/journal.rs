//! A run while it trains: steps, metrics, checkpoints, and stopping.
//!
//! Of several processes each goes through all of it, and rank 0 alone writes.

use super::best::{Best, Standing};
use super::onlooker::Onlooker;
use super::recorder::Recorder;
use crate::checksum;
use crate::error::{Error, Result};
use crate::files;
use crate::progress::Watch;
use crate::ranks::Team;
use crate::report::Page;
use crate::run::Run;
use crate::settings::RunSettings;
use beit_data::Loader;
use beit_ops::Ops;
use beit_train::{Hooks, Listeners, Ranks, Task, Trainer};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A folder, where its metrics go, and who watches.
pub(super) struct Journal<'a> {
    pub(super) run: &'a mut Run,
    /// None where another process writes.
    pub(super) metrics: Option<Recorder>,
    pub(super) watch: &'a Watch,
    pub(super) team: &'a Team,
    page: Page,
}

/// Checkpoints that are due by time are at least so far apart.
pub(super) const LEAST_BETWEEN: Duration = Duration::from_secs(60);
/// And at least so many times what saving one took: it costs below 1 % of the run.
const COSTS: u32 = 100;

/// Why something is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// All processes save, or see it.
    Due,
    /// This process saves what it has, since something failed.
    Failure,
    /// The step that comes next is not taken: what stands before it is kept apart.
    Spike,
}

/// Saves what a trainer has, and says where.
pub(super) type Keep<'k, 'j, O, K> =
    dyn FnMut(&mut Journal<'j>, &Trainer<'_, O, K>, Occasion) -> Result<PathBuf> + 'k;

/// How a run saves, and what is kept.
type Kept<'k, 'b, O, K> = (&'k RunSettings, &'k mut Best<'b, O, K>);

/// When a run returns from its steps.
struct Pauses<'a> {
    watch: &'a Watch,
    /// When the next checkpoint is due, by the clock of rank 0.
    due: Option<Instant>,
}

impl<O: Ops, K: Task<O>> Hooks<O, K> for Pauses<'_> {
    fn pause(&mut self, _: u64) -> beit_train::Result<bool> {
        Ok(self.watch.stops() || self.due.is_some_and(|due| Instant::now() >= due))
    }
}

impl<'a> Journal<'a> {
    /// Goes on after `step` steps of `phase`: what was measured after them is taken out of the metrics.
    pub(super) fn open(
        run: &'a mut Run,
        watch: &'a Watch,
        team: &'a Team,
        phase: &str,
        step: u64,
    ) -> Result<Self> {
        let metrics = Recorder::open(run, watch, phase, step)?;
        Ok(Self { run, metrics, watch, team, page: Page::default() })
    }

    /// Takes out what was measured of a phase that begins again.
    pub(super) fn begin_again(&mut self, phase: &str) -> Result<()> {
        // Closed before it is opened again.
        self.metrics = None;
        self.metrics = Recorder::open(self.run, self.watch, phase, 0)?;
        Ok(())
    }

    /// Draws the page of the run with what was measured so far, where that was not done just now.
    pub(super) fn draw(&mut self) {
        self.page.draw_if_due(self.run, self.watch);
    }

    /// The end of a run that whoever watches stopped: what of it is saved, and where.
    pub(super) fn stopped(&mut self, what: &str, folder: &Path) -> Error {
        self.run.stays();
        let (folder, dir) = (folder.display(), self.run.dir.display());
        Error::Stopped(format!("{what} saved in {folder}; go on with --resume --out {dir}"))
    }

    /// Whether whoever watches any of the processes wants it to stop.
    pub(super) fn stops(&self) -> Result<bool> {
        self.team.any(self.watch.stops())
    }

    fn steps<O: Ops + 'static, K: Task<O>>(
        &mut self,
        trainer: &mut Trainer<'_, O, K>,
        loader: &Loader<K::Sample>,
        until: u64,
        due: Option<Instant>,
    ) -> Result<()> {
        let mut progress = self.watch.clone();
        let mut listeners = Listeners { progress: &mut progress, sinks: &mut self.metrics };
        let mut pauses = Pauses { watch: self.watch, due };
        let mut ranks = self.team.ranks();
        let devices = self.team.device_sums::<O>();
        let mut devices = devices.as_ref().map(|sums| sums.borrow_mut());
        let mut hooks = Ranks::new(&mut *ranks, &mut pauses).on_the_devices(devices.as_deref_mut());
        Ok(trainer.run(loader, until, &mut hooks, &mut listeners)?)
    }

    /// Refuses to go on with a process whose model has other numbers: what it read was not the same, or its processor computes in another
    /// way.
    fn same_model<O: Ops, K: Task<O>>(&self, trainer: &Trainer<'_, O, K>) -> Result<()> {
        if self.team.shard().of == 1 {
            return Ok(());
        }
        let (params, step) = (checksum::parameters(trainer.ops, &trainer.params)?, trainer.optimiser.steps());
        self.team.same(&format!("{params} after {step} steps"), |first, other| {
            format!("its model has other numbers (checksum {other}, in rank 0 {first})")
        })
    }

    /// Trains to the end and saves on the way, and at the end, each time after the best so far is known. Returns the last checkpoint.
    pub(super) fn train_to_the_end<O: Ops + 'static, K: Task<O>>(
        &mut self,
        trainer: &mut Trainer<'_, O, K>,
        loader: &Loader<K::Sample>,
        ((settings, best), onlooker): (Kept<'_, '_, O, K>, &mut dyn Onlooker<O, K>),
        save: impl Fn(&Trainer<'_, O, K>, Option<&Standing>, &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let total = trainer.recipe.hyper.schedule.total;
        let mut keep = |journal: &mut Self, trainer: &Trainer<'_, O, K>, occasion: Occasion| {
            let step = trainer.optimiser.steps();
            if occasion == Occasion::Due && (settings.saves_after(step) || step >= total) {
                best.measure(journal, trainer)?;
            }
            match occasion {
                Occasion::Spike => journal.keep_spike(trainer, (settings, best), &save),
                Occasion::Due | Occasion::Failure => journal.save(trainer, (settings, best), &save),
            }
        };
        let mut all = |journal: &mut Self| {
            journal.train_to(total, trainer, loader, (settings, &mut *onlooker), &mut keep)?;
            trainer.collect(&mut *journal.team.ranks())?;
            let saved = keep(journal, trainer, Occasion::Due)?;
            onlooker.saved(journal, trainer);
            journal.draw();
            Ok(saved)
        };
        let ended = all(self);
        self.told(ended)
    }

    /// Where the disk failed, says what there is to go on with.
    pub(super) fn told<T>(&mut self, ended: Result<T>) -> Result<T> {
        let failed = ended.as_ref().is_err_and(Error::is_of_the_disk);
        if failed && !self.run.follows() && self.run.has_saved() {
            self.run.stays();
            let dir = self.run.dir.display();
            self.watch.note(&format!(
                "what was saved before stays: --resume --out {dir} goes on from there when the disk can be written"
            ));
        }
        ended
    }

    /// Trains up to step `end`, and has `keep` save on the way: after so many steps where that is asked for, else by time; also when it
    /// is to stop, and when the data fail. The onlooker looks before that, so that what it measured belongs to what is saved.
    pub(super) fn train_to<O: Ops + 'static, K: Task<O>>(
        &mut self,
        end: u64,
        trainer: &mut Trainer<'_, O, K>,
        loader: &Loader<K::Sample>,
        (settings, onlooker): (&RunSettings, &mut dyn Onlooker<O, K>),
        keep: &mut Keep<'_, 'a, O, K>,
    ) -> Result<()> {
        let (phase, total) = (trainer.task.phase(), trainer.recipe.hyper.schedule.total);
        let (end, by_time) = (end.min(total), settings.saves_by_time() && self.team.leads());
        self.same_model(trainer)?;
        let (mut between, mut saved_at) = (LEAST_BETWEEN, trainer.optimiser.steps());
        let mut due = Instant::now() + between;
        onlooker.look(self, trainer)?;
        loop {
            let save_at = settings.next_stop(saved_at, end);
            let until = onlooker.next(trainer.optimiser.steps()).map_or(save_at, |next| next.min(save_at));
            let looked = match self.steps(trainer, loader, until, by_time.then_some(due)) {
                Err(error) if !self.leaves_out(trainer, loader, keep, &error)? => Err(error),
                _ => onlooker.look(self, trainer),
            };
            if let Err(error) = looked {
                self.rescue(trainer, saved_at, keep, &error);
                return Err(error);
            }
            let step = trainer.optimiser.steps();
            // A step that was left out counts like one that was taken, and may be the one after which something is due.
            if step < save_at && !self.team.any(self.watch.stops() || by_time && Instant::now() >= due)? {
                continue;
            }
            self.same_model(trainer)?;
            if step >= end {
                return Ok(());
            }
            let saving = Instant::now();
            trainer.collect(&mut *self.team.ranks())?;
            let saved = keep(self, trainer, Occasion::Due)?;
            onlooker.saved(self, trainer);
            self.draw();
            between = LEAST_BETWEEN.max(saving.elapsed() * COSTS);
            (saved_at, due) = (step, Instant::now() + between);
            if self.stops()? {
                return Err(self.stopped(&format!("{step} of {total} steps of {phase} are"), &saved));
            }
        }
    }

    fn save<O: Ops, K: Task<O>>(
        &mut self,
        trainer: &Trainer<'_, O, K>,
        (settings, best): (&RunSettings, &Best<'_, O, K>),
        save: &impl Fn(&Trainer<'_, O, K>, Option<&Standing>, &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let checkpoint = self.run.checkpoint(trainer.optimiser.steps());
        if !self.run.follows() {
            checkpoint.parent().map_or(Ok(()), files::make_folder)?;
            save(trainer, best.standing.as_ref(), &checkpoint)?;
            let best = best.step().map(|step| self.run.checkpoint(step));
            self.run.set_last(&checkpoint, best.as_deref(), settings.keep)?;
        }
        Ok(checkpoint)
    }

    /// Saves what stands before the step that comes next, which is not taken.
    fn keep_spike<O: Ops, K: Task<O>>(
        &self,
        trainer: &Trainer<'_, O, K>,
        (settings, best): (&RunSettings, &Best<'_, O, K>),
        save: &impl Fn(&Trainer<'_, O, K>, Option<&Standing>, &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let folder = self.run.spike(trainer.optimiser.steps());
        if !self.run.follows() {
            folder.parent().map_or(Ok(()), files::make_folder)?;
            save(trainer, best.standing.as_ref(), &folder)?;
            self.run.keep_spikes(&folder, settings.keep)?;
        }
        Ok(folder)
    }

    /// Saves what a run had learnt when its data or another rank failed. Numbers that are not finite, or a device that failed, leave
    /// nothing that is worth it; where moments are shared, the other ranks had a part of it.
    fn rescue<O: Ops, K: Task<O>>(
        &mut self,
        trainer: &Trainer<'_, O, K>,
        begun: u64,
        keep: &mut Keep<'_, 'a, O, K>,
        error: &Error,
    ) {
        use beit_train::Error::{Data, NoImages, Ranks};
        let lost = trainer.optimiser.steps() > begun
            && !self.run.follows()
            && matches!(error, Error::Train(Data(_) | NoImages { .. } | Ranks { .. }));
        if lost && trainer.optimiser.shard().of > 1 {
            self.watch.note(
                "what was learnt since the last checkpoint is lost: the ranks shared the optimiser's moments",
            );
        } else if lost {
            let dir = self.run.dir.display().to_string();
            match keep(self, trainer, Occasion::Failure) {
                Ok(saved) => {
                    self.run.stays();
                    self.draw();
                    let saved = saved.display();
                    self.watch.note(&format!(
                        "saved before it ends: {saved}; --resume --out {dir} goes on from there"
                    ));
                }
                Err(error) => self.watch.note(&format!("what was learnt cannot be saved: {error}")),
            }
        }
    }
}
