use std::sync::{Arc, OnceLock};

use super::Source;
use super::idx::{Idx, Opened, read_idx};
use crate::split::Split;

/// Class names of Fashion-MNIST, in the order of its labels.
pub(super) const CLASS_NAMES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

macro_rules! asset {
    ($name:literal) => {
        include_bytes!(concat!("../../assets/fashion-mnist/", $name))
    };
}

/// The embedded part of Fashion-MNIST, 28 x 28 grey pictures of clothes in 10 classes: 16,000 of its training set, 1,600 a
/// class, and 4,000 of its test set, 400 a class. Decompressed when first asked for, then shared.
///
/// Fashion-MNIST is copyright 2017 Zalando SE, MIT licence; see `assets/fashion-mnist/LICENSE`.
#[must_use]
pub fn fashion_mnist(split: Split) -> Arc<dyn Source> {
    Arc::clone(garments(split)) as Arc<dyn Source>
}

/// The pictures of a split as they are kept.
pub(super) fn garments(split: Split) -> &'static Arc<Idx> {
    static TRAIN: OnceLock<Arc<Idx>> = OnceLock::new();
    static TEST: OnceLock<Arc<Idx>> = OnceLock::new();
    match split {
        Split::Train => TRAIN.get_or_init(|| {
            read(split, asset!("train-images-idx3-ubyte.gz"), asset!("train-labels-idx1-ubyte.gz"))
        }),
        Split::Test => TEST.get_or_init(|| {
            read(split, asset!("t10k-images-idx3-ubyte.gz"), asset!("t10k-labels-idx1-ubyte.gz"))
        }),
    }
}

fn read(split: Split, images: &'static [u8], labels: &'static [u8]) -> Arc<Idx> {
    let name = format!("fashion-mnist/{split}");
    let valid = "the embedded files are valid: a test reads them";
    let opened = |file: &'static [u8]| Opened { length: file.len() as u64, file };
    let ([_], labels) = read_idx(opened(labels), &name).expect(valid);
    let class_names = CLASS_NAMES.map(str::to_owned).to_vec();
    Arc::new(Idx::read(opened(images), Some(labels), class_names, name).expect(valid))
}
