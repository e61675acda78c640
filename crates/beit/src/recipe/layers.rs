//! Layers of settings: what is usual, a recipe over it, single settings over that, and flags over all.

use super::{Change, Recipe, names};
use crate::error::{Error, Result};
use crate::settings::{DeviceSettings, Precision};
use crate::train::{FinetuneSettings, PretrainSettings};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use toml::{Table, Value};

/// Settings of a verb, of which recipes have some.
pub trait Layered: Serialize + DeserializeOwned + Default {
    /// The verb.
    const VERB: &'static str;

    /// With every setting that can be left out: whoever mistakes a name is told which there are.
    fn every() -> Self;
}

impl Layered for PretrainSettings {
    const VERB: &'static str = "pretrain";

    fn every() -> Self {
        super::every::pretrain()
    }
}

impl Layered for FinetuneSettings {
    const VERB: &'static str = "finetune";

    fn every() -> Self {
        super::every::finetune()
    }
}

/// What is asked for beside a struct of settings.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// A recipe.
    pub recipe: Option<&'a Recipe>,
    /// Single settings, which come before it.
    pub changes: &'a [Change],
    /// Which fields of the struct were given as flags, by their names; these come before all.
    pub is_flag: &'a dyn Fn(&str) -> bool,
}

/// Who asked for a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A recipe, by its name.
    Recipe(String),
    /// `--set`.
    Change,
    /// A flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recipe(name) => write!(f, "recipe {name}"),
            Self::Change => f.write_str("--set"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// Settings, and who asked for each that is not left as it usually is.
#[derive(Clone, Debug)]
pub struct Merged<S> {
    /// The settings.
    pub settings: S,
    /// Where it computes.
    pub device: DeviceSettings,
    origins: BTreeMap<String, Origin>,
}

/// The part of `run.toml` that says where it computes.
const DEVICE: &str = "device.";
/// Batches, whose three numbers go together.
const GLOBAL: &str = "training.global_batch";
const IMAGES: &str = "training.batch_size";
const PARTS: &str = "training.update_freq";
/// Settings that together take the place of others, which then no longer hold although a layer below has them: two ways to say one thing.
const INSTEAD: [(&[&str], &[&str]); 14] = [
    (&["training.steps"], &["training.epochs"]),
    (&["training.epochs"], &["training.steps"]),
    (&["training.warmup_steps"], &["training.warmup_epochs"]),
    (&["training.warmup_epochs"], &["training.warmup_steps"]),
    (&["mask.mask_ratio"], &["mask.num_mask_patches"]),
    (&["init"], &["from_scratch"]),
    (&["from_scratch"], &["init"]),
    (&["tokenizer_kind"], &["tokenizer"]),
    (&["new_tokenizer"], &["tokenizer"]),
    (&["model.paper"], &["model.abs_pos_emb", "model.no_rel_pos_bias", "model.layer_scale_init_value"]),
    (&["model.abs_pos_emb"], &["model.no_abs_pos_emb"]),
    (&["model.no_abs_pos_emb"], &["model.abs_pos_emb"]),
    (&[IMAGES, PARTS], &[GLOBAL]),
    (&[GLOBAL], &[PARTS]),
];
/// The same where a step has a number of images that is to stay.
const INSTEAD_IN_GLOBAL: [(&[&str], &[&str]); 2] = [(&[IMAGES], &[PARTS]), (&[PARTS], &[IMAGES])];

/// Puts a recipe, single settings and flags over what is usual. `flags` has what `asked.is_flag` tells of, and is what holds where there
/// is neither of the others.
///
/// # Errors
///
/// A setting that there is not, which is named with the nearest that there is; a value of another kind; a recipe of another verb.
pub fn merge<S: Layered>(flags: S, device: &DeviceSettings, asked: Asked<'_>) -> Result<Merged<S>> {
    let (mut origins, mut device) = (BTreeMap::new(), device.clone());
    if asked.recipe.is_none() && asked.changes.is_empty() {
        // They may have what no file can have, such as a name that is no text.
        return Ok(Merged { settings: flags, device, origins });
    }
    let mut merged = table(&S::default())?;
    for (origin, layer) in layers(&flags, asked)? {
        let mut settings = BTreeMap::new();
        for (path, value) in layer {
            match path.strip_prefix(DEVICE) {
                Some(name) if !(asked.is_flag)(name) => {
                    compute_on(&mut device, (name, &value), &origin)?;
                    origins.insert(name.to_owned(), origin.clone());
                }
                Some(_) => {}
                None => {
                    if origin != Origin::Flag {
                        check::<S>(&path, &value, &origin)?;
                    }
                    settings.insert(path, value);
                }
            }
        }
        for path in instead(&merged, &settings) {
            remove(&mut merged, path);
            origins.remove(path);
        }
        origins.extend(settings.keys().map(|path| (path.clone(), origin.clone())));
        settings.into_iter().for_each(|(path, value)| put(&mut merged, &path, value));
    }
    let settings = Value::Table(merged).try_into().map_err(|error: toml::de::Error| {
        Error::Setting(format!("settings that do not go together: {}", error.message()))
    })?;
    Ok(Merged { settings, device, origins })
}

/// The layers, from the lowest.
fn layers<S: Layered>(flags: &S, asked: Asked<'_>) -> Result<Vec<(Origin, BTreeMap<String, Value>)>> {
    let mut layers = Vec::new();
    if let Some(recipe) = asked.recipe {
        recipe.check_verb(S::VERB)?;
        layers.push((Origin::Recipe(recipe.name.clone()), leaves(recipe.settings.clone())));
    }
    let changes = asked.changes.iter().map(|change| (change.path.clone(), change.value.clone()));
    layers.push((Origin::Change, changes.collect()));
    let mut given = leaves(table(flags)?);
    given.retain(|path, _| (asked.is_flag)(last(path)));
    layers.push((Origin::Flag, given));
    Ok(layers)
}

/// The settings below that a layer takes the place of.
fn instead(below: &Table, layer: &BTreeMap<String, Value>) -> Vec<&'static str> {
    let global = layer.contains_key(GLOBAL) || leaves(below.clone()).contains_key(GLOBAL);
    let rules = INSTEAD.iter().chain(if global { &INSTEAD_IN_GLOBAL[..] } else { &[] });
    let meant = rules.filter(|(given, _)| given.iter().all(|path| means(layer, path)));
    let dropped = meant.flat_map(|(_, dropped)| dropped.iter().copied());
    dropped.filter(|path| !layer.contains_key(*path)).collect()
}

