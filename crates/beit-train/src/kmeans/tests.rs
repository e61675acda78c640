use super::*;
use crate::progress::Silent;
use beit_data::{Image, Item, LoaderConfig, SampleRng, Source};
use beit_ops::prelude::*;
use beit_tokenizer::{Usage, VisualTokens};
use std::sync::Arc;

/// Images of 6 x 8 pixels in patches of 3 x 4, each patch one of so many patterns, within two grey levels.
struct Planted {
    patterns: usize,
}

const IMAGE: [usize; 2] = [6, 8];
const SIDES: [usize; 2] = [3, 4];

impl Planted {
    /// Which pattern patch `n` of an image is made of.
    fn pattern(&self, index: usize, n: usize) -> usize {
        (index * 4 + n) * 7 % 11 % self.patterns
    }

    fn level(&self, index: usize, i: usize) -> u8 {
        let (y, x, channel) = (i / 3 / 8, i / 3 % 8, i % 3);
        let pattern = self.pattern(index, y / 3 * 2 + x / 4);
        let base =
            (pattern * 61 + (y % 3) * (pattern + 2) * 17 + (x % 4) * (pattern + 1) * 29 + channel * 40) % 200;
        (base + (index + y + x) % 3) as u8
    }
}

impl Source for Planted {
    fn len(&self) -> usize {
        40
    }
    fn image(&self, index: usize) -> beit_data::Result<Image> {
        Ok(Image::new(6, 8, (0..6 * 8 * 3).map(|i| self.level(index, i)).collect()))
    }
    fn label(&self, _: usize) -> Option<u32> {
        None
    }
    fn class_names(&self) -> &[String] {
        &[]
    }
    fn name(&self, index: usize) -> String {
        format!("image {index}")
    }
}

fn loader(patterns: usize) -> Loader<Vec<f32>> {
    let make = |item: Item, _: &mut SampleRng| beit_data::logit_laplace(&item.image);
    let source = Arc::new(Planted { patterns });
    Loader::new(source, (0..40).collect(), LoaderConfig::evaluation(8), make).expect("settings fit")
}

fn clustered(patterns: usize, vocab: usize) -> Clustering {
    let config = KMeansConfig { vocab, ..KMeansConfig::new(SIDES) };
    let recipe = KMeansRecipe { rounds: 10, ..KMeansRecipe::default() };
    cluster_patches(&config, &recipe, IMAGE, &loader(patterns), &mut Silent).expect("the data is sound")
}

/// Codes of all images, `[40 · 4]`, and the pixels that they were made of and that they stand for.
fn encoded(found: &Clustering, patterns: usize) -> (Vec<u32>, [Vec<f32>; 2]) {
    let planted = Planted { patterns };
    let view = |index| beit_data::logit_laplace(&planted.image(index).expect("made up"));
    let pixels: Vec<f32> = (0..40).flat_map(view).collect();
    let tokenizer = found.tokenizer.upload(&OPS);
    let codes = tokenizer.codes(&OPS, &OPS.upload([40, 3, 6, 8], &pixels));
    let drawn = tokenizer.pictures(&OPS, &codes, [2, 2]).expect("the host does not fail").expect("it draws");
    (codes, [pixels.into_iter().map(pixels::unmap).collect(), drawn])
}

#[test]
fn planted_clusters_are_found() {
    let found = clustered(6, 6);
    // 40 images of 4 patches, four times.
    assert_eq!(found.patches, 640);
    let (codes, [pixels, drawn]) = encoded(&found, 6);
    assert_eq!(Usage::counted(&codes, 6).used(), 6);
    let planted = Planted { patterns: 6 };
    let mut token = [None; 6];
    for (i, &code) in codes.iter().enumerate() {
        let pattern = planted.pattern(i / 4, i % 4);
        assert_eq!(*token[pattern].get_or_insert(code), code, "patch {i} of pattern {pattern}");
    }
    // The mean of a cluster is within the two grey levels that its patches are apart.
    let worst = pixels.iter().zip(&drawn).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst < 2.1 / 255.0, "{worst}");
}

/// Fewer different patches than tokens: what is left over never occurs.
#[test]
fn tokens_that_are_left_over_stay_unused() {
    let found = clustered(1, 500);
    assert!(found.error < 1e-6, "{}", found.error);
    let (codes, [pixels, drawn]) = encoded(&found, 1);
    // One pattern under three shifts of the noise.
    assert_eq!(Usage::counted(&codes, 500).used(), 3);
    let worst = pixels.iter().zip(&drawn).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst < 1e-5, "{worst}");
    assert!(found.tokenizer.scores.weight.iter().all(|w| w.is_finite()));
}

/// Enough different patches: every token is used, however unlucky the first draws.
#[test]
fn no_token_is_without_patches() {
    for seed in 0..5 {
        let config = KMeansConfig { vocab: 12, ..KMeansConfig::new(SIDES) };
        let recipe = KMeansRecipe { seed, ..KMeansRecipe::default() };
        let found =
            cluster_patches(&config, &recipe, IMAGE, &loader(6), &mut Silent).expect("the data is sound");
        assert_eq!(Usage::counted(&encoded(&found, 6).0, 12).used(), 12, "seed {seed}");
    }
}

#[test]
fn sides_that_do_not_fit_are_refused() {
    let config = KMeansConfig::new([4, 4]);
    let refused = cluster_patches(&config, &KMeansRecipe::default(), IMAGE, &loader(2), &mut Silent);
    assert_eq!(
        refused.map(drop).unwrap_err().to_string(),
        "tokenizer: expected an image side divisible by 4, found 6"
    );
}
