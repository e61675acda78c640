//! What a checkpoint needs besides the model so that training can go on: `training/`.

use crate::error::{Error, Result};
use crate::optimiser::Optimiser;
use crate::recipe::Recipe;
use crate::spikes::Norms;
use beit_ops::{Ops, Shape, Tree};
use beit_weights::{Checkpoint, TensorFile, TensorWriter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The folder in a checkpoint.
pub const TRAINING: &str = "training";
const OPTIMISER: &str = "optimiser.safetensors";
/// There only if the task has buffers.
const BUFFERS: &str = "buffers.safetensors";
/// The parameters of the last step, there only if the model of the checkpoint is an average.
const LAST: &str = "last.safetensors";
const STATE: &str = "state.json";

/// `state.json`: where training stands.
#[derive(Serialize, Deserialize)]
pub(crate) struct Saved<R> {
    /// Optimiser steps, or rounds of k-means, done.
    pub(crate) step: u64,
    /// Whether k-means has nothing left to move.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) settled: bool,
    /// How the run trains; it must be the same when it goes on.
    pub(crate) recipe: R,
    /// There only if the recipe has a guard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) norms: Option<Norms>,
}

/// The recipe of a run and the settings of its task, in one object.
#[derive(Serialize)]
pub(crate) struct Settings<'a, S> {
    #[serde(flatten)]
    pub(crate) recipe: &'a Recipe,
    #[serde(flatten)]
    pub(crate) task: S,
}

/// What reading them from a file would give: the digits of a number are fewer there than those of its nearest f64.
fn read_back(settings: &impl Serialize) -> serde_json::Result<Value> {
    serde_json::from_str(&serde_json::to_string(settings)?)
}

