//! The kernel for AMX.
//!
//! The registers of AMX are eight tiles of 16 rows of 64 bytes. One instruction multiplies 16 x 32 bf16 by 32 x 16 and adds the
//! result to 16 x 16 f32. A block of 16 steps (pairs) of the panels is four such products:
//!
//! ```text
//!                       right panel:   16 columns  16 columns
//!                                     ┌───────────┬───────────┐
//!                                     │ tile 6    │ tile 7    │  16 steps
//!                                     └───────────┴───────────┘
//!   left panel:       ┌───────────┐   ┌───────────┬───────────┐
//!   rows 0 to 15      │ tile 4    │   │ tile 0    │ tile 1    │
//!                     ├───────────┤   ├───────────┼───────────┤  sums, 32 x 32
//!   rows 16 to 31     │ tile 5    │   │ tile 2    │ tile 3    │
//!                     └───────────┘   └───────────┴───────────┘
//!                        16 steps
//! ```
//!
//! With 32 x 32 sums every loaded tile takes part in two products, and all eight tiles are in use. A left tile has 16 steps of
//! one row side by side, which is why left panels are packed in groups of 16 steps.
//!
//! The compiler's own functions for these instructions are unstable, so each is a statement of assembly. The contents of a tile
//! live from one statement to the next. That is sound because the compiler itself never uses tiles.
#![allow(unsafe_code)]

mod detect;
#[cfg(test)]
pub(crate) mod emulated;

use super::kernel::{BLOCK, Microkernel, checked_depth};
use super::packed::Pair;
use super::x86::Avx512Bf16;
use core::arch::asm;
use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

/// Rows of a tile, and pairs in each.
const SIDE: usize = 16;
/// Side of the four tiles of sums together.
const SIDES: usize = 2 * SIDE;
/// Pairs of a panel for the 16 steps of a tile.
const BLOCK_PAIRS: usize = SIDE * SIDES;
/// Lines of the cache that are prefetched during a block: a quarter of the 32 that a block of the next right panel has. So four
/// left panels prefetch all of it.
const PREFETCHED: usize = 8;

/// 32 x 32 in pairs of bf16.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amx(Avx512Bf16);

impl Amx {
    pub(crate) fn new() -> Option<Self> {
        Avx512Bf16::new().filter(|_| detect::available()).map(Self)
    }
}

impl Microkernel for Amx {
    type Packed = Pair;
    const ROWS: usize = SIDES;
    const COLUMNS: usize = SIDES;
    const DEPTH: usize = 768;
    /// Processors with AMX have 2 MiB of second-level cache a core, for two threads.
    const LEFT_BLOCK: usize = 96 * 1024;
    const DEPTH_GROUP: usize = SIDE;

    #[inline(always)]
    fn simd<R>(self, f: impl FnOnce() -> R) -> R {
        self.0.simd(f)
    }
    #[inline(always)]
    fn simd_configured<R>(self, f: impl FnOnce() -> R) -> R {
        let _shapes = Configured::new(self);
        self.0.simd(f)
    }
    /// Outside of [`simd_configured`](Microkernel::simd_configured) the processor traps.
    #[inline(always)]
    fn multiply(self, left: &[Pair], right: &[Pair], prefetch: &[Pair], tile: &mut [f32]) {
        let blocks = checked_blocks::<Self>(left, right, tile);
        // SAFETY: `Self` exists only where AMX does, and `checked_blocks` proved the extents.
        unsafe {
            product(
                &mut Registers,
                blocks,
                left.as_ptr(),
                right.as_ptr(),
                prefetch.as_ptr(),
                tile.as_mut_ptr(),
            );
        }
    }
    #[inline(always)]
    fn transpose(self, block: &mut [[Pair; BLOCK]; BLOCK]) {
        self.0.transpose(block);
    }
    #[inline(always)]
    fn pack_block(self, numbers: &[f32], out: &mut [Pair; BLOCK]) {
        self.0.pack_block(numbers, out);
    }
    #[inline(always)]
    fn prefetch(self, number: &f32) {
        self.0.prefetch(number);
    }
}

/// Asserts the extents that the kernel relies on, and returns the number of blocks of 16 steps.
#[inline(always)]
fn checked_blocks<M: Microkernel<Packed = Pair>>(left: &[Pair], right: &[Pair], tile: &[f32]) -> usize {
    let depth = checked_depth::<M>(left, right, tile);
    assert!(depth.is_multiple_of(SIDE));
    depth / SIDE
}

