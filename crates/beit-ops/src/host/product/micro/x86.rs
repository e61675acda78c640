//! The kernels for AVX2, AVX-512 and AVX-512 with bf16, each for machines that have the instructions.
//!
//! ```text
//!                    right panel:  8 columns    8 columns      2 registers
//!                                 ┌────────────┬────────────┐
//!   left panel, row 0, broadcast ·│  sums 0,0  │  sums 0,1  │
//!               row 1            ·│  sums 1,0  │  sums 1,1  │  12 registers
//!               ...               │    ...     │    ...     │
//!               row 5            ·│  sums 5,0  │  sums 5,1  │
//!                                 └────────────┴────────────┘
//! ```
//!
//! This is the tile of AVX2, 6 x 16: with one register for the factor of the left panel, 15 of 16 are in use. The tile of
//! AVX-512 is 12 x 32, see `avx512`.
//!
//! A block of AVX2 is at most 792 deep. Depths of 256, 384 and 768 were equally fast at first. Once the next right panel was
//! prefetched, 256 and 384 were up to a twentieth slower. 792 splits the 1576 tokens of eight images, over which gradients of
//! weights are summed, into two blocks where 768 makes three, which makes these gradients 1 to 2 % faster
//! (docs/bench/cpu.md).
#![allow(unsafe_code)]

use super::kernel::{BLOCK, Microkernel, checked_depth};
use super::packed::Packed;
use super::packed::{Pair, Rounded};
use core::arch::x86_64::*;
use core::marker::PhantomData;
use pulp::x86::{V3, V4};
use std::is_x86_feature_detected;

/// A packed element that is one f32 in memory.
///
/// # Safety
///
/// The type has the layout of an f32.
pub(crate) unsafe trait Single: Packed {}
// SAFETY: it is f32.
unsafe impl Single for f32 {}
// SAFETY: a transparent wrapper of f32.
unsafe impl Single for Rounded {}

/// Transposes 8 x 8 numbers of 32 bits: first single numbers change places, then pairs, then halves of registers.
///
/// # Safety
///
/// The machine has AVX2; `block` is 64 numbers.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn transpose(block: *mut f32) {
    // SAFETY: the last of 8 rows ends at the last of 64 numbers.
    let rows: [__m256; 8] = core::array::from_fn(|i| unsafe { _mm256_loadu_ps(block.add(8 * i)) });
    let mut twos = [_mm256_setzero_ps(); 8];
    for i in 0..4 {
        twos[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        twos[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
    let mut fours = [_mm256_setzero_ps(); 8];
    for half in 0..2 {
        for i in 0..2 {
            let (a, b) = (twos[4 * half + i], twos[4 * half + i + 2]);
            fours[4 * half + 2 * i] = _mm256_shuffle_ps::<0x44>(a, b);
            fours[4 * half + 2 * i + 1] = _mm256_shuffle_ps::<0xee>(a, b);
        }
    }
    for i in 0..4 {
        let (a, b) = (fours[i], fours[i + 4]);
        // SAFETY: as for the loads.
        unsafe {
            _mm256_storeu_ps(block.add(8 * i), _mm256_permute2f128_ps::<0x20>(a, b));
            _mm256_storeu_ps(block.add(8 * (i + 4)), _mm256_permute2f128_ps::<0x31>(a, b));
        }
    }
}

/// The methods that all these kernels share.
macro_rules! common {
    () => {
        #[inline(always)]
        fn simd<R>(self, f: impl FnOnce() -> R) -> R {
            self.0.vectorize(f)
        }
        #[inline(always)]
        fn transpose(self, block: &mut [[Self::Packed; BLOCK]; BLOCK]) {
            // SAFETY: `Self` exists only where AVX2 does, and all packed elements have 32 bits.
            unsafe { transpose(block.as_mut_ptr().cast()) };
        }
        #[inline(always)]
        fn prefetch(self, number: &f32) {
            // SAFETY: a prefetch changes nothing, and the address is that of a reference.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(number).cast()) };
        }
    };
}

/// 6 x 16 in f32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2<P>(V3, PhantomData<P>);

impl<P> Avx2<P> {
    pub(crate) fn new() -> Option<Self> {
        V3::try_new().map(|v3| Self(v3, PhantomData))
    }
}

impl<P: Single> Microkernel for Avx2<P> {
    type Packed = P;
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;
    /// Two blocks for 1576 tokens, see the head of this file.
    const DEPTH: usize = 792;

    common!();
    #[inline(always)]
    fn multiply(self, left: &[P], right: &[P], prefetch: &[P], tile: &mut [f32]) {
        let depth = checked_depth::<Self>(left, right, tile);
        // SAFETY: `Self` exists only where AVX2 and FMA do, and `checked_depth` proved the extents.
        unsafe {
            avx2(
                depth,
                left.as_ptr().cast(),
                right.as_ptr().cast(),
                prefetch.as_ptr().cast(),
                tile.as_mut_ptr(),
            )
        }
    }
}

/// # Safety
///
/// The machine has AVX2 and FMA; `left` has `6 depth` elements, `right` `16 depth`, `tile` 96. `prefetch` may be any address.
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(
    depth: usize,
    mut left: *const f32,
    mut right: *const f32,
    mut prefetch: *const f32,
    tile: *mut f32,
) {
    let mut sums = [[_mm256_setzero_ps(); 2]; 6];
    // Unrolled by four: on a core that is shared with another hardware thread, the loop itself would cost a tenth.
    for _ in 0..depth / 4 {
        _mm_prefetch::<_MM_HINT_T1>(prefetch.cast());
        prefetch = prefetch.wrapping_add(16);
        for step in 0..4 {
            // SAFETY: four steps of the caller's extents are left.
            unsafe { avx2_step(left.add(6 * step), right.add(16 * step), &mut sums) };
        }
        // SAFETY: four steps of the extents were read.
        (left, right) = unsafe { (left.add(24), right.add(64)) };
    }
    for step in 0..depth % 4 {
        // SAFETY: fewer than four steps are left, and this is one of them.
        unsafe { avx2_step(left.add(6 * step), right.add(16 * step), &mut sums) };
    }
    for (row, sums) in sums.iter().enumerate() {
        for (half, &sum) in sums.iter().enumerate() {
            // SAFETY: row < 6 and half < 2, so that the last element is 16 · 5 + 8 + 7 = 95.
            unsafe { _mm256_storeu_ps(tile.add(16 * row + 8 * half), sum) };
        }
    }
}

/// # Safety
///
/// The machine has AVX2 and FMA; `left` has 6 elements, `right` 16.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn avx2_step(left: *const f32, right: *const f32, sums: &mut [[__m256; 2]; 6]) {
    // SAFETY: the caller's extents.
    let columns = unsafe { [_mm256_loadu_ps(right), _mm256_loadu_ps(right.add(8))] };
    for (row, sums) in sums.iter_mut().enumerate() {
        // SAFETY: row < 6.
        let factor = unsafe { _mm256_set1_ps(*left.add(row)) };
        sums[0] = _mm256_fmadd_ps(factor, columns[0], sums[0]);
        sums[1] = _mm256_fmadd_ps(factor, columns[1], sums[1]);
    }
}

/// 12 x 32 in f32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512<P>(V4, PhantomData<P>);

impl<P> Avx512<P> {
    pub(crate) fn new() -> Option<Self> {
        V4::try_new().map(|v4| Self(v4, PhantomData))
    }
}

impl<P: Single> Microkernel for Avx512<P> {
    type Packed = P;
    const ROWS: usize = 12;
    const COLUMNS: usize = 32;
    /// A right panel of 192 steps is 24 KiB, a left one 9 KiB.
    const DEPTH: usize = 192;

    common!();
    #[inline(always)]
    fn multiply(self, left: &[P], right: &[P], prefetch: &[P], tile: &mut [f32]) {
        let depth = checked_depth::<Self>(left, right, tile);
        // SAFETY: `Self` exists only where AVX-512F does, and `checked_depth` proved the extents.
        unsafe {
            avx512(
                depth,
                left.as_ptr().cast(),
                right.as_ptr().cast(),
                prefetch.as_ptr().cast(),
                tile.as_mut_ptr(),
            )
        }
    }
}

/// The instructions of AVX-512 with bf16, as pulp's `V4` has those without.
#[derive(Clone, Copy, Debug)]
struct V4Bf16;

impl V4Bf16 {
    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        /// # Safety
        ///
        /// The machine has the instructions.
        #[target_feature(
            enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,popcnt,bmi1,bmi2,lzcnt"
        )]
        unsafe fn vectorized<R>(f: impl FnOnce() -> R) -> R {
            f()
        }
        // SAFETY: `Self` exists only where the machine has them.
        unsafe { vectorized(f) }
    }
}

