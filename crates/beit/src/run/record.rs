//! `run.toml`: what a run is written down as, and what must be the same when it goes on.

use crate::device::Device;
use crate::error::{Error, Place, Result, unfit};
use crate::files;
use crate::recipe::{leaves, put_over, table};
use crate::settings::{DeviceSettings, Precision};
use beit_data::{Shuffle, Source, normal_name};
use flate2::Crc;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use toml::{Table, Value};

/// The settings of a run, where it computes, and checksums of what it reads.
#[derive(Serialize)]
pub(crate) struct Recorded<'a, S> {
    #[serde(flatten)]
    settings: &'a S,
    device: Computed,
    /// What the settings name, by what is in it.
    found: BTreeMap<&'static str, String>,
}

#[derive(Serialize, Deserialize)]
struct Computed {
    device: String,
    precision: String,
    /// On a CPU, what multiplies: kernels of other instructions round otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kernel: Option<String>,
    /// The machine, for whoever looks at the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
}

/// Settings that change no number of a step: a run may go on with others. The name of a tokenizer may change as long as its
/// parameters, whose checksum is compared, do not.
const FREE: [&str; 20] = [
    "out",
    "overwrite",
    "report_every",
    "no_tensorboard",
    "resume",
    "save_every",
    "keep",
    "max_bad_share",
    "max_spikes",
    "no_index",
    "recompute",
    "shard_optimiser",
    "accept_tokenizer",
    "measure_images",
    "probe_every",
    "tokenizer",
    "device",
    "kernel",
    "machine",
    "lenient",
];
/// Settings that may differ between processes that train together: where each reads, computes and would write.
const OWN: [&str; 5] = ["out", "tokenizer", "device", "kernel", "machine"];
/// What is not a flag.
const FOUND: &str = "found";

impl<'a, S: Serialize + Default> Recorded<'a, S> {
    pub(crate) fn new(settings: &'a S, device: &Device) -> Self {
        let device = Computed {
            device: device.flag().to_owned(),
            precision: device.precision().to_owned(),
            kernel: device.kernel().map(str::to_owned),
            machine: Some(super::machine::sentence()),
        };
        Self { settings, device, found: BTreeMap::new() }
    }

    /// Records the checksum of something that the run reads.
    pub(crate) fn with(mut self, what: &'static str, checksum: impl Into<String>) -> Self {
        self.found.insert(what, checksum.into());
        self
    }

    /// Writes it, with the command that asked for the run.
    pub(crate) fn write(&self, path: &Path, command: Option<&str>) -> Result<()> {
        let settings = toml::to_string_pretty(self)
            .map_err(std::io::Error::other)
            .map_err(Error::file("write the settings to", path))?;
        let command = command.unwrap_or("beit").replace(char::is_control, " ");
        let text = format!("# {command}\n# version {}\n\n{settings}", env!("CARGO_PKG_VERSION"));
        files::write(path, text.as_bytes())
    }

    /// What must be the same in all processes that train together, a line each.
    pub(crate) fn required(&self) -> Result<String> {
        let last = |name: &str| name.rsplit('.').next().is_some_and(|last| OWN.contains(&last));
        let own = |name: &str| !name.starts_with(FOUND) && last(name);
        let required = leaves(table(self)?).into_iter().filter(|(name, _)| !own(name));
        Ok(required.map(|(name, value)| format!("{name} = {value}\n")).collect())
    }

    /// What a run that goes on here should say of the machine that it began on, if anything.
    pub(crate) fn other_machine(&self, path: &Path) -> Result<Option<String>> {
        let before: Option<Computed> = read(path)?.remove("device").and_then(|found| found.try_into().ok());
        let kernel = |computed: &Computed| computed.kernel.clone();
        let (was, is) = (before.as_ref().and_then(kernel), kernel(&self.device));
        Ok(was.zip(is).filter(|(was, is)| was != is).map(|(was, is)| {
            format!(
                "the run began on a processor whose products are {was}'s, and goes on with {is}: from here on its numbers differ by rounding from those that it would have had there"
            )
        }))
    }

    /// Refuses to go on with a run that is written down with other settings.
    pub(crate) fn refuse_other(&self, path: &Path) -> Result<()> {
        let usual = table(&S::default()).map(leaves).unwrap_or_default();
        let (before, now) = (leaves(read(path)?), leaves(table(self)?));
        let names: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        // Of other images the best checkpoint may be another.
        let judged = |name: &str| name == "measure_images" && now.contains_key("keep_best");
        let different = names.into_iter().filter(|name| !is_free(name) || judged(name)).find_map(|name| {
            let (was, is) = (before.get(name), now.get(name));
            // Versions that did not have the setting yet did what is usual.
            let unknown = was.is_none() && (is == usual.get(name) || name.starts_with(FOUND));
            let later = is.is_none() && name.starts_with(FOUND);
            (was != is && !unknown && !later).then(|| difference(name, was, is))
        });
        match different {
            Some(difference) => unfit!(
                "{} is of another run: {difference}; go on with the settings of the run (--resume and --out alone take them), or begin \
                 another one",
                path.display()
            ),
            None => Ok(()),
        }
    }
}