/// Eight tiles, named by their numbers. Strides are in elements of 32 bits.
trait Tiles {
    /// # Safety
    ///
    /// Tiles are configured.
    unsafe fn zero<const TILE: u8>(&mut self);
    /// # Safety
    ///
    /// Tiles are configured, and `from` has 16 rows of 16 pairs, `stride` from each other.
    unsafe fn load<const TILE: u8>(&mut self, from: *const Pair, stride: usize);
    /// `SUMS[m, n] += Σ_k LEFT[m, k] · RIGHT[k, n]`, two products for each pair `k`.
    ///
    /// # Safety
    ///
    /// Tiles are configured.
    unsafe fn multiply<const SUMS: u8, const LEFT: u8, const RIGHT: u8>(&mut self);
    /// # Safety
    ///
    /// Tiles are configured, and `to` has 16 rows of 16 numbers, `stride` from each other.
    unsafe fn store<const TILE: u8>(&self, to: *mut f32, stride: usize);
}

/// # Safety
///
/// Tiles are configured; `left` and `right` have `512 blocks` pairs, `tile` 1024 numbers. `prefetch` may be any address.
#[inline(always)]
unsafe fn product(
    tiles: &mut impl Tiles,
    blocks: usize,
    left: *const Pair,
    right: *const Pair,
    prefetch: *const Pair,
    tile: *mut f32,
) {
    // SAFETY: the caller's extents. Both halves of a panel's block end within the block. The last 16 numbers of the tile begin at
    // 32 · 31 + 16 = 1008. A prefetch may have any address.
    unsafe {
        tiles.zero::<0>();
        tiles.zero::<1>();
        tiles.zero::<2>();
        tiles.zero::<3>();
        for block in 0..blocks {
            let (left, right) = (left.add(BLOCK_PAIRS * block), right.add(BLOCK_PAIRS * block));
            for line in 0..PREFETCHED {
                let line = prefetch.wrapping_add((PREFETCHED * block + line) * SIDE);
                _mm_prefetch::<_MM_HINT_T1>(line.cast());
            }
            tiles.load::<4>(left, SIDE);
            tiles.load::<6>(right, SIDES);
            tiles.multiply::<0, 4, 6>();
            tiles.load::<7>(right.add(SIDE), SIDES);
            tiles.multiply::<1, 4, 7>();
            tiles.load::<5>(left.add(SIDE * SIDE), SIDE);
            tiles.multiply::<2, 5, 6>();
            tiles.multiply::<3, 5, 7>();
        }
        let below = tile.add(SIDE * SIDES);
        tiles.store::<0>(tile, SIDES);
        tiles.store::<1>(tile.add(SIDE), SIDES);
        tiles.store::<2>(below, SIDES);
        tiles.store::<3>(below.add(SIDE), SIDES);
    }
}

/// The tiles of the machine. While no [`Configured`] is alive, each instruction traps.
struct Registers;

impl Tiles for Registers {
    #[inline(always)]
    unsafe fn zero<const TILE: u8>(&mut self) {
        // SAFETY: the caller configured tiles.
        unsafe { asm!("tilezero tmm{}", const TILE, options(nomem, nostack, preserves_flags)) };
    }
    #[inline(always)]
    unsafe fn load<const TILE: u8>(&mut self, from: *const Pair, stride: usize) {
        // SAFETY: the caller configured tiles, and has the rows that are loaded.
        unsafe {
            asm!(
                "tileloadd tmm{}, [{} + {} * 1]",
                const TILE,
                in(reg) from,
                in(reg) stride * size_of::<Pair>(),
                options(readonly, nostack, preserves_flags),
            );
        }
    }
    #[inline(always)]
    unsafe fn multiply<const SUMS: u8, const LEFT: u8, const RIGHT: u8>(&mut self) {
        // SAFETY: the caller configured tiles.
        unsafe {
            asm!(
                "tdpbf16ps tmm{}, tmm{}, tmm{}",
                const SUMS,
                const LEFT,
                const RIGHT,
                options(nomem, nostack, preserves_flags),
            );
        }
    }
    #[inline(always)]
    unsafe fn store<const TILE: u8>(&self, to: *mut f32, stride: usize) {
        // SAFETY: the caller configured tiles, and has room for the rows that are stored.
        unsafe {
            asm!(
                "tilestored [{} + {} * 1], tmm{}",
                in(reg) to,
                in(reg) stride * size_of::<f32>(),
                const TILE,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// The shapes of all tiles, in the format of `ldtilecfg`.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    first_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Eight tiles of the largest size.
static SHAPES: Shapes = Shapes {
    palette: 1,
    first_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// While this lives, the tiles of this thread are configured. They are released afterwards, because the system has to save
/// their 8 KiB at every switch to another thread.
struct Configured;

impl Configured {
    #[inline(always)]
    fn new(_: Amx) -> Self {
        // SAFETY: an `Amx` exists only where AMX does, and the shapes are valid.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(readonly, nostack, preserves_flags));
        }
        Self
    }
}

impl Drop for Configured {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: a `Configured` exists only where AMX does.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}
