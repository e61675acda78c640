//! The kernel for AMX. Its registers are tiles of 16 rows of 64 bytes, and one instruction multiplies 16 x 32 bf16 by 32 x 16.
//!
//! The compiler's own functions for these instructions are unstable, so that they are written in assembly, one a statement. What
//! a tile holds lives from one statement to the next: the compiler has no use for tiles, and leaves them alone.
#![allow(unsafe_code)]

use super::packed::Pair;
use super::x86::checked;
use super::{Avx512Bf16, BLOCK, Micro};
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _MM_HINT_T1, _mm_prefetch, _xgetbv};
use std::is_x86_feature_detected;
use std::sync::OnceLock;

/// Rows of a tile, and words in each.
const SIDE: usize = 16;
/// Side of the four tiles of sums.
const SIDES: usize = 2 * SIDE;
/// Pairs that a panel has for as many steps of the depth as a tile.
const BOTH: usize = SIDE * SIDES;
/// Lines of the next panel that are fetched meanwhile: of its 32, as many as four strips ask for together.
const FETCHED: usize = 8;

/// 32 x 32 in pairs of bf16: four tiles of sums, two of the left panel and two of the right make all eight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amx(Avx512Bf16);

impl Amx {
    pub(crate) fn new() -> Option<Self> {
        static PRESENT: OnceLock<bool> = OnceLock::new();
        Avx512Bf16::new()
            .filter(|_| *PRESENT.get_or_init(|| instructions() && kept() && permitted()))
            .map(Self)
    }
}

impl Micro for Amx {
    type Packed = Pair;
    const ROWS: usize = SIDES;
    const COLUMNS: usize = SIDES;
    const DEPTH: usize = 768;
    /// Processors with AMX have 2 MiB in the second level, for two threads.
    const LEFT: usize = 96 * 1024;
    const TOGETHER: usize = SIDE;

    #[inline(always)]
    fn simd<R>(self, f: impl FnOnce() -> R) -> R {
        self.0.simd(f)
    }
    #[inline(always)]
    fn multiplying<R>(self, f: impl FnOnce() -> R) -> R {
        let _shapes = Configured::new(self);
        self.0.simd(f)
    }
    /// Outside of [`multiplying`](Micro::multiplying) the processor stops the program.
    #[inline(always)]
    fn multiply(self, left: &[Pair], right: &[Pair], ahead: &[Pair], tile: &mut [f32]) {
        let blocks = checked_blocks::<Self>(left, right, tile);
        // SAFETY: `Self` exists only where AMX does, and `checked_blocks` proved the extents.
        unsafe {
            product(&mut Registers, blocks, left.as_ptr(), right.as_ptr(), ahead.as_ptr(), tile.as_mut_ptr());
        }
    }
    #[inline(always)]
    fn turn(self, block: &mut [[Pair; BLOCK]; BLOCK]) {
        self.0.turn(block);
    }
    #[inline(always)]
    fn pack_lane(self, numbers: &[f32], out: &mut [Pair; BLOCK]) {
        self.0.pack_lane(numbers, out);
    }
    #[inline(always)]
    fn prefetch(self, number: &f32) {
        self.0.prefetch(number);
    }
}

/// Asserts what the kernel relies on, and returns by how many tiles it is deep.
#[inline(always)]
fn checked_blocks<M: Micro<Packed = Pair>>(left: &[Pair], right: &[Pair], tile: &[f32]) -> usize {
    let depth = checked::<M>(left, right, tile);
    assert!(depth.is_multiple_of(SIDE));
    depth / SIDE
}

/// Eight tiles, each called by its number. Strides are counted in words.
trait Tiles {
    /// # Safety
    ///
    /// Tiles are there.
    unsafe fn zero<const TILE: u8>(&mut self);
    /// # Safety
    ///
    /// Tiles are there; so are 16 rows of 16 pairs, `stride` from each other.
    unsafe fn load<const TILE: u8>(&mut self, from: *const Pair, stride: usize);
    /// `SUMS[m, n] += Σ_k LEFT[m, k] · RIGHT[k, n]` with two products for each `k`.
    ///
    /// # Safety
    ///
    /// Tiles are there.
    unsafe fn multiply<const SUMS: u8, const LEFT: u8, const RIGHT: u8>(&mut self);
    /// # Safety
    ///
    /// Tiles are there; so are 16 rows of 16 numbers, `stride` from each other.
    unsafe fn store<const TILE: u8>(&self, to: *mut f32, stride: usize);
}

