//! Matrix products `c = left [M, K] · right [K, N]`.
//!
//! ```text
//!             K, the depth                        N
//!        ┌─────────┬─────────┐           ┌─────┬─────┬─────┐                N
//!        │ block 0 │ block 1 │           │     │     │     │         ┌──────┬──────┐
//!        ├─────────┼─────────┤           │ panels,         │         │ part │ part │
//!   M    │ panels, │         │    ·      │ COLUMNS wide    │    =    ├──────┼──────┤  M
//!        │ ROWS    │         │           ├─────┼─────┼─────┤         │ part │ part │
//!        │ high    │         │           │     │     │     │         └──────┴──────┘
//!        └─────────┴─────────┘           └─────┴─────┴─────┘
//! ```
//!
//! - `micro` has the kernels. A kernel multiplies one left panel by one right panel of a block of the depth, which gives one tile
//!   of the result, `ROWS x COLUMNS`. There is a kernel for each instruction set.
//! - `pack` copies the operands into panels, in the order in which a kernel reads them.
//! - `blocked` splits the result into parts, one task each, and runs the kernel over all tiles of a part.
//! - `library` is ndarray's product, for the element types and machines without a kernel here.
//! - `dispatch` chooses between them, by element type and machine.
//!
//! A left operand is a matrix, or the patches of an image, which are packed without ever being unrolled (`patches`).

#[cfg(feature = "std")]
mod blocked;
mod destination;
mod dispatch;
mod engine;
mod library;
#[cfg(feature = "std")]
pub(crate) mod micro;
mod operand;
#[cfg(feature = "std")]
mod pack;
mod patches;
#[cfg(all(test, feature = "std"))]
mod tests;

pub(super) use destination::{Destination, no_epilogue, split_blocks};
pub(super) use dispatch::{Multiply, Products};
#[cfg(feature = "std")]
pub(super) use dispatch::{has_bf16, kernel};
pub(super) use engine::{Engine, WithEngine};
pub(super) use operand::Left;
pub(super) use patches::Images;
