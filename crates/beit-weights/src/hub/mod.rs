//! Checkpoints from the Hugging Face hub, kept in the cache that its other tools share.
//!
//! The crate `hf-hub` knows how that cache is laid out. Its transfers are not used: they send the token to the host that a
//! redirect names, wait for a silent server for ever, and take what arrives for what was announced.

mod address;
mod answer;
mod cache;
mod client;
mod config;
mod failure;
mod gather;
mod id;
mod limit;
mod patience;
mod problem;
mod progress;
mod transfer;
mod waiting;
mod wanted;

pub use config::HubConfig;
pub use id::HubId;
pub use problem::HubProblem;
pub use progress::{NoProgress, Progress};
pub use waiting::Waits;

use crate::error::Result;
use failure::Failure;
use gather::Gatherer;
use std::path::PathBuf;

/// Fetches checkpoints by their names on the hub.
///
/// ```no_run
/// use beit_weights::{Hub, NoProgress};
/// let folder = Hub::from_env().fetch(&"microsoft/beit-base-patch16-224".parse()?, &mut NoProgress)?;
/// assert!(folder.join("config.json").exists());
/// # Ok::<(), beit_weights::Error>(())
/// ```
pub struct Hub {
    gatherer: Gatherer,
}

impl Hub {
    /// A hub with these settings.
    #[must_use]
    pub fn new(config: HubConfig) -> Self {
        Self { gatherer: Gatherer::new(config, Waits::default()) }
    }

    /// The same with other waits for a hub that is slow, and for other processes.
    #[must_use]
    pub fn with_waits(self, waits: Waits) -> Self {
        Self { gatherer: self.gatherer.with_waits(waits) }
    }

    /// The hub that the environment names; see [`HubConfig::from_env`].
    #[must_use]
    pub fn from_env() -> Self {
        Self::new(HubConfig::from_env())
    }

    /// The folder with a checkpoint's `config.json`, `preprocessor_config.json` if it has one, and weights.
    ///
    /// Weights are `model.safetensors`, or else its shards and their index, or else `pytorch_model.bin` in the same way. What is
    /// in the cache is used without a question to the hub: a branch stays at the commit it had when it was first fetched.
    ///
    /// # Errors
    ///
    /// When the hub does not have it, does not give it or cannot be reached, or when the disk does not take it. A transfer that
    /// broke off is continued by the next call.
    pub fn fetch(&self, id: &HubId, progress: &mut dyn Progress) -> Result<PathBuf> {
        self.gatherer.gather(id, &wanted::checkpoint, progress).map_err(Failure::of_model(id))
    }

    /// One file, whatever its name; for models of other layouts.
    ///
    /// # Errors
    ///
    /// As [`Hub::fetch`].
    pub fn fetch_file(&self, id: &HubId, file: &str, progress: &mut dyn Progress) -> Result<PathBuf> {
        let fetched = match id::is_inside(file) {
            true => self.gatherer.gather(id, &|get| wanted::file(get, file).map(drop), progress),
            false => Err(HubProblem::FileName { file: file.to_owned() }.into()),
        };
        fetched.map(|folder| folder.join(file)).map_err(Failure::of_model(id))
    }
}
