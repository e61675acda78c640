//! The patches that k-means looks at.

use super::{KMeansRecipe, OPS};
use crate::error::Result;
use beit_data::{Loader, Purpose, sample_rng};
use beit_ops::prelude::*;
use beit_tokenizer::KMeansConfig;
use rand::RngExt;

/// Numbers of all patches together, at most: 128 MiB, and as much again for their features.
const NUMBERS: usize = 1 << 25;
/// Patches of an image, at least, where it has as many: decoding an image costs more than looking at a patch.
const OF_AN_IMAGE: usize = 16;
/// Passes over few images, each time augmented anew, at most.
const PASSES: u64 = 4;

/// Patches `[M, C·h·w]` of the views of a loader, in their order, as many of each.
pub(super) fn patches(
    config: &KMeansConfig,
    recipe: &KMeansRecipe,
    image: [usize; 2],
    loader: &Loader<Vec<f32>>,
) -> Result<Vec<f32>> {
    let [rows, cols] = config.codebook().grid(image)?;
    let (positions, elements) = (rows * cols, config.elements());
    let wanted = recipe.patches.min(NUMBERS / elements).max(1);
    let share = wanted.div_ceil(loader.images()).clamp(OF_AN_IMAGE.min(positions), positions);
    let mut patches = Vec::new();
    for batch in loader.batches(0..PASSES * loader.batches_per_epoch())? {
        let batch = batch?;
        let views = OPS.upload([batch.indices.len(), config.channels, image[0], image[1]], &batch.data);
        let all = OPS.patchify(&views, config.sides);
        for (view, &index) in all.chunks_exact(positions * elements).zip(&batch.indices) {
            for position in spread(positions, share, [recipe.seed, batch.epoch, index as u64]) {
                patches.extend_from_slice(&view[position * elements..][..elements]);
            }
        }
        if patches.len() >= wanted * elements {
            break;
        }
    }
    patches.truncate(wanted * elements);
    Ok(patches)
}

/// `share` of so many positions, evenly spread, beginning anywhere: each is as likely as any other.
fn spread(positions: usize, share: usize, [seed, epoch, index]: [u64; 3]) -> impl Iterator<Item = usize> {
    let first = sample_rng(seed, epoch, index, Purpose::Patches).random_range(0..positions as u64) as usize;
    (0..share).map(move |i| (first + i * (positions / share)) % positions)
}
