//! Accuracy over layers: where it is the greatest, what that says, and a picture of it.

use super::layer::PIXELS;
use super::{Probed, ProbedLayer};
use crate::error::{Result, setting};
use crate::picture::chart::{self, Axes, Curve};
use beit_train::Peak;
use std::path::Path;

impl Probed {
    /// How accuracy goes over the blocks; none where there are pixels alone.
    #[must_use]
    pub fn peak(&self) -> Option<Peak> {
        let accuracies: Vec<f64> = self.blocks().map(|layer| layer.accuracy).collect();
        Peak::of(&accuracies, self.images)
    }

    /// What accuracy over the blocks says, in a sentence; none where there are not two blocks.
    #[must_use]
    pub fn explained(&self) -> Option<String> {
        let peak = self.peak().filter(|peak| peak.blocks > 1)?;
        let Peak { best_block, best, blocks, last, chance } = peak;
        Some(if best_block == blocks {
            let tokens = match self.names_tokens {
                true => "; nothing here says that the last block is specialised on naming tokens",
                false => "",
            };
            format!("the last of {blocks} blocks is the best, {best:.4}{tokens}")
        } else if peak.falls() {
            let why = match self.names_tokens {
                true => {
                    "the last block of a model that names the tokens of masked patches is specialised on these names, and features that \
                     separate classes peak before it"
                }
                false => "features that separate classes peak before the last block",
            };
            format!(
                "block {best_block} of {blocks} is the best, {best:.4}, and the last has {last:.4}, further behind than by chance ({chance:.4} on \
                 {} images): {why}. The last one is the wrong one to take: embed --layer {best_block}",
                self.images
            )
        } else {
            format!(
                "block {best_block} of {blocks} is the best, {best:.4}, and the last has {last:.4}: on {} images that may be chance (up to \
                 {chance:.4})",
                self.images
            )
        })
    }

    /// Draws accuracy over the blocks as SVG, with that of the pixels as a level.
    ///
    /// # Errors
    ///
    /// Pixels alone, or a file that cannot be written.
    pub fn draw(&self, path: &Path) -> Result<()> {
        let Some(Peak { best_block, best, blocks, last, .. }) = self.peak() else {
            setting!("--picture {}: accuracy over layers, expected a --model with it", path.display());
        };
        let features: Vec<_> = (1..).map(f64::from).zip(self.blocks().map(|layer| layer.accuracy)).collect();
        let pixels = self.layers.iter().find(|layer| layer.is_of_pixels());
        let level = pixels.map(|pixels| [1.0, blocks as f64].map(|block| (block, pixels.accuracy)));
        let mut curves = vec![Curve { points: &features, name: "frozen features", ..Curve::default() }];
        if let Some(points) = &level {
            curves.push(Curve { colour: 1, points, name: PIXELS, level: true });
        }
        let judge = self.judge.name();
        let title = match best_block == blocks {
            true => format!("{judge}: the last of {blocks} blocks {best:.3}"),
            false => format!("{judge}: block {best_block} {best:.3}, the last {last:.3}"),
        };
        chart::write(path, &Axes { x: "block", y: "accuracy", whole: true, title: &title }, &curves)
    }

    fn blocks(&self) -> impl Iterator<Item = &ProbedLayer> {
        self.layers.iter().filter(|layer| !layer.is_of_pixels())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Judge, ProbePool};

    fn probed(names_tokens: bool, pixels: Option<f64>, blocks: &[f64]) -> Probed {
        let layer = |features: String, accuracy: f64| ProbedLayer {
            features,
            width: 8,
            accuracy,
            c: None,
            converged: None,
        };
        let named = (1..).zip(blocks).map(|(block, &accuracy)| layer(format!("block {block}"), accuracy));
        Probed {
            model: None,
            names_tokens,
            data: "fashion-mnist".to_owned(),
            judge: Judge::Knn { k: 10 },
            pool: ProbePool::Mean,
            labels: 100,
            split: "test".to_owned(),
            images: 400,
            layers: pixels
                .map(|accuracy| layer(PIXELS.to_owned(), accuracy))
                .into_iter()
                .chain(named)
                .collect(),
        }
    }

    #[test]
    fn a_specialised_last_block_is_said_where_it_is_seen() {
        let says = |names_tokens, blocks: &[f64]| probed(names_tokens, Some(0.5), blocks).explained();
        let falls = says(true, &[0.6, 0.8, 0.6]).expect("three blocks");
        assert!(falls.starts_with("block 2 of 3 is the best, 0.8000, and the last has 0.6000"), "{falls}");
        assert!(
            falls.contains("specialised on these names") && falls.ends_with("embed --layer 2"),
            "{falls}"
        );
        let other = says(false, &[0.6, 0.8, 0.6]).expect("three blocks");
        assert!(!other.contains("specialised") && other.contains("peak before the last block"), "{other}");
        let level = says(true, &[0.6, 0.8, 0.79]).expect("three blocks");
        assert!(level.contains("may be chance (up to 0.05") && !level.contains("specialised"), "{level}");
        let rises = says(true, &[0.6, 0.7, 0.8]).expect("three blocks");
        assert!(rises.starts_with("the last of 3 blocks is the best, 0.8000; nothing here says"), "{rises}");
        assert_eq!(says(false, &[0.6, 0.8]).as_deref(), Some("the last of 2 blocks is the best, 0.8000"));
        assert_eq!((says(true, &[0.6]), says(true, &[])), (None, None));
    }

    #[test]
    fn the_picture_has_the_blocks_and_the_level_of_the_pixels() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("curve.svg");
        let drawn = |pixels| {
            probed(true, pixels, &[0.6, 0.8, 0.7]).draw(&path).expect("three blocks");
            std::fs::read_to_string(&path).expect("it was written")
        };
        let both = drawn(Some(0.65));
        for word in
            ["10 nearest neighbours: block 2 0.800, the last 0.700", "frozen features", "pixels", "block"]
        {
            assert!(both.lines().any(|line| line == word), "expected `{word}` in {both}");
        }
        assert_eq!(both.matches("<circle").count(), 3, "one for each block, none on the level");
        assert!(!drawn(None).contains("pixels"));
        let error = probed(false, Some(0.5), &[]).draw(&path).expect_err("nothing but pixels").to_string();
        assert!(error.contains("--picture") && error.contains("--model"), "{error}");
    }
}
