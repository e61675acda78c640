//! The second kind of tokenizer: a visual token is the nearest of V typical patches.

mod config;
mod features;

pub use config::KMeansConfig;
pub use features::Features;

use crate::{Codebook, VisualTokens};
use alloc::vec;
use alloc::vec::Vec;
use beit_ops::init::Stream;
use beit_ops::{Device, DeviceError, Linear, LinearOps, RowOps, Shape, TokenOps, tree};

/// The stream of random directions.
const RANDOM_TOKENS: u64 = 0x7261_6e64;

tree! {
    /// Typical patches, as k-means finds them: a patch becomes the token whose centroid `a_k` is nearest to its
    /// [features](Features) `f(x)`. Of
    ///
    /// `|f(x) - a_k|² = |f(x)|² - 2 (a_k · f(x) - |a_k|²/2)`
    ///
    /// only the bracket depends on k, and `f` is linear. So the nearest is the largest of V logits `w_k · x + b_k`: one linear
    /// map over patches.
    pub struct KMeans {
        /// The extents that the parameters have.
        config: KMeansConfig = plain,
        /// `weight [V, C, h, w]` and `bias [V]` of the logits.
        pub scores: Linear<T> = tree "scores.",
        /// `[V, C, h, w]`: the mean of the patches of each token, in pixels from 0 to 1.
        pub pictures: T = leaf "pictures" as Weight,
    }
}

/// What k-means found, on the host.
#[derive(Clone, Copy, Debug)]
pub struct Centroids<'a> {
    /// How patches became features.
    pub features: &'a Features,
    /// `[V, C·h·w]`, in the space of the features.
    pub centroids: &'a [f32],
    /// `[V, C·h·w]`, in pixels from 0 to 1.
    pub pictures: &'a [f32],
}

impl KMeans<Shape> {
    /// The shapes of the parameters.
    pub fn shapes(config: &KMeansConfig) -> Self {
        let Codebook { channels, vocab, sides: [h, w] } = config.codebook();
        let patches = Shape::from([vocab, channels, h, w]);
        let scores = Linear { weight: patches, bias: Some(Shape::from([vocab])) };
        Self { config: *config, scores, pictures: patches }
    }
}

impl KMeans<Vec<f32>> {
    /// The tokenizer of these centroids.
    #[must_use]
    pub fn new(config: &KMeansConfig, found: Centroids<'_>) -> Self {
        let elements = config.elements();
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for centroid in found.centroids.chunks_exact(elements) {
            let (w, b) = found.features.logit(centroid);
            weight.extend(w);
            bias.push(b);
        }
        let scores = Linear { weight, bias: Some(bias) };
        Self { config: *config, scores, pictures: found.pictures.to_vec() }
    }

    /// Tokens that nothing is learnt for, the control of an ablation: V random directions of equal length, of which a patch becomes the
    /// one that its difference from grey points along most (a random projection quantiser, arXiv 2202.01855, §3.1, without its
    /// projection). The pictures are steps from grey into the directions.
    #[must_use]
    pub fn random(config: &KMeansConfig, seed: u64) -> Self {
        const GREY: f32 = 0.5;
        let elements = config.elements();
        let plane = [config.channels, config.sides[0] * config.sides[1]];
        let features = Features::new(&vec![GREY; elements], plane, config.mean_weight);
        let mut stream = Stream::new(seed, RANDOM_TOKENS);
        let mut centroids = stream.normals(config.vocab * elements, 1.0);
        for centroid in centroids.chunks_exact_mut(elements) {
            let length = libm::sqrtf(centroid.iter().map(|x| x * x).sum());
            centroid.iter_mut().for_each(|x| *x /= length.max(f32::MIN_POSITIVE));
        }
        let step = |x: &f32| (GREY + x).clamp(0.0, 1.0);
        let pictures: Vec<f32> = centroids.iter().map(step).collect();
        Self::new(config, Centroids { features: &features, centroids: &centroids, pictures: &pictures })
    }

    /// The same parameters on a device.
    pub fn upload<O: Device>(&self, ops: &O) -> KMeans<O::Tensor> {
        let patches = KMeans::shapes(&self.config).pictures;
        let weight = ops.upload(patches, &self.scores.weight);
        let bias = self.scores.bias.as_ref().map(|bias| ops.upload([self.config.vocab], bias));
        let scores = Linear { weight, bias };
        KMeans { config: self.config, scores, pictures: ops.upload(patches, &self.pictures) }
    }
}

impl<T> KMeans<T> {
    /// The configuration that the parameters were made for.
    pub fn config(&self) -> &KMeansConfig {
        &self.config
    }
}

impl<O: TokenOps + LinearOps + RowOps> VisualTokens<O> for KMeans<O::Tensor> {
    fn codebook(&self) -> Codebook {
        self.config.codebook()
    }
    fn logits(&self, ops: &O, pixels: &O::Tensor) -> O::Tensor {
        ops.linear(&ops.patchify(pixels, self.config.sides), &self.scores)
    }
    fn codes_at(&self, ops: &O, pixels: &O::Tensor, positions: &O::Ids) -> O::Ids {
        let patches = ops.gather_rows(&ops.patchify(pixels, self.config.sides), positions);
        ops.argmax_rows(&ops.linear(&patches, &self.scores))
    }
    fn draws(&self) -> bool {
        true
    }
    fn pictures(&self, ops: &O, codes: &[u32], grid: [usize; 2]) -> Result<Option<Vec<f32>>, DeviceError> {
        Ok(Some(lay_out(&ops.read(&self.pictures)?, codes, grid, self.config.codebook())))
    }
}

/// Puts patches in their places: row `codes[i]` of `patches [V, C·h·w]` becomes patch `i` of the images `[B, C, height, width]`.
fn lay_out(patches: &[f32], codes: &[u32], [rows, cols]: [usize; 2], codebook: Codebook) -> Vec<f32> {
    let Codebook { channels, sides: [h, w], .. } = codebook;
    let (elements, width) = (channels * h * w, cols * w);
    let mut images = vec![0.0; codes.len() * elements];
    for (i, &code) in codes.iter().enumerate() {
        let (image, row, col) = (i / (rows * cols), i / cols % rows, i % cols);
        let patch = &patches[code as usize * elements..][..elements];
        for (line, pixels) in patch.chunks_exact(w).enumerate() {
            let (channel, y) = (line / h, line % h);
            let top = (image * channels + channel) * rows * h + row * h + y;
            images[top * width + col * w..][..w].copy_from_slice(pixels);
        }
    }
    images
}

#[cfg(test)]
mod tests;
