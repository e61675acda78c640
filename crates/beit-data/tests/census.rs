//! Looking at every mask, and loading masks beside images.

use std::sync::Arc;

use crate::mask_files::grey;
use crate::pictures::{self, write};
use beit_data::{
    Batch, Error, Image, Item, Loader, LoaderConfig, Mask, Normalise, Preprocessing, RandomScale, Result,
    Sample, SegmentationSample, Source, check_masks,
};

/// Pictures of 4 x 4 pixels whose masks are what each number says.
struct Made(Vec<Kind>);

#[derive(Clone, Copy)]
enum Kind {
    Good,
    Void,
    NoMask,
    BadMask,
    Large,
    Beyond,
    BadImage,
}

impl Source for Made {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn image(&self, index: usize) -> Result<Image> {
        match self.0[index] {
            Kind::BadImage => Err(Error::Decode { name: self.name(index), reason: "bad image".into() }),
            _ => Ok(Image::new(4, 4, vec![index as u8; 48])),
        }
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
    fn mask_name(&self, index: usize) -> String {
        format!("mask {index}")
    }
    fn mask_classes(&self) -> &[String] {
        static CLASSES: [String; 2] = [String::new(), String::new()];
        &CLASSES
    }
    fn mask(&self, index: usize) -> Result<Option<Mask>> {
        let reason = "bad mask".to_owned();
        Ok(Some(match self.0[index] {
            Kind::Good | Kind::BadImage => Mask::new(4, 4, [0, 1, 1, 255].repeat(4)),
            Kind::Void => Mask::new(4, 4, vec![255; 16]),
            Kind::Large => Mask::new(4, 5, vec![0; 20]),
            Kind::Beyond => Mask::new(4, 4, [0, 1, 2, 255].repeat(4)),
            Kind::NoMask => return Ok(None),
            Kind::BadMask => return Err(Error::Mask { name: self.mask_name(index), reason }),
        }))
    }
}

fn made(kinds: &[Kind]) -> Arc<dyn Source> {
    Arc::new(Made(kinds.to_vec()))
}

#[test]
fn all_masks_are_counted() {
    let source = made(&[Kind::Good, Kind::Void, Kind::Good, Kind::Void, Kind::BadImage, Kind::BadMask]);
    let mut told = Vec::new();
    let census = check_masks(&source, &[0, 1, 2, 3, 4], |done| {
        told.push(done);
        true
    })
    .unwrap();
    assert_eq!(told, [1, 2, 3, 4, 5]);
    assert_eq!((census.masks, census.pixels, census.ignored), (5, vec![12, 24], 3 * 4 + 2 * 16));
    assert_eq!((census.void, census.first_void.as_deref()), (2, Some("mask 1")));
    assert_eq!(census.unread_images, 1);
}

#[test]
fn the_rest_is_not_looked_at_where_that_is_wanted() {
    let stopped = check_masks(&made(&[Kind::Good, Kind::Good, Kind::BadMask]), &[0, 1, 2], |done| done < 2);
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
}

#[test]
fn the_first_bad_mask_is_named() {
    let rows = [
        (vec![Kind::Good, Kind::BadMask, Kind::Large], "mask mask 1: bad mask"),
        (
            vec![Kind::Good, Kind::NoMask],
            "no mask for image 1: expected a source with masks, such as ade:DIR",
        ),
        (vec![Kind::Large], "mask mask 0 has 4 x 5 pixels, its image image 0 has 4 x 4 (height x width)"),
        (vec![Kind::Beyond], "mask mask 0: pixel (2, 0) has the number 2; expected a class below 2, or 255"),
        (vec![Kind::Void, Kind::Void], "expected masks with pixels that have a class, found 2 in which all"),
    ];
    for (kinds, expected) in rows {
        let all: Vec<usize> = (0..kinds.len()).collect();
        let text = check_masks(&made(&kinds), &all, |_| true).unwrap_err().to_string();
        assert!(text.starts_with(expected), "{text}, expected {expected}");
    }
}

fn loader(source: Arc<dyn Source>, config: LoaderConfig) -> Loader<SegmentationSample> {
    let transform = beit_data::SegmentationTransform {
        scale: RandomScale::NONE,
        ..Preprocessing::unilm([4; 2]).segment()
    };
    let make =
        move |item: Item, rng: &mut _| transform.apply(&item.image, &item.mask.expect("masks are read"), rng);
    Loader::new(Arc::clone(&source), (0..source.len()).collect(), config, make).unwrap()
}

#[test]
fn a_loader_gives_images_with_their_masks() {
    let kinds = [Kind::Good, Kind::BadMask, Kind::Good, Kind::Large, Kind::NoMask, Kind::BadImage];
    let config = LoaderConfig { max_bad_share: 0.9, ..LoaderConfig::evaluation(8).with_masks() };
    let loader = loader(made(&kinds), config);
    let batches: Vec<Batch<SegmentationSample>> =
        loader.epoch(0).unwrap().map(|batch| batch.unwrap()).collect();
    assert_eq!((batches.len(), batches[0].indices.clone()), (1, vec![0, 2]));
    let data = &batches[0].data;
    assert_eq!((data.pixels.len(), data.labels.len()), (2 * 3 * 16, 2 * 16));
    assert_eq!(data.labels.iter().filter(|&&label| label == 1).count(), 16);
    let bad: Vec<String> = loader.bad_files().into_iter().map(|file| file.reason).collect();
    assert_eq!(bad.len(), 4);
    for (reason, expected) in
        bad.iter().zip(["mask mask 1: bad", "mask mask 3 has 4 x 5", "no mask for", "bad image"])
    {
        assert!(reason.starts_with(expected), "{reason}");
    }
}

#[test]
fn who_asks_for_no_masks_reads_none() {
    let source = made(&[Kind::BadMask, Kind::NoMask, Kind::Large]);
    let make = |item: Item, _: &mut _| {
        assert!(item.mask.is_none());
        Normalise::HALF.planes(&item.image)
    };
    let loader = Loader::new(source, vec![0, 1, 2], LoaderConfig::evaluation(3), make).unwrap();
    assert_eq!(loader.epoch(0).unwrap().next().unwrap().unwrap().data.len(), 3 * 48);
    assert!(loader.bad_files().is_empty());
}

#[test]
fn headers_say_how_large_images_are() {
    let dir = tempfile::tempdir().unwrap();
    let images = [
        ("a.jpg", pictures::jpeg(1)),
        ("b.png", pictures::encode(&pictures::picture(32, 24, [1, 2, 3]), image::ImageFormat::Png)),
        ("c.bmp", pictures::encode(&pictures::picture(32, 24, [1, 2, 3]), image::ImageFormat::Bmp)),
        ("d.webp", pictures::encode(&pictures::picture(32, 24, [1, 2, 3]), image::ImageFormat::WebP)),
        ("e.gif", std::fs::read("tests/goldens/formats/screen.gif").unwrap()),
        ("f.tif", std::fs::read("tests/goldens/formats/turn-6.tif").unwrap()),
    ];
    for (name, bytes) in images {
        let path = dir.path().join(name);
        write(&path, &bytes);
        let whole = Image::open(&path).unwrap();
        assert_eq!(Image::size_of(&path).unwrap(), [whole.height(), whole.width()], "{name}");
    }
    write(&dir.path().join("no.jpg"), b"nothing");
    assert!(matches!(Image::size_of(dir.path().join("no.jpg")), Err(Error::Decode { .. })));
    // The pixels of a PNG are not looked at.
    let png = grey([24, 32], &[0; 24 * 32]);
    write(&dir.path().join("cut.png"), &png[..png.len() - 14]);
    assert_eq!(Image::size_of(dir.path().join("cut.png")).unwrap(), [24, 32]);
}

#[test]
fn batches_are_joined_in_order() {
    let sample = |value: u32| SegmentationSample { pixels: vec![value as f32; 6], labels: vec![value; 2] };
    let batch = SegmentationSample::collate(vec![sample(1), sample(2)]);
    assert_eq!((batch.pixels[6], batch.labels), (2.0, vec![1, 1, 2, 2]));
}
