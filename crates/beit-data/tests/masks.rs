//! Sources with masks: what mask files may be, which mask belongs to which image, and what is refused.

use std::path::Path;
use std::sync::Arc;

use crate::mask_files::{grey, png, rgb};
use crate::pictures::{self, encode, picture, write};
use beit_data::{Cached, Error, Pairs, Part, Source, Split, check_masks, open};
use image::ImageFormat;
use png::{BitDepth, ColorType};
use tempfile::TempDir;

/// An image of 2 x 3 pixels (height, width).
fn image() -> Vec<u8> {
    encode(&picture(3, 2, [9, 8, 7]), ImageFormat::Png)
}

/// Images of 2 x 3 pixels in `images`, and these masks in `masks`.
fn pairs(masks: &[(&str, Vec<u8>)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in masks {
        write(&dir.path().join("images").join(name).with_extension("png"), &image());
        write(&dir.path().join("masks").join(name).with_extension("png"), bytes);
    }
    dir
}

fn spec(dir: &TempDir, classes: Option<&str>) -> String {
    let path = dir.path().display();
    let classes = classes.map(|text| {
        write(&dir.path().join("classes.txt"), text.as_bytes());
        format!(",{path}/classes.txt")
    });
    format!("masks:{path}/images,{path}/masks{}", classes.unwrap_or_default())
}

fn read(dir: &TempDir, classes: Option<&str>) -> Arc<dyn Source> {
    open(&spec(dir, classes), Split::Train).unwrap_or_else(|error| panic!("{error}"))
}

fn ids(source: &dyn Source, index: usize) -> Vec<u8> {
    source.mask(index).unwrap_or_else(|error| panic!("{error}")).expect("there is a mask").ids().to_vec()
}

fn ids_of(mask: Vec<u8>, classes: Option<&str>) -> Vec<u8> {
    let dir = pairs(&[("a", mask)]);
    ids(&*read(&dir, classes), 0)
}

/// What is said of the one mask.
fn refused(mask: Vec<u8>, classes: Option<&str>) -> String {
    let dir = pairs(&[("a", mask)]);
    let source = read(&dir, classes);
    let text = source.mask(0).unwrap_err().to_string();
    let found = check_masks(&source, &[0], |_| true).unwrap_err().to_string();
    assert_eq!(text, found);
    assert!(text.starts_with("mask ") && text.contains("masks/a.png: "), "{text}");
    text
}

const SIZE: [u32; 2] = [2, 3];

#[test]
fn values_are_never_scaled() {
    let grey = |depth, rows: &[u8]| png(SIZE, ColorType::Grayscale, depth, &[], rows);
    let rows = [
        ("1 bit", grey(BitDepth::One, &[0b1010_0000, 0b0110_0000]), [1, 0, 1, 0, 1, 1]),
        ("2 bits", grey(BitDepth::Two, &[0b1101_1000, 0b0001_1000]), [3, 1, 2, 0, 1, 2]),
        ("4 bits", grey(BitDepth::Four, &[0x7e, 0x10, 0x03, 0x40]), [7, 14, 1, 0, 3, 4]),
        ("8 bits", grey(BitDepth::Eight, &[1, 2, 3, 0, 255, 20]), [1, 2, 3, 0, 255, 20]),
    ];
    for (name, bytes, expected) in rows {
        let dir = pairs(&[("a", bytes)]);
        let source = read(&dir, None);
        assert_eq!(ids(&*source, 0), expected, "{name}");
        let most = expected.iter().filter(|&&id| id != 255).max().unwrap();
        assert_eq!(source.mask_classes().len(), usize::from(*most) + 1, "{name}");
        assert_eq!((source.mask_palette(), source.mask_classes()[1].as_str()), (None, "1"), "{name}");
    }
    let with_alpha = [1, 255, 2, 255, 0, 255, 1, 255, 1, 255, 2, 255];
    let mask = png(SIZE, ColorType::GrayscaleAlpha, BitDepth::Eight, &[], &with_alpha);
    assert_eq!(ids_of(mask, None), [1, 2, 0, 1, 1, 2]);
}

#[test]
fn the_number_of_a_colour_is_the_class() {
    let colours = [[0, 0, 0], [200, 10, 10], [10, 200, 10], [1, 1, 1]];
    let mask = png(SIZE, ColorType::Indexed, BitDepth::Two, &colours, &[0b0001_1000, 0b1001_0000]);
    let dir = pairs(&[("a", mask)]);
    let source = read(&dir, None);
    assert_eq!(ids(&*source, 0), [0, 1, 2, 2, 1, 0]);
    assert_eq!(source.mask_palette(), Some(&colours[..3]));
}

const STREET: &str = "# of a street\nroad 128 64 128\n\nvoid 0 0 0\ntraffic light 250 170 30\n";

#[test]
fn colours_are_looked_up() {
    let (road, void, light) = ([128, 64, 128], [0, 0, 0], [250, 170, 30]);
    let dir = pairs(&[("a", rgb(SIZE, &[road, road, light, void, light, road]))]);
    let source = read(&dir, Some(STREET));
    assert_eq!(ids(&*source, 0), [0, 0, 1, 255, 1, 0]);
    assert_eq!(source.mask_classes(), ["road", "traffic light"]);
    assert_eq!(source.mask_palette(), Some(&[road, light][..]));
    // A table serves masks of numbers too: those of its lines.
    let dir = pairs(&[("a", grey(SIZE, &[0, 1, 2, 255, 2, 0]))]);
    let source = read(&dir, Some(STREET));
    assert_eq!(ids(&*source, 0), [0, 255, 1, 255, 1, 0]);
    let opaque: Vec<u8> =
        [road, void, light, light, void, road].iter().flat_map(|c| [c[0], c[1], c[2], 255]).collect();
    let mask = png(SIZE, ColorType::Rgba, BitDepth::Eight, &[], &opaque);
    assert_eq!(ids_of(mask, Some(STREET)), [0, 255, 1, 1, 255, 0]);
}

#[test]
fn bad_masks_are_told_by_file_and_pixel() {
    let road = [128, 64, 128];
    let (rows, wide) = ([road, road, road, road, [1, 2, 3], road], [0; 12]);
    let text = refused(rgb(SIZE, &rows), Some(STREET));
    assert!(
        text.ends_with(
            "pixel (1, 1) has the colour 1 2 3, which no class has: add it to the file of classes"
        ),
        "{text}"
    );
    let text = refused(grey(SIZE, &[0, 0, 3, 0, 0, 0]), Some(STREET));
    assert!(text.ends_with("pixel (2, 0) has the number 3; expected 0 to 2, or 255 to ignore it"), "{text}");
    for classes in [None, Some("road\nlight\n")] {
        let text = refused(rgb(SIZE, &rows), classes);
        assert!(
            text.contains("an RGB picture") && text.contains("a line `NAME R G B` for each class"),
            "{text}"
        );
    }
    for (kind, name) in [(ColorType::Grayscale, "grey"), (ColorType::Rgb, "RGB")] {
        let rows = if name == "RGB" { vec![0; 36] } else { wide.to_vec() };
        let text = refused(png(SIZE, kind, BitDepth::Sixteen, &[], &rows), None);
        assert!(
            text.contains(&format!("a {name} PNG of 16 bits")) && text.contains("at most 8 bits"),
            "{text}"
        );
    }
    let text = refused(pictures::jpeg(1), None);
    assert!(text.contains("found a JPEG, whose values are not exact; expected a PNG"), "{text}");
    assert!(refused(Vec::new(), None).contains("the file is empty"));
    // The second takes little as it is packed, and a byte a pixel afterwards.
    for (side, depth) in [(100_000, BitDepth::Eight), (30_000, BitDepth::One)] {
        let mut claims = Vec::new();
        let mut encoder = png::Encoder::new(&mut claims, side, side);
        encoder.set_depth(depth);
        let mut writer = encoder.write_header().unwrap();
        writer.write_chunk(png::chunk::IDAT, &[0; 9]).unwrap();
        drop(writer);
        let text = refused(claims, None);
        assert!(text.contains(&format!("its {side} x {side} pixels take too much memory")), "{text}");
    }
    let whole = grey(SIZE, &[0; 6]);
    refused(whole[..whole.len() / 2].to_vec(), None);
    let see_through = png(
        SIZE,
        ColorType::GrayscaleAlpha,
        BitDepth::Eight,
        &[],
        &[0, 255, 1, 0, 0, 255, 0, 255, 0, 255, 0, 255],
    );
    assert!(refused(see_through, None).contains("pixel (1, 0) is transparent"));
}

#[test]
fn sizes_must_be_equal() {
    let dir = pairs(&[("a", grey([3, 2], &[0, 1, 0, 1, 0, 1]))]);
    let text = check_masks(&read(&dir, None), &[0], |_| true).unwrap_err().to_string();
    assert!(
        text.contains("masks/a.png has 3 x 2 pixels, its image ") && text.contains("images/a.png has 2 x 3"),
        "{text}"
    );
}

#[test]
fn something_must_be_told_apart() {
    let text = |mask: &[u8]| {
        let dir = pairs(&[("a", grey(SIZE, mask))]);
        check_masks(&read(&dir, None), &[0], |_| true).unwrap_err().to_string()
    };
    let one = text(&[0, 255, 0, 0, 0, 255]);
    assert!(
        one.starts_with(
            "expected at least 2 classes of pixels to tell apart, found 1 (0): 255 in a mask means"
        ),
        "{one}"
    );
    let none = text(&[255; 6]);
    assert!(
        none.starts_with("expected masks with pixels that have a class, found 1 in which all are ignored"),
        "{none}"
    );
    let dir = pairs(&[("a", grey(SIZE, &[0; 6]))]);
    let one = open(&spec(&dir, Some("road\nvoid\n")), Split::Train).err().unwrap().to_string();
    assert!(
        one.ends_with(
            "classes.txt names no classes of masks: expected at least 2 classes to tell apart, found 1"
        ),
        "{one}"
    );
}

#[test]
fn a_mask_has_the_path_of_its_image() {
    let mask = || grey(SIZE, &[0, 1, 0, 1, 0, 1]);
    let names = ["train/city/a", "train/b", "val/town/a"];
    let dir = pairs(&names.map(|name| (name, mask())));
    let test = open(&spec(&dir, None), Split::Test).unwrap();
    assert_eq!(
        (read(&dir, None).len(), test.len(), test.mask_name(0).ends_with("masks/val/town/a.png")),
        (2, 1, true)
    );
    assert!(
        test.notes()[0].contains("training images from `train`, test images from `val`"),
        "{:?}",
        test.notes()
    );
    assert!(test.version(0).is_some() && test.label(0).is_none() && test.class_names().is_empty());

    // Classes are those of all masks, whichever split they are in.
    write(&dir.path().join("masks/train/b.png"), &grey(SIZE, &[7; 6]));
    assert_eq!(open(&spec(&dir, None), Split::Test).unwrap().mask_classes().len(), 8);

    std::fs::remove_file(dir.path().join("masks/train/b.png")).unwrap();
    let error = open(&spec(&dir, None), Split::Train).err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, Error::NoMask { .. }));
    assert!(
        text.contains("images/train/b.png: expected ") && text.contains("masks/train/b.png; put it there"),
        "{text}"
    );

    // Without splits all of it is for training.
    let dir = pairs(&[("a", mask())]);
    assert_eq!(read(&dir, None).len(), 1);
    assert!(matches!(open(&spec(&dir, None), Split::Test), Err(Error::NoSplit { .. })));
}

