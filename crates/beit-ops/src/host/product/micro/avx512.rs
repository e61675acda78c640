//! The kernels for AVX-512, on whatever is called as its instructions are: the machine's, or in tests a few loops that do the
//! same. Few machines have all of these instructions, and a kernel is mostly addresses.
#![allow(unsafe_code)]

/// Defines `avx512`, `avx512bf16` and `store512` on the instructions that are in scope, each function with an attribute.
macro_rules! kernels {
    ($f32:meta, $bf16:meta) => {
        /// # Safety
        ///
        /// The machine has AVX-512F; `left` has `12 depth` elements, `right` `32 depth`, `tile` 384. `ahead` may be anywhere.
        #[cfg_attr(all(), $f32)]
        unsafe fn avx512(
            depth: usize,
            mut left: *const f32,
            mut right: *const f32,
            mut ahead: *const f32,
            tile: *mut f32,
        ) {
            let mut sums = [[_mm512_setzero_ps(); 2]; 12];
            for step in 0..depth {
                // SAFETY: the caller's extents; both pointers advance by what was read. Prefetching reads nothing.
                unsafe {
                    if step % 4 == 0 {
                        _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                        ahead = ahead.wrapping_add(16);
                    }
                    let columns = [_mm512_loadu_ps(right), _mm512_loadu_ps(right.add(16))];
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let factor = _mm512_set1_ps(*left.add(row));
                        sums[0] = _mm512_fmadd_ps(factor, columns[0], sums[0]);
                        sums[1] = _mm512_fmadd_ps(factor, columns[1], sums[1]);
                    }
                    left = left.add(12);
                    right = right.add(32);
                }
            }
            // SAFETY: the tile has the extents of the sums.
            unsafe { store512(&sums, tile) };
        }

        /// # Safety
        ///
        /// The machine has AVX-512F and AVX-512 BF16; `left` has `12 depth` elements, `right` `32 depth`, `tile` 384. `ahead` may be
        /// anywhere.
        #[cfg_attr(all(), $bf16)]
        unsafe fn avx512bf16(
            depth: usize,
            mut left: *const u32,
            mut right: *const u32,
            mut ahead: *const u32,
            tile: *mut f32,
        ) {
            let mut sums = [[_mm512_setzero_ps(); 2]; 12];
            for step in 0..depth {
                // SAFETY: the caller's extents; both pointers advance by what was read. Prefetching reads nothing. A register of words
                // and one of pairs of bf16 are the same 512 bits.
                unsafe {
                    if step % 4 == 0 {
                        _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                        ahead = ahead.wrapping_add(16);
                    }
                    let pairs = |words: __m512i| core::mem::transmute::<__m512i, __m512bh>(words);
                    let columns = [
                        pairs(_mm512_loadu_si512(right.cast())),
                        pairs(_mm512_loadu_si512(right.add(16).cast())),
                    ];
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let factor = pairs(_mm512_set1_epi32((*left.add(row)).cast_signed()));
                        sums[0] = _mm512_dpbf16_ps(sums[0], factor, columns[0]);
                        sums[1] = _mm512_dpbf16_ps(sums[1], factor, columns[1]);
                    }
                    left = left.add(12);
                    right = right.add(32);
                }
            }
            // SAFETY: the tile has the extents of the sums.
            unsafe { store512(&sums, tile) };
        }

        /// # Safety
        ///
        /// The machine has AVX-512F; `tile` has 384 elements.
        #[cfg_attr(all(), $f32)]
        unsafe fn store512(sums: &[[__m512; 2]; 12], tile: *mut f32) {
            for (row, sums) in sums.iter().enumerate() {
                for (half, &sum) in sums.iter().enumerate() {
                    // SAFETY: row < 12 and half < 2, so that the last element is 32 · 11 + 16 + 15 = 383.
                    unsafe { _mm512_storeu_ps(tile.add(32 * row + 16 * half), sum) };
                }
            }
        }
    };
}
pub(super) use kernels;

/// The instructions, one number at a time. Their names and meaning are Intel's (Intrinsics Guide); the order of the two products
/// and the sum of `vdpbf16ps` is the manual's: the sum first, then the high halves, then the low ones.
#[cfg(test)]
#[allow(non_camel_case_types)]
pub(crate) mod emulated {
    use super::super::packed::Pair;
    use super::super::{Avx512, Avx512Bf16, Micro};

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
        // SAFETY: as the instruction's.
        __m512(unsafe { from.cast::<[f32; 16]>().read_unaligned() })
    }
    unsafe fn _mm512_storeu_ps(to: *mut f32, numbers: __m512) {
        // SAFETY: as the instruction's.
        unsafe { to.cast::<[f32; 16]>().write_unaligned(numbers.0) };
    }
    unsafe fn _mm512_loadu_si512(from: *const __m512i) -> __m512i {
        // SAFETY: as the instruction's.
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

    /// A block of the depth in Miri, where more would take minutes.
    const INTERPRETED: usize = 12;

    kernels!(inline, inline);

    /// [`Avx512`] on any machine.
    #[derive(Clone, Copy)]
    pub(crate) struct Emulated512;

    impl Micro for Emulated512 {
        type Packed = f32;
        const ROWS: usize = Avx512::<f32>::ROWS;
        const COLUMNS: usize = Avx512::<f32>::COLUMNS;
        const DEPTH: usize = if cfg!(miri) { INTERPRETED } else { Avx512::<f32>::DEPTH };

        fn simd<R>(self, f: impl FnOnce() -> R) -> R {
            f()
        }
        fn multiply(self, left: &[f32], right: &[f32], ahead: &[f32], tile: &mut [f32]) {
            let depth = super::super::x86::checked::<Self>(left, right, tile);
            // SAFETY: `checked` proved the extents.
            unsafe { avx512(depth, left.as_ptr(), right.as_ptr(), ahead.as_ptr(), tile.as_mut_ptr()) }
        }
    }

    /// [`Avx512Bf16`] on any machine.
    #[derive(Clone, Copy)]
    pub(crate) struct Emulated512Bf16;

    impl Micro for Emulated512Bf16 {
        type Packed = Pair;
        const ROWS: usize = Avx512Bf16::ROWS;
        const COLUMNS: usize = Avx512Bf16::COLUMNS;
        const DEPTH: usize = if cfg!(miri) { INTERPRETED } else { Avx512Bf16::DEPTH };

        fn simd<R>(self, f: impl FnOnce() -> R) -> R {
            f()
        }
        fn multiply(self, left: &[Pair], right: &[Pair], ahead: &[Pair], tile: &mut [f32]) {
            let depth = super::super::x86::checked::<Self>(left, right, tile);
            // SAFETY: `checked` proved the extents.
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
}
