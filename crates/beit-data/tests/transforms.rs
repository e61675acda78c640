//! Properties of the random transforms.

use beit_data::{
    ColourJitter, Filter, FinetuneTransform, Image, LOGIT_LAPLACE_EPS, Normalise, Preprocessing, Purpose,
    RandomErasing, RandomResizedCrop, SampleRng, logit_laplace, sample_rng,
};
use beit_mask::{Config, Masker};
use proptest::prelude::*;

fn rng(index: u64) -> SampleRng {
    sample_rng(11, 0, index, Purpose::Sample)
}

fn gradient(height: usize, width: usize) -> Image {
    let value = |i: usize| ((i / 3 % width) * 255 / width) as u8;
    Image::new(height, width, (0..height * width * 3).map(value).collect())
}

proptest! {
    #[test]
    fn crops_lie_inside_with_the_right_area_and_aspect(height in 1_usize..600, width in 1_usize..600, index: u64) {
        let crop = RandomResizedCrop::STANDARD;
        let region = crop.sample(height, width, &mut rng(index));
        prop_assert!(region.height >= 1 && region.top + region.height <= height);
        prop_assert!(region.width >= 1 && region.left + region.width <= width);
        // Sides are rounded, so bounds hold to half a pixel.
        let (h, w) = (region.height as f64, region.width as f64);
        prop_assert!((w - 0.5) / (h + 0.5) <= 4.0 / 3.0 && (w + 0.5) / (h - 0.5) >= 3.0 / 4.0);
        let least = crop.scale[0] * (height * width) as f64;
        let ratio = height as f64 / width as f64;
        if (0.5..2.0).contains(&ratio) {
            prop_assert!((h + 0.5) * (w + 0.5) >= least);
        }
    }

    #[test]
    fn erasing_changes_only_its_region(index: u64, height in 8_usize..40, width in 8_usize..40) {
        let mut pixels = vec![100.0; 3 * height * width];
        let erase = RandomErasing { probability: 1.0, ..RandomErasing::STANDARD };
        let region = erase.apply(&mut pixels, [height, width], &mut rng(index));
        let changed = pixels.iter().filter(|&&value| value != 100.0).count();
        prop_assert_eq!(changed, region.map_or(0, |region| 3 * region.height * region.width));
        prop_assert!(pixels.iter().all(|value| *value == 100.0 || value.abs() < 7.0));
    }
}

#[test]
fn crops_of_a_square_have_the_distribution_of_torchvision() {
    // Area and log-aspect are drawn uniformly; of 400 x 400 pictures hardly any draw with an area below 0.75 is refused, so among
    // those the area stays uniform on [0.08, 0.75] and the log-aspect uniform on +-ln(4/3).
    let draws = 40_000;
    let regions = (0..draws).map(|i| RandomResizedCrop::STANDARD.sample(400, 400, &mut rng(i)));
    let small: Vec<(f64, f64)> = regions
        .map(|r| ((r.height * r.width) as f64 / 160_000.0, (r.width as f64 / r.height as f64).ln()))
        .filter(|(area, _)| *area < 0.75)
        .collect();
    let n = small.len() as f64;
    let mean = |part: fn(&(f64, f64)) -> f64| small.iter().map(part).sum::<f64>() / n;
    // Deviation of a uniform number: length / sqrt(12); five standard errors, and 0.0005 for rounding to pixels.
    let allowed = |length: f64| 5.0 * length / (12.0 * n).sqrt() + 0.0005;
    assert!((mean(|s| s.0) - 0.415).abs() < allowed(0.67), "{}", mean(|s| s.0));
    assert!(mean(|s| s.1).abs() < allowed(2.0 * (4.0_f64 / 3.0).ln()), "{}", mean(|s| s.1));
    let square = mean(|s| s.1 * s.1).sqrt() / ((4.0_f64 / 3.0).ln() / 3.0_f64.sqrt());
    assert!((square - 1.0).abs() < 0.02, "{square}");
}

#[test]
fn a_long_picture_is_cropped_to_its_centre() {
    let crop = RandomResizedCrop { scale: [1.0, 1.0], ..RandomResizedCrop::STANDARD };
    let region = crop.sample(100, 1000, &mut rng(0));
    assert_eq!((region.top, region.left, region.height, region.width), (0, 433, 100, 133));
    let region = crop.sample(1000, 100, &mut rng(0));
    assert_eq!((region.top, region.left, region.height, region.width), (433, 0, 133, 100));
}

