//! Parameters that a layout stores as one tensor, one below the other.

use super::pattern::{captures, fill};

/// timm's plain transformers, of which BEiT-3 is one, have one bias of queries, keys and values.
const JOINED: &str = "blocks.{}.attn.qkv.bias";
/// Ours, in their order.
const PARTS: [&str; 3] = ["blocks.{}.attn.q_bias", "blocks.{}.attn.k_bias", "blocks.{}.attn.v_bias"];

/// What we call the equal parts of a tensor that we call `name`, where it is several of our parameters.
pub(crate) fn parts(name: &str) -> Option<[String; 3]> {
    let captures = captures(JOINED, name)?;
    Some(PARTS.map(|part| fill(part, &captures)))
}

/// What our parameter `name` is a part of, and which.
pub(crate) fn whole(name: &str) -> Option<(String, usize)> {
    PARTS.iter().enumerate().find_map(|(i, part)| Some((fill(JOINED, &captures(part, name)?), i)))
}
