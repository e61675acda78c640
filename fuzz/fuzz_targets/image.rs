//! Pictures in the formats that are decoded, and whatever begins like one.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::read("image", bytes));
