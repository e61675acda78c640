//! JPEG files decoded smaller than they are: with the bytes of Pillow's draft, and in the same regions as whole ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use beit_data::{
    ColourJitter, Folder, Image, Item, LabelledSample, Loader, LoaderConfig, Preprocessing, Purpose, Sample,
    SampleRng, Source, sample_rng,
};
use beit_mask::{Config, Grid, Masker};

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

#[test]
fn smaller_pictures_have_the_bytes_of_pillows_draft() {
    let rows = fs::read_to_string(goldens().join("drafts.csv")).unwrap();
    for row in rows.lines() {
        let [name, factor, height, width, wanted] = row.split(',').collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let bytes = fs::read(goldens().join(name)).unwrap();
        let whole = Image::decode(&bytes, name).unwrap();
        let (image, size) = Image::decode_reduced(&bytes, name, |found| {
            assert_eq!(found, whole.size(), "{row}");
            factor.parse().unwrap()
        })
        .unwrap();
        assert_eq!(
            (image.size(), size),
            ([height, width].map(|side| side.parse().unwrap()), whole.size()),
            "{row}"
        );
        let mut crc = flate2::Crc::new();
        crc.update(image.pixels());
        assert_eq!(crc.sum().to_string(), wanted, "{row}");
    }
    assert!(rows.lines().count() > 50);
}

#[test]
fn what_cannot_be_smaller_keeps_its_size() {
    for name in ["cmyk.jpg", "formats/cmyk-progressive.jpg", "formats/24.bmp"] {
        let bytes = fs::read(goldens().join(name)).unwrap();
        let (image, size) = Image::decode_reduced(&bytes, name, |_| 4).unwrap();
        assert_eq!((&image, size), (&Image::decode(&bytes, name).unwrap(), image.size()), "{name}");
    }
    let bytes = fs::read(goldens().join("photos/dress.jpg")).unwrap();
    let error = Image::decode_reduced(&bytes, "dress.jpg", |_| 3).unwrap_err();
    assert!(error.to_string().contains("dress.jpg"), "{error}");
    let error = Image::decode_reduced(&bytes[..bytes.len() / 2], "dress.jpg", |_| 2).unwrap_err();
    assert!(error.to_string().contains("the file ends before"), "{error}");
}

/// Mean distance of two views.
fn distance(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(a, b)| (a - b).abs()).sum::<f32>() / one.len() as f32
}

/// Views of 24 pixels of a photograph of 171 x 128.
#[test]
fn the_same_numbers_see_the_same_region() {
    let bytes = fs::read(goldens().join("photos/shirt.jpg")).unwrap();
    let whole = Image::decode(&bytes, "").unwrap();
    let preprocessing = Preprocessing::unilm([24; 2]);
    let (finetune, pretrain) =
        (preprocessing.finetune(), preprocessing.pretrain([24; 2], ColourJitter::STANDARD));
    let tokenizer = preprocessing.tokenizer([24; 2]);
    let masker = Masker::new(Config::scaled(Grid { rows: 6, cols: 6 }, 0.4)).unwrap();
    let (mut reduced, mut last) = (0, [const { Vec::new() }; 3]);
    let (mut near, mut far) = ([0.0; 3], [0.0; 3]);
    for index in 0..24 {
        let rng = || sample_rng(1, 0, index, Purpose::Sample);
        let decode = |factor: u32| Image::decode_reduced(&bytes, "", |_| factor).unwrap();
        let factor = finetune.reduction(whole.size(), &mut rng());
        let (image, size) = decode(factor);
        let views = [
            (finetune.apply(&whole, &mut rng()), finetune.apply_reduced(&image, size, &mut rng())),
            {
                let (image, size) = decode(tokenizer.reduction(whole.size(), &mut rng()));
                (tokenizer.apply(whole.clone(), &mut rng()), tokenizer.apply_reduced(image, size, &mut rng()))
            },
            {
                let (image, size) = decode(pretrain.reduction(whole.size(), &mut rng()));
                let one = pretrain.apply(whole.clone(), &masker, &mut rng());
                let other = pretrain.apply_reduced(image, size, &masker, &mut rng());
                assert_eq!(one.mask, other.mask);
                (one.pixels, other.pixels)
            },
        ];
        for (number, (one, other)) in views.into_iter().enumerate() {
            near[number] += distance(&one, &other);
            // The view that other numbers see.
            far[number] += if index > 0 { distance(&one, &last[number]) } else { 0.0 };
            assert!(factor > 1 || number > 0 || one == other, "a whole picture is another");
            last[number] = one;
        }
        reduced += usize::from(factor > 1);
    }
    assert!(reduced > 12, "{reduced} of 24 were smaller");
    for number in 0..3 {
        assert!(2.0 * near[number] < far[number], "view {number}: {} beside {}", near[number], far[number]);
    }
}

#[test]
fn a_loader_decodes_smaller_where_it_is_asked() {
    let source: Arc<dyn Source> = Arc::new(Folder::open_exact(&goldens().join("photos")).unwrap());
    let transform = Preprocessing::unilm([24; 2]).finetune();
    let jpeg: Vec<usize> = (0..source.len()).filter(|&index| source.name(index).ends_with(".jpg")).collect();
    let batch = |reduce: Option<fn([usize; 2]) -> u32>| {
        let make = move |item: Item, rng: &mut SampleRng| Seen {
            size: item.image.size(),
            sample: LabelledSample { pixels: transform.apply_reduced(&item.image, item.size, rng), label: 0 },
        };
        let config = LoaderConfig { workers: 1, ..LoaderConfig::evaluation(9) };
        let mut loader = Loader::new(Arc::clone(&source), jpeg.clone(), config, make).unwrap();
        if let Some(reduce) = reduce {
            loader = loader.reducing(move |size, _| reduce(size));
        }
        loader.epoch(0).unwrap().next().unwrap().unwrap().data
    };
    let (whole, same, quarter) = (batch(None), batch(Some(|_| 1)), batch(Some(|_| 4)));
    assert_eq!(whole, same);
    for (whole, quarter) in whole.iter().zip(&quarter) {
        assert_eq!(quarter.0, whole.0.map(|side| side.div_ceil(4)));
    }
    assert!(whole.iter().zip(&quarter).all(|(whole, quarter)| whole.1 != quarter.1));
}

/// A sample, and the size at which its picture was decoded.
struct Seen {
    size: [usize; 2],
    sample: LabelledSample,
}

impl Sample for Seen {
    type Batch = Vec<([usize; 2], Vec<f32>)>;
    fn collate(samples: Vec<Self>) -> Self::Batch {
        samples.into_iter().map(|seen| (seen.size, seen.sample.pixels)).collect()
    }
}
