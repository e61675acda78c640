use super::number::{SHARE, within};
use crate::error::Result;
use beit_data::RandomResizedCrop;
use serde::{Deserialize, Serialize};

/// Which regions of the images a model is trained on.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct CropSettings {
    /// Least share of an image's area that a random region has; 0.08 where not given, of small images more
    #[cfg_attr(feature = "clap", arg(long, value_name = "SHARE"))]
    pub min_crop_scale: Option<f64>,
}

impl CropSettings {
    /// Refuses shares that no region can have.
    pub(crate) fn check(self) -> Result<()> {
        let share = self.min_crop_scale;
        share.map_or(Ok(()), |share| within("--min-crop-scale", "a share of the area", share, SHARE))
    }

    /// The usual regions, or those that are asked for.
    pub(crate) fn or(self, usual: RandomResizedCrop) -> RandomResizedCrop {
        let least = self.min_crop_scale.unwrap_or(usual.scale[0]);
        RandomResizedCrop { scale: [least, usual.scale[1]], ..usual }
    }
}
