//! The kernel for AMX on tiles in memory, for tests on any machine and under Miri.
//!
//! As in the manual, the products of first and of second numbers of pairs are summed apart.

use super::{Amx, SIDE, Tiles, checked_blocks, product};
use crate::host::product::micro::kernel::Microkernel;
use crate::host::product::micro::packed::Pair;
use std::cell::Cell;
use std::thread_local;

thread_local! {
    /// Whether this thread has configured its tiles.
    static CONFIGURED: Cell<bool> = const { Cell::new(false) };
}

/// The kernel of [`Amx`] on any machine.
#[derive(Clone, Copy)]
pub(crate) struct EmulatedAmx;

impl Microkernel for EmulatedAmx {
    type Packed = Pair;
    const ROWS: usize = Amx::ROWS;
    const COLUMNS: usize = Amx::COLUMNS;
    // Under Miri a deeper block would take minutes.
    const DEPTH: usize = if cfg!(miri) { 2 * SIDE } else { Amx::DEPTH };
    const LEFT_BLOCK: usize = Amx::LEFT_BLOCK;
    const DEPTH_GROUP: usize = Amx::DEPTH_GROUP;

    fn simd<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }
    fn simd_configured<R>(self, f: impl FnOnce() -> R) -> R {
        assert!(!CONFIGURED.replace(true), "the inner call would release the tiles of the outer one");
        let result = f();
        CONFIGURED.set(false);
        result
    }
    fn multiply(self, left: &[Pair], right: &[Pair], prefetch: &[Pair], tile: &mut [f32]) {
        assert!(CONFIGURED.get(), "tiles are not configured");
        let blocks = checked_blocks::<Self>(left, right, tile);
        let mut tiles = Memory([[[0; SIDE]; SIDE]; 8]);
        // SAFETY: `checked_blocks` proved the extents.
        unsafe {
            product(&mut tiles, blocks, left.as_ptr(), right.as_ptr(), prefetch.as_ptr(), tile.as_mut_ptr());
        }
    }
}

/// The eight tiles.
struct Memory([[[u32; SIDE]; SIDE]; 8]);

impl Tiles for Memory {
    unsafe fn zero<const TILE: u8>(&mut self) {
        self.0[usize::from(TILE)] = [[0; SIDE]; SIDE];
    }
    unsafe fn load<const TILE: u8>(&mut self, from: *const Pair, stride: usize) {
        for (i, row) in self.0[usize::from(TILE)].iter_mut().enumerate() {
            // SAFETY: the same as the instruction's.
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
            // SAFETY: the same as the instruction's.
            unsafe { to.add(i * stride).cast::<[u32; SIDE]>().write_unaligned(*row) };
        }
    }
}
