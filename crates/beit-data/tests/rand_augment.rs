//! The operations of RandAugment against timm 0.3.2 and Pillow 13 (tests/peers/augment_golden.py).

use beit_data::{Augment, AugmentKind, AugmentLevel, Image, Normalise};
use std::collections::HashMap;
use std::io::Read;

/// One row of the table, with its picture.
struct Golden {
    picture: String,
    kind: String,
    level: AugmentLevel,
    number: f64,
    fill: [u8; 3],
    image: Image,
}

fn goldens() -> Vec<Golden> {
    let mut bytes = Vec::new();
    let packed = include_bytes!("goldens/augment.bin.gz");
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
    let mut rest = bytes.as_slice();
    let table = include_str!("goldens/augment.csv");
    let goldens: Vec<_> = table.lines().skip(1).map(|line| golden(line, &mut rest)).collect();
    assert!(rest.is_empty() && goldens.len() > 300, "{}", goldens.len());
    goldens
}

fn golden(line: &str, rest: &mut &[u8]) -> Golden {
    let cells: Vec<&str> = line.split(',').collect();
    let number = |cell: usize| cells[cell].parse::<f64>().unwrap();
    let [height, width] = [6, 7].map(|cell| cells[cell].parse::<usize>().unwrap());
    let (pixels, after) = rest.split_at(height * width * 3);
    *rest = after;
    let normalise = if cells[8] == "half" { Normalise::HALF } else { Normalise::IMAGENET };
    Golden {
        picture: cells[0].to_owned(),
        kind: cells[1].to_owned(),
        level: AugmentLevel { magnitude: number(2), negative: number(3) < 0.0, increasing: number(4) == 1.0 },
        number: number(5),
        fill: normalise.fill(),
        image: Image::new(height, width, pixels.to_vec()),
    }
}

/// The number of an operation, of those that have one.
fn number(operation: Augment) -> f64 {
    match operation {
        Augment::AutoContrast | Augment::Equalize | Augment::Invert => 0.0,
        Augment::Rotate { degrees } => degrees,
        Augment::Posterize { bits } => f64::from(bits),
        Augment::Solarize { threshold } => f64::from(threshold),
        Augment::SolarizeAdd { amount } => f64::from(amount),
        Augment::Color { factor }
        | Augment::Contrast { factor }
        | Augment::Brightness { factor }
        | Augment::Sharpness { factor }
        | Augment::ShearX { factor }
        | Augment::ShearY { factor } => factor,
        Augment::TranslateX { share } | Augment::TranslateY { share } => share,
    }
}

fn kind(name: &str) -> AugmentKind {
    AugmentKind::ALL.into_iter().find(|kind| format!("{kind:?}") == name).unwrap()
}

#[test]
fn every_operation_has_the_numbers_of_timm_and_the_bytes_of_pillow() {
    let mut sources = HashMap::new();
    for Golden { picture, kind: name, level, number: expected, fill, image } in goldens() {
        if name == "source" {
            sources.insert(picture, image);
            continue;
        }
        let operation = kind(&name).at(level);
        assert_eq!(number(operation), expected, "{name} at {level:?}");
        let mut found = sources[&picture].clone();
        operation.apply(&mut found, fill);
        let differences = found.pixels().iter().zip(image.pixels()).map(|(a, b)| a.abs_diff(*b));
        let differ: Vec<u8> = differences.filter(|&difference| difference > 0).collect();
        let most = differ.iter().max().unwrap_or(&0);
        assert!(
            differ.is_empty(),
            "{picture}, {operation:?}: {} values differ, by {most} at most",
            differ.len()
        );
    }
    assert_eq!(sources.len(), 7);
}

#[test]
fn the_colour_from_outside_is_the_mean() {
    assert_eq!(Normalise::HALF.fill(), [128; 3]);
    assert_eq!(Normalise::IMAGENET.fill(), [124, 116, 104]);
    assert_eq!(Normalise::IMAGENET.seeing(beit_data::Channels::Grey).fill(), [124; 3]);
    assert_eq!(Normalise::LOGIT_LAPLACE.fill(), [0; 3]);
}
