//! Making a tokenizer by k-means: typical patches of the images.
//!
//! Everything is computed on the CPU in single precision, products by [`Host`], sums in a fixed order: one seed gives one tokenizer,
//! whatever the number of threads and the device.

mod points;
mod rounds;
mod sample;
mod saved;

pub use rounds::Rounds;

use crate::error::Error;
use crate::progress::Progress;
use beit_data::Loader;
use beit_ops::Host;
use beit_tokenizer::{Centroids, Features, KMeans, KMeansConfig, pixels};
use points::Points;

/// The device of everything here.
const OPS: Host<f32> = Host::new();

/// How a tokenizer is made by k-means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KMeansRecipe {
    /// Patches to look at, at most. Of large patches fewer are taken, so that they fit into memory.
    pub patches: usize,
    /// Rounds of assigning patches and moving centroids, at most: it ends where nothing moves.
    pub rounds: u64,
    /// Key of the choice of patches and of the first centroids.
    pub seed: u64,
}

impl Default for KMeansRecipe {
    fn default() -> Self {
        Self { patches: 131_072, rounds: 20, seed: 0 }
    }
}

/// What k-means found.
#[derive(Clone, Debug)]
pub struct Clustering {
    /// The tokenizer, on the host.
    pub tokenizer: KMeans<Vec<f32>>,
    /// Patches that were looked at.
    pub patches: usize,
    /// Mean over them of the squared distance to the nearest centroid, in the space of the features.
    pub error: f64,
}

/// Where k-means begins, and who follows it.
pub struct Course<'a, E> {
    /// The rounds that were done before, of the same images and with the same recipe; none where it begins.
    pub from: Option<Rounds>,
    /// Is told after each round, and may end it. It goes on from these rounds to the same bits.
    pub after: &'a mut dyn FnMut(&Rounds) -> Result<(), E>,
    /// Who watches.
    pub progress: &'a mut dyn Progress,
}

/// Makes a tokenizer of the views `[B, C, height, width]` of a loader, `image` being height and width.
///
/// Where there are fewer different patches than tokens, the tokens that are left over are copies of one that is used, and never
/// occur.
///
/// # Errors
///
/// A configuration that describes no tokenizer, sides that are no whole number of tokens, the data, or what ends it after a round.
pub fn cluster_patches<E: From<Error>>(
    config: &KMeansConfig,
    recipe: &KMeansRecipe,
    image: [usize; 2],
    loader: &Loader<Vec<f32>>,
    course: Course<'_, E>,
) -> Result<Clustering, E> {
    config.validate().map_err(Error::from)?;
    let patches = sample::patches(config, recipe, image, loader)?;
    if patches.is_empty() {
        return Err(Error::NoImages { number: 0 }.into());
    }
    let features =
        Features::new(&patches, [config.channels, config.sides[0] * config.sides[1]], config.mean_weight);
    let points = Points::new(&patches, &features, config);
    let found = rounds::run(&points, config.vocab, recipe, course)?;
    let pictures: Vec<f32> = found
        .clusters
        .means(patches.chunks_exact(config.elements()))
        .into_iter()
        .map(pixels::unmap)
        .collect();
    let centroids = Centroids { features: &features, centroids: &found.centroids, pictures: &pictures };
    let tokenizer = KMeans::new(config, centroids);
    Ok(Clustering { tokenizer, patches: points.len(), error: found.clusters.mean_error() })
}

#[cfg(test)]
mod tests;
