//! Steps that a run does not take: each is kept with what it saw, and left out or the end of the run.

use super::Journal;
use super::journal::{Keep, Occasion};
use crate::error::{Error, Result};
use crate::files;
use beit_data::Loader;
use beit_ops::Ops;
use beit_train::{Record, Sink, Task, Trainer};
use serde::{Deserialize, Serialize};

/// What is said of a step that was not taken. Numbers that are not finite are null.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// What was learnt: `pretrain` or `finetune`.
    pub(super) phase: String,
    /// Steps before it.
    pub(super) step: u64,
    /// Why it was not taken.
    pub(super) reason: String,
    /// Its mean loss, where it was read.
    pub(super) loss: Option<f64>,
    /// The norm of its gradients, where it was read.
    pub(super) grad_norm: Option<f64>,
    /// Numbers of the images that it saw, of all processes, micro-batch by micro-batch.
    pub(super) images: Vec<Vec<usize>>,
}

impl<'a> Journal<'a> {
    /// Whether the error was a step that is now left out. Also keeps a step that ends the run, where it is at hand.
    pub(super) fn leaves_out<O: Ops, K: Task<O>>(
        &mut self,
        trainer: &mut Trainer<'_, O, K>,
        loader: &Loader<K::Sample>,
        keep: &mut Keep<'_, 'a, O, K>,
        error: &Error,
    ) -> Result<bool> {
        use beit_train::Error::{NotFinite, Spike};
        let step = trainer.optimiser.steps();
        let kept = |reason: String, [loss, grad_norm]: [f64; 2]| Kept {
            phase: trainer.task.phase().to_owned(),
            step,
            reason,
            loss: Some(loss).filter(|loss| loss.is_finite()),
            grad_norm: Some(grad_norm).filter(|norm| norm.is_finite()),
            images: seen(loader, step, trainer.recipe.accumulate),
        };
        match error {
            Error::Train(Spike(spike)) => {
                let kept = kept(spike.to_string(), [spike.loss, spike.grad_norm]);
                // All processes found it, and each has a part of the moments.
                trainer.collect(&mut *self.team.ranks())?;
                self.keep(trainer, keep, &kept)?;
                self.metrics.record(&Record::Spike(spike))?;
                trainer.skip()?;
                Ok(true)
            }
            // Of steps that were read late the next ones were taken already. A tokenizer is not computed again.
            Error::Train(NotFinite { step: of, phase, .. })
                if *of == step && trainer.optimiser.shard().of == 1 && *phase != "tokenizer" =>
            {
                let kept = kept(error.to_string(), [f64::NAN; 2]);
                if let Err(error) = self.keep(trainer, keep, &kept) {
                    self.watch.note(&format!("that step cannot be kept: {error}"));
                }
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Saves what stood before a step, with what that step saw.
    fn keep<O: Ops, K: Task<O>>(
        &mut self,
        trainer: &Trainer<'_, O, K>,
        keep: &mut Keep<'_, 'a, O, K>,
        kept: &Kept,
    ) -> Result<()> {
        let folder = keep(self, trainer, Occasion::Spike)?;
        if self.run.follows() {
            return Ok(());
        }
        // Beside the folder: it stays when that is deleted.
        let path = folder.with_extension("json");
        let text = serde_json::to_vec_pretty(kept).map_err(std::io::Error::other);
        files::write(&path, &text.map_err(Error::file("write", &path))?)?;
        // What it replaced would take its place otherwise.
        self.run.stays();
        let (reason, folder) = (&kept.reason, folder.display());
        self.watch
            .note(&format!("{reason}; the step is kept: cargo xtask replay {folder} shows what it saw"));
        Ok(())
    }
}

/// The images of the micro-batches of a step, of all processes.
fn seen<S: beit_data::Sample>(loader: &Loader<S>, step: u64, accumulate: u64) -> Vec<Vec<usize>> {
    (step * accumulate..(step + 1) * accumulate).map(|number| loader.asked_for(number)).collect()
}
