//! Headers and lengths of safetensors files, and what follows from them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::read("safetensors", bytes));