/// Writes `training/` into the folder of a checkpoint.
pub(crate) fn save<O: Ops>(
    ops: &O,
    checkpoint: &Path,
    (settings, norms): (&impl Serialize, Option<Norms>),
    optimiser: &Optimiser<O::Tensor>,
    buffers: &impl Tree<O::Tensor>,
) -> Result<()> {
    let dir = checkpoint.join(TRAINING);
    fs::create_dir_all(&dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
    let step = optimiser.steps();
    write(step, &dir.join(OPTIMISER), optimiser.state(ops))?;
    let buffers = buffers.named();
    if !buffers.is_empty() {
        write(step, &dir.join(BUFFERS), read(ops, buffers))?;
    }
    write_state(&dir, &Saved { step, settled: false, recipe: settings, norms })
}

/// Writes `state.json` into a `training/`.
pub(crate) fn write_state(dir: &Path, state: &Saved<impl Serialize>) -> Result<()> {
    let path = dir.join(STATE);
    let text = serde_json::to_string_pretty(state).map_err(std::io::Error::other);
    text.and_then(|text| fs::write(&path, text)).map_err(|source| Error::Write { path, source })
}

/// Reads `state.json` of a `training/`, which must be of a run with these settings and of at most `total` steps.
pub(crate) fn read_state(dir: &Path, settings: &impl Serialize, total: u64) -> Result<Saved<Value>> {
    let path = dir.join(STATE);
    let state = |problem: String| Error::State { path: path.clone(), problem };
    let text = fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let damaged = |error: serde_json::Error| state(error.to_string());
    let found: Saved<Value> = serde_json::from_str(&text).map_err(damaged)?;
    let differences = differences(&found.recipe, &read_back(settings).map_err(damaged)?);
    if !differences.is_empty() {
        return Err(state(format!("{}; resume with the settings of the run", differences.join(", "))));
    }
    if found.step > total {
        let step = found.step;
        return Err(state(format!("`step` is {step}, expected at most {total}, the last of the schedule")));
    }
    Ok(found)
}

/// Writes the parameters after `step` steps into the `training/` of a checkpoint whose model is an average of them.
pub(crate) fn save_params<O: Ops>(
    ops: &O,
    checkpoint: &Path,
    step: u64,
    params: &impl Tree<O::Tensor>,
) -> Result<()> {
    write(step, &checkpoint.join(TRAINING).join(LAST), read(ops, params.named()))
}

/// Reads what [`save_params`] wrote.
pub(crate) fn load_params<O: Ops>(
    ops: &O,
    checkpoint: &Path,
    params: &mut impl Tree<O::Tensor>,
) -> Result<()> {
    read_tree(ops, &checkpoint.join(TRAINING).join(LAST), params)
}

/// A tensor's name, extents and numbers.
type Named = (String, Shape, Vec<f32>);

/// The numbers of tensors, read when they are asked for.
fn read<'a, O: Ops<Tensor: 'a>>(
    ops: &O,
    tensors: Vec<(String, &'a O::Tensor)>,
) -> impl Iterator<Item = Result<Named>> {
    tensors.into_iter().map(|(name, tensor)| Ok((name, ops.shape(tensor), ops.read(tensor)?)))
}

/// Writes a file of tensors after `step` steps, all of them finite.
fn write(step: u64, path: &Path, tensors: impl Iterator<Item = Result<Named>>) -> Result<()> {
    let mut writer = TensorWriter::new();
    for tensor in tensors {
        let (name, shape, numbers) = tensor?;
        let unsound = |error: beit_weights::Error| Error::NotSaved {
            path: path.to_owned(),
            step,
            problem: error.to_string(),
        };
        writer.finite_floats(name, &shape, &numbers).map_err(unsound)?;
    }
    Ok(writer.write(path)?)
}

/// How many steps a checkpoint has done from which training can go on.
///
/// # Errors
///
/// Something of it is missing or cut off: which file, and what is wrong with it.
pub fn checkpoint_step(checkpoint: &Path) -> Result<u64> {
    let dir = checkpoint.join(TRAINING);
    let path = dir.join(STATE);
    let text = fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let state: Saved<Value> =
        serde_json::from_slice(&text).map_err(|error| Error::State { path, problem: error.to_string() })?;
    // A file that is shorter than its header says is refused.
    TensorFile::open(dir.join(OPTIMISER))?;
    let averaged = state.recipe.get("ema").is_some();
    for (file, expected) in [(BUFFERS, dir.join(BUFFERS).exists()), (LAST, averaged)] {
        if expected {
            TensorFile::open(dir.join(file))?;
        }
    }
    Checkpoint::open(checkpoint)?;
    Ok(state.step)
}

/// Reads `training/` of a checkpoint into the optimiser and the buffers of a run with these settings; returns the norms of its steps.
pub(crate) fn load<O: Ops>(
    ops: &O,
    checkpoint: &Path,
    settings: &impl Serialize,
    optimiser: &mut Optimiser<O::Tensor>,
    buffers: &mut impl Tree<O::Tensor>,
) -> Result<Norms> {
    let dir = checkpoint.join(TRAINING);
    let found = read_state(&dir, settings, optimiser.total())?;
    read_tree(ops, &dir.join(BUFFERS), buffers)?;
    let file = TensorFile::open(dir.join(OPTIMISER))?;
    optimiser.restore(ops, found.step, |name, shape| file.finite_floats_of(name, &shape))?;
    Ok(found.norms.unwrap_or_default())
}

/// Reads a file that has every tensor of a tree; of a tree without any there is none.
fn read_tree<O: Ops>(ops: &O, path: &Path, tree: &mut impl Tree<O::Tensor>) -> Result<()> {
    let names: Vec<String> = tree.named().into_iter().map(|(name, _)| name).collect();
    if names.is_empty() {
        return Ok(());
    }
    let file = TensorFile::open(path)?;
    for (name, tensor) in names.iter().zip(tree.leaves_mut()) {
        let shape = ops.shape(tensor);
        *tensor = ops.upload(shape, &file.finite_floats_of(name, &shape)?);
    }
    Ok(())
}

/// Fields that change no number: a run may go on with others.
const FREE: [&str; 4] = ["report_every", "read_every", "recompute", "max_spikes"];

/// The fields that differ, with found and expected.
fn differences(found: &Value, expected: &Value) -> Vec<String> {
    match (found.as_object(), expected.as_object()) {
        (Some(found), Some(expected)) => {
            let keys: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
            let get =
                |map: &serde_json::Map<_, _>, key: &String| map.get(key).unwrap_or(&Value::Null).clone();
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
    use crate::{Classification, Decay, Hyper, Schedule, Task};
    use beit_ops::Host;

    fn recipe(lr: f64) -> Recipe {
        let schedule = Schedule { peak: lr, min: 0.0, warmup: 0, total: 10, decay: Decay::Cosine };
        Recipe {
            accumulate: 1,
            hyper: Hyper::new(schedule),
            report_every: 7,
            read_every: 1,
            seed: 3,
            ema: None,
            spikes: None,
        }
    }

    fn of(recipe: &Recipe, smoothing: f32, recompute: bool) -> Value {
        let task = Classification { smoothing, mixing: None, recompute };
        let task = Task::<Host<f32>>::settings(&task);
        read_back(&Settings { recipe, task }).expect("settings are JSON")
    }

    #[test]
    fn differing_fields_are_named() {
        let run = of(&recipe(0.1), 0.1, false);
        let same = Recipe { report_every: 1, read_every: 9, ..recipe(0.1) };
        assert!(differences(&run, &of(&same, 0.1, true)).is_empty());
        assert_eq!(differences(&run, &of(&recipe(0.2), 0.1, false)), ["peak was 0.1, is 0.2"]);
        assert_eq!(differences(&run, &of(&recipe(0.1), 0.2, false)), ["smoothing was 0.1, is 0.2"]);
    }

    /// As versions wrote it that had a recipe for each task.
    #[test]
    fn the_fields_stand_where_they_always_stood() {
        let text = r#"{
            "accumulate": 1,
            "hyper": {
                "schedule": { "peak": 0.1, "min": 0.0, "warmup": 0, "total": 10 },
                "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.05
            },
            "smoothing": 0.1, "report_every": 7, "read_every": 1, "recompute": false, "seed": 3
        }"#;
        let found: Value = serde_json::from_str(text).expect("this is JSON");
        assert_eq!(found, of(&recipe(0.1), 0.1, false));
    }
}
