//! The model that training begins with: what `--init` names.

use crate::error::{Error, Result, unfit};
use crate::load;
use crate::locate::{Located, locate};
use crate::progress::Watch;
use crate::settings::{DataSettings, LoadSettings, ModelSettings, Sides};
use beit_data::{Channels, Normalise};
use beit_vit::Config;
use beit_weights::{Checkpoint, Entry};
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// What `--init` names.
pub(super) struct Init {
    pub(super) path: PathBuf,
    /// Of the catalogue, where it is an official checkpoint.
    pub(super) entry: Option<&'static Entry>,
    pub(super) checkpoint: Checkpoint,
}

impl Init {
    /// Finds and opens it.
    pub(super) fn open(
        init: &Path,
        model: &ModelSettings,
        loading: &LoadSettings,
        watch: &Watch,
    ) -> Result<Self> {
        let Located { path, entry } = locate(&init.to_string_lossy(), watch)?;
        let opening = loading.reading.options(model.image_size, entry);
        let checkpoint = load::open(&path, opening, watch)?;
        Ok(Self { path, entry, checkpoint })
    }

    /// The statistics that pixels are normalised with: those that are given, ImageNet's where they are asked for, or the checkpoint's.
    pub(super) fn normalise(&self, vit: &Config, model: &ModelSettings) -> Result<Normalise> {
        let of_checkpoint = load::preprocessing(&self.checkpoint, vit)?.normalise;
        model.check_statistics(of_checkpoint.channels)?;
        Ok(match model.given_statistics(of_checkpoint.channels) {
            Some(given) => given,
            None if model.imagenet_default_mean_and_std => Normalise::IMAGENET.seeing(of_checkpoint.channels),
            None => of_checkpoint,
        })
    }

    /// Its transformer `vit`, at the size of images that is asked for.
    pub(super) fn resized(
        &self,
        mut vit: Config,
        model: &ModelSettings,
        loading: &LoadSettings,
    ) -> Result<Config> {
        vit.image = loading.options(model.image_size).image.unwrap_or(vit.image);
        vit.drop_path = model.drop_path.unwrap_or(vit.drop_path);
        vit.validate().map_err(unfit(&self.path))?;
        Ok(vit)
    }

    /// The channels that it sees.
    pub(super) fn channels(&self) -> Result<Channels> {
        Ok(load::preprocessing(&self.checkpoint, self.vit()?)?.normalise.channels)
    }

    fn vit(&self) -> Result<&Config> {
        self.checkpoint.model().vit().ok_or_else(|| no_transformer(&self.path))
    }
}

/// The images of `data` as the model `name` sees them, which training begins with.
pub(crate) fn seen_by_init(
    name: &Path,
    data: &DataSettings,
    (model, loading): (&ModelSettings, &LoadSettings),
) -> Result<DataSettings> {
    let init = Init::open(name, model, loading, &Watch::silent())?;
    data.seen_by(&name.to_string_lossy(), init.channels()?)
}

/// The transformer of the model `name`, at the size of images at which training would see it.
pub(crate) fn transformer_of_init(
    name: &Path,
    (model, loading): (&ModelSettings, &LoadSettings),
) -> Result<Config> {
    let init = Init::open(name, model, loading, &Watch::silent())?;
    init.resized(init.vit()?.clone(), model, loading)
}

/// The error of a checkpoint that has no transformer.
pub(super) fn no_transformer(path: &Path) -> Error {
    Error::Unfit(format!(
        "{}: a tokenizer cannot be trained further; expected a model that was pre-trained or fine-tuned",
        path.display()
    ))
}

/// A fault of a flag and this checkpoint together, so no wrong usage.
pub(super) fn unfit<E: Display>(path: &Path) -> impl Fn(E) -> Error {
    move |error| Error::Unfit(format!("{}: {error}", path.display()))
}

/// Refuses another patch size than the checkpoint's.
pub(super) fn same_patches(init: &Path, asked: Option<Sides>, found: [usize; 2]) -> Result<()> {
    match asked {
        Some(Sides([height, width])) if [height, width] != found => unfit!(
            "--patch-size {height}x{width}: the checkpoint {} has patches of {}x{} pixels, which cannot be changed; leave the flag out",
            init.display(),
            found[0],
            found[1]
        ),
        _ => Ok(()),
    }
}
