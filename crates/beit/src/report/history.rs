//! What the folder of a run has, read for its page. What is damaged is said in the page, and never an error.

use super::picture::Picture;
use crate::recipe::leaves;
use crate::run::{METRICS, PICTURES, SETTINGS};
use beit_train::{Measured, Scalars, read_metrics};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A phase of the metrics, and what was measured in it.
pub(super) type Name = (String, String);

/// A run.
#[derive(Default)]
pub(super) struct History {
    pub(super) name: String,
    /// What stands above the settings: the command and the version.
    pub(super) heading: Vec<String>,
    /// By their paths in `run.toml`.
    pub(super) settings: BTreeMap<String, String>,
    /// Steps and values.
    pub(super) curves: BTreeMap<Name, Vec<(f64, f64)>>,
    /// What was measured of a model at its end.
    pub(super) results: BTreeMap<Name, f64>,
    /// How often each visual token occurs on images that were held out, commonest first, of those that occur.
    pub(super) tokens: Vec<u64>,
    pub(super) pictures: Vec<Picture>,
    /// What could not be read.
    pub(super) notes: Vec<String>,
}

impl History {
    /// Reads a run.
    pub(super) fn read(dir: &Path, name: String) -> Self {
        let mut history = Self { name, ..Self::default() };
        history.read_settings(dir);
        history.read_metrics(dir);
        let (pictures, notes) = Picture::all_in(&dir.join(PICTURES));
        history.pictures = pictures;
        history.notes.extend(notes);
        history
    }

    fn read_settings(&mut self, dir: &Path) {
        let text = match std::fs::read(dir.join(SETTINGS)) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => return self.notes.push(format!("{SETTINGS} cannot be read: {error}")),
        };
        let above = text.lines().map_while(|line| line.strip_prefix('#'));
        self.heading = above.map(|line| line.trim().to_owned()).collect();
        match toml::from_str(&text) {
            Ok(table) => {
                let plain = |value: toml::Value| match value {
                    toml::Value::String(text) => text,
                    value => value.to_string(),
                };
                self.settings = leaves(table).into_iter().map(|(name, value)| (name, plain(value))).collect();
            }
            Err(error) => self.notes.push(format!("{SETTINGS} is damaged: {}", error.message())),
        }
    }

    fn read_metrics(&mut self, dir: &Path) {
        let path = dir.join(METRICS);
        if !path.exists() {
            return self.notes.push(format!("nothing is measured yet: there is no {METRICS}"));
        }
        match read_metrics(&path) {
            Ok(measured) => self.take(&measured),
            Err(error) => self.notes.push(format!("{METRICS} cannot be read: {error}")),
        }
    }

    fn take(&mut self, Measured { records, broken }: &Measured) {
        if let Some(first) = broken.first() {
            let (count, all) = (broken.len(), records.len() + broken.len());
            self.notes.push(format!(
                "{METRICS}: {count} of {all} lines are not whole and were left out, the first of them line {first}"
            ));
        }
        for record in records {
            let Some(Scalars { phase, step, values }) = Scalars::of(record) else { continue };
            for (name, value) in values {
                let of = (phase.clone(), name);
                match step {
                    Some(step) => self.curves.entry(of).or_default().push((step as f64, value)),
                    None => drop(self.results.insert(of, value)),
                }
            }
            if let Some(counts) = record["quality"]["counts"].as_array() {
                self.tokens = counts.iter().filter_map(Value::as_u64).filter(|&count| count > 0).collect();
                self.tokens.sort_unstable_by(|a, b| b.cmp(a));
            }
        }
    }

    /// A setting, by its path.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }
}
