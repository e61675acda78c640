use super::DataSettings;
use crate::error::Result;
use crate::files::Files;
use crate::loaders::spread;
use beit_data::{Channels, Source};
use std::path::PathBuf;
use std::sync::Arc;

/// Which images a picture shows.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct ShownSettings {
    /// Images, or folders of images, instead of those of --data that were held out
    #[cfg_attr(feature = "clap", arg(value_name = "IMAGE"))]
    pub files: Vec<PathBuf>,
    /// Else images that were held out.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub data: DataSettings,
    /// So many of them at most, at even distances; where not given, a few of --data, or all that are named
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub images: Option<usize>,
    /// Which image is the first: the others follow at even distances
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0))]
    pub seed: u64,
}

impl ShownSettings {
    /// Images from files.
    #[must_use]
    pub fn of_files(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { files: files.into_iter().collect(), ..Self::default() }
    }

    /// The images as the model sees them, and which of them are shown: of data `few` where nothing is said.
    pub(crate) fn open(
        &self,
        model: &str,
        channels: Channels,
        few: usize,
    ) -> Result<(Arc<dyn Source>, Vec<usize>)> {
        let data = self.data.seen_by(model, channels)?;
        let (source, usual): (Arc<dyn Source>, _) = match self.files.is_empty() {
            true => (data.held_out()?.0, few),
            false => (Arc::new(Files::find_as(&self.files, data.bands())?), usize::MAX),
        };
        let indices = spread(source.len(), self.images.unwrap_or(usual), self.seed).collect();
        Ok((source, indices))
    }
}
