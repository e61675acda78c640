//! Ablations: the same pre-training with one thing changed, several seeds of each, judged alike (paper §3.3, Table 4).

mod judges;
mod ledger;
mod plot;
mod rows;
mod run;
mod settings;
mod table;

pub use self::table::{Ablated, Mean};
pub use judges::AblationJudge;
pub use rows::{AblationRow, PaperFigures};
pub use settings::AblationSettings;

use crate::device::Device;
use crate::error::{Error, Place, Result, unfit};
use crate::files;
use crate::progress::Watch;
use crate::recipe::{leaves, table};
use crate::run::{FolderLock, LOCK, difference};
use crate::settings::DataSettings;
use crate::train::Pretraining;
use beit_data::Split;
use ledger::Ledger;
use serde::Serialize;
use settings::Judging;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What an ablation is: everything but its rows, judges and seeds, of which there may be more later.
const SETTINGS: &str = "ablation.toml";
const RESULTS: &str = "results.jsonl";
const TABLE: &str = "table.md";
const PLOT: &str = "plot.svg";

/// An ablation of which everything is checked that can be before anything is trained.
///
/// ```no_run
/// use beit::ablate::{Ablation, AblationRow, AblationSettings};
/// let rows = vec![AblationRow::Beit, AblationRow::Pixels, AblationRow::Scratch];
/// let settings = AblationSettings { rows, ..AblationSettings::default() };
/// let done = Ablation::new(settings, &beit::Watch::silent())?.run(&beit::Device::auto()?)?;
/// println!("{}", done.text);
/// # Ok::<(), beit::Error>(())
/// ```
pub struct Ablation {
    settings: AblationSettings,
    judging: Judging,
    watch: Watch,
}

/// What an ablation found.
#[derive(Clone, Debug, Serialize)]
pub struct AblationFound {
    /// Its folder.
    pub out: PathBuf,
    /// The table, in Markdown.
    pub table: PathBuf,
    /// The picture.
    pub plot: PathBuf,
    /// Row by row.
    pub rows: Vec<Ablated>,
    /// The table itself.
    #[serde(skip)]
    pub text: String,
}

/// What an ablation takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AblationPlan {
    /// Each row that is pre-trained, with the steps of one of its runs.
    pub rows: Vec<(AblationRow, u64)>,
    /// Seeds of each row.
    pub seeds: u64,
    /// Steps of pre-training of all of them.
    pub steps: u64,
    /// Images of a step.
    pub images_per_step: u64,
    /// Images a second of pre-training on this device, without tokenizers, data and judges; none where it was not measured.
    pub images_per_second: Option<f64>,
}

impl AblationPlan {
    /// Of pre-training alone, where the speed is known.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        let images = self.steps.saturating_mul(self.images_per_step) as f64;
        self.images_per_second.map(|rate| images / rate)
    }

    /// Lines for a person.
    #[must_use]
    pub fn sentence(&self) -> String {
        let rows = self.rows.iter().map(|(row, steps)| format!("{:24} {steps:8} steps\n", row.name()));
        let mut text: String = rows.collect();
        text += &format!("{} seeds of each: {} steps of pre-training in all", self.seeds, self.steps);
        if let Some(seconds) = self.seconds() {
            text += &format!(", about {:.1} hours without tokenizers and judges", seconds / 3600.0);
        }
        text
    }
}

impl Ablation {
    /// Checks the settings, those of every row, and the data.
    ///
    /// # Errors
    ///
    /// Settings that do not fit together, data that is not there or has neither classes nor masks, or a folder of something else.
    pub fn new(mut settings: AblationSettings, watch: &Watch) -> Result<Self> {
        let judging = judging(&settings.data)?;
        settings.settle(judging)?;
        let ablation = Self { settings, judging, watch: watch.clone() };
        ablation.check_folder()?;
        // The notes come again when a row is run.
        for (row, settings) in ablation.pretrained(ablation.settings.seed) {
            let of = || format!("row {}", row.name());
            Pretraining::new(settings, &Watch::silent()).at(of)?;
        }
        Ok(ablation)
    }

    /// One sentence about what is to be done.
    #[must_use]
    pub fn describe(&self) -> String {
        let AblationSettings { rows, judges, seeds, data, labels, out, .. } = &self.settings;
        let labels = labels.map_or_else(|| "all".to_owned(), |labels| labels.to_string());
        let judges: Vec<&str> = judges.iter().map(|judge| judge.name()).collect();
        format!(
            "{} rows, {seeds} seeds of each, on {}; judged by {} with {labels} labels; what is found stands in {}",
            rows.len(),
            data.data,
            judges.join(", "),
            out.display()
        )
    }

