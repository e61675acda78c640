use super::number::within;
use crate::error::{Result, setting};
use serde::{Deserialize, Serialize};

/// The decay of the released fine-tuning.
const DECAY: f64 = 0.9999;

/// Whether weights are averaged over the steps of a run.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct AverageSettings {
    /// Average the weights over the steps (EMA); the average is what is judged and saved
    #[cfg_attr(feature = "clap", arg(long))]
    pub model_ema: bool,
    /// How much of the average a step keeps; 0.9999 where not given, for runs of a thousand steps rather 0.99
    #[cfg_attr(feature = "clap", arg(long, value_name = "DECAY"))]
    pub model_ema_decay: Option<f64>,
}

impl AverageSettings {
    /// The decay, where there is an average.
    #[must_use]
    pub fn decay(&self) -> Option<f64> {
        self.model_ema.then(|| self.model_ema_decay.unwrap_or(DECAY))
    }

    /// Refuses numbers that no run can have.
    pub(crate) fn check(&self) -> Result<()> {
        if self.model_ema_decay.is_some() && !self.model_ema {
            setting!("--model-ema-decay without --model-ema: there is no average; give both, or neither");
        }
        within("--model-ema-decay", "a factor below 1", self.model_ema_decay.unwrap_or(DECAY), 0.0..1.0)
    }
}
