//! The JSON files of a checkpoint folder.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::read("config", bytes));
