//! Photographs, from the JPEG file to the numbers that a model sees, against Pillow, torchvision, timm and transformers
//! (tests/peers/photo_goldens.py).

use beit_data::{Filter, Image, Normalise, Preprocessing};
use std::io::Read;
use std::path::PathBuf;

const PHOTOS: [&str; 4] = ["dress", "shirt", "shoes", "shorts"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/photos")
}

fn photo(name: &str, extension: &str) -> Image {
    Image::open(folder().join(format!("{name}.{extension}"))).unwrap()
}

/// Some rows of an output of one package, and how it normalised them.
struct Golden {
    photo: String,
    operation: String,
    size: [usize; 2],
    stride: usize,
    normalise: Normalise,
    rows: Vec<u8>,
}

fn goldens() -> Vec<Golden> {
    let packed = std::fs::read(folder().join("rows.bin.gz")).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
    let mut rest = bytes.as_slice();
    let table = std::fs::read_to_string(folder().join("rows.csv")).unwrap();
    let goldens: Vec<_> = table.lines().skip(1).map(|line| golden(line, &mut rest)).collect();
    assert!(rest.is_empty() && goldens.len() == 4 * (11 + 9));
    goldens
}

fn golden(line: &str, rest: &mut &[u8]) -> Golden {
    let cells: Vec<&str> = line.split(',').collect();
    let [height, width, stride] = [2, 3, 4].map(|cell| cells[cell].parse::<usize>().unwrap());
    let number = |cell: usize| cells[cell].parse::<f32>().unwrap();
    let (rows, after) = rest.split_at(height.div_ceil(stride) * width * 3);
    *rest = after;
    Golden {
        photo: cells[0].to_owned(),
        operation: cells[1].to_owned(),
        size: [height, width],
        stride,
        normalise: Normalise {
            mean: [5, 6, 7].map(number).into(),
            std: [8, 9, 10].map(number).into(),
            ..Normalise::HALF
        },
        rows: rows.to_vec(),
    }
}

impl Golden {
    /// What `predict` and `evaluate` use for the operation; none for plain resizing. Version 2 of timm is what its configuration says,
    /// read as `beit_weights` reads `crop_pct`.
    fn preprocessing(&self) -> Option<Preprocessing> {
        let v2 = Preprocessing { normalise: Normalise::IMAGENET, ..Preprocessing::timm(self.size) };
        Some(match self.operation.trim_end_matches(|c: char| c.is_ascii_digit()) {
            "unilm-" => Preprocessing::unilm(self.size),
            "timm-" => Preprocessing::timm(self.size),
            "timm-v2-base-" => v2.keeping(0.9),
            "timm-v2-large-" => v2.keeping(0.95),
            "hf-" => Preprocessing::hugging_face(self.size),
            _ => return None,
        })
    }

    fn view(&self, image: &Image) -> Image {
        match (self.preprocessing(), self.operation.as_str()) {
            (Some(preprocessing), _) => preprocessing.view(image),
            (_, "bilinear") => image.resize(self.size, Filter::Bilinear),
            (_, "bicubic") => image.resize(self.size, Filter::Bicubic),
            (_, "lanczos") => image.resize(self.size, Filter::Lanczos),
            (_, other) => panic!("no operation {other}"),
        }
    }

    /// Greatest difference of a byte, and how many bytes differ.
    fn compare(&self, image: &Image) -> (u8, usize) {
        let found = self.view(image);
        assert_eq!([found.height(), found.width()], self.size, "{} {}", self.photo, self.operation);
        let kept = found.pixels().chunks_exact(self.size[1] * 3).step_by(self.stride).flatten();
        let differences: Vec<u8> = kept.zip(&self.rows).map(|(a, b)| a.abs_diff(*b)).collect();
        assert_eq!(differences.len(), self.rows.len());
        (differences.iter().copied().max().unwrap(), differences.iter().filter(|&&d| d > 0).count())
    }
}

#[test]
fn every_view_of_every_package_is_met_byte_for_byte() {
    for golden in goldens() {
        // From the pixels that Pillow decoded, and from the file.
        for extension in ["png", "jpg"] {
            let (most, differ) = golden.compare(&photo(&golden.photo, extension));
            let Golden { photo, operation, rows, .. } = &golden;
            assert!(most == 0, "{photo}.{extension} {operation}: {most} at most, {differ} of {}", rows.len());
        }
    }
}

#[test]
fn what_the_model_sees_is_what_the_packages_give() {
    for golden in goldens() {
        let Some(preprocessing) = golden.preprocessing() else { continue };
        assert_eq!(preprocessing.normalise, golden.normalise, "{}", golden.operation);
        let ([height, width], found) = (golden.size, preprocessing.apply(&photo(&golden.photo, "jpg")));
        for (i, &byte) in golden.rows.iter().enumerate() {
            let (row, col, c) = (i / (width * 3) * golden.stride, i / 3 % width, i % 3);
            let Normalise { mean, std, .. } = golden.normalise;
            let expected = (f32::from(byte) / 255.0 - mean[c]) / std[c];
            let difference = (found[(c * height + row) * width + col] - expected).abs();
            // The rounding of numbers below 3 in single precision.
            assert!(
                difference <= 1e-6,
                "{} {} at {row}, {col}, {c}: {difference}",
                golden.photo,
                golden.operation
            );
        }
    }
}

#[test]
fn photographs_are_decoded_to_the_bytes_of_libjpeg_turbo() {
    for name in PHOTOS {
        assert!(photo(name, "jpg") == photo(name, "png"), "{name}");
    }
}
