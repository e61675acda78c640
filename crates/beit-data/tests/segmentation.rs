//! Augmentation of images and masks together.

use beit_data::{
    ClassShare, CropBox, Filter, Image, Mask, Normalise, PerChannel, PhotometricDistortion, Preprocessing,
    Purpose, RandomScale, SampleRng, Scale, SegmentationTransform, SegmentationView, sample_rng,
};
use proptest::prelude::*;

fn rng(index: u64) -> SampleRng {
    sample_rng(5, 0, index, Purpose::Sample)
}

/// A mask of blocks, and a picture of the same numbers in red; green and blue say where a pixel is.
fn pair(height: usize, width: usize) -> (Image, Mask) {
    let id = |y: usize, x: usize| (10 + y / 3 * 7 + x / 3 * 13) as u8 % 100;
    let ids: Vec<u8> = (0..height * width).map(|i| id(i / width, i % width)).collect();
    let pixels =
        ids.iter().enumerate().flat_map(|(i, &id)| [id, (i / width) as u8, (i % width) as u8]).collect();
    (Image::new(height, width, pixels), Mask::new(height, width, ids))
}

/// Pixels as they are, of 255.
const PLAIN: Normalise =
    Normalise { mean: PerChannel::rgb([0.0; 3]), std: PerChannel::rgb([1.0; 3]), ..Normalise::HALF };

fn plain(size: [usize; 2]) -> SegmentationTransform {
    SegmentationTransform {
        scale: RandomScale::NONE,
        class_share: None,
        photometric: None,
        normalise: PLAIN,
        ..Preprocessing::unilm(size).segment()
    }
}

proptest! {
    #[test]
    fn crop_and_flip_keep_pixels_with_their_classes(
        height in 1_usize..40, width in 1_usize..40, size in [1_usize..30, 1..30], index: u64,
    ) {
        let (image, mask) = pair(height, width);
        let sample = plain(size).apply(&image, &mask, &mut rng(index));
        prop_assert_eq!((sample.pixels.len(), sample.labels.len()), (3 * size[0] * size[1], size[0] * size[1]));
        let seen = [height.min(size[0]), width.min(size[1])];
        for (i, &label) in sample.labels.iter().enumerate() {
            let inside = i / size[1] < seen[0] && i % size[1] < seen[1];
            let pixel = [0, 1, 2].map(|c| (sample.pixels[c * size[0] * size[1] + i] * 255.0).round() as u32);
            if inside {
                let [class, y, x] = pixel;
                prop_assert_eq!(class, label);
                prop_assert_eq!(u32::from(mask.ids()[y as usize * width + x as usize]), label);
            } else {
                prop_assert_eq!((pixel, label), ([0; 3], 255));
            }
        }
    }

    #[test]
    fn sizes_stay_within_their_scale(height in 1_usize..3000, width in 1_usize..3000, ratio in 0.5..2.0_f64) {
        let [h, w] = Scale::Within { long: 2048, short: 512 }.size([height, width], ratio);
        let [long, short] = [2048.0, 512.0].map(|most: f64| (most * ratio).floor() as usize);
        prop_assert!(h.max(w) <= long && h.min(w) <= short);
        prop_assert!(h.max(w) == long || h.min(w) == short);
    }
}

#[test]
fn pictures_and_masks_are_resized_alike() {
    // Blocks of 16 pixels: inside of one, a resampled picture has its number too.
    let ids: Vec<u8> = (0..64 * 64).map(|i| (1 + i / 64 / 16 * 40 + i % 64 / 16 * 13) as u8).collect();
    let (image, mask) = (Image::from_grey(64, 64, &ids), Mask::new(64, 64, ids));
    let transform = SegmentationTransform { scale: RandomScale::SMALL, ..plain([64; 2]) };
    let mut sizes = std::collections::BTreeSet::new();
    for index in 0..50 {
        let sample = transform.apply(&image, &mask, &mut rng(index));
        let valid = sample.labels.iter().filter(|&&label| label != 255).count();
        sizes.insert(valid);
        let same = (0..64 * 64).filter(|&i| {
            sample.labels[i] != 255 && (sample.pixels[i] * 255.0).round() as u32 == sample.labels[i]
        });
        // Edges are mixed: less than three pixels beside each of at most 2 · 6 of them.
        assert!(same.count() as f64 > valid as f64 * 0.7, "{index}");
    }
    assert!(sizes.len() > 5 && sizes.last() == Some(&(64 * 64)));
}

