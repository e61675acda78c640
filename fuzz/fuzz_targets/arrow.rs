//! Arrow files: their messages, what they say of their columns, and the rows in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::read("arrow", bytes));