#[test]
fn both_views_show_the_same_region() {
    let masker = Masker::new(Config::official()).unwrap();
    let transform = Preprocessing::unilm([224; 2]).pretrain([112; 2], ColourJitter::NONE);
    for index in 0..20 {
        let sample = transform.apply(gradient(150, 200), &masker, &mut rng(index));
        assert_eq!(
            (sample.pixels.len(), sample.token_pixels.len(), sample.mask.len()),
            (150_528, 37_632, 196)
        );
        // Undo both normalisations and compare a pixel of B with the four of A that it covers.
        for (row, col) in [(56, 2), (56, 56), (3, 109)] {
            let b = (sample.token_pixels[row * 112 + col] - LOGIT_LAPLACE_EPS) / 0.8;
            let at = |dy: usize, dx: usize| sample.pixels[(2 * row + dy) * 224 + 2 * col + dx] * 0.5 + 0.5;
            let a = (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4.0;
            assert!((a - b).abs() < 0.02, "sample {index} at ({row}, {col}): {a} and {b}");
        }
    }
}

#[test]
fn about_half_of_the_pictures_are_flipped() {
    let transform =
        FinetuneTransform { crop: RandomResizedCrop::STANDARD, ..Preprocessing::unilm([32; 2]).finetune() };
    let flipped = |index| {
        let pixels = transform.apply(&gradient(64, 64), &mut rng(index));
        pixels[0] > pixels[31]
    };
    let count = (0..2000).filter(|&index| flipped(index)).count();
    // Five standard errors of a fair coin: 5 · sqrt(2000) / 2.
    assert!(count.abs_diff(1000) < 112, "{count}");
}

#[test]
fn jitter_is_within_its_bounds_and_can_be_off() {
    let grey = Image::new(8, 8, vec![100; 192]);
    let mut same = grey.clone();
    ColourJitter::NONE.apply(&mut same, &mut rng(0));
    assert_eq!(same, grey);
    let only_brightness = ColourJitter { brightness: 0.4, ..ColourJitter::NONE };
    let values: Vec<u8> = (0..500)
        .map(|index| {
            let mut image = grey.clone();
            only_brightness.apply(&mut image, &mut rng(index));
            image.pixels()[0]
        })
        .collect();
    let (least, most) = (values.iter().min().unwrap(), values.iter().max().unwrap());
    assert!((60..=63).contains(least) && (136..=140).contains(most), "{least} {most}");
}

#[test]
fn normalisations_are_those_of_the_released_code() {
    let image = Image::new(1, 1, vec![0, 128, 255]);
    let expected = [(0.0 - 0.485) / 0.229, (128.0 / 255.0 - 0.456) / 0.224, (1.0 - 0.406) / 0.225];
    for (found, expected) in Normalise::IMAGENET.planes(&image).into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    assert_eq!(Normalise::HALF.planes(&image), [-1.0, 128.0 / 255.0 * 2.0 - 1.0, 1.0]);
    let mapped = logit_laplace(&image);
    assert!((mapped[0] - 0.1).abs() < 1e-6 && (mapped[2] - 0.9).abs() < 1e-6, "{mapped:?}");
    assert_eq!(image.resize([1, 1], Filter::Lanczos), image);
}

#[test]
fn small_images_are_cropped_less() {
    for (size, crop, erase) in [
        ([32, 28], RandomResizedCrop::TINY, None),
        ([64, 64], RandomResizedCrop::SMALL, None),
        ([65, 28], RandomResizedCrop::STANDARD, Some(RandomErasing::STANDARD)),
    ] {
        let preprocessing = Preprocessing::unilm(size);
        let (pretrain, finetune) =
            (preprocessing.pretrain([28; 2], ColourJitter::STANDARD), preprocessing.finetune());
        assert_eq!(
            [pretrain.crop, finetune.crop, preprocessing.tokenizer([28; 2]).crop],
            [crop; 3],
            "{size:?}"
        );
        assert_eq!(finetune.erase, erase, "{size:?}");
        assert_eq!((pretrain.image_size, pretrain.token_size, finetune.size), (size, [28; 2], size));
    }
}
