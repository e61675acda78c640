//! Parquet files: their metadata, what they say of their columns, and the rows in them.
#![no_main]

// The crate that reads Parquet panics on some damaged pages. That is caught, and becomes an error; what is not caught ends the fuzzer still.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| ())), |bytes: &[u8]| readers::read("parquet", bytes));