#[test]
fn folders_that_do_not_fit_are_refused() {
    let dir = pairs(&[("train/a", grey(SIZE, &[0, 1, 0, 1, 0, 1]))]);
    let path = |name: &str| dir.path().join(name);
    let open_all = |images: &str, masks: &str| Pairs::open(&path(images), &path(masks), None, Split::Train);
    assert!(matches!(open_all("none", "masks"), Err(Error::NoFolder { .. })));
    assert!(matches!(open_all("images", "none"), Err(Error::NoFolder { .. })));
    for (images, masks) in [("images", "images"), ("", "masks"), ("images", "")] {
        assert!(matches!(open_all(images, masks), Err(Error::NestedMasks { .. })), "{images} {masks}");
    }
    std::fs::create_dir_all(path("void/train")).unwrap();
    let text = open_all("void", "masks").err().unwrap().to_string();
    assert!(text.starts_with("no images in "), "{text}");
    for spec in ["masks:a", "masks:a,b,c,d"] {
        let text = open(spec, Split::Train).err().unwrap().to_string();
        assert!(
            text.starts_with("unknown data source") && text.contains("masks:IMAGES,MASKS[,CLASSES]"),
            "{text}"
        );
    }
    let missing = Pairs::open(&path("images"), &path("masks"), Some(Path::new("no.txt")), Split::Train);
    assert!(matches!(missing, Err(Error::Read { .. })));
}