#[test]
fn the_same_generator_gives_the_same_sample() {
    let (image, mask) = pair(50, 70);
    let transform = Preprocessing::unilm([48; 2]).segment();
    let apply = |index| transform.apply(&image, &mask, &mut rng(index));
    assert_eq!(apply(3), apply(3));
    assert_ne!(apply(3), apply(4));
}

#[test]
fn crops_show_more_than_one_class() {
    // One class everywhere but in a corner.
    let at = |i: usize| [i / 200, i % 200];
    let ids: Vec<u8> = (0..200 * 200).map(|i| u8::from(at(i).iter().all(|&place| place >= 170))).collect();
    let (image, mask) = (Image::from_grey(200, 200, &ids), Mask::new(200, 200, ids));
    let holding = |class_share| {
        let transform = SegmentationTransform { class_share, ..plain([40; 2]) };
        let good = |index| {
            let sample = transform.apply(&image, &mask, &mut rng(index));
            let ones = sample.labels.iter().sum::<u32>();
            assert!(sample.labels.iter().all(|&label| label < 2));
            (401..1600).contains(&ones)
        };
        (0..400).filter(|&index| good(index)).count()
    };
    let (free, chosen) = (holding(None), holding(Some(ClassShare::STANDARD)));
    // Of 161² places, those with more than 400 of the 900 pixels are few; eleven draws find one about eleven times as often.
    assert!(free < 20 && chosen > 4 * free.max(1), "{free} {chosen}");
}

#[test]
fn the_share_of_a_class_leaves_ignored_pixels_aside() {
    let holds = |ids: &[u8]| ClassShare::STANDARD.holds(&Mask::new(1, ids.len(), ids.to_vec()));
    assert!(holds(&[0, 0, 1, 1]) && holds(&[0, 0, 1, 1, 255, 255, 255, 255, 255, 255, 255]));
    assert!(!holds(&[0, 0, 0, 1]) && !holds(&[0, 0]) && !holds(&[255, 255]));
    assert!(!ClassShare { most: 1.0, tries: 1 }.holds(&Mask::new(1, 2, vec![3, 3])));
}

#[test]
fn padding_is_zero_after_normalisation_and_ignored() {
    let (image, mask) = (Image::new(2, 3, vec![200; 18]), Mask::new(2, 3, vec![1; 6]));
    let transform = SegmentationTransform { normalise: Normalise::IMAGENET, ..plain([3, 4]) };
    let sample = transform.apply(&image, &mask, &mut rng(0));
    assert_eq!(sample.labels, [1, 1, 1, 255, 1, 1, 1, 255, 255, 255, 255, 255]);
    for plane in sample.pixels.chunks_exact(12) {
        assert!([3, 7, 8, 9, 10, 11].iter().all(|&i| plane[i] == 0.0) && plane[0] != 0.0);
    }
}

#[test]
fn nothing_is_distorted_at_the_neutral_setting() {
    let (image, _) = pair(200, 250);
    let neutral = PhotometricDistortion {
        brightness: 0.0,
        contrast: [1.0; 2],
        saturation: [1.0; 2],
        hue: 0,
        probability: 1.0,
    };
    let mut same = image.clone();
    neutral.apply(&mut same, &mut rng(0));
    assert_eq!(same, image);
    let never = PhotometricDistortion { probability: 0.0, ..PhotometricDistortion::STANDARD };
    (0..20).for_each(|index| never.apply(&mut same, &mut rng(index)));
    assert_eq!(same, image);
}

