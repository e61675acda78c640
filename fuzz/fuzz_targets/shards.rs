//! Shards and their indices, whatever bytes they are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::read("shards", bytes));
