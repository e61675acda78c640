//! What happens in the folder of a run, whatever is learnt: training to the end, and judging what came out.

use super::{Finetuned, Finetuning, Judged};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::progress::Task as Begun;
use crate::report;
use crate::run::Run;
use crate::train::Journal;
use crate::train::best::{Best, BestCheckpoint, Judging, Standing};
use crate::train::recorder::Recorder;
use beit_data::Loader;
use beit_ops::Ops;
use beit_train::{Task, Trainer};
use std::path::{Path, PathBuf};

/// A run that was trained to its end.
pub(super) struct Trained {
    pub(super) run: Run,
    pub(super) metrics: Option<Recorder>,
    /// The last one.
    pub(super) checkpoint: PathBuf,
    best: Option<BestCheckpoint>,
}

impl Trained {
    fn stopped(&self) -> Error {
        Error::Stopped(format!(
            "all steps are saved in {}; --resume --out {} judges what was learnt",
            self.checkpoint.display(),
            self.run.dir.display()
        ))
    }
}

/// Is told how many images that judge have been looked at, and stops where whoever watches wants that.
pub(super) type Seen<'a> = dyn FnMut(u64) -> beit_train::Result<()> + 'a;

impl Finetuning {
    /// Begins the run, or goes on with it, and trains to its end.
    pub(super) fn train<O: Ops + 'static, K: Task<O>>(
        &self,
        device: &Device,
        trainer: &mut Trainer<'_, O, K>,
        loader: &Loader<K::Sample>,
        judge: &mut Judging<'_, O, K>,
        save: impl Fn(&Trainer<'_, O, K>, Option<&Standing>, &Path) -> Result<()>,
    ) -> Result<Trained> {
        let (settings, watch) = (&self.settings, &self.watch);
        let (recorded, team) = (self.recorded(device), device.team());
        let mut run = Run::of_team(team, &settings.run, "finetune", &self.inputs(), &recorded, watch)?;
        if let Some(newest) = run.newest() {
            trainer.load_state(&newest)?;
        }
        let mut journal = Journal::open(&mut run, watch, team, "finetune", trainer.optimiser.steps())?;
        let mut best = Best::new(settings.best, (journal.run, watch), self.images.split.to_string(), judge)?;
        let kept = (&settings.run, &mut best);
        let checkpoint = journal.train_to_the_end(trainer, loader, (kept, &mut ()), save)?;
        let (best, metrics) = (best.answer(journal.run), journal.metrics);
        Ok(Trained { run, metrics, checkpoint, best })
    }

    /// Judges, while whoever watches sees how far that is and may stop it.
    pub(super) fn watched<T>(
        &self,
        trained: &Trained,
        judge: impl FnOnce(&mut Seen<'_>) -> Result<T>,
    ) -> Result<T> {
        let (watch, total) = (&self.watch, self.images.held_out.len() as u64);
        watch.begin(&Begun::Images { total });
        let judged = judge(&mut |images| {
            watch.done(images);
            if images < total && watch.stops() { Err(beit_train::Error::Stopped) } else { Ok(()) }
        });
        watch.end();
        judged.map_err(|error| match error {
            Error::Train(beit_train::Error::Stopped) => trained.stopped(),
            error => error,
        })
    }

    /// Ends a run that was judged, before what takes more time, where whoever watches wants that.
    pub(super) fn unless_stopped(&self, device: &Device, trained: &Trained) -> Result<()> {
        if device.team().any(self.watch.stops())? { Err(trained.stopped()) } else { Ok(()) }
    }

    /// The answer, after the last of the page was drawn.
    pub(super) fn finetuned(&self, trained: Trained, split: String, judged: Judged) -> Finetuned {
        let Trained { run, checkpoint, best, .. } = trained;
        report::draw(&run, &self.watch);
        let labels = self.images.indices.len();
        Finetuned { run: run.dir.clone(), checkpoint, best, labels, split, judged }
    }
}
