//! PyTorch's containers and the pickles in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    beit_fuzz::read_everything(&beit_fuzz::file("weights.pth", bytes));
});
