//! Headers and lengths of safetensors files, and what follows from them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    beit_fuzz::read_everything(&beit_fuzz::file("weights.safetensors", bytes));
    beit_fuzz::read_everything(&beit_fuzz::file("model.safetensors.index.json", bytes));
});