/// 12 x 32 in pairs of bf16. Each `vdpbf16ps` adds 32 products to 16 sums in f32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Bf16(V4Bf16);

impl Avx512Bf16 {
    pub(crate) fn new() -> Option<Self> {
        V4::try_new().filter(|_| is_x86_feature_detected!("avx512bf16")).map(|_| Self(V4Bf16))
    }
}

impl Microkernel for Avx512Bf16 {
    type Packed = Pair;
    const ROWS: usize = 12;
    const COLUMNS: usize = 32;
    /// In pairs: the panels are twice the size of those of [`Avx512`].
    const DEPTH: usize = 384;

    common!();
    #[inline(always)]
    fn pack_block(self, numbers: &[f32], out: &mut [Pair; BLOCK]) {
        let numbers: &[f32; 2 * BLOCK] = numbers.try_into().expect("two numbers a pair");
        // SAFETY: `Self` exists only where AVX-512F and its bf16 conversions do.
        unsafe { round(numbers, out) };
    }
    #[inline(always)]
    fn multiply(self, left: &[Pair], right: &[Pair], prefetch: &[Pair], tile: &mut [f32]) {
        let depth = checked_depth::<Self>(left, right, tile);
        // SAFETY: `Self` exists only where AVX-512F and its bf16 products do, and `checked_depth` proved the extents.
        unsafe {
            avx512bf16(
                depth,
                left.as_ptr().cast(),
                right.as_ptr().cast(),
                prefetch.as_ptr().cast(),
                tile.as_mut_ptr(),
            )
        }
    }
}

/// Rounds 16 numbers to bf16.
///
/// # Safety
///
/// The machine has AVX-512F and AVX-512 BF16.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
unsafe fn round(numbers: &[f32; 2 * BLOCK], out: &mut [Pair; BLOCK]) {
    // SAFETY: 16 f32 are 512 bits. 16 bf16 are 256 bits, and so are 8 pairs.
    unsafe {
        let rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(numbers.as_ptr()));
        *out = core::mem::transmute::<__m256bh, [Pair; BLOCK]>(rounded);
    }
}

super::avx512::kernels!(target_feature(enable = "avx512f"), target_feature(enable = "avx512f,avx512bf16"));
