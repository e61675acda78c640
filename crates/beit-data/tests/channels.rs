//! Pictures that are read as they are, against Pillow, tifffile and numpy (tests/peers/channel_goldens.py).

use std::path::{Path, PathBuf};

use beit_data::{
    Bands, Channels, ColourJitter, Error, Filter, Fit, Image, Normalise, PerChannel, Preprocessing, Purpose,
    Samples, Split, logit_laplace, open, open_as, sample_rng,
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/channels")
}

fn bands(count: usize) -> Bands {
    Bands::new(count).unwrap()
}

fn rows(table: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(folder().join(table)).unwrap();
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// Of the samples, little-endian.
fn checksum(image: &Image) -> u32 {
    let mut crc = flate2::Crc::new();
    match image.samples() {
        Samples::Bytes(bytes) => crc.update(bytes),
        Samples::Words(words) => words.iter().for_each(|word| crc.update(&word.to_le_bytes())),
    }
    crc.sum()
}

#[test]
fn every_sample_is_that_of_the_file() {
    let rows = rows("list.csv");
    assert_eq!(rows.len(), 2 * 15 + 4 + 4 + 3);
    for row in &rows {
        let [height, width, channels, bits, crc] = [1, 2, 3, 4, 5].map(|i| row[i].parse::<usize>().unwrap());
        let path = folder().join(&row[0]);
        let image = Image::open_as(&path, Some(bands(channels))).unwrap_or_else(|error| panic!("{error}"));
        let found = (image.height(), image.width(), image.channels(), image.samples().bits());
        assert_eq!(found, (height, width, channels, bits), "{}", row[0]);
        assert_eq!(checksum(&image) as usize, crc, "{}", row[0]);
        assert_eq!(Image::size_as(&path, Some(bands(channels))).unwrap(), [height, width], "{}", row[0]);

        // Another number of channels is refused, and said.
        let other = bands(channels + 1);
        let error = Image::open_as(&path, Some(other)).unwrap_err().to_string();
        let said =
            [format!("expected {other}"), format!("expected [H, W, {other}]"), format!("[{other}, H, W]")];
        assert!(said.iter().any(|said| error.contains(said)), "{error}");
    }
}

#[test]
fn sixteen_bits_are_resized_as_pillow_does() {
    let source = Image::open_as(folder().join("source.png"), Some(bands(1))).unwrap();
    let rows = rows("resized.csv");
    assert_eq!(rows.len(), 3 * 4);
    for row in &rows {
        let filter = Filter::ALL.into_iter().find(|filter| filter.name() == row[0]).unwrap();
        let [height, width, crc] = [1, 2, 3].map(|i| row[i].parse::<usize>().unwrap());
        let resized = source.resize([height, width], filter);
        assert_eq!(checksum(&resized) as usize, crc, "{row:?}");
        // Each of several channels is resized as if it were alone.
        for count in [2, 3, 4, 5] {
            let Samples::Words(words) = source.samples() else { panic!("they have 16 bits") };
            let all = words.iter().flat_map(|&word| (0..count).map(move |c| word.rotate_left(c)));
            let sides = [source.height(), source.width()];
            let many = Image::of_channels(sides[0], sides[1], count as usize, all.collect::<Vec<_>>().into());
            let Samples::Words(found) = many.resize([height, width], filter).samples().clone() else {
                panic!("they have 16 bits")
            };
            let first: Vec<u16> = found.iter().step_by(count as usize).copied().collect();
            assert_eq!(resized.samples(), &Samples::Words(first), "{count} channels, {row:?}");
        }
    }
}

/// What overshoots is cut at both ends of the range, where Pillow cuts each byte by itself.
#[test]
fn overshoot_is_cut() {
    let edge: Vec<u16> = (0..64).map(|x| if x % 16 < 8 { 0 } else { u16::MAX }).collect();
    let image = Image::of_channels(1, 64, 1, edge.into());
    let Samples::Words(words) = image.resize([1, 160], Filter::Lanczos).samples().clone() else { panic!() };
    assert_eq!([words.iter().min(), words.iter().max()], [Some(&0), Some(&u16::MAX)]);
    assert!(words[14..18].iter().all(|&word| word < 5000), "{words:?}");
}

/// 8 bits of five channels have the very bytes that each channel has alone in RGB.
#[test]
fn bytes_of_many_channels_are_those_of_each() {
    let image = Image::open_as(folder().join("five-8.tif"), Some(bands(5))).unwrap();
    let Samples::Bytes(bytes) = image.samples() else { panic!("they have 8 bits") };
    let resized = image.resize([7, 20], Filter::Bicubic);
    let Samples::Bytes(found) = resized.samples() else { panic!("they have 8 bits") };
    for c in 0..5 {
        let channel: Vec<u8> = bytes.iter().skip(c).step_by(5).copied().collect();
        let grey = Image::from_grey(image.height(), image.width(), &channel).resize([7, 20], Filter::Bicubic);
        let expected: Vec<u8> = grey.pixels().iter().step_by(3).copied().collect();
        assert_eq!(found.iter().skip(c).step_by(5).copied().collect::<Vec<_>>(), expected, "{c}");
    }
}

fn five() -> Normalise {
    Normalise {
        channels: Channels::Own(bands(5)),
        mean: PerChannel::new(&[0.1, 0.2, 0.3, 0.4, 0.5]).unwrap(),
        std: PerChannel::new(&[0.5, 0.4, 0.3, 0.2, 0.1]).unwrap(),
    }
}

#[test]
fn all_channels_reach_the_model() {
    let image = Image::open_as(folder().join("five-16.tif"), Some(bands(5))).unwrap();
    let (area, normalise) = (image.height() * image.width(), five());
    let planes = normalise.planes(&image);
    assert_eq!(planes.len(), 5 * area);
    for (i, &found) in planes.iter().enumerate() {
        let share = image.samples().share(i % area * 5 + i / area);
        let expected = (share - normalise.mean[i / area]) / normalise.std[i / area];
        assert!((found - expected).abs() < 1e-6, "{i}: {found}, expected {expected}");
    }
    let mapped = logit_laplace(&image);
    assert_eq!(mapped.len(), 5 * area);
    assert!(mapped.iter().all(|x| (0.1..=0.9).contains(x)));
    for fit in [Fit::Squash, Fit::CentreCrop { least: [32; 2] }, Fit::Border { within: [32, 40] }] {
        let view = Preprocessing { size: [28; 2], fit, filter: Filter::Bilinear, normalise };
        assert_eq!(view.apply(&image).len(), 5 * 28 * 28, "{fit:?}");
    }
    // The border is what becomes 0.
    let wide = Image::of_channels(8, 32, 5, vec![0_u16; 8 * 32 * 5].into());
    let bordered = Preprocessing {
        size: [32; 2],
        fit: Fit::Border { within: [32; 2] },
        ..Preprocessing::unilm([32; 2])
    };
    let planes = Preprocessing { normalise, ..bordered }.apply(&wide);
    assert!(planes.chunks(32 * 32).all(|plane| plane[0].abs() < 1e-4 && plane[16 * 32] < -0.1));
}

#[test]
fn augmentation_keeps_every_channel() {
    let image = Image::open_as(folder().join("five-16.tif"), Some(bands(5))).unwrap();
    let preprocessing = Preprocessing { normalise: five(), ..Preprocessing::unilm([16; 2]) };
    let masker = beit_mask::Masker::new(beit_mask::Config::official()).unwrap();
    let mut rng = sample_rng(1, 0, 0, Purpose::Sample);
    let sample = preprocessing.pretrain([8; 2], ColourJitter::NONE).apply(image.clone(), &masker, &mut rng);
    assert_eq!([sample.pixels.len(), sample.token_pixels.len()], [5 * 256, 5 * 64]);
    assert_eq!(preprocessing.tokenizer([8; 2]).apply(image.clone(), &mut rng).len(), 5 * 64);
    assert_eq!(preprocessing.finetune().apply(&image, &mut rng).len(), 5 * 256);
}

#[test]
fn a_picture_of_other_channels_is_refused_by_its_model() {
    let rgb = Image::new(1, 1, vec![0; 3]);
    let deep = Image::of_channels(1, 1, 3, vec![0_u16; 3].into());
    let own = Channels::Own(bands(5));
    assert!(Channels::Colour.check(&rgb).is_ok() && Channels::Own(bands(3)).check(&deep).is_ok());
    let error = own.check(&rgb).unwrap_err().to_string();
    assert_eq!(error, "the picture has 3 channels of 8 bits, expected one of 5 channels, read as it is");
    let error = Channels::Grey.check(&deep).unwrap_err().to_string();
    assert_eq!(error, "the picture has 3 channels of 16 bits, expected RGB of 8 bits");
}

fn put(dir: &Path, from: &str, to: &str) {
    let path = dir.join(to);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::copy(folder().join(from), path).unwrap();
}

#[test]
fn arrays_are_read_where_channels_are() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "first-16.npy", "a/1.npy");
    put(dir.path(), "five-16.tif", "a/2.tif");
    put(dir.path(), "last-8.npy", "b/1.NPY");
    put(dir.path(), "RGB-8.png", "b/2.png");
    let spec = format!("folder:{}", dir.path().display());
    let source = open_as(&spec, Split::Train, Some(bands(5))).unwrap();
    assert_eq!((source.len(), source.class_names().len(), source.notes().len()), (4, 2, 0));
    assert_eq!(source.image(0).unwrap(), source.image(1).unwrap());
    assert_eq!(source.size(2).unwrap(), [9, 13]);
    let error = source.image(3).unwrap_err().to_string();
    assert!(error.ends_with("2.png: it has 3 channels, expected 5"), "{error}");
    let plain = open(&spec, Split::Train).unwrap();
    assert_eq!(plain.len(), 2);
    assert!(plain.notes()[0].contains("2 npy"), "{:?}", plain.notes());
    // Of two pictures one has five channels, of which the first three are seen.
    assert!(plain.image(0).is_ok() && plain.image(1).unwrap().is_colour());
}

