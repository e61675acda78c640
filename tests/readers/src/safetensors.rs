//! Headers and lengths of safetensors files, and what follows from them.

pub(crate) fn run(bytes: &[u8]) {
    crate::read_everything(&crate::file("weights.safetensors", bytes));
    crate::read_everything(&crate::file("model.safetensors.index.json", bytes));
}