#[test]
fn wrappers_pass_masks_on() {
    let dir = pairs(&[("a", rgb(SIZE, &[[128, 64, 128]; 6])), ("b", rgb(SIZE, &[[0, 0, 0]; 6]))]);
    let source = read(&dir, Some(STREET));
    let wrapped: [Arc<dyn Source>; 2] =
        [Arc::new(Cached::new(source.clone(), 1 << 20)), Arc::new(Part::new(source.clone(), vec![1]))];
    for (wrapper, index) in wrapped.iter().zip([1, 0]) {
        assert_eq!(wrapper.mask(index).unwrap(), source.mask(1).unwrap());
        assert_eq!(wrapper.mask_name(index), source.mask_name(1));
        assert_eq!(wrapper.size(index).unwrap(), [2, 3]);
        assert_eq!(wrapper.mask_classes(), source.mask_classes());
        assert_eq!(wrapper.mask_palette(), source.mask_palette());
    }
}

fn ade(inner: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join(inner);
    for (split, name) in [("training", "ADE_train_1"), ("validation", "ADE_val_1")] {
        write(&root.join("images").join(split).join(name).with_extension("jpg"), &pictures::jpeg(3));
        let ids: Vec<u8> = (0..24 * 32).map(|i| (i % 151) as u8).collect();
        write(&root.join("annotations").join(split).join(name).with_extension("png"), &grey([24, 32], &ids));
    }
    dir
}