#[test]
fn distortions_are_those_of_mmsegmentation() {
    let changed = |change: fn(&mut Image)| {
        let mut image = Image::new(1, 2, vec![200, 100, 50, 10, 250, 30]);
        change(&mut image);
        image.pixels().to_vec()
    };
    assert_eq!(changed(|image| image.add_light(10.6)), [210, 110, 60, 20, 255, 40]);
    assert_eq!(changed(|image| image.add_light(-32.0)), [168, 68, 18, 0, 218, 0]);
    assert_eq!(changed(|image| image.scale_light(1.5)), [255, 150, 75, 15, 255, 45]);
    // Saturation 0.75 becomes 0.375, 0.96 becomes 0.48.
    assert_eq!(changed(|image| image.adjust_colour(0.5, 0.0)), [200, 150, 125, 130, 250, 140]);
    assert_eq!(changed(|image| image.adjust_colour(1.0, 120.0)), [50, 200, 100, 30, 10, 250]);
    // Saturation is at most 1.
    assert_eq!(changed(|image| image.adjust_colour(1.5, 0.0))[3..], [0, 250, 21]);
    let mut grey = Image::new(1, 1, vec![77; 3]);
    grey.adjust_colour(1.5, 90.0);
    assert_eq!(grey.pixels(), [77; 3]);
}

#[test]
fn brightness_has_its_bounds_and_its_probability() {
    let light = PhotometricDistortion {
        contrast: [1.0; 2],
        saturation: [1.0; 2],
        hue: 0,
        ..PhotometricDistortion::STANDARD
    };
    let values: Vec<u8> = (0..2000)
        .map(|index| {
            let mut image = Image::new(1, 1, vec![100; 3]);
            light.apply(&mut image, &mut rng(index));
            image.pixels()[0]
        })
        .collect();
    let (least, most) = (values.iter().min().unwrap(), values.iter().max().unwrap());
    assert!((68..=69).contains(least) && (130..=132).contains(most), "{least} {most}");
    // Half stay, and of the others a sixty-fourth rounds to the same; five standard errors of a fair coin are 112.
    let same = values.iter().filter(|&&value| value == 100).count();
    assert!(same.abs_diff(1016) < 112, "{same}");
}

#[test]
fn whole_pictures_for_evaluation() {
    let (image, _) = pair(48, 64);
    let view = SegmentationView {
        scale: Scale::Within { long: 200, short: 32 },
        filter: Filter::Bilinear,
        normalise: Normalise::HALF,
    };
    let planes = view.apply(&image);
    assert_eq!((planes.height, planes.width, planes.pixels.len()), (32, 43, 3 * 32 * 43));
    assert_eq!(planes.pixels, Normalise::HALF.planes(&image.resize([32, 43], Filter::Bilinear)));
    let squashed = SegmentationView { scale: Scale::Squash([20, 30]), ..view }.apply(&image);
    assert_eq!(squashed.pixels, Preprocessing::hugging_face([20, 30]).apply(&image));
    let own = Preprocessing::unilm([64; 2]).segment().fit(&image);
    assert_eq!((own.height, own.width, own.pixels), (48, 64, Normalise::HALF.planes(&image)));
    let large = Preprocessing::unilm([512; 2]).segment();
    assert_eq!(
        (large.scale, large.view().scale),
        (RandomScale::STANDARD, Scale::Within { long: 2048, short: 512 })
    );
}

#[test]
fn a_written_mask_is_read_again() {
    let (_, mask) = pair(9, 13);
    let mask = mask.crop(CropBox { top: 0, left: 0, height: 10, width: 14 });
    let mut bytes = Vec::new();
    mask.write_png(&mut bytes, &beit_data::palette(100)).unwrap();
    let seen = Image::decode(&bytes, "written").unwrap();
    let colours = beit_data::palette(256);
    for (pixel, &id) in seen.pixels().chunks_exact(3).zip(mask.ids()) {
        assert_eq!(pixel, colours[usize::from(id)]);
    }
    let dir = tempfile::tempdir().unwrap();
    for folder in ["images", "masks"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
        std::fs::write(dir.path().join(folder).join("a.png"), &bytes).unwrap();
    }
    let path = dir.path().display();
    let source =
        beit_data::open(&format!("masks:{path}/images,{path}/masks"), beit_data::Split::Train).unwrap();
    assert_eq!(source.mask(0).unwrap(), Some(mask));
}
