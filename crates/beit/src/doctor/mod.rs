//! What a run would meet: the machine, the device, the data, the disk, the settings, the hub. Nothing is written but indices of images.

mod data;
mod disk;
mod hub;
mod intended;
mod machine;
mod settings;

pub use settings::DoctorSettings;

use crate::device::Device;
use crate::error::{Result, chain};
use crate::progress::Watch;
use crate::settings::DeviceSettings;
use intended::Intended;
use serde::Serialize;
use std::fmt;

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// A run would fail, or come to nothing.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where: `machine`, `device`, `data`, `disk`, `settings` or `hub`.
    pub part: &'static str,
    /// How much it matters.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do; always said of what is not as it should be.
    pub advice: Option<String>,
}

impl Finding {
    pub(crate) fn ok(part: &'static str, found: impl Into<String>) -> Self {
        Self { part, level: Level::Ok, found: found.into(), advice: None }
    }

    pub(crate) fn note(part: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { part, level: Level::Note, found: found.into(), advice: Some(advice.into()) }
    }

    pub(crate) fn problem(part: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { part, level: Level::Problem, found: found.into(), advice: Some(advice.into()) }
    }
}

/// `problem  disk: 3.0 GiB are free …: choose another --out`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Problem => "problem",
        };
        write!(f, "{level:7}  {}: {}", self.part, self.found)?;
        self.advice.as_ref().map_or(Ok(()), |advice| write!(f, ": {advice}"))
    }
}

/// Looks at everything that a run by these settings would meet. What cannot even be looked at is a finding too.
///
/// # Errors
///
/// Settings that there are not: a recipe or a setting of no such name.
pub fn examine(settings: &DoctorSettings, device: &DeviceSettings, watch: &Watch) -> Result<Vec<Finding>> {
    let (mut intended, device) = Intended::of(settings, device)?;
    let mut findings = machine::findings(&machine::Machine::here());
    findings.extend(intended.see_as_init().err().map(|error| settings::refused(&error)));
    let opened = machine::device(&device, &mut findings);
    let opened = opened.unwrap_or_else(Device::cpu);
    let looked = data::look(intended.data(), settings.sample, watch);
    let images = looked.as_ref().map(|survey| survey.images).ok();
    let classes = looked.as_ref().map_or(1000, |survey| survey.classes.max(2));
    match looked {
        Ok(survey) => findings.extend(data::findings(&survey, intended.data(), intended.is_labelled())),
        Err(error) => findings.push(data::unopened(intended.data(), &chain(&error))),
    }
    let free = machine::available(&opened);
    match intended.sizes(&opened, classes, free) {
        Ok(sizes) => {
            findings.push(disk::finding(&disk::Disk::at(&intended.out()), &sizes));
            findings.push(settings::memory(&sizes, free));
        }
        Err(error) => findings.push(settings::refused(&error)),
    }
    findings.extend(settings::findings(&intended, images));
    findings.extend(hub::findings(&intended));
    Ok(findings)
}

#[cfg(test)]
mod tests;
