use super::*;
use crate::error::Result;
use crate::progress::Silent;
use beit_data::{Image, Item, LoaderConfig, SampleRng, Source};
use beit_ops::prelude::*;
use beit_tokenizer::{Usage, VisualTokens};
use std::sync::Arc;

/// Images of 6 x 8 pixels in patches of 3 x 4, each patch one of so many patterns, within two grey levels.
struct Planted {
    patterns: usize,
}

/// In place of a number of patterns: none, so that centroids move for many rounds.
const NOISE: usize = 0;

const IMAGE: [usize; 2] = [6, 8];
const SIDES: [usize; 2] = [3, 4];

impl Planted {
    /// Which pattern patch `n` of an image is made of.
    fn pattern(&self, index: usize, n: usize) -> usize {
        (index * 4 + n) * 7 % 11 % self.patterns
    }

    fn level(&self, index: usize, i: usize) -> u8 {
        if self.patterns == NOISE {
            let mixed = (index as u64 * 144 + i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            return ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 48) as u8;
        }
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

fn run(config: &KMeansConfig, recipe: &KMeansRecipe, patterns: usize) -> Result<Clustering> {
    followed(config, recipe, patterns, None, &mut |_| Ok(()))
}

fn followed(
    config: &KMeansConfig,
    recipe: &KMeansRecipe,
    patterns: usize,
    from: Option<Rounds>,
    after: &mut dyn FnMut(&Rounds) -> Result<()>,
) -> Result<Clustering> {
    let course = Course { from, after, progress: &mut Silent };
    cluster_patches(config, recipe, IMAGE, &loader(patterns), course)
}

fn clustered(patterns: usize, vocab: usize) -> Clustering {
    let config = KMeansConfig { vocab, ..KMeansConfig::new(SIDES) };
    let recipe = KMeansRecipe { rounds: 10, ..KMeansRecipe::default() };
    run(&config, &recipe, patterns).expect("the data is sound")
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
        let found = run(&config, &recipe, 6).expect("the data is sound");
        assert_eq!(Usage::counted(&encoded(&found, 6).0, 12).used(), 12, "seed {seed}");
    }
}

#[test]
fn sides_that_do_not_fit_are_refused() {
    let config = KMeansConfig::new([4, 4]);
    let refused = run(&config, &KMeansRecipe::default(), 2);
    assert_eq!(
        refused.map(drop).unwrap_err().to_string(),
        "tokenizer: expected an image side divisible by 4, found 6"
    );
}

/// After every round, the last of which moves nothing: through a file, to the same bits.
#[test]
fn it_goes_on_after_any_round() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = KMeansConfig { vocab: 5, ..KMeansConfig::new(SIDES) };
    let recipe = KMeansRecipe { seed: 3, ..KMeansRecipe::default() };
    let mut all = Vec::new();
    let mut keep = |rounds: &Rounds| {
        all.push(rounds.clone());
        Ok(())
    };
    let whole = followed(&config, &recipe, NOISE, None, &mut keep).expect("the data is sound");
    assert!(all.len() > 2 && all.last().is_some_and(|rounds| rounds.settled), "{}", all.len());
    for stopped in &all {
        stopped.save(dir.path(), &config, &recipe).expect("the disk has room");
        let from = Rounds::load(dir.path(), &config, &recipe).expect("it was written so");
        assert_eq!(&from, stopped);
        let mut rest = 0;
        let mut count = |_: &Rounds| {
            rest += 1;
            Ok(())
        };
        let found = followed(&config, &recipe, NOISE, Some(from), &mut count).expect("the data is sound");
        assert_eq!(stopped.done + rest, all.len() as u64);
        assert_eq!(found.error.to_bits(), whole.error.to_bits());
        let bits = |of: &Clustering| -> Vec<u32> {
            let KMeans { scores, pictures, .. } = &of.tokenizer;
            let bias = scores.bias.iter().flatten();
            scores.weight.iter().chain(bias).chain(pictures).map(|x| x.to_bits()).collect()
        };
        assert!(bits(&found) == bits(&whole), "after round {}", stopped.done);
    }
}

#[test]
fn rounds_of_another_recipe_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = KMeansConfig { vocab: 2, ..KMeansConfig::new(SIDES) };
    let recipe = KMeansRecipe::default();
    let rounds = Rounds { done: 4, settled: false, centroids: vec![0.5; 2 * config.elements()] };
    rounds.save(dir.path(), &config, &recipe).expect("the disk has room");
    let refused = |config: &KMeansConfig, recipe: &KMeansRecipe, says: &str| {
        let error = Rounds::load(dir.path(), config, recipe).map(drop).expect_err(says).to_string();
        assert!(error.contains("state.json") && error.contains(says), "{error}");
    };
    refused(&config, &KMeansRecipe { seed: 1, ..recipe }, "seed was 0, is 1");
    refused(&KMeansConfig { vocab: 3, ..config }, &recipe, "vocab was 2, is 3");
    // Rounds that no run with this recipe has done.
    let beyond = Rounds { done: 21, ..rounds };
    beyond.save(dir.path(), &config, &recipe).expect("the disk has room");
    refused(&config, &recipe, "`step` is 21, expected at most 20");
}
