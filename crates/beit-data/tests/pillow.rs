//! Resampling and colour operations against Pillow (tests/peers/resize_golden.py).

use beit_data::{Filter, Image};

/// A golden picture: operation, parameter, pixels.
fn goldens() -> Vec<(&'static str, &'static str, Image)> {
    let mut bytes = include_bytes!("goldens/pillow.bin").as_slice();
    let mut read = |line: &'static str| {
        let row: Vec<&str> = line.split(',').collect();
        let [height, width] = [row[2], row[3]].map(|side| side.parse::<usize>().unwrap());
        let (pixels, rest) = bytes.split_at(height * width * 3);
        bytes = rest;
        (row[0], row[1], Image::new(height, width, pixels.to_vec()))
    };
    include_str!("goldens/pillow.csv").lines().skip(1).map(&mut read).collect()
}

fn greatest_difference(a: &Image, b: &Image) -> u8 {
    assert_eq!((a.height(), a.width()), (b.height(), b.width()));
    a.pixels().iter().zip(b.pixels()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn resampling_and_colour_agree_with_pillow() {
    let goldens = goldens();
    let source = |size: &str| {
        let found =
            goldens.iter().find(|(operation, parameter, _)| *operation == "source" && *parameter == size);
        found.unwrap().2.clone()
    };
    for (operation, parameter, expected) in &goldens {
        let size = [expected.height(), expected.width()];
        let enhanced = |adjust: fn(&mut Image, f64)| {
            let mut image = source("small");
            adjust(&mut image, parameter.parse().unwrap());
            image
        };
        let resized = |filter| source(parameter).resize(size, filter);
        // Resampling and colour are the same arithmetic.
        let (found, allowed) = match *operation {
            "bilinear" => (resized(Filter::Bilinear), 0),
            "bicubic" => (resized(Filter::Bicubic), 0),
            "lanczos" => (resized(Filter::Lanczos), 0),
            "brightness" => (enhanced(Image::adjust_brightness), 0),
            "contrast" => (enhanced(Image::adjust_contrast), 0),
            "saturation" => (enhanced(Image::adjust_saturation), 0),
            // Decoders differ in their inverse cosine transform.
            "cmyk" => (Image::decode(include_bytes!("goldens/cmyk.jpg"), "cmyk.jpg").unwrap(), 3),
            _ => continue,
        };
        let difference = greatest_difference(&found, expected);
        assert!(difference <= allowed, "{operation} {parameter} to {size:?}: {difference} > {allowed}");
    }
    assert_eq!(goldens.len(), 2 + 3 * 4 + 5 + 3 * (4 + 3 + 3 + 5 + 4) + 5 * 3 + 1);
}
