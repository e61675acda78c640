//! Training: runs in folders, which save, go on and are measured.

mod advice;
mod best;
mod finetune;
mod init;
mod journal;
mod onlooker;
mod planned;
mod pretrain;
mod rate;
mod recorder;
mod replay;
mod spikes;
mod statistics;
mod tokenizer;
mod tokenizer_kinds;
mod tokenizer_state;

pub use best::BestCheckpoint;
pub(crate) use finetune::Shape as FinetunedShape;
pub use finetune::{FinetuneSettings, FinetuneTask, Finetuned, Finetuning, HeadKind, HeadSettings, Judged};
pub(crate) use init::{seen_by_init, transformer_of_init};
pub use planned::PlannedRun;
pub use pretrain::{PretrainSettings, Pretrained, Pretraining, Recovered};
pub(crate) use pretrain::{
    outputs as pretraining_outputs, parameters as pretrained_parameters, planned as planned_pretraining,
};
pub use replay::{Replay, ReplayedImage, ReplayedTensor, Replaying};
pub use tokenizer::{TokenizerSettings, TokenizerTraining, TrainedTokenizer, sentence as quality_sentence};
pub use tokenizer_kinds::{config_for as tokenizer_for, kmeans_for};

use crate::device::Device;
use crate::error::Result;
use crate::settings::{AverageSettings, GuardSettings, OptimisationSettings, RunSettings};
use beit_train::{Hyper, Recipe};
use journal::Journal;
use std::path::Path;

/// The recipe of a transformer.
fn recipe(
    (optimisation, average, guard): (&OptimisationSettings, &AverageSettings, &GuardSettings),
    run: &RunSettings,
    hyper: Hyper,
    device: &Device,
) -> Recipe {
    let report_every = run.folder.report_every();
    Recipe {
        accumulate: optimisation.update_freq(),
        hyper,
        report_every,
        read_every: device.read_every(report_every),
        seed: optimisation.seed,
        ema: average.decay(),
        spikes: guard.guard(),
    }
}

/// Refuses to go on with another model than the run's.
fn same_model<C: PartialEq + std::fmt::Debug>(dir: &Path, found: &C, expected: &C) -> Result<()> {
    if found != expected {
        crate::error::unfit!(
            "{} holds another model than this run's; found {found:?}, expected {expected:?}; resume with the flags of the run",
            dir.display()
        );
    }
    Ok(())
}
