//! The innermost product: one left panel by one right panel gives a tile of the result. All the unsafe code of the products is
//! here.
//!
//! ```text
//!                                 right panel: COLUMNS numbers a step
//!                               ┌────────────────────────────────────┐
//!                       step 0  │ b0  b1  b2  ...                    │
//!                       step 1  │                                    │
//!                         ...   └────────────────────────────────────┘
//!   left panel:  step 0 1 ...    tile of sums, in registers
//!              ┌───┬───┬─       ┌────────────────────────────────────┐
//!    ROWS      │ a0│   │        │ += a0·b0   a0·b1   a0·b2  ...      │
//!    numbers   │ a1│   │        │ += a1·b0   a1·b1   a1·b2  ...      │
//!    a step    │ a2│   │        │ += a2·b0   ...                     │
//!              └───┴───┴─       └────────────────────────────────────┘
//! ```
//!
//! Both panels are read from front to back. Sums are f32. Factors are f32, or pairs of bf16 that are two steps of the depth at
//! once.
//!
//! | kernel | tile | registers |
//! | --- | --- | --- |
//! | `Avx2` | 6 x 16 | 12 of sums, 2 of the right panel, 1 of the left: 15 of 16 |
//! | `Avx512`, `Avx512Bf16` | 12 x 32 | 24 of sums, 2 of the right panel: 26 of 32; the left is broadcast from memory |
//! | `Amx` | 32 x 32 | 4 tiles of sums, 2 of the left panel, 2 of the right: all 8 |
//! | `Portable` | 4 x 16 | left to the compiler |

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
mod kernel;
mod packed;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub(crate) use amx::Amx;
pub(crate) use kernel::{BLOCK, Microkernel};
#[cfg(test)]
pub(crate) use packed::bf16_bits;
pub(crate) use packed::{Packed, Rounded};
pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, Avx512Bf16};
