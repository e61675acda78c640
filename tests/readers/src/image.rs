//! Pictures in the formats that are decoded, and whatever begins like one.

use beit_data::{Image, Preprocessing};

/// Largest picture, in bytes of memory: a small file may rightly hold a large one, which then takes seconds.
const MAX_BYTES: u64 = 1 << 20;

/// What can be read whole can be read smaller, at the same shape.
fn reduced(bytes: &[u8], whole: &Image, factor: u32) {
    let size = [whole.height(), whole.width()];
    let Ok((image, told)) = Image::decode_reduced(bytes, "fuzzed", |_| factor) else { return };
    assert_eq!(told, size, "its size in the file");
    let smaller = size.map(|side| side.div_ceil(factor as usize));
    let found = [image.height(), image.width()];
    assert!(found == smaller || found == size, "{found:?} of {size:?} at {factor}");
}

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(image) = Image::decode_within(bytes, "fuzzed", MAX_BYTES) {
        assert_eq!(image.pixels().len(), image.height() * image.width() * 3);
        // All that is in use at once counts, and so what comes out.
        assert!(image.pixels().len() as u64 <= MAX_BYTES);
        // However thin it is, a square of it is seen.
        let view = Preprocessing::unilm([32; 2]).view(&image);
        assert_eq!((view.height(), view.width()), (32, 32));
        for factor in [1, 2, 4, 8] {
            reduced(bytes, &image, factor);
        }
    }
}