#[test]
fn the_layout_of_ade20k() {
    let dir = ade("ADEChallengeData2016");
    let spec = format!("ade:{}", dir.path().display());
    for split in [Split::Train, Split::Test] {
        let source = open(&spec, split).unwrap();
        assert_eq!(
            (source.len(), source.mask_classes().len(), source.mask_classes()[149].as_str()),
            (1, 150, "149")
        );
        assert_eq!(ids(&*source, 0)[..3], [255, 0, 1]);
        assert!(source.name(0).contains(["training", "validation"][split as usize]));
        let census = check_masks(&source, &[0], |_| true).unwrap();
        assert_eq!((census.masks, census.ignored, census.pixels[..3].to_vec()), (1, 6, vec![6, 6, 6]));
    }
    let info = dir.path().join("ADEChallengeData2016/objectInfo150.txt");
    let lines: String = (1..=150).map(|n| format!("{n}\t0.1\t1\t2\t0\tthing {n}, object\n")).collect();
    write(&info, format!("Idx\tRatio\tTrain\tVal\tStuff\tName\n{lines}").as_bytes());
    assert_eq!(open(&spec, Split::Train).unwrap().mask_classes()[1], "thing 2");
    write(&info, format!("Idx\tRatio\tTrain\tVal\tStuff\tName\n{}", &lines[..500]).as_bytes());
    let text = open(&spec, Split::Train).err().unwrap().to_string();
    assert!(
        text.contains("objectInfo150.txt names no classes of masks: expected 150 classes, found "),
        "{text}"
    );
    write(&info, b"<html>");
    let text = open(&spec, Split::Train).err().unwrap().to_string();
    assert!(text.contains("whose last column is Name, found `<html>`"), "{text}");
}

#[test]
fn numbers_beyond_those_of_ade20k() {
    let dir = ade("");
    let mut ids = vec![1; 24 * 32];
    ids[33] = 151;
    write(&dir.path().join("annotations/training/ADE_train_1.png"), &grey([24, 32], &ids));
    let source = open(&format!("ade:{}", dir.path().display()), Split::Train).unwrap();
    let text = source.mask(0).unwrap_err().to_string();
    assert!(
        text.ends_with(
            "ADE_train_1.png: pixel (1, 1) has the number 151; expected 0 to 150, or 255 to ignore it"
        ),
        "{text}"
    );
}
