//! MNIST's files, plain or compressed.

use beit_data::{Idx, Source, Split};

pub(crate) fn run(bytes: &[u8]) {
    // The first byte says how many of the others are the images; the rest are the labels.
    let Some((&share, bytes)) = bytes.split_first() else { return };
    let (images, labels) = bytes.split_at(bytes.len() * usize::from(share) / 255);
    let path = crate::file("t10k-images-idx3-ubyte", images);
    crate::file("t10k-labels-idx1-ubyte", labels);
    if let Ok(idx) = Idx::open(path.parent().expect("a file is in a folder"), Split::Test) {
        for index in 0..idx.len().min(8) {
            let _ = (idx.image(index).expect("it is in memory"), idx.label(index), idx.name(index));
        }
    }
}
