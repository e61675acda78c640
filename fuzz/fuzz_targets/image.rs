//! Pictures in the formats that are decoded, and whatever begins like one.
#![no_main]

use beit_data::Image;

/// Largest picture, in bytes of memory: a small file may rightly hold a large one, which then takes seconds.
const MAX_BYTES: u64 = 1 << 22;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(image) = Image::decode_within(bytes, "fuzzed", MAX_BYTES) {
        assert_eq!(image.pixels().len(), image.height() * image.width() * 3);
        // Grey pictures and those with few bits become larger as RGB: at most 24 times.
        assert!(image.pixels().len() as u64 <= 24 * MAX_BYTES);
    }
});
