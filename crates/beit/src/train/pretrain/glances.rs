//! Who looks at a model while it is pre-trained: its features are judged, and pictures are drawn. Neither changes anything of it.

use super::Pretraining;
use super::features::Features;
use super::goal::Goal;
use super::snapshots::Snapshots;
use crate::device::Device;
use crate::error::Result;
use crate::loaders::Loading;
use crate::run::Run;
use crate::train::Journal;
use crate::train::onlooker::Onlooker;
use beit_ops::Ops;
use beit_train::Trainer;
use std::rc::Rc;
use std::time::Duration;

pub(super) struct Glances<'a, O: Ops, G> {
    features: Option<Features<'a>>,
    /// None where another process writes.
    snapshots: Option<Snapshots<'a, O, G>>,
}

impl<'a, O: Ops + 'static, G: Goal<O>> Glances<'a, O, G> {
    /// Of a run that goes on after `seen` steps, if it does; `step` is what one takes, where it is known.
    pub(super) fn new(
        job: &'a Pretraining,
        (ops, device): (&'a Rc<O>, &'a Device),
        goal: &'a G,
        (run, loading): (&Run, &Loading),
        (seen, step): (Option<u64>, Option<Duration>),
    ) -> Self {
        let snapshots = || Snapshots::new(job, (ops, device), goal, (run, seen.unwrap_or(0)));
        Self {
            features: Features::asked_for(job, loading, device.team(), (seen, step)),
            snapshots: (!run.follows()).then(snapshots),
        }
    }
}

impl<'t, O: Ops + 'static, G: Goal<O> + 't> Onlooker<O, G::Task<'t>> for Glances<'_, O, G> {
    fn next(&self, step: u64) -> Option<u64> {
        self.features.as_ref().map(|features| features.next(step))
    }

    fn look(&mut self, journal: &mut Journal<'_>, trainer: &Trainer<'_, O, G::Task<'t>>) -> Result<()> {
        if let Some(snapshots) = self.snapshots.as_mut().filter(|_| trainer.optimiser.steps() == 0) {
            snapshots.draw(journal.run, trainer, true);
        }
        self.features.as_mut().map_or(Ok(()), |features| features.look::<O, G>(journal, trainer))
    }

    fn saved(&mut self, journal: &Journal<'_>, trainer: &Trainer<'_, O, G::Task<'t>>) {
        let last = trainer.optimiser.steps() >= trainer.recipe.hyper.schedule.total;
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.draw(journal.run, trainer, last);
        }
    }
}
