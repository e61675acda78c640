//! Who looks at a model while it is pre-trained: its features are judged, and pictures are drawn. Neither changes anything of it.

use super::Pretraining;
use super::features::Features;
use super::job::PretrainTask;
use super::snapshots::Snapshots;
use crate::any_tokenizer::AnyTokenizer;
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

pub(super) struct Course<'a, O: Ops> {
    features: Option<Features<'a>>,
    /// None where another process writes.
    snapshots: Option<Snapshots<'a, O>>,
}

impl<'a, O: Ops + 'static> Course<'a, O> {
    /// Of a run that goes on after `seen` steps, if it does; `step` is what one takes, where it is known.
    pub(super) fn new(
        job: &'a Pretraining,
        (ops, device): (&'a Rc<O>, &'a Device),
        tokenizer: &Rc<AnyTokenizer<O::Tensor>>,
        (run, loading): (&Run, &Loading),
        (seen, step): (Option<u64>, Option<Duration>),
    ) -> Result<Self> {
        let leads = !run.follows();
        if leads {
            run.forget_pictures_after(seen.unwrap_or(0))?;
        }
        Ok(Self {
            features: Features::asked_for(job, loading, device.team(), (seen, step)),
            snapshots: leads.then(|| Snapshots::new(job, (ops, device), tokenizer)),
        })
    }
}

impl<O: Ops + 'static> Onlooker<O, PretrainTask<'_, O>> for Course<'_, O> {
    fn next(&self, step: u64) -> Option<u64> {
        self.features.as_ref().map(|features| features.next(step))
    }

    fn look(
        &mut self,
        journal: &mut Journal<'_>,
        trainer: &Trainer<'_, O, PretrainTask<'_, O>>,
    ) -> Result<()> {
        if let Some(snapshots) = self.snapshots.as_mut().filter(|_| trainer.optimiser.steps() == 0) {
            snapshots.draw(journal.run, trainer, true);
        }
        self.features.as_mut().map_or(Ok(()), |features| features.look(journal, trainer))
    }

    fn saved(&mut self, journal: &Journal<'_>, trainer: &Trainer<'_, O, PretrainTask<'_, O>>) {
        let last = trainer.optimiser.steps() >= trainer.recipe.hyper.schedule.total;
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.draw(journal.run, trainer, last);
        }
    }
}
