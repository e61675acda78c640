//! PyTorch's containers and the pickles in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::read("pickle", bytes));
