use super::Resume;
use crate::error::Result;
use crate::ranks::Team;
use crate::run::is_begun;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where a run is written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct FolderSettings {
    /// Folder of the run; runs/VERB-N where not given
    #[cfg_attr(feature = "clap", arg(long, alias = "output-dir", value_name = "DIR"))]
    pub out: Option<PathBuf>,
    /// Replace what an earlier run wrote to --out
    #[cfg_attr(feature = "clap", arg(long))]
    pub overwrite: bool,
    /// Steps between two reports; 50 where not given
    #[cfg_attr(feature = "clap", arg(long))]
    pub report_every: Option<u64>,
    /// Write no event files for TensorBoard
    #[cfg_attr(feature = "clap", arg(long))]
    pub no_tensorboard: bool,
    /// The command that asked for the run, if one did: the first line of `run.toml`
    #[cfg_attr(feature = "clap", arg(skip))]
    #[serde(skip)]
    pub command: Option<String>,
}

impl FolderSettings {
    /// Steps between two reports.
    #[must_use]
    pub fn report_every(&self) -> u64 {
        self.report_every.unwrap_or(50)
    }

    /// Puts the usual numbers in the place of those that were not given, so that they are written down with the run.
    pub(crate) fn settle(&mut self) {
        self.report_every = Some(self.report_every());
    }
}

/// Where a run is written, and what of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct RunSettings {
    /// The folder.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub folder: FolderSettings,
    /// Continue the run in --out from its last checkpoint, to the same result as if it had not stopped; with auto begin it where there
    /// is none yet
    #[cfg_attr(
        feature = "clap",
        arg(
            long, alias = "auto-resume", requires = "out", conflicts_with = "overwrite", num_args = 0..=1, value_name = "always|auto",
            default_value = "never", default_missing_value = "always", hide_default_value = true, hide_possible_values = true
        )
    )]
    pub resume: Resume,
    /// Steps between two checkpoints. Where not given or 0, they are saved by time: after a minute or more, so that saving takes
    /// less than 1 % of the run
    #[cfg_attr(feature = "clap", arg(long))]
    pub save_every: Option<u64>,
    /// Checkpoints to keep
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().keep))]
    pub keep: usize,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self { folder: FolderSettings::default(), resume: Resume::Never, save_every: None, keep: 2 }
    }
}

impl RunSettings {
    /// A run in this folder.
    #[must_use]
    pub fn in_folder(out: impl Into<PathBuf>) -> Self {
        let folder = FolderSettings { out: Some(out.into()), ..FolderSettings::default() };
        Self { folder, ..Self::default() }
    }

    /// Decides for all processes whether the run begins or goes on, where that is left to what is in the folder. All of them call it.
    ///
    /// # Errors
    ///
    /// The team.
    pub fn decide(&mut self, team: &Team) -> Result<()> {
        if self.resume == Resume::Auto {
            // Others may look when rank 0 has begun.
            let begun = team.leads() && self.folder.out.as_deref().is_some_and(is_begun);
            self.resume = if team.any(begun)? { Resume::Always } else { Resume::Never };
        }
        Ok(())
    }

    /// Whether the run in the folder is to go on.
    pub(crate) fn resumes(&self) -> bool {
        match self.resume {
            Resume::Never => false,
            Resume::Always => true,
            Resume::Auto => self.folder.out.as_deref().is_some_and(is_begun),
        }
    }

    /// The folder of the run that is to go on, if one is.
    #[must_use]
    pub fn resumed(&self) -> Option<&Path> {
        self.folder.out.as_deref().filter(|_| self.resumes())
    }

    /// Whether checkpoints are saved by time.
    pub(crate) fn saves_by_time(&self) -> bool {
        self.save_every.unwrap_or(0) == 0
    }

    /// Whether something is saved after so many steps, where it is not saved by time.
    pub(crate) fn saves_after(&self, step: u64) -> bool {
        !self.saves_by_time() && self.save_every.is_some_and(|every| step.is_multiple_of(every))
    }

    /// Where to stop next, after `step` of `total` steps.
    pub(crate) fn next_stop(&self, step: u64, total: u64) -> u64 {
        let every = self.save_every.unwrap_or(0);
        step.checked_div(every).map_or(total, |saved| total.min((saved + 1) * every))
    }
}
