//! Pictures that are read as they are: arrays of NumPy, TIFF and PNG, and whatever begins like one.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::read("channels", bytes));
