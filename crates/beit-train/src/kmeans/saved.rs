//! K-means between two rounds, in a folder.

use super::{KMeansRecipe, Rounds};
use crate::checkpoint::{Saved, TRAINING, read_state, write_state};
use crate::error::{Error, Result};
use beit_tokenizer::KMeansConfig;
use beit_weights::{TensorFile, TensorWriter, replace_folder};
use serde::Serialize;
use std::fs;
use std::path::Path;

const CENTROIDS: &str = "centroids.safetensors";

/// What must be the same when it goes on.
#[derive(Serialize)]
struct Settings {
    vocab: usize,
    sides: [usize; 2],
    mean_weight: f32,
    patches: usize,
    rounds: u64,
    seed: u64,
}

impl Settings {
    fn of(config: &KMeansConfig, recipe: &KMeansRecipe) -> Self {
        let KMeansConfig { vocab, sides, mean_weight, .. } = *config;
        let KMeansRecipe { patches, rounds, seed } = *recipe;
        Self { vocab, sides, mean_weight, patches, rounds, seed }
    }
}

impl Rounds {
    /// Writes `training/` of a folder, which takes the place of the one that is there when it is whole.
    ///
    /// # Errors
    ///
    /// The disk, or a centroid that is not finite; what was there stays.
    pub fn save(&self, folder: &Path, config: &KMeansConfig, recipe: &KMeansRecipe) -> Result<()> {
        replace_folder(folder, |folder| {
            let dir = folder.join(TRAINING);
            fs::create_dir(&dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
            let mut writer = TensorWriter::new();
            writer.finite_floats("centroids", &[config.vocab, config.elements()], &self.centroids)?;
            writer.write(dir.join(CENTROIDS))?;
            let recipe = Settings::of(config, recipe);
            write_state(&dir, &Saved { step: self.done, settled: self.settled, recipe, norms: None })
        })
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    ///
    /// A folder that is damaged, or of another recipe.
    pub fn load(folder: &Path, config: &KMeansConfig, recipe: &KMeansRecipe) -> Result<Self> {
        let dir = folder.join(TRAINING);
        let saved = read_state(&dir, &Settings::of(config, recipe), recipe.rounds)?;
        let file = TensorFile::open(dir.join(CENTROIDS))?;
        let centroids = file.finite_floats_of("centroids", &[config.vocab, config.elements()])?;
        Ok(Self { done: saved.step, settled: saved.settled, centroids })
    }
}
