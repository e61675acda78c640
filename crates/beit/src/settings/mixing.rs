use super::number::within;
use crate::error::{Result, setting};
use beit_train::Mixing;
use serde::{Deserialize, Serialize};

/// How images of a micro-batch are mixed with each other. What is not given is off.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct MixingSettings {
    /// Average each image and its label with another's, by shares from Beta(A, A); 0 or not given for never, 0.8 in the released recipe
    #[cfg_attr(feature = "clap", arg(long, value_name = "A"))]
    pub mixup: Option<f64>,
    /// Cut a patch of each image out of another, by shares from Beta(A, A); 0 or not given for never, 1 in the released recipe
    #[cfg_attr(feature = "clap", arg(long, value_name = "A"))]
    pub cutmix: Option<f64>,
    /// Probability that a micro-batch is mixed; 1 where not given
    #[cfg_attr(feature = "clap", arg(long, value_name = "P"))]
    pub mixup_prob: Option<f64>,
    /// Probability that patches are cut where there is --mixup and --cutmix; 0.5 where not given
    #[cfg_attr(feature = "clap", arg(long, value_name = "P"))]
    pub mixup_switch_prob: Option<f64>,
}

impl MixingSettings {
    /// The released recipe of models for ImageNet-1k.
    #[must_use]
    pub fn released() -> Self {
        let Mixing { mixup, cutmix, .. } = Mixing::STANDARD;
        Self { mixup: Some(mixup), cutmix: Some(cutmix), ..Self::default() }
    }

    /// How images are mixed, if they are.
    pub(crate) fn mixing(self) -> Option<Mixing> {
        let [mixup, cutmix] = [self.mixup, self.cutmix].map(|alpha| alpha.unwrap_or(0.0));
        (mixup > 0.0 || cutmix > 0.0).then(|| Mixing {
            mixup,
            cutmix,
            probability: self.mixup_prob.unwrap_or(Mixing::STANDARD.probability),
            switch_probability: self.mixup_switch_prob.unwrap_or(Mixing::STANDARD.switch_probability),
        })
    }

    /// Refuses numbers that no run can have, and micro-batches whose images are not pairs.
    pub(crate) fn check(self, batch_size: usize) -> Result<()> {
        for (flag, alpha) in [("--mixup", self.mixup), ("--cutmix", self.cutmix)] {
            match alpha {
                None | Some(0.0) => {}
                Some(alpha) => within(flag, "0 for never, or a number", alpha, Mixing::LEAST..=Mixing::MOST)?,
            }
        }
        let probabilities =
            [("--mixup-prob", self.mixup_prob), ("--mixup-switch-prob", self.mixup_switch_prob)];
        for (flag, probability) in probabilities {
            let Some(probability) = probability else { continue };
            within(flag, "a probability", probability, 0.0..=1.0)?;
            if self.mixing().is_none() {
                setting!(
                    "{flag} without --mixup and --cutmix: nothing is mixed; give one of them, or leave it out"
                );
            }
        }
        if self.mixing().is_some() && !batch_size.is_multiple_of(2) {
            setting!(
                "--batch-size {batch_size}: expected an even number with --mixup or --cutmix, since images are mixed in pairs, found {batch_size}"
            );
        }
        Ok(())
    }

    /// The flags, and whether they are given.
    pub(crate) fn given(self) -> [(&'static str, bool); 4] {
        [
            ("--mixup", self.mixup.is_some()),
            ("--cutmix", self.cutmix.is_some()),
            ("--mixup-prob", self.mixup_prob.is_some()),
            ("--mixup-switch-prob", self.mixup_switch_prob.is_some()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_mixed_unless_it_is_asked_for() {
        assert_eq!(MixingSettings::default().mixing(), None);
        assert_eq!(MixingSettings { mixup: Some(0.0), ..Default::default() }.mixing(), None);
        assert_eq!(MixingSettings::released().mixing(), Some(Mixing::STANDARD));
        let some = MixingSettings { cutmix: Some(0.5), mixup_prob: Some(0.25), ..Default::default() };
        let expected = Mixing { mixup: 0.0, cutmix: 0.5, probability: 0.25, switch_probability: 0.5 };
        assert_eq!(some.mixing(), Some(expected));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let usual = MixingSettings::released;
        for (settings, batch, says) in [
            (
                MixingSettings { mixup: Some(-1.0), ..usual() },
                8,
                "--mixup -1: expected 0 for never, or a number",
            ),
            (MixingSettings { cutmix: Some(f64::NAN), ..usual() }, 8, "--cutmix NaN: "),
            (MixingSettings { mixup: Some(1e-4), ..usual() }, 8, "--mixup 0.0001: "),
            (
                MixingSettings { mixup_prob: Some(2.0), ..usual() },
                8,
                "--mixup-prob 2: expected a probability",
            ),
            (
                MixingSettings { mixup_switch_prob: Some(f64::INFINITY), ..usual() },
                8,
                "--mixup-switch-prob inf: ",
            ),
            (
                MixingSettings { mixup_prob: Some(0.5), ..Default::default() },
                8,
                "--mixup-prob without --mixup and --cutmix",
            ),
            (usual(), 7, "--batch-size 7: expected an even number with --mixup or --cutmix"),
        ] {
            let error = settings.check(batch).expect_err(says).to_string();
            assert!(error.starts_with(says), "{error}");
        }
        assert!(usual().check(8).is_ok() && MixingSettings::default().check(7).is_ok());
        for (settings, alpha) in [(usual(), Mixing::LEAST), (usual(), Mixing::MOST)] {
            let settings = MixingSettings { mixup: Some(alpha), ..settings };
            assert!(
                settings.check(8).is_ok() && settings.mixing().is_some_and(|mixing| mixing.check().is_ok())
            );
        }
    }
}