    /// What it takes, without what is done already; the speed is measured where a device is given.
    ///
    /// # Errors
    ///
    /// The device.
    pub fn plan(&self, device: Option<&Device>) -> Result<AblationPlan> {
        let AblationSettings { seeds, seed, .. } = &self.settings;
        let (mut rows, mut rate) = (Vec::new(), None);
        for (row, settings) in self.pretrained(*seed) {
            let pretraining = Pretraining::new(settings, &Watch::silent())?;
            if let (Some(device), None) = (device, rate) {
                rate = Some(pretraining.rate(device)?);
            }
            rows.push((row, pretraining.steps()));
        }
        let steps = rows.iter().map(|(_, steps)| steps).sum::<u64>().saturating_mul(*seeds);
        let images_per_step = self.settings.training(*seed).step_size();
        Ok(AblationPlan { rows, seeds: *seeds, steps, images_per_step, images_per_second: rate })
    }

    /// Does what is not done yet: row by row, seed by seed. What is found is written down at once, and a run that was stopped goes on
    /// where it stood.
    ///
    /// # Errors
    ///
    /// The data, the folder or the device.
    pub fn run(&self, device: &Device) -> Result<AblationFound> {
        let AblationSettings { out, .. } = &self.settings;
        let _lock = FolderLock::take(out)?;
        self.check_folder()?;
        files::write(&out.join(SETTINGS), self.written()?.as_bytes())?;
        let mut ledger = Ledger::open(out.join(RESULTS))?;
        match self.all(device, &mut ledger) {
            Err(Error::Stopped(_)) => Err(Error::Stopped(format!(
                "what was found stands in {}; the same command goes on from there",
                out.display()
            ))),
            Err(error) => Err(error),
            Ok(()) => self.draw(&ledger),
        }
    }

    /// The table and the picture of what was found so far.
    fn draw(&self, ledger: &Ledger) -> Result<AblationFound> {
        let AblationSettings { out, .. } = &self.settings;
        let rows = Ablated::all(ledger.entries());
        let judges: Vec<AblationJudge> = AblationJudge::ALL
            .into_iter()
            .filter(|judge| rows.iter().any(|row| row.by(*judge).is_some()))
            .collect();
        let (table, plot) = (out.join(TABLE), out.join(PLOT));
        let text = self::table::markdown(&rows, &judges);
        files::write(&table, text.as_bytes())?;
        plot::write(&plot, &rows, &judges)?;
        Ok(AblationFound { out: out.clone(), table, plot, rows, text })
    }

    fn written(&self) -> Result<String> {
        toml::to_string_pretty(&self.settings)
            .map_err(std::io::Error::other)
            .map_err(Error::file("write the settings to", &self.settings.out.join(SETTINGS)))
    }

    /// Refuses a folder in which something else is, or another ablation.
    fn check_folder(&self) -> Result<()> {
        let (out, path) = (&self.settings.out, self.settings.out.join(SETTINGS));
        match std::fs::read_to_string(&path) {
            Ok(text) => self.same_as(&path, &text),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file("read", &path)(error))
            }
            Err(_) if has_anything(out) => unfit!(
                "{}: something else is in this folder, which has no {SETTINGS}; choose another --out",
                out.display()
            ),
            Err(_) => Ok(()),
        }
    }

    fn same_as(&self, path: &Path, text: &str) -> Result<()> {
        let before: toml::Table = match toml::from_str(text) {
            Ok(table) => table,
            Err(error) => unfit!("{} is damaged: {error}", path.display()),
        };
        let (before, now) = (leaves(before), leaves(table(&self.settings)?));
        let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let differs = names.into_iter().find(|name| before.get(*name) != now.get(*name));
        match differs.map(|name| difference(name, before.get(name), now.get(name))) {
            Some(difference) => unfit!(
                "{} is of another ablation: {difference}; go on with its settings, or choose another --out",
                path.display()
            ),
            None => Ok(()),
        }
    }
}

/// What data can judge by; data that can judge nothing is refused.
fn judging(data: &DataSettings) -> Result<Judging> {
    let source = data.open(Split::Train)?;
    let judging = match (source.class_names().is_empty(), source.mask_classes().is_empty()) {
        (false, _) => Judging::Images,
        (true, false) => Judging::Pixels,
        (true, true) => {
            unfit!(
                "{}: rows are judged by classes of images or by masks, and these images have neither",
                data.data
            )
        }
    };
    data.open(Split::Test).at(|| "rows are judged by test images")?;
    Ok(judging)
}

/// Whether there is anything in a folder but the lock.
fn has_anything(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name() != LOCK)
}
