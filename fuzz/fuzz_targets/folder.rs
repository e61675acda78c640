//! Folders of pictures: names of splits, classes and files, whatever bytes they are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::read("folder", bytes));
