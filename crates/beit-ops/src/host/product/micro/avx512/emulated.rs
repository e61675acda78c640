//! The kernels for AVX-512 on emulated instructions, for tests on any machine and under Miri.
//!
//! Names and meaning of the instructions are Intel's (Intrinsics Guide). `vdpbf16ps` adds the product of the high halves first,
//! then that of the low halves, as in the manual.
#![allow(non_camel_case_types)]

use crate::host::product::micro::kernel::{Microkernel, checked_depth};
use crate::host::product::micro::packed::Pair;
use crate::host::product::micro::{Avx512, Avx512Bf16};

#[derive(Clone, Copy)]
struct __m512([f32; 16]);
type __m512i = [u32; 16];
#[derive(Clone, Copy)]
struct __m512bh([u32; 16]);

const _MM_HINT_T1: i32 = 2;
unsafe fn _mm_prefetch<const HINT: i32>(_: *const i8) {}
fn _mm512_setzero_ps() -> __m512 {
    __m512([0.0; 16])
}
unsafe fn _mm512_loadu_ps(from: *const f32) -> __m512 {
    // SAFETY: the same as the instruction's.
    __m512(unsafe { from.cast::<[f32; 16]>().read_unaligned() })
}
unsafe fn _mm512_storeu_ps(to: *mut f32, numbers: __m512) {
    // SAFETY: the same as the instruction's.
    unsafe { to.cast::<[f32; 16]>().write_unaligned(numbers.0) };
}
unsafe fn _mm512_loadu_si512(from: *const __m512i) -> __m512i {
    // SAFETY: the same as the instruction's.
    unsafe { from.read_unaligned() }
}
fn _mm512_set1_ps(number: f32) -> __m512 {
    __m512([number; 16])
}
fn _mm512_set1_epi32(word: i32) -> __m512i {
    [word.cast_unsigned(); 16]
}
fn _mm512_fmadd_ps(a: __m512, b: __m512, c: __m512) -> __m512 {
    __m512(core::array::from_fn(|i| a.0[i].mul_add(b.0[i], c.0[i])))
}
fn _mm512_dpbf16_ps(sums: __m512, a: __m512bh, b: __m512bh) -> __m512 {
    let high = |word: u32| f32::from_bits(word & 0xffff_0000);
    let low = |word: u32| f32::from_bits(word << 16);
    __m512(core::array::from_fn(|i| {
        let sum = sums.0[i] + high(a.0[i]) * high(b.0[i]);
        sum + low(a.0[i]) * low(b.0[i])
    }))
}

/// The depth of a block under Miri, where a deeper one would take minutes.
const INTERPRETED: usize = 12;

kernels!(inline, inline);

/// The kernel of [`Avx512`] on any machine.
#[derive(Clone, Copy)]
pub(crate) struct Emulated512;

impl Microkernel for Emulated512 {
    type Packed = f32;
    const ROWS: usize = Avx512::<f32>::ROWS;
    const COLUMNS: usize = Avx512::<f32>::COLUMNS;
    const DEPTH: usize = if cfg!(miri) { INTERPRETED } else { Avx512::<f32>::DEPTH };

    fn simd<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }
    fn multiply(self, left: &[f32], right: &[f32], prefetch: &[f32], tile: &mut [f32]) {
        let depth = checked_depth::<Self>(left, right, tile);
        // SAFETY: `checked_depth` proved the extents.
        unsafe { avx512(depth, left.as_ptr(), right.as_ptr(), prefetch.as_ptr(), tile.as_mut_ptr()) }
    }
}

/// The kernel of [`Avx512Bf16`] on any machine.
#[derive(Clone, Copy)]
pub(crate) struct Emulated512Bf16;

impl Microkernel for Emulated512Bf16 {
    type Packed = Pair;
    const ROWS: usize = Avx512Bf16::ROWS;
    const COLUMNS: usize = Avx512Bf16::COLUMNS;
    const DEPTH: usize = if cfg!(miri) { INTERPRETED } else { Avx512Bf16::DEPTH };

    fn simd<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }
    fn multiply(self, left: &[Pair], right: &[Pair], prefetch: &[Pair], tile: &mut [f32]) {
        let depth = checked_depth::<Self>(left, right, tile);
        // SAFETY: `checked_depth` proved the extents.
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
