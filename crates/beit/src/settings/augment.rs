use super::number::within;
use crate::error::{Result, setting};
use beit_data::{FinetuneTransform, RandAugment, RandomErasing};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How images are changed on their way into fine-tuning, besides crops and flips. What is not given is off, but for erasing.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct AugmentSettings {
    /// Change each image by random operations, named as in timm; the released recipe is rand-m9-mstd0.5-inc1. None where not given
    #[cfg_attr(feature = "clap", arg(long, alias = "aa", value_name = "POLICY"))]
    pub auto_augment: Option<AutoAugment>,
    /// Probability that a rectangle of an image is erased; 0.25 where not given, of small images 0
    #[cfg_attr(feature = "clap", arg(long, value_name = "P"))]
    pub reprob: Option<f64>,
    /// Show each image of an epoch so many times in a row, each time augmented anew. The epoch stays as long, so that it has fewer different images; 1 where not given
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub repeated_aug: Option<usize>,
}

/// A policy of augmentation, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct AutoAugment(pub Option<RandAugment>);

/// `none`, or what [`RandAugment`] is read from.
impl FromStr for AutoAugment {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "none" => Ok(Self(None)),
            _ => text.parse().map(|augment| Self(Some(augment))).map_err(|error| format!("{error}; or none")),
        }
    }
}

impl fmt::Display for AutoAugment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(augment) => augment.fmt(f),
            None => f.write_str("none"),
        }
    }
}

impl TryFrom<String> for AutoAugment {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<AutoAugment> for String {
    fn from(augment: AutoAugment) -> Self {
        augment.to_string()
    }
}

impl AugmentSettings {
    /// Refuses numbers that no run can have.
    pub(crate) fn check(self) -> Result<()> {
        self.reprob.map_or(Ok(()), |p| within("--reprob", "a probability", p, 0.0..=1.0))?;
        match self.repeated_aug {
            Some(0) => setting!(
                "--repeated-aug 0: expected how often an image is seen in a row, at least 1, found 0"
            ),
            _ => Ok(()),
        }
    }

    /// The usual augmentation, or what is asked for.
    pub(crate) fn or(self, usual: FinetuneTransform) -> FinetuneTransform {
        let erase = match self.reprob {
            Some(0.0) => None,
            Some(probability) => Some(RandomErasing { probability, ..RandomErasing::STANDARD }),
            None => usual.erase,
        };
        let rand_augment = self.auto_augment.map_or(usual.rand_augment, |AutoAugment(augment)| augment);
        FinetuneTransform { rand_augment, erase, ..usual }
    }

    /// Whether there are operations on colours.
    pub(crate) fn changes_colour(self) -> bool {
        matches!(self.auto_augment, Some(AutoAugment(Some(_))))
    }

    /// How often an image is seen in a row.
    pub(crate) fn copies(self) -> usize {
        self.repeated_aug.unwrap_or(1)
    }

    /// The flags, and whether they are given.
    pub(crate) fn given(self) -> [(&'static str, bool); 3] {
        [
            ("--auto-augment", self.auto_augment.is_some()),
            ("--reprob", self.reprob.is_some()),
            ("--repeated-aug", self.repeated_aug.is_some()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use beit_data::Preprocessing;

    #[test]
    fn policies_are_read_as_they_are_written() {
        for (text, policy) in [("none", None), ("rand-m9-mstd0.5-inc1", Some(RandAugment::STANDARD))] {
            assert_eq!(text.parse(), Ok(AutoAugment(policy)));
            assert_eq!(AutoAugment(policy).to_string(), text);
        }
        let error = "augmix-m3".parse::<AutoAugment>().expect_err("it is another");
        assert!(error.contains("rand-m9-mstd0.5-inc1") && error.ends_with("; or none"), "{error}");
    }

    #[test]
    fn what_is_not_given_is_as_usual() {
        for size in [[28; 2], [224; 2]] {
            let usual = Preprocessing::unilm(size).finetune();
            assert_eq!(AugmentSettings::default().or(usual), usual);
            assert_eq!(usual.rand_augment, None);
            let none = AugmentSettings { reprob: Some(0.0), ..Default::default() }.or(usual);
            assert_eq!(none, FinetuneTransform { erase: None, ..usual });
            let auto_augment = Some(AutoAugment(Some(RandAugment::STANDARD)));
            let some = AugmentSettings { auto_augment, reprob: Some(0.5), repeated_aug: None }.or(usual);
            assert_eq!(some.rand_augment, Some(RandAugment::STANDARD));
            assert_eq!(some.erase, Some(RandomErasing { probability: 0.5, ..RandomErasing::STANDARD }));
        }
    }
}
