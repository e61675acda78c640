//! Masks and files of classes, whatever bytes they are: the first line of the input is how long the file of classes is.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::read("masks", bytes));
