//! Pictures that are read as they are: arrays of NumPy, TIFF and PNG, and whatever begins like one.

use beit_data::{Bands, Filter, Image};

/// Largest picture, in bytes of memory.
const MAX_BYTES: u64 = 1 << 20;

pub(crate) fn run(bytes: &[u8]) {
    // The first byte says how many channels are expected.
    let Some((&count, bytes)) = bytes.split_first() else { return };
    let bands = Bands::new(usize::from(count % 16) + 1).expect("1 to 16");
    if let Ok(image) = Image::decode_bands_within(bytes, bands, "fuzzed", MAX_BYTES) {
        assert_eq!(image.channels(), bands.count());
        assert_eq!(image.samples().len(), image.height() * image.width() * image.channels());
        assert!(image.samples().bytes() as u64 <= MAX_BYTES);
        assert_eq!(image.resize([8, 8], Filter::Bilinear).shown().pixels().len(), 8 * 8 * 3);
    }
}
