//! A tokenizer in training: where it stands in the folder of a run, until the tokenizer is there.
//!
//! Of several processes rank 0 writes it, and all go on from it.

use super::journal::{LEAST_BETWEEN, Occasion};
use super::tokenizer_kinds::Plan;
use super::{Journal, same_model};
use crate::any_tokenizer::AnyTokenizer;
use crate::error::{Error, Place, Result};
use crate::run::Run;
use crate::settings::RunSettings;
use beit_ops::Ops;
use beit_tokenizer::{KMeansConfig, Recipe};
use beit_train::{KMeansRecipe, KMeansRounds, TRAINING, Tokenization, Trainer, checkpoint_step};
use beit_weights::{load_tokenizer, no_more_files, save_kmeans, save_tokenizer};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Which try it is, in the `training/` of a discrete VAE.
const ATTEMPT: &str = "attempt.json";

/// Which try of training a discrete VAE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Attempt {
    #[default]
    First,
    /// Begun again with a lower learning rate, since the first said nothing of any image.
    Slower,
}

impl Attempt {
    /// Factor of the learning rate of the second try.
    const RETRY: f64 = 1.0 / 6.0;

    /// The recipe of this try.
    pub(super) fn recipe(self, usual: &Recipe) -> Recipe {
        match self {
            Self::First => *usual,
            Self::Slower => usual.at_rate_times(Self::RETRY),
        }
    }

    /// The one that is saved in a run; none where nothing is.
    pub(super) fn saved(run: &Run) -> Result<Option<Self>> {
        let folder = run.tokenizer_training();
        if !folder.is_dir() {
            return Ok(None);
        }
        let path = folder.join(TRAINING).join(ATTEMPT);
        let text = std::fs::read(&path).map_err(Error::file("read", &path));
        let read = |text: Vec<u8>| {
            let damaged = |error| Error::Unfit(format!("{} is damaged: {error}", path.display()));
            serde_json::from_slice(&text).map_err(damaged)
        };
        text.and_then(read).at(|| cannot_go_on(&folder)).map(Some)
    }

    /// Saves a tokenizer in training; what was saved before stays until this is whole.
    pub(super) fn keep<O: Ops>(
        self,
    ) -> impl FnMut(&mut Journal<'_>, &Trainer<'_, O, Tokenization>, Occasion) -> Result<PathBuf> {
        move |journal, trainer, _| {
            let folder = journal.run.tokenizer_training();
            if !journal.run.follows() {
                save_tokenizer(trainer.ops, &folder, &trainer.params, |dir: &Path| -> Result<()> {
                    trainer.save_state(dir)?;
                    let path = dir.join(TRAINING).join(ATTEMPT);
                    let text = serde_json::to_vec(&self).map_err(std::io::Error::other);
                    text.and_then(|text| std::fs::write(&path, text)).map_err(Error::file("write", &path))
                })?;
            }
            Ok(folder)
        }
    }
}

/// What to do where a file of it is damaged.
fn cannot_go_on(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "the tokenizer in training, {folder}, cannot be gone on with (without that folder its training begins again)"
    )
}

/// Steps of a tokenizer in training that stand in the metrics: those of a discrete VAE.
pub(super) fn steps(run: &Run, plan: &Plan) -> Result<u64> {
    let folder = run.tokenizer_training();
    match plan {
        Plan::Dvae { .. } if folder.is_dir() => checkpoint_step(&folder).at(|| cannot_go_on(&folder)),
        _ => Ok(0),
    }
}

/// Goes on with a discrete VAE.
pub(super) fn load<O: Ops>(trainer: &mut Trainer<'_, O, Tokenization>, journal: &Journal<'_>) -> Result<()> {
    let folder = journal.run.tokenizer_training();
    let loaded = load_tokenizer(trainer.ops, &folder).at(|| cannot_go_on(&folder))?;
    same_model(&folder, loaded.params.config(), trainer.params.config())?;
    trainer.params = loaded.params;
    trainer.load_state(&folder).at(|| cannot_go_on(&folder))
}

/// The rounds of k-means that are done; none where it begins.
pub(super) fn rounds(
    journal: &Journal<'_>,
    config: &KMeansConfig,
    recipe: &KMeansRecipe,
) -> Result<Option<KMeansRounds>> {
    let folder = journal.run.tokenizer_training();
    let found = match folder.is_dir() {
        true => Some(KMeansRounds::load(&folder, config, recipe).at(|| cannot_go_on(&folder))?),
        false => None,
    };
    let done = found.as_ref().map_or(0, |rounds| rounds.done);
    journal.team.same(&done.to_string(), |first, other| {
        format!("it has {other} rounds of k-means, rank 0 has {first}: the folder of a run must be the same on all machines")
    })?;
    if done > 0 {
        journal.watch.note(&format!("{done} of {} rounds of k-means are done", recipe.rounds));
    }
    Ok(found)
}

/// Saves k-means between two rounds: after so many where that is asked for, else by time, and when it is to stop.
pub(super) fn keep_rounds<'k, 'j>(
    journal: &'k mut Journal<'j>,
    settings: &'k RunSettings,
    (config, recipe): (&'k KMeansConfig, &'k KMeansRecipe),
) -> impl FnMut(&KMeansRounds) -> Result<()> + use<'k, 'j> {
    let folder = journal.run.tokenizer_training();
    let mut saved = Instant::now();
    move |rounds| {
        let stops = journal.stops()? && rounds.go_on(recipe);
        let by_time = settings.saves_by_time() && saved.elapsed() >= LEAST_BETWEEN;
        if (stops || by_time || settings.saves_after(rounds.done)) && !journal.run.follows() {
            rounds.save(&folder, config, recipe)?;
            saved = Instant::now();
        }
        if stops {
            let what = format!("{} of {} rounds of k-means are", rounds.done, recipe.rounds);
            return Err(journal.stopped(&what, &folder));
        }
        Ok(())
    }
}

/// Writes a tokenizer that is trained.
pub(super) fn write<O: Ops>(ops: &O, folder: &Path, tokenizer: &AnyTokenizer<O::Tensor>) -> Result<()> {
    match tokenizer {
        AnyTokenizer::Dvae(params) => Ok(save_tokenizer(ops, folder, params, no_more_files)?),
        AnyTokenizer::KMeans(params) => Ok(save_kmeans(ops, folder, params, no_more_files)?),
        AnyTokenizer::Encoder(_) => Err(Error::Unfit("no encoder is trained without its decoder".to_owned())),
    }
}
