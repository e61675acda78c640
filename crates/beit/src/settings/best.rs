use super::RunSettings;
use crate::error::{Result, setting};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether the best checkpoint of a run is kept.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct BestSettings {
    /// Keep the checkpoint that is best by this beside the newest, linked as `best`: each that --save-every saves is measured on images
    /// that were held out; of equally good ones the first is kept
    #[cfg_attr(feature = "clap", arg(long, value_enum, value_name = "METRIC"))]
    pub keep_best: Option<BestMetric>,
}

/// By what a checkpoint is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum BestMetric {
    /// The share of images whose class is named rightly (classification)
    Accuracy,
    /// The mean cross-entropy; the lowest is the best (classification)
    Loss,
    /// The mean intersection over union (segmentation)
    Miou,
    /// The share of masked tokens that are named rightly (pre-training)
    TokenAccuracy,
    /// The squared error of masked pixels; the lowest is the best (pre-training with --predict pixels)
    PixelError,
}

impl BestMetric {
    /// Whether a value is better than the best before it.
    #[must_use]
    pub fn is_better(self, value: f64, than: f64) -> bool {
        match self {
            Self::Loss | Self::PixelError => value < than,
            Self::Accuracy | Self::Miou | Self::TokenAccuracy => value > than,
        }
    }

    /// As in files and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Loss => "loss",
            Self::Miou => "miou",
            Self::TokenAccuracy => "token-accuracy",
            Self::PixelError => "pixel-error",
        }
    }
}

impl fmt::Display for BestMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl BestSettings {
    /// Refuses what is not measured of such a run, and a run whose checkpoints are not saved after so many steps.
    pub(crate) fn check(self, of: &str, measured: &[BestMetric], run: &RunSettings) -> Result<()> {
        let Some(metric) = self.keep_best else { return Ok(()) };
        if !measured.contains(&metric) {
            let names: Vec<&str> = measured.iter().map(|metric| metric.name()).collect();
            setting!("--keep-best {metric}: of {of}, {} is measured", names.join(" or "));
        }
        if run.saves_by_time() {
            setting!(
                "--keep-best {metric} needs --save-every N: by time other steps would be measured in every run, and another be the best"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_not_better() {
        use BestMetric::{Accuracy, Loss, Miou, PixelError, TokenAccuracy};
        for metric in [Accuracy, Loss, Miou, TokenAccuracy, PixelError] {
            assert!(!metric.is_better(0.5, 0.5) && !metric.is_better(f64::NAN, 0.5), "{metric}");
            assert_eq!(metric.is_better(0.6, 0.5), !matches!(metric, Loss | PixelError), "{metric}");
            let name = serde_json::to_string(&metric).expect("it is JSON");
            assert_eq!(name, format!("\"{metric}\""));
        }
    }
}
