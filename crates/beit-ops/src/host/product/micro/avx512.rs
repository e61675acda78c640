//! The kernels for AVX-512.
//!
//! ```text
//!                    right panel:  16 columns   16 columns     2 registers
//!                                 ┌────────────┬────────────┐
//!   left panel, row 0, broadcast ·│  sums 0,0  │  sums 0,1  │
//!               row 1            ·│  sums 1,0  │  sums 1,1  │  24 registers
//!               ...               │    ...     │    ...     │
//!               row 11           ·│  sums 11,0 │  sums 11,1 │
//!                                 └────────────┴────────────┘
//! ```
//!
//! 26 of 32 registers are in use. The factors of the left panel need none: the instruction broadcasts them from memory.
//!
//! The kernels are a macro over the names of the instructions. In tests these names are loops that do the same: few machines
//! have all of these instructions, and most of what can be wrong in a kernel is its addresses.
#![allow(unsafe_code)]

/// Defines `avx512`, `avx512bf16` and `store512` with the instructions that are in scope. The arguments are the attributes of the
/// functions of f32 and of bf16.
macro_rules! kernels {
    ($f32:meta, $bf16:meta) => {
        /// # Safety
        ///
        /// The machine has AVX-512F; `left` has `12 depth` elements, `right` `32 depth`, `tile` 384. `prefetch` may be any
        /// address.
        #[cfg_attr(all(), $f32)]
        unsafe fn avx512(
            depth: usize,
            mut left: *const f32,
            mut right: *const f32,
            mut prefetch: *const f32,
            tile: *mut f32,
        ) {
            let mut sums = [[_mm512_setzero_ps(); 2]; 12];
            for step in 0..depth {
                // SAFETY: the caller's extents; both pointers advance by the elements read. A prefetch may have any address.
                unsafe {
                    if step % 4 == 0 {
                        _mm_prefetch::<_MM_HINT_T1>(prefetch.cast());
                        prefetch = prefetch.wrapping_add(16);
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
        /// The machine has AVX-512F and AVX-512 BF16; `left` has `12 depth` elements, `right` `32 depth`, `tile` 384.
        /// `prefetch` may be any address.
        #[cfg_attr(all(), $bf16)]
        unsafe fn avx512bf16(
            depth: usize,
            mut left: *const u32,
            mut right: *const u32,
            mut prefetch: *const u32,
            tile: *mut f32,
        ) {
            let mut sums = [[_mm512_setzero_ps(); 2]; 12];
            for step in 0..depth {
                // SAFETY: the caller's extents; both pointers advance by the elements read. A prefetch may have any address. A
                // register of words and one of pairs of bf16 are the same 512 bits.
                unsafe {
                    if step % 4 == 0 {
                        _mm_prefetch::<_MM_HINT_T1>(prefetch.cast());
                        prefetch = prefetch.wrapping_add(16);
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

#[cfg(test)]
pub(crate) mod emulated;