/// # Safety
///
/// Tiles are there; `left` and `right` have `512 blocks` pairs, `tile` 1024 numbers. `ahead` may be anywhere.
#[inline(always)]
unsafe fn product(
    tiles: &mut impl Tiles,
    blocks: usize,
    left: *const Pair,
    right: *const Pair,
    ahead: *const Pair,
    tile: *mut f32,
) {
    // SAFETY: the caller's extents: block by block, each of the panels' halves ends with its block; of the tile, the last half of
    // the last row begins at 32 · 31 + 16 = 1008. Prefetching reads nothing.
    unsafe {
        tiles.zero::<0>();
        tiles.zero::<1>();
        tiles.zero::<2>();
        tiles.zero::<3>();
        for block in 0..blocks {
            let (left, right) = (left.add(BOTH * block), right.add(BOTH * block));
            for line in 0..FETCHED {
                let line = ahead.wrapping_add((FETCHED * block + line) * SIDE);
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

/// The machine's tiles: there while they are [`Configured`]; without, each instruction traps.
struct Registers;

impl Tiles for Registers {
    #[inline(always)]
    unsafe fn zero<const TILE: u8>(&mut self) {
        // SAFETY: the caller has tiles.
        unsafe { asm!("tilezero tmm{}", const TILE, options(nomem, nostack, preserves_flags)) };
    }
    #[inline(always)]
    unsafe fn load<const TILE: u8>(&mut self, from: *const Pair, stride: usize) {
        // SAFETY: the caller has tiles, and what they are loaded with.
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
        // SAFETY: the caller has tiles.
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
        // SAFETY: the caller has tiles, and where they are stored.
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

/// The shapes of all tiles, as the processor reads them.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    first_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Eight tiles as large as they get.
static SHAPES: Shapes = Shapes {
    palette: 1,
    first_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// This thread has tiles. They are released when it has done, lest the system save 8 KiB whenever the thread gives way.
struct Configured;

impl Configured {
    #[inline(always)]
    fn new(_: Amx) -> Self {
        // SAFETY: an `Amx` exists only where AMX does, and the shapes are such as it allows.
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

/// Whether the processor has tiles and their products of bf16.
fn instructions() -> bool {
    const AMX: u32 = 1 << 22 | 1 << 24;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & AMX == AMX
}

/// Whether the system keeps tiles and their shapes from one thread to the next.
fn kept() -> bool {
    const TILES: u64 = 1 << 17 | 1 << 18;
    /// # Safety
    ///
    /// The machine and the system have XSAVE.
    #[target_feature(enable = "xsave")]
    unsafe fn states() -> u64 {
        // SAFETY: the first register is wherever the instruction is.
        unsafe { _xgetbv(0) }
    }
    // SAFETY: what is asked before.
    is_x86_feature_detected!("xsave") && unsafe { states() } & TILES == TILES
}

/// Asks the system to let this process, all threads of it, use tiles: it has to be asked since they are so large.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let refused: isize;
    // SAFETY: a call of the system that has two numbers and touches no memory.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => refused,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    refused == 0
}

/// How other systems are asked is not known here.
#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// The kernel on tiles in memory. The order of sums is the manual's: those of first and of second factors apart.
#[cfg(test)]
pub(crate) mod emulated {
    use super::*;
    use std::cell::Cell;
    use std::thread_local;

    thread_local! {
        /// Whether the machine would have tiles now.
        static CONFIGURED: Cell<bool> = const { Cell::new(false) };
    }

    /// [`Amx`] on any machine.
    #[derive(Clone, Copy)]
    pub(crate) struct EmulatedAmx;

    impl Micro for EmulatedAmx {
        type Packed = Pair;
        const ROWS: usize = Amx::ROWS;
        const COLUMNS: usize = Amx::COLUMNS;
        // Interpreted, more would take minutes.
        const DEPTH: usize = if cfg!(miri) { 2 * SIDE } else { Amx::DEPTH };
        const LEFT: usize = Amx::LEFT;
        const TOGETHER: usize = Amx::TOGETHER;

        fn simd<R>(self, f: impl FnOnce() -> R) -> R {
            f()
        }
        fn multiplying<R>(self, f: impl FnOnce() -> R) -> R {
            assert!(!CONFIGURED.replace(true), "the inner one would release the tiles of the outer");
            let result = f();
            CONFIGURED.set(false);
            result
        }
        fn multiply(self, left: &[Pair], right: &[Pair], ahead: &[Pair], tile: &mut [f32]) {
            assert!(CONFIGURED.get(), "there are no tiles");
            let blocks = checked_blocks::<Self>(left, right, tile);
            let mut tiles = Memory([[[0; SIDE]; SIDE]; 8]);
            // SAFETY: `checked_blocks` proved the extents.
            unsafe {
                product(&mut tiles, blocks, left.as_ptr(), right.as_ptr(), ahead.as_ptr(), tile.as_mut_ptr());
            }
        }
    }

    struct Memory([[[u32; SIDE]; SIDE]; 8]);

    impl Tiles for Memory {
        unsafe fn zero<const TILE: u8>(&mut self) {
            self.0[usize::from(TILE)] = [[0; SIDE]; SIDE];
        }
        unsafe fn load<const TILE: u8>(&mut self, from: *const Pair, stride: usize) {
            for (i, row) in self.0[usize::from(TILE)].iter_mut().enumerate() {
                // SAFETY: as the instruction's.
                *row = unsafe { from.add(i * stride).cast::<[u32; SIDE]>().read_unaligned() };
            }
        }
        unsafe fn multiply<const SUMS: u8, const LEFT: u8, const RIGHT: u8>(&mut self) {
            let [left, right] = [LEFT, RIGHT].map(|tile| self.0[usize::from(tile)]);
            let first = |word: u32| f32::from_bits(word << 16);
            let second = |word: u32| f32::from_bits(word & 0xffff_0000);
            for (m, sums) in self.0[usize::from(SUMS)].iter_mut().enumerate() {
                for (n, sum) in sums.iter_mut().enumerate() {
                    let (mut firsts, mut seconds) = (0.0, 0.0);
                    for k in 0..SIDE {
                        firsts += first(left[m][k]) * first(right[k][n]);
                        seconds += second(left[m][k]) * second(right[k][n]);
                    }
                    *sum = (f32::from_bits(*sum) + (firsts + seconds)).to_bits();
                }
            }
        }
        unsafe fn store<const TILE: u8>(&self, to: *mut f32, stride: usize) {
            for (i, row) in self.0[usize::from(TILE)].iter().enumerate() {
                // SAFETY: as the instruction's.
                unsafe { to.add(i * stride).cast::<[u32; SIDE]>().write_unaligned(*row) };
            }
        }
    }
}
