//! The rows of an ablation: what each changes, and what the paper found.

use crate::settings::{MaskKind, RecoverRule, TargetKind, TokenizerKind};
use crate::train::PretrainSettings;
use serde::{Deserialize, Serialize};

/// A row of an ablation: a way of pre-training that differs from the first in one thing, or in the two that its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum AblationRow {
    /// The base: visual tokens of masked patches, masked in blocks
    Beit,
    /// Single patches are masked at random
    RandomMasking,
    /// The pixels of masked patches are recovered
    Pixels,
    /// Both: pixels of patches that are masked at random
    PixelsRandomMasking,
    /// The tokens of all patches are recovered
    AllPatches,
    /// The tokens of all patches, of which none is masked
    NoMasking,
    /// As the base, for longer
    Longer,
    /// Tokens of a discrete VAE
    Dvae,
    /// Tokens by k-means
    Kmeans,
    /// Tokens of random directions, which nothing is learnt for
    RandomTokens,
    /// A fifth of the patches masked
    #[cfg_attr(feature = "clap", value(name = "ratio-20"))]
    #[serde(rename = "ratio-20")]
    Ratio20,
    /// Three fifths of the patches masked
    #[cfg_attr(feature = "clap", value(name = "ratio-60"))]
    #[serde(rename = "ratio-60")]
    Ratio60,
    /// Three quarters of the patches masked
    #[cfg_attr(feature = "clap", value(name = "ratio-75"))]
    #[serde(rename = "ratio-75")]
    Ratio75,
    /// No pre-training
    Scratch,
}

/// What the paper found for a row: BEiT base, 300 epochs on ImageNet-1K (Table 4; from scratch, Table 1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PaperFigures {
    /// Top-1 accuracy on ImageNet-1K after fine-tuning, in percent.
    pub imagenet: f64,
    /// Mean intersection over union on ADE20K after fine-tuning, in percent, where it is given.
    pub ade20k: Option<f64>,
}

impl AblationRow {
    /// All, in the order of the table.
    pub const ALL: [Self; 14] = [
        Self::Beit,
        Self::RandomMasking,
        Self::Pixels,
        Self::PixelsRandomMasking,
        Self::AllPatches,
        Self::NoMasking,
        Self::Longer,
        Self::Dvae,
        Self::Kmeans,
        Self::RandomTokens,
        Self::Ratio20,
        Self::Ratio60,
        Self::Ratio75,
        Self::Scratch,
    ];

    /// As in flags and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Beit => "beit",
            Self::RandomMasking => "random-masking",
            Self::Pixels => "pixels",
            Self::PixelsRandomMasking => "pixels-random-masking",
            Self::AllPatches => "all-patches",
            Self::NoMasking => "no-masking",
            Self::Longer => "longer",
            Self::Dvae => "dvae",
            Self::Kmeans => "kmeans",
            Self::RandomTokens => "random-tokens",
            Self::Ratio20 => "ratio-20",
            Self::Ratio60 => "ratio-60",
            Self::Ratio75 => "ratio-75",
            Self::Scratch => "scratch",
        }
    }

    /// For a table.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Beit => "BEiT",
            Self::RandomMasking => "random instead of block-wise masking",
            Self::Pixels => "pixels instead of visual tokens",
            Self::PixelsRandomMasking => "pixels, random masking",
            Self::AllPatches => "all patches recovered",
            Self::NoMasking => "all patches recovered, nothing masked",
            Self::Longer => "pre-trained for longer",
            Self::Dvae => "tokens of a discrete VAE",
            Self::Kmeans => "tokens by k-means",
            Self::RandomTokens => "random tokens",
            Self::Ratio20 => "20 % masked",
            Self::Ratio60 => "60 % masked",
            Self::Ratio75 => "75 % masked",
            Self::Scratch => "not pre-trained",
        }
    }

    /// What the paper found, where it has such a row.
    #[must_use]
    pub const fn paper(self) -> Option<PaperFigures> {
        let (imagenet, ade20k) = match self {
            Self::Beit => (82.86, Some(44.65)),
            Self::RandomMasking => (82.77, Some(42.93)),
            Self::Pixels => (81.04, Some(41.38)),
            Self::PixelsRandomMasking => (80.50, Some(37.09)),
            Self::AllPatches => (82.59, Some(40.93)),
            Self::NoMasking => (81.67, Some(36.73)),
            Self::Longer => (83.19, Some(45.58)),
            // DeiT-B.
            Self::Scratch => (81.8, None),
            _ => return None,
        };
        Some(PaperFigures { imagenet, ade20k })
    }

    /// Whether it says nothing beside a base with these tokens.
    pub(super) fn is_the_base(self, base: TokenizerKind) -> bool {
        matches!(
            (self, base),
            (Self::Dvae, TokenizerKind::Dvae)
                | (Self::Kmeans, TokenizerKind::KMeans)
                | (Self::RandomTokens, TokenizerKind::Random)
        )
    }

    /// The same settings as the base, but for what the row changes; none where nothing is pre-trained.
    pub(super) fn applied(self, mut base: PretrainSettings, longer: f64) -> Option<PretrainSettings> {
        match self {
            Self::Beit => {}
            Self::RandomMasking => base.mask.mask = MaskKind::Random,
            Self::Pixels => base.objective.predict = TargetKind::Pixels,
            Self::PixelsRandomMasking => {
                base.objective.predict = TargetKind::Pixels;
                base.mask.mask = MaskKind::Random;
            }
            Self::AllPatches => base.objective.recover = RecoverRule::All,
            Self::NoMasking => base.objective.recover = RecoverRule::Unmasked,
            Self::Longer => {
                let more = |length: u64| (length as f64 * longer).round() as u64;
                base.training.epochs = base.training.epochs.map(more);
                base.training.steps = base.training.steps.map(more);
            }
            Self::Dvae => base.tokenizer_kind = TokenizerKind::Dvae,
            Self::Kmeans => base.tokenizer_kind = TokenizerKind::KMeans,
            Self::RandomTokens => {
                base.tokenizer_kind = TokenizerKind::Random;
                // Whether they are of use is what the row asks.
                base.accept_tokenizer = true;
            }
            Self::Ratio20 => base.mask.mask_ratio = 0.2,
            Self::Ratio60 => base.mask.mask_ratio = 0.6,
            Self::Ratio75 => base.mask.mask_ratio = 0.75,
            Self::Scratch => return None,
        }
        Some(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_named_as_in_flags_and_files_and_change_one_thing() {
        let mut base = PretrainSettings::default();
        base.training.epochs = Some(3);
        let usual = toml::to_string(&base).expect("settings are TOML");
        let mut seen = vec![usual.clone()];
        for row in AblationRow::ALL {
            assert_eq!(serde_json::to_string(&row).expect("it is JSON"), format!("\"{}\"", row.name()));
            let Some(applied) = row.applied(base.clone(), 8.0 / 3.0) else {
                assert_eq!(row, AblationRow::Scratch);
                continue;
            };
            let text = toml::to_string(&applied).expect("settings are TOML");
            let same = row == AblationRow::Beit || row.is_the_base(base.tokenizer_kind);
            assert_eq!(text == usual, same, "{}", row.name());
            assert!(same || !seen.contains(&text), "{} is another row", row.name());
            seen.push(text);
        }
        let longer = AblationRow::Longer.applied(base, 8.0 / 3.0).expect("it is pre-trained");
        assert_eq!(longer.training.epochs, Some(8));
    }
}