#[test]
fn what_has_no_channels_is_named() {
    let jpeg = std::fs::read(folder().join("../cmyk.jpg")).unwrap();
    let error = Image::decode_bands(&jpeg, bands(4), "a").unwrap_err().to_string();
    assert!(error.contains("it is a JPEG picture, whose channels are not read as they are"), "{error}");
    let palette = std::fs::read(folder().join("../formats/frames.gif")).unwrap();
    assert!(Image::decode_bands(&palette, bands(3), "a").unwrap_err().to_string().contains("a GIF picture"));
    let array = std::fs::read(folder().join("last-8.npy")).unwrap();
    assert!(Image::decode(&array, "a").unwrap_err().to_string().contains("it is a NumPy array"));
    for (spec, count) in [("fashion-mnist", 3), ("idx:somewhere", 1), ("scenes", 4), ("ade:somewhere", 3)] {
        let error = open_as(spec, Split::Train, Some(bands(count))).err().unwrap();
        assert!(matches!(error, Error::NoBands { .. }), "{error}");
    }
    assert!(open_as("scenes", Split::Test, Some(bands(3))).is_ok());
}

/// A damaged file is an error, or by chance a picture; nothing more than it may take is allocated.
#[test]
fn damaged_files_are_errors() {
    for row in rows("list.csv") {
        let bytes = std::fs::read(folder().join(&row[0])).unwrap();
        let count = bands(row[3].parse().unwrap());
        let tight = Image::decode_bands_within(&bytes, count, "a", 100).unwrap_err().to_string();
        if row[0].ends_with(".npy") {
            assert!(tight.contains("bytes of memory to decode, expected at most 100"), "{}: {tight}", row[0]);
        }
        for end in (0..bytes.len() * 3 / 4).step_by(bytes.len() / 23 + 1) {
            assert!(Image::decode_bands(&bytes[..end], count, "a").is_err(), "{} cut at {end}", row[0]);
        }
        for at in (0..bytes.len().min(200)).step_by(3) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xa5;
            let _ = Image::decode_bands_within(&damaged, count, "a", 1 << 20);
        }
    }
}
