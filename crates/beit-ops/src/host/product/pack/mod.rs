//! Packing: copying operands into panels, in the order in which kernels read them.
//!
//! A *lane* is one row of the left operand or one column of the right one. A *panel* has as many lanes as a tile has rows
//! (left) or columns (right). A *step* is what a kernel reads of one lane at a time: one number, or a pair of bf16. Lanes
//! beyond the end of the operand are zeros.
//!
//! ```text
//!   operand, lane by lane            panel of 6 lanes for AVX2: a step has all lanes side by side
//!
//!   lane 0   a0 a1 a2 a3 ...           a0 b0 c0 d0 e0 f0   a1 b1 c1 d1 e1 f1   a2 b2 ...
//!   lane 1   b0 b1 b2 b3 ...           └──── step 0 ────┘  └──── step 1 ────┘
//!   lane 2   c0 c1 c2 c3 ...
//!   ...                              left panel of 32 lanes for AMX: a group has 16 steps of each lane
//!
//!                                      a0 a1 ... a15   b0 b1 ... b15   ...   a16 a17 ...
//!                                      └─────────── group 0 ──────────────┘  └─ group 1
//! ```
//!
//! Lanes that are contiguous in memory are transposed in blocks of 8 x 8 with vector shuffles; that halved the time of packing
//! (docs/bench/cpu.md). Lanes that lie side by side are copied step by step.

mod aligned;
mod layout;
mod matrix;
mod patches;
mod right;

pub(super) use aligned::AlignedBuffer;
pub(super) use layout::{PanelLayout, blocks, steps};
pub(super) use matrix::matrix_panel;
pub(super) use patches::{pixel_panel, tap_panel};
pub(super) use right::Right;
