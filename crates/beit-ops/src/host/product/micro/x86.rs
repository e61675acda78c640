//! Kernels for AVX2, AVX-512 and AVX-512 with bf16, each where the machine has the instructions.
#![allow(unsafe_code)]

use super::packed::{Pair, Rounded};
use super::{BLOCK, Micro, Packed};
use core::arch::x86_64::*;
use core::marker::PhantomData;
use pulp::x86::{V3, V4};
use std::is_x86_feature_detected;

/// What is one f32 in memory.
///
/// # Safety
///
/// It has the layout of an f32.
pub(crate) unsafe trait Single: Packed {}
// SAFETY: itself.
unsafe impl Single for f32 {}
// SAFETY: transparent.
unsafe impl Single for Rounded {}

/// Asserts what the loads and stores of a kernel rely on, and returns the depth.
#[inline(always)]
pub(super) fn checked<M: Micro>(left: &[M::Packed], right: &[M::Packed], tile: &[f32]) -> usize {
    let depth = left.len() / M::ROWS;
    assert!(left.len() == depth * M::ROWS && right.len() == depth * M::COLUMNS);
    assert!(tile.len() == M::ROWS * M::COLUMNS);
    depth
}

/// Transposes 8 x 8 numbers of 32 bits: pairs, then pairs of pairs, then halves of registers change places.
///
/// # Safety
///
/// The machine has AVX2; `block` is 64 numbers.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn turn(block: *mut f32) {
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

/// What kernels for AVX2 and more have in common.
macro_rules! common {
    () => {
        #[inline(always)]
        fn simd<R>(self, f: impl FnOnce() -> R) -> R {
            self.0.vectorize(f)
        }
        #[inline(always)]
        fn turn(self, block: &mut [[Self::Packed; BLOCK]; BLOCK]) {
            // SAFETY: `Self` exists only where AVX2 does, and all that is packed has 32 bits.
            unsafe { turn(block.as_mut_ptr().cast()) };
        }
        #[inline(always)]
        fn prefetch(self, number: &f32) {
            // SAFETY: prefetching changes nothing, and the address is that of a reference.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(number).cast()) };
        }
    };
}

/// 6 x 16: twelve accumulators, two registers of the right panel and one of the left make fifteen of sixteen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2<P>(V3, PhantomData<P>);

impl<P> Avx2<P> {
    pub(crate) fn new() -> Option<Self> {
        V3::try_new().map(|v3| Self(v3, PhantomData))
    }
}

impl<P: Single> Micro for Avx2<P> {
    type Packed = P;
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;
    /// Two passes over the 1576 tokens of eight images of 224 pixels, where gradients of weights are summed.
    const DEPTH: usize = 792;

    common!();
    #[inline(always)]
    fn multiply(self, left: &[P], right: &[P], ahead: &[P], tile: &mut [f32]) {
        let depth = checked::<Self>(left, right, tile);
        // SAFETY: `Self` exists only where AVX2 and FMA do, and `checked` proved the extents.
        unsafe {
            avx2(depth, left.as_ptr().cast(), right.as_ptr().cast(), ahead.as_ptr().cast(), tile.as_mut_ptr())
        }
    }
}

/// # Safety
///
/// The machine has AVX2 and FMA; `left` has `6 depth` elements, `right` `16 depth`, `tile` 96. `ahead` may be anywhere.
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(
    depth: usize,
    mut left: *const f32,
    mut right: *const f32,
    mut ahead: *const f32,
    tile: *mut f32,
) {
    let mut sums = [[_mm256_setzero_ps(); 2]; 6];
    // Unrolled: on a core that is shared with another thread the loop itself would cost a tenth.
    for _ in 0..depth / 4 {
        _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
        ahead = ahead.wrapping_add(16);
        for step in 0..4 {
            // SAFETY: four steps of the caller's extents are left.
            unsafe { avx2_step(left.add(6 * step), right.add(16 * step), &mut sums) };
        }
        // SAFETY: what was read.
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

/// 12 x 32 in f32: 24 accumulators, two registers of the right panel; the left is broadcast from memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512<P>(V4, PhantomData<P>);

impl<P> Avx512<P> {
    pub(crate) fn new() -> Option<Self> {
        V4::try_new().map(|v4| Self(v4, PhantomData))
    }
}

impl<P: Single> Micro for Avx512<P> {
    type Packed = P;
    const ROWS: usize = 12;
    const COLUMNS: usize = 32;
    const DEPTH: usize = 192;

    common!();
    #[inline(always)]
    fn multiply(self, left: &[P], right: &[P], ahead: &[P], tile: &mut [f32]) {
        let depth = checked::<Self>(left, right, tile);
        // SAFETY: `Self` exists only where AVX-512F does, and `checked` proved the extents.
        unsafe {
            avx512(
                depth,
                left.as_ptr().cast(),
                right.as_ptr().cast(),
                ahead.as_ptr().cast(),
                tile.as_mut_ptr(),
            )
        }
    }
}

/// AVX-512 with bf16.
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
        // SAFETY: `Self` exists only where they are.
        unsafe { vectorized(f) }
    }
}

/// 12 x 32 in pairs of bf16, each `vdpbf16ps` adding 32 products to 16 sums in f32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Bf16(V4Bf16);

impl Avx512Bf16 {
    pub(crate) fn new() -> Option<Self> {
        V4::try_new().filter(|_| is_x86_feature_detected!("avx512bf16")).map(|_| Self(V4Bf16))
    }
}

impl Micro for Avx512Bf16 {
    type Packed = Pair;
    const ROWS: usize = 12;
    const COLUMNS: usize = 32;
    const DEPTH: usize = 384;

    common!();
    #[inline(always)]
    fn pack_lane(self, numbers: &[f32], out: &mut [Pair; BLOCK]) {
        let numbers: &[f32; 2 * BLOCK] = numbers.try_into().expect("two numbers a pair");
        // SAFETY: `Self` exists only where AVX-512F and its bf16 conversions do.
        unsafe { round(numbers, out) };
    }
    #[inline(always)]
    fn multiply(self, left: &[Pair], right: &[Pair], ahead: &[Pair], tile: &mut [f32]) {
        let depth = checked::<Self>(left, right, tile);
        // SAFETY: `Self` exists only where AVX-512F and its bf16 products do, and `checked` proved the extents.
        unsafe {
            avx512bf16(
                depth,
                left.as_ptr().cast(),
                right.as_ptr().cast(),
                ahead.as_ptr().cast(),
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
    // SAFETY: 16 f32 are 512 bits, 16 bf16 as many as 8 words, and pairs are words.
    unsafe {
        let rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(numbers.as_ptr()));
        *out = core::mem::transmute::<__m256bh, [Pair; BLOCK]>(rounded);
    }
}

super::avx512::kernels!(target_feature(enable = "avx512f"), target_feature(enable = "avx512f,avx512bf16"));