/// A sentence about the first of the [required](Recorded::required) settings that another rank has not as rank 0.
pub(super) fn different(first: &str, other: &str) -> String {
    let read = |text: &str| -> BTreeMap<String, String> {
        text.lines()
            .filter_map(|line| line.split_once(" = "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let (first, other) = (read(first), read(other));
    let names: std::collections::BTreeSet<&String> = first.keys().chain(other.keys()).collect();
    let differs = names.into_iter().find(|name| first.get(*name) != other.get(*name));
    let Some(name) = differs else { return "its settings are others".to_owned() };
    let value = |of: &BTreeMap<String, String>| {
        of.get(name).map_or_else(|| "not given".to_owned(), |value| value.trim_matches('"').to_owned())
    };
    format!("{} is {} there and {} in rank 0", named(name), value(&other), value(&first))
}

/// A sentence about a setting that is not as it was.
pub(crate) fn difference(name: &str, was: Option<&Value>, is: Option<&Value>) -> String {
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "not given".to_owned(),
    };
    format!("{} was {}, is {}", named(name), text(was), text(is))
}

/// What a person calls it.
fn named(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    match name.starts_with(FOUND) {
        true => format!("the {last}"),
        false => format!("--{}", last.replace('_', "-")),
    }
}

fn is_free(name: &str) -> bool {
    !name.starts_with(FOUND) && name.rsplit('.').next().is_some_and(|last| FREE.contains(&last))
}

/// The settings of the run in a folder, with those in their place that were given: `is_given` says which, by their paths in
/// `run.toml` (`training.lr`; `device` and `precision` alone). Also where it computed.
///
/// # Errors
///
/// A folder without `run.toml`, or a damaged one.
pub fn merged<S: Serialize + DeserializeOwned>(
    given: &S,
    device: &DeviceSettings,
    out: &Path,
    is_given: impl Fn(&str) -> bool,
) -> Result<(S, DeviceSettings)> {
    let path = super::replaced::in_force(out).join(super::parts::SETTINGS);
    if !path.is_file() {
        unfit!(
            "{}: no run to resume; expected a run folder with {} in it",
            out.display(),
            super::parts::SETTINGS
        );
    }
    let mut recorded = read(&path)?;
    let mut device = device.clone();
    if let Some(computed) = recorded.remove("device").and_then(|found| found.try_into::<Computed>().ok()) {
        if !is_given("device") {
            // The first GPU of one process; of several, each takes its own.
            device.device = if computed.device == "cuda:0" { "cuda".to_owned() } else { computed.device };
        }
        if !is_given("precision") {
            device.precision = Precision::named(&computed.precision);
        }
    }
    put_over(&mut recorded, table(given)?, &is_given);
    let damaged =
        |error: toml::de::Error| Error::Unfit(format!("{} is damaged: {}", path.display(), error.message()));
    Ok((Value::Table(recorded).try_into().map_err(damaged)?, device))
}

fn read(path: &Path) -> Result<Table> {
    let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
    let damaged = |error: toml::de::Error| Error::Unfit(error.message().to_owned());
    toml::from_str(&text).map_err(damaged).at(|| format!("{} is damaged", path.display()))
}

/// A source, by the names and classes of its images and the classes of its masks, however a system spells them.
pub(crate) fn data_stamp(source: &dyn Source) -> String {
    let mut crc = Crc::new();
    for index in 0..source.len() {
        let class = source.label(index).and_then(|class| source.class_names().get(class as usize));
        let line = format!("{}\t{}\n", source.name(index), class.map_or("", String::as_str));
        crc.update(normal_name(&line).as_bytes());
    }
    for class in source.mask_classes() {
        crc.update(normal_name(&format!("{class}\n")).as_bytes());
    }
    format!("{} images, {:08x}", source.len(), crc.sum())
}

/// A source that is learnt from: its [stamp](data_stamp), and how its images lie in groups where these make the order of an epoch.
pub(crate) fn training_stamp(source: &dyn Source, shuffle: Shuffle) -> String {
    let stamp = data_stamp(source);
    let Some(groups) = shuffle.windows(source) else { return stamp };
    let mut crc = Crc::new();
    groups.ends().iter().for_each(|&end| crc.update(&(end as u64).to_le_bytes()));
    format!("{stamp}, in windows of {} of {} groups, {:08x}", groups.window(), groups.count(), crc.sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PretrainSettings;
    use crate::settings::Resume;
    use crate::settings::RunSettings;
    use crate::settings::{self, DataSettings};
    use crate::{Progress, Watch};
    use beit_data::{Groups, Image};
    use std::sync::{Arc, Mutex};

    fn settings(steps: u64) -> PretrainSettings {
        let mut settings = PretrainSettings { run: RunSettings::in_folder("runs/a"), ..Default::default() };
        settings.training.steps = Some(steps);
        settings
    }

    fn recorded(settings: &PretrainSettings) -> Recorded<'_, PretrainSettings> {
        let device =
            Computed { device: "cpu".to_owned(), precision: "f32".to_owned(), kernel: None, machine: None };
        Recorded { settings, device, found: [("data", "3 images, 00000000".to_owned())].into() }
    }

    #[test]
    fn what_changes_a_step_must_be_the_same() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("run.toml");
        let first = settings(5);
        recorded(&first).write(&path, None).expect("it can be written");
        recorded(&first).refuse_other(&path).expect("the same");

        let mut free = first.clone();
        (free.run.resume, free.run.keep, free.training.recompute) = (Resume::Always, 9, true);
        recorded(&free).refuse_other(&path).expect("these change no number");

        let mut other = first.clone();
        other.mask.mask_ratio = 0.75;
        let error = recorded(&other).refuse_other(&path).expect_err("another mask").to_string();
        assert!(error.contains("--mask-ratio was 0.4, is 0.75"), "{error}");

        let mut given = first.clone();
        given.training.lr = Some(1e-3);
        let error = recorded(&given).refuse_other(&path).expect_err("a rate").to_string();
        assert!(error.contains("--lr was not given, is 0.001"), "{error}");

        let images = recorded(&first).with("data", "4 images, 00000000");
        let error = images.refuse_other(&path).expect_err("other images").to_string();
        assert!(error.contains("the data was 3 images"), "{error}");
        recorded(&first).with("tokenizer", "1").refuse_other(&path).expect("it was not known then");
    }

    #[test]
    fn what_is_not_given_is_that_of_the_run() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        recorded(&settings(5)).write(&dir.path().join("run.toml"), None).expect("it can be written");
        let mut given = PretrainSettings::default();
        (given.run.keep, given.mask.mask_ratio) = (7, 0.9);
        let (merged, device) =
            merged(&given, &DeviceSettings::default(), dir.path(), |name| name == "run.keep").expect("a run");
        assert_eq!((merged.training.steps, merged.run.keep, merged.mask.mask_ratio), (Some(5), 7, 0.4));
        assert_eq!((device.device.as_str(), device.precision), ("cpu", Precision::F32));
    }

    /// Four pictures that lie in groups.
    struct Grouped(Option<Groups>);

    impl Source for Grouped {
        fn len(&self) -> usize {
            4
        }
        fn image(&self, _: usize) -> beit_data::Result<Image> {
            unreachable!("a stamp looks at no picture")
        }
        fn label(&self, _: usize) -> Option<u32> {
            None
        }
        fn class_names(&self) -> &[String] {
            &[]
        }
        fn name(&self, index: usize) -> String {
            format!("rows#{index}")
        }
        fn groups(&self) -> Option<Groups> {
            self.0.clone()
        }
    }

    #[test]
    fn groups_are_in_the_stamp_where_they_make_the_order() {
        let stamp = |groups: Option<Groups>, shuffle| training_stamp(&Grouped(groups), shuffle);
        let of = |sizes: [usize; 3], window| Some(Groups::new(sizes, window));
        let plain = data_stamp(&Grouped(None));
        let usual = stamp(of([1, 1, 2], 1), Shuffle::Usual);
        assert!(usual.starts_with(&format!("{plain}, in windows of 1 of 3 groups, ")), "{usual}");
        assert_eq!(usual, stamp(of([1, 1, 2], 1), Shuffle::Groups));
        for other in [of([1, 2, 1], 1), of([1, 1, 2], 2), None] {
            assert_ne!(usual, stamp(other, Shuffle::Usual));
        }
        // Where any image may come after any other, groups change nothing.
        assert_eq!(stamp(of([1, 1, 2], 3), Shuffle::Usual), plain);
        assert_eq!(stamp(of([1, 1, 2], 1), Shuffle::Global), plain);
        assert_eq!(stamp(None, Shuffle::Usual), plain);
    }

    /// Keeps what it is told.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<String>>>);

    impl Progress for Told {
        fn note(&self, line: &str) {
            self.0.lock().expect("no panic").push(line.to_owned());
        }
    }

    #[test]
    fn an_order_by_windows_is_told_once() {
        let told = Told::default();
        let watch = Watch::new(told.clone());
        let grouped = Grouped(Some(Groups::new([1, 1, 2], 1)));
        let global =
            DataSettings { shuffle: settings::Shuffle::Global, ..DataSettings::of_spec("parquet:a") };
        watch.notes_of_training(&grouped, &global);
        watch.notes_of_training(&Grouped(None), &DataSettings::of_spec("folder:a"));
        assert!(told.0.lock().expect("no panic").is_empty());
        for _ in 0..2 {
            watch.notes_of_training(&grouped, &DataSettings::of_spec("parquet:a"));
        }
        let notes = told.0.lock().expect("no panic");
        assert!(notes.len() == 1 && notes[0].contains("windows of 1 of 3 groups"), "{notes:?}");
    }
}
