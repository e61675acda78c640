//! `softmax((q + q_bias) D^-1/2 · kᵀ + R) · (v + v_bias)`, one task for each head of an image.
//!
//! A task passes over the queries in tiles of whole rows of scores:
//!
//! ```text
//!                    keys, packed once            values, packed once
//!                       T                              D
//!              ┌──────────────────┐               ┌─────────┐
//!            D │        kᵀ        │             T │    v    │
//!              └──────────────────┘               └─────────┘
//!       D               T                              D
//!   ┌───────┐  ┌──────────────────┐               ┌─────────┐
//!   │ tile 0│  │ scores of tile 0 │ ─ softmax ─►  │ context │   ← written before tile 1 begins
//!   ├───────┤  ├ ─ ─ ─ ─ ─ ─ ─ ─ ─┤               ├─────────┤
//!   │ tile 1│  │ in the same      │               │         │
//!   └───────┘  └ ─ buffer ─ ─ ─ ─ ┘               └─────────┘
//!     queries
//! ```
//!
//! The scores of a tile stay in the cache, and no others ever exist: `[B, H, T, T]` would be 15 MB a layer for eight images of
//! 197 tokens. The backward computes them again, from the log-sum-exp of each row that the forward saved. A tile has up to
//! 40,960 scores, so that the 197 x 197 of an image of 224 pixels are one tile; fewer, fuller tiles made the backward up to 6 %
//! faster than more, smaller ones (docs/bench/cpu.md).

mod backward;
mod forward;
mod head;
mod relative;
#[cfg(test)]
mod tests;

pub(super) use self::backward::backward;
pub(super) use self::forward::forward;
