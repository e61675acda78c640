use crate::error::{Result, setting};
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
        match self.min_crop_scale {
            Some(share) if !(share > 0.0 && share <= 1.0) => {
                setting!("--min-crop-scale {share}: expected more than 0 and at most 1")
            }
            _ => Ok(()),
        }
    }

    /// The usual regions, or those that are asked for.
    pub(crate) fn or(self, usual: RandomResizedCrop) -> RandomResizedCrop {
        let least = self.min_crop_scale.unwrap_or(usual.scale[0]);
        RandomResizedCrop { scale: [least, usual.scale[1]], ..usual }
    }
}
