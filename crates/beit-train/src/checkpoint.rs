//! What a checkpoint needs besides the model so that training can go on: `training/`.

use crate::error::{Error, Result};
use crate::optimiser::Optimiser;
use beit_ops::Ops;
use beit_weights::{TensorFile, TensorWriter};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// The folder in a checkpoint.
pub const TRAINING: &str = "training";
const OPTIMISER: &str = "optimiser.safetensors";
const STATE: &str = "state.json";

/// Where training stands. Everything random is a function of seed, step and image, so this is all there is to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position<R> {
    /// Optimiser steps done.
    pub step: u64,
    /// How the run trains; it must be the same when it goes on.
    pub recipe: R,
}

/// Writes `training/` into the folder of a checkpoint.
///
/// # Errors
///
/// The device or the disk.
pub fn save_training<O: Ops, R: Serialize>(
    ops: &O,
    checkpoint: &Path,
    optimiser: &Optimiser<O::Tensor>,
    recipe: &R,
) -> Result<()> {
    let dir = checkpoint.join(TRAINING);
    fs::create_dir_all(&dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
    let mut writer = TensorWriter::new();
    for (name, moment) in optimiser.state() {
        writer.floats(name, &ops.shape(moment), &ops.read(moment)?);
    }
    writer.write(dir.join(OPTIMISER))?;
    let path = dir.join(STATE);
    let state = Position { step: optimiser.steps(), recipe };
    let text = serde_json::to_string_pretty(&state).map_err(std::io::Error::other);
    text.and_then(|text| fs::write(&path, text)).map_err(|source| Error::Write { path, source })
}

/// Reads `training/` of a checkpoint into an optimiser made for the same recipe.
///
/// # Errors
///
/// A checkpoint without it, or of a run with another recipe; the message names what differs.
pub fn load_training<O: Ops, R: Serialize + DeserializeOwned>(
    ops: &O,
    checkpoint: &Path,
    optimiser: &mut Optimiser<O::Tensor>,
    recipe: &R,
) -> Result<()> {
    let path = checkpoint.join(TRAINING).join(STATE);
    let state = |problem: String| Error::State { path: path.clone(), problem };
    let text = fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let found: Position<R> = serde_json::from_str(&text).map_err(|error| state(error.to_string()))?;
    let differences = differences(&json(&found.recipe), &json(recipe));
    if !differences.is_empty() {
        return Err(state(format!("{}; resume with the settings of the run", differences.join(", "))));
    }
    let file = TensorFile::open(checkpoint.join(TRAINING).join(OPTIMISER))?;
    optimiser.restore(ops, found.step, |name, shape| Ok(file.floats_of(name, &shape)?))
}

fn json(recipe: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(recipe).unwrap_or_default()
}

/// Fields that change no number: a run may go on with others.
const FREE: [&str; 3] = ["report_every", "read_every", "recompute"];

/// The fields that differ, with found and expected.
fn differences(found: &serde_json::Value, expected: &serde_json::Value) -> Vec<String> {
    match (found.as_object(), expected.as_object()) {
        (Some(found), Some(expected)) => {
            let keys: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
            let null = serde_json::Value::Null;
            let get = |map: &serde_json::Map<_, _>, key: &String| map.get(key).unwrap_or(&null).clone();
            let part = |key: &&String| {
                let inner = differences(&get(found, key), &get(expected, key));
                inner.into_iter().map(|line| line.replacen("this", key, 1)).collect::<Vec<_>>()
            };
            keys.iter().filter(|key| !FREE.contains(&key.as_str())).flat_map(part).collect()
        }
        _ if found == expected => Vec::new(),
        _ => vec![format!("this was {found}, is {expected}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hyper, PretrainRecipe, Schedule};

    fn recipe(lr: f64) -> PretrainRecipe {
        let schedule = Schedule { peak: lr, min: 0.0, warmup: 0, total: 10 };
        PretrainRecipe {
            accumulate: 1,
            hyper: Hyper::new(schedule),
            report_every: 7,
            read_every: 1,
            recompute: false,
            seed: 3,
        }
    }

    #[test]
    fn differing_fields_are_named() {
        let same = PretrainRecipe { report_every: 1, read_every: 9, recompute: true, ..recipe(0.1) };
        assert!(differences(&json(&recipe(0.1)), &json(&same)).is_empty());
        assert_eq!(differences(&json(&recipe(0.1)), &json(&recipe(0.2))), ["peak was 0.1, is 0.2"]);
    }
}
