use super::*;
use alloc::string::String;
use beit_ops::init::Stream;
use beit_ops::{Host, Tree};

const OPS: Host<f32> = Host::new();
const SIDES: [usize; 2] = [2, 5];
const ELEMENTS: usize = 30;

fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The linear map against the search through all centroids, for rectangular tokens and several weights of the mean.
#[test]
fn the_largest_logit_is_the_nearest_centroid() {
    let mut stream = Stream::new(1, 0);
    let images: Vec<f32> = (0..2 * 3 * 6 * 10).map(|_| 0.1 + 0.8 * stream.uniform()).collect();
    let pixels = OPS.upload([2, 3, 6, 10], &images);
    let patches = OPS.patchify(&pixels, SIDES);
    for mean_weight in [1.0, 0.3, 0.0] {
        let config = KMeansConfig { vocab: 7, mean_weight, ..KMeansConfig::new(SIDES) };
        let features = Features::new(&patches, [3, ELEMENTS / 3], mean_weight);
        let centroids = stream.normals(7 * ELEMENTS, 0.2);
        let nearest = |patch: &[f32]| {
            let of_patch = features.describe(patch);
            let distances: Vec<f32> =
                centroids.chunks_exact(ELEMENTS).map(|a| squared_distance(a, &of_patch)).collect();
            (0..7).min_by(|&i, &j| distances[i].total_cmp(&distances[j])).unwrap() as u32
        };
        let wanted: Vec<u32> = patches.chunks_exact(ELEMENTS).map(nearest).collect();
        let found = Centroids { features: &features, centroids: &centroids, pictures: &centroids };
        let kmeans = KMeans::new(&config, found).upload(&OPS);
        assert_eq!(kmeans.codes(&OPS, &pixels), wanted, "{mean_weight}");
        let positions = vec![11, 0, 7];
        let some = kmeans.codes_at(&OPS, &pixels, &positions);
        assert_eq!(some, [wanted[11], wanted[0], wanted[7]], "{mean_weight}");
    }
}

/// The formula of the distance that the documentation gives.
#[test]
fn brightness_counts_by_the_square_of_its_weight() {
    let mut stream = Stream::new(2, 0);
    let mut patch = || -> Vec<f32> { (0..ELEMENTS).map(|_| stream.uniform()).collect() };
    let [a, b] = [patch(), patch()];
    let difference: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
    let n = (ELEMENTS / 3) as f32;
    let means = difference.chunks_exact(ELEMENTS / 3).map(|channel| channel.iter().sum::<f32>() / n);
    let brightness: f32 = means.map(|mean| mean * mean * n).sum();
    for mean_weight in [1.0f32, 0.5, 0.0] {
        let features = Features::new(&a, [3, ELEMENTS / 3], mean_weight);
        let got = squared_distance(&features.describe(&a), &features.describe(&b));
        let want = squared_distance(&a, &b) - (1.0 - mean_weight * mean_weight) * brightness;
        // Thirty rounded squares of numbers below 1.
        assert!((got - want).abs() < 1e-5, "{mean_weight}: got {got}, wanted {want}");
    }
}

/// Cutting an image into patches, naming each by itself, and putting them back gives the image.
#[test]
fn pictures_lie_where_patches_were() {
    for channels in [1, 3, 5] {
        let images: Vec<f32> = (0..2 * channels * 4 * 10).map(|i| i as f32).collect();
        let patches = OPS.patchify(&OPS.upload([2, channels, 4, 10], &images), SIDES);
        let codes: Vec<u32> = (0..8).collect();
        let codebook = KMeansConfig { channels, ..KMeansConfig::new(SIDES) }.codebook();
        assert_eq!(lay_out(&patches, &codes, [2, 2], codebook), images, "{channels} channels");
    }
}

#[test]
fn names_and_shapes() {
    let shapes = KMeans::shapes(&KMeansConfig::new([4, 6]));
    let named: Vec<_> = shapes.named().into_iter().map(|(name, shape)| (name, shape.to_vec())).collect();
    let wanted =
        [("scores.weight", vec![256, 3, 4, 6]), ("scores.bias", vec![256]), ("pictures", vec![256, 3, 4, 6])];
    assert_eq!(named, wanted.map(|(name, shape)| (String::from(name), shape)));
}

/// Whatever the contrast of a patch, its token stays: only the direction counts. And different patches have different tokens.
#[test]
fn random_tokens_go_by_direction() {
    let config = KMeansConfig { vocab: 64, ..KMeansConfig::new(SIDES) };
    let kmeans = KMeans::random(&config, 3);
    assert_eq!(kmeans, KMeans::random(&config, 3));
    assert_ne!(kmeans, KMeans::random(&config, 4));
    assert!(kmeans.pictures.iter().all(|x| (0.0..=1.0).contains(x)));
    let kmeans = kmeans.upload(&OPS);
    let mut stream = Stream::new(5, 0);
    let offsets: Vec<f32> = (0..2 * 3 * 20 * 50).map(|_| 0.3 * (stream.uniform() - 0.5)).collect();
    let codes = |contrast: f32| {
        let pixels: Vec<f32> = offsets.iter().map(|x| 0.5 + contrast * x).collect();
        kmeans.codes(&OPS, &OPS.upload([2, 3, 20, 50], &pixels))
    };
    assert_eq!(codes(1.0), codes(0.25));
    let mut used = codes(1.0);
    used.sort_unstable();
    used.dedup();
    assert!(used.len() > 50, "{} of 64 tokens name 200 random patches", used.len());
}
