//! Wrappers of parts of a model, whose names stand in the middle of a tensor's.

use std::borrow::Cow;

/// What torch calls a module inside the wrappers that it puts around parts of a model: of compilation, of sharded training and of
/// checkpointed activations.
const WRAPPERS: [&str; 3] = ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."];

/// A name without them.
pub(crate) fn without_wrappers(name: &str) -> Cow<'_, str> {
    if !WRAPPERS.iter().any(|wrapper| name.contains(wrapper)) {
        return Cow::Borrowed(name);
    }
    let parts = name.split_inclusive('.').filter(|part| !WRAPPERS.contains(part));
    Cow::Owned(parts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_are_taken_off_wherever_they_stand() {
        let rows = [
            ("blocks.0.norm1.bias", "blocks.0.norm1.bias"),
            ("_orig_mod.blocks.0.norm1.bias", "blocks.0.norm1.bias"),
            ("module.blocks.0._orig_mod.norm1.bias", "module.blocks.0.norm1.bias"),
            (
                "_fsdp_wrapped_module.blocks.0._fsdp_wrapped_module._checkpoint_wrapped_module.mlp.fc1.bias",
                "blocks.0.mlp.fc1.bias",
            ),
            ("my_orig_mod.blocks", "my_orig_mod.blocks"),
        ];
        for (name, expected) in rows {
            assert_eq!(without_wrappers(name), expected);
        }
    }
}
