use beit_train::Recover;
use serde::{Deserialize, Serialize};

/// What is predicted: the ablations of masked image modelling (paper §3.3, Table 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct ObjectiveSettings {
    /// What a patch is recovered as
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub predict: TargetKind,
    /// Which patches are recovered
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub recover: RecoverRule,
}

/// What a patch is recovered as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// Its visual token, by cross-entropy: BEiT
    #[default]
    Tokens,
    /// Its pixels, by squared error: the paper's ablation of visual tokens. No tokenizer is needed
    Pixels,
}

/// Which patches are recovered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum RecoverRule {
    /// The masked ones: BEiT
    #[default]
    Masked,
    /// All of a masked image
    All,
    /// All of an image of which nothing is masked
    Unmasked,
}

impl From<RecoverRule> for Recover {
    fn from(rule: RecoverRule) -> Self {
        match rule {
            RecoverRule::Masked => Self::Masked,
            RecoverRule::All => Self::All,
            RecoverRule::Unmasked => Self::Unmasked,
        }
    }
}