/// Whether a layer gives a setting; a switch that is off takes nobody's place.
fn means(layer: &BTreeMap<String, Value>, path: &str) -> bool {
    layer.get(path).is_some_and(|value| value.as_bool() != Some(false))
}

/// Refuses a setting that there is not, or that is of another kind.
fn check<S: Layered>(path: &str, value: &Value, origin: &Origin) -> Result<()> {
    let problem = match problem::<S>(path, value)? {
        Some(problem) => problem,
        None => return Ok(()),
    };
    Err(match origin {
        Origin::Recipe(name) => Error::Unfit(format!("--recipe {name}: {path} = {value}: {problem}")),
        _ => Error::Setting(format!("--set {path}={value}: {problem}")),
    })
}

fn problem<S: Layered>(path: &str, value: &Value) -> Result<Option<String>> {
    let mut usual = table(&S::default())?;
    put(&mut usual, path, value.clone());
    match Value::Table(usual).try_into::<S>() {
        // What no setting has is lost when it is read.
        Ok(read) if leaves(table(&read)?).contains_key(path) => Ok(None),
        Ok(_) => names::unknown(path, &S::every()).map(Some),
        Err(error) => Ok(Some(match leaves(table(&S::every())?).get(path) {
            Some(such) => format!("{}; expected a value such as {such}", error.message()),
            None => names::unknown(path, &S::every())?,
        })),
    }
}

/// Where it computes, as `run.toml` names it.
fn compute_on(device: &mut DeviceSettings, (name, value): (&str, &Value), origin: &Origin) -> Result<()> {
    match (name, value.as_str()) {
        // The first GPU of one process; of several, each takes its own.
        ("device", Some("cuda:0")) => device.device = "cuda".to_owned(),
        ("device", Some(found)) => device.device = found.to_owned(),
        ("precision", Some(found @ ("auto" | "f32" | "bf16"))) => device.precision = Precision::named(found),
        _ => {
            return Err(Error::Setting(format!(
                "{origin}: {DEVICE}{name} = {value}: expected device.device, auto, cpu, cuda, cuda:N or wgpu, or device.precision, auto, f32 or bf16"
            )));
        }
    }
    Ok(())
}

impl<S: Layered> Merged<S> {
    /// Whether somebody asked for a setting, by its path. Where there were flags alone, these are asked elsewhere.
    #[must_use]
    pub fn is_asked(&self, path: &str) -> bool {
        self.origins.contains_key(path)
    }

    /// What is not as usual, a line each, with who asked for it.
    ///
    /// # Errors
    ///
    /// Settings that cannot be written down.
    pub fn describe(&self) -> Result<String> {
        let (usual, all) = (leaves(table(&S::default())?), leaves(table(&self.settings)?));
        let other: Vec<_> = all.iter().filter(|(path, value)| usual.get(*path) != Some(*value)).collect();
        let set = |(path, value): &(&String, &Value)| format!("{path} = {value}");
        let width = other.iter().map(|line| set(line).chars().count()).max().unwrap_or(0);
        let mut text = "settings that are not as usual:".to_owned();
        for line in &other {
            let origin = self.origins.get(line.0).map_or_else(String::new, ToString::to_string);
            text += &format!("\n  {:width$}  # {origin}", set(line));
        }
        Ok(text)
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Puts settings over others, by their names with dots.
pub(crate) fn put_over(below: &mut Table, above: Table, is_given: &impl Fn(&str) -> bool) {
    let given = leaves(above).into_iter().filter(|(path, _)| is_given(path));
    given.for_each(|(path, value)| put(below, &path, value));
}

fn put(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(table.insert(path.to_owned(), value)),
        Some((part, rest)) => {
            let inner = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn remove(table: &mut Table, path: &str) {
    match path.split_once('.') {
        None => drop(table.remove(path)),
        Some((part, rest)) => {
            if let Some(Value::Table(inner)) = table.get_mut(part) {
                remove(inner, rest);
            }
        }
    }
}

/// What would be read back from a file: the digits of a number are fewer there than those of its nearest f64.
pub(crate) fn table(settings: &impl Serialize) -> Result<Table> {
    let unwritable =
        |problem: String| Error::Unfit(format!("settings that cannot be written down: {problem}"));
    let text = toml::to_string(settings).map_err(|error| unwritable(error.to_string()))?;
    toml::from_str(&text).map_err(|error| unwritable(error.to_string()))
}

/// The values of a table and of those in it, by their names with dots.
pub(crate) fn leaves(table: Table) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) => {
                all.extend(
                    leaves(inner).into_iter().map(|(inner, value)| (format!("{name}.{inner}"), value)),
                );
            }
            value => drop(all.insert(name, value)),
        }
    }
    all
}

#[cfg(test)]
mod tests;
