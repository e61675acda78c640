//! Products of matrices, with what follows them done while the result is in the cache.
//!
//! The right operand is packed once, in parallel. Tasks then take blocks of the result; each packs its rows of the left operand,
//! a block of the depth at a time, and runs a kernel over all tiles. Sums over the depth are cut by the kernel alone, so neither
//! the number of threads nor the shape of the blocks changes a bit.

pub(crate) mod micro;
mod pack;

pub(crate) use micro::Micro;
pub(crate) use pack::Right;

use super::gemm::{Engine, Finish, Left, Results, pieces, rows_of};
use super::par;
use alloc::vec::Vec;
use ndarray::ArrayView2;

/// Panels whose results are finished together: long enough for `finish` to be worth a call, and still in the cache.
const GROUP: usize = 8;
/// Threads may be without a part for one in so many of the times that they have one.
const MANY: usize = 16;
/// Elements of the largest tile of any kernel.
const LARGEST_TILE: usize = 32 * 32;

/// A tile of any kernel, on lines of the cache.
#[repr(align(64))]
struct Tile([f32; LARGEST_TILE]);

/// A part of the result.
struct Part<'a> {
    rows: usize,
    columns: usize,
    into: Results<'a, f32>,
}

/// Evaluates an expression with the best kernel of this machine for some products.
macro_rules! with_kernel {
    ($products:expr, $kernel:ident => $body:expr, else $otherwise:expr) => {{
        use $crate::host::gemm::Products;
        use $crate::host::product::micro;
        #[cfg(target_arch = "x86_64")]
        {
            use micro::{Amx, Avx2, Avx512, Avx512Bf16, Rounded};
            match $products {
                Products::Bf16 => {
                    if let Some($kernel) = Amx::new() {
                        $body
                    } else if let Some($kernel) = Avx512Bf16::new() {
                        $body
                    } else if let Some($kernel) = Avx512::<Rounded>::new() {
                        $body
                    } else if let Some($kernel) = Avx2::<Rounded>::new() {
                        $body
                    } else {
                        let $kernel = micro::Portable;
                        $body
                    }
                }
                Products::Exact => {
                    if let Some($kernel) = Avx512::<f32>::new() {
                        $body
                    } else if let Some($kernel) = Avx2::<f32>::new() {
                        $body
                    } else {
                        $otherwise
                    }
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        match $products {
            Products::Bf16 => {
                let $kernel = micro::Portable;
                $body
            }
            Products::Exact => $otherwise,
        }
    }};
}
pub(crate) use with_kernel;

/// Whether this machine multiplies bf16 in hardware.
pub(crate) fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return micro::Avx512Bf16::new().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// `c = left [M, K] · right [K, N]`, over all cores.
pub(crate) fn multiply<M: Micro>(
    kernel: M,
    left: ArrayView2<'_, f32>,
    right: &Right<M>,
    into: Results<'_, f32>,
    finish: &Finish<'_, f32>,
) {
    assert!(left.ncols() == right.depth(), "matrix product of unequal inner extents");
    assert!(into.c.dim() == (left.nrows(), right.columns()), "matrix product into another extent");
    let parts = cut::<M>(into, par::threads());
    par::each(parts, |_, part| block(kernel, &left.into(), right, part, finish));
}

impl<M: Micro> Engine<f32> for M {
    type Right = Right<M>;
    fn pack(self, turned: ArrayView2<'_, f32>) -> Right<M> {
        Right::pack_serial(self, turned)
    }
    fn multiply_serial<'a>(self, left: impl Into<Left<'a, f32>>, right: &Right<M>, into: Results<'_, f32>) {
        let left = left.into();
        assert!(left.extents() == (into.c.nrows(), right.depth()), "matrix product of unequal extents");
        for part in cut::<M>(into, 1) {
            block(self, &left, right, part, &super::gemm::nothing);
        }
    }
}

/// Cuts the result into parts whose rows of the left operand fit the cache, as many on each thread. Where there are few and their
/// number is no such, columns are cut as well.
fn cut<M: Micro>(into: Results<'_, f32>, threads: usize) -> Vec<Part<'_>> {
    let (m, n) = into.c.dim();
    if m == 0 || n == 0 {
        return Vec::new();
    }
    let most = (M::LEFT / M::DEPTH).next_multiple_of(M::ROWS);
    let rows = m.div_ceil(m.div_ceil(most)).next_multiple_of(M::ROWS);
    let tall = m.div_ceil(rows);
    let wide = pieces_of_columns(tall, threads);
    let columns = n.div_ceil(wide).next_multiple_of(M::COLUMNS);
    let Results { c, also, add } = into;
    let mut also = also.map(|also| pieces(also, rows, columns).into_iter());
    pieces(c, rows, columns)
        .into_iter()
        .map(|(row, column, c)| {
            let also = also.as_mut().and_then(Iterator::next).map(|(_, _, also)| also);
            Part { rows: row, columns: column, into: Results { c, also, add } }
        })
        .collect()
}

/// Each piece of the columns packs the rows again: as few as leave threads without a part for little of the time.
fn pieces_of_columns(tall: usize, threads: usize) -> usize {
    let little = |wide: &usize| {
        let parts = tall * wide;
        MANY * (parts.next_multiple_of(threads) - parts) <= parts
    };
    // With a piece for each thread all have as many parts.
    (1..threads).find(little).unwrap_or(threads)
}

/// One part of the result.
fn block<M: Micro>(
    kernel: M,
    left: &Left<'_, f32>,
    right: &Right<M>,
    part: Part<'_>,
    finish: &Finish<'_, f32>,
) {
    let Part { rows: first_row, columns: first_column, into } = part;
    let (m, n) = into.c.dim();
    let mut c = rows_of(into.c);
    let mut also = into.also.map(rows_of).unwrap_or_default();
    let (depth, strips) = (right.depth(), m.div_ceil(M::ROWS));
    let steps = pack::steps::<M>(depth).min(M::DEPTH);
    let mut packed = pack::Lines::<M::Packed>::take(strips * steps * M::ROWS);
    kernel.multiplying(
        #[inline(always)]
        || {
            let mut tile = Tile([0.0; LARGEST_TILE]);
            let tile = &mut tile.0[..M::ROWS * M::COLUMNS];
            for block in pack::blocks::<M>(depth) {
                let size = pack::steps::<M>(block.len()) * M::ROWS;
                for (i, out) in packed.chunks_exact_mut(size).take(strips).enumerate() {
                    let which = first_row + i * M::ROWS..first_row + m.min((i + 1) * M::ROWS);
                    match *left {
                        Left::Matrix(left) => {
                            pack::panel(kernel, left, which, block.clone(), pack::Form::left::<M>(), out)
                        }
                        Left::Patches(patches) => pack::pixels(kernel, patches, which, block.clone(), out),
                        Left::PatchesTurned(patches) => {
                            pack::taps(kernel, patches, which, block.clone(), out)
                        }
                    }
                }
                let (begins, ends) = (block.start == 0 && !into.add, block.end == depth);
                let mut panels = right.panels(&block, first_column / M::COLUMNS).peekable();
                for begin in (0..n).step_by(GROUP * M::COLUMNS) {
                    let group = begin..n.min(begin + GROUP * M::COLUMNS);
                    for column in group.clone().step_by(M::COLUMNS) {
                        let Some(panel) = panels.next() else { break };
                        let columns = column..n.min(column + M::COLUMNS);
                        // The next panel comes from far away: each strip has a part of it fetched.
                        let next = panels.peek().copied().unwrap_or_default();
                        for (i, strip) in packed.chunks_exact(size).take(strips).enumerate() {
                            let ahead = &next[next.len() * i / strips..];
                            let rows = i * M::ROWS..m.min((i + 1) * M::ROWS);
                            for c in &c[rows.clone()] {
                                // Far from each other, these lines are fetched by no other means in time.
                                kernel.prefetch(&c[column]);
                            }
                            kernel.multiply(strip, panel, ahead, tile);
                            for (c, sums) in c[rows].iter_mut().zip(tile.chunks_exact(M::COLUMNS)) {
                                let c = &mut c[columns.clone()];
                                if c.len() == M::COLUMNS {
                                    // Of constant length: some instructions, no call.
                                    store(&mut c[..M::COLUMNS], &sums[..M::COLUMNS], begins);
                                } else {
                                    store(c, &sums[..c.len()], begins);
                                }
                            }
                        }
                    }
                    if ends {
                        for (row, c) in c.iter_mut().enumerate() {
                            let also = also.get_mut(row).map_or(&mut [][..], |also| &mut also[group.clone()]);
                            finish(first_row + row, first_column + begin, &mut c[group.clone()], also);
                        }
                    }
                }
            }
        },
    );
}

#[inline(always)]
fn store(c: &mut [f32], sums: &[f32], begins: bool) {
    if begins {
        c.copy_from_slice(sums);
    } else {
        super::rows::add(c, sums);
    }
}

#[cfg(test)]
mod tests {
    use super::micro::{Packed, Portable};
    use super::*;
    use crate::host::gemm::nothing;
    use crate::init::Stream;
    use alloc::vec;
    use ndarray::{Array2, ArrayViewMut2, ShapeBuilder};

    fn random(rows: usize, columns: usize, turned: bool, number: u64) -> Array2<f32> {
        // A congruential generator: Miri, which interprets this, would be at Philox for most of its time.
        let mut state = number;
        let draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 22) as f32 - 2.0
        };
        let values = core::iter::repeat_with(draw).take(rows * columns).collect();
        Array2::from_shape_vec((rows, columns).set_f(turned), values).expect("as many as the extents ask for")
    }

    /// `left · right + c` in f64, of operands as the kernel sees them.
    fn expected(left: &Array2<f32>, right: &Array2<f32>, c: &Array2<f32>, bf16: bool) -> Array2<f64> {
        let rounded = |x: f32| f64::from(if bf16 { f32::from_bits(micro::bf16_bits(x) << 16) } else { x });
        left.mapv(rounded).dot(&right.mapv(rounded)) + c.mapv(f64::from)
    }

    /// Leaves NaN in idle buffers, so that it shows where what was not written is read.
    fn poison<P: Packed>() {
        if cfg!(miri) {
            // It is there for addresses, and filling these buffers would be most of what it does.
            return;
        }
        for len in [2048, 8192, 32768] {
            let mut buffer = P::buffers().take(len, P::default());
            buffer.fill(P::pack([f32::NAN; 2]));
            P::buffers().give(buffer);
        }
    }

    /// One product in every layout of the operands, replacing and adding.
    fn check<M: Micro>(kernel: M, bf16: bool, [m, k, n]: [usize; 3]) {
        for layout in 0..4 {
            let left = random(m, k, layout % 2 == 1, 1);
            let right = random(k, n, layout / 2 == 1, 2);
            let add = layout == 1 || layout == 2;
            let start = random(m, n, false, 3);
            let mut c = start.clone();
            poison::<M::Packed>();
            let into = Results { c: c.view_mut(), also: None, add };
            multiply(kernel, left.view(), &Right::pack(kernel, right.t()), into, &nothing);
            let start = if add { start } else { Array2::zeros((m, n)) };
            let want = expected(&left, &right, &start, bf16);
            let allowed = 1e-6 * (k as f64 + 10.0);
            for (got, want) in c.iter().zip(&want) {
                let off = (f64::from(*got) - want).abs();
                assert!(off < allowed, "{m}x{k}x{n}, layout {layout}: got {got}, want {want}");
            }
        }
    }

    fn check_all<M: Micro>(kernel: M, bf16: bool) {
        let check = |sizes| check(kernel, bf16, sizes);
        let deep = M::DEPTH * M::Packed::NUMBERS;
        if cfg!(miri) {
            // Interpreted, a product takes ten thousand times as long: tiles that are full and not, and more than a block of the depth.
            check([1, 1, 1]);
            check([M::ROWS - 1, 19, M::COLUMNS + 1]);
            check([M::ROWS + 1, 4, M::COLUMNS]);
            check([2, deep + 1, 1]);
            return;
        }
        // Every size up to 70 in each extent, the others on either side of a tile.
        for size in 1..=70 {
            check([size, 5, 33]);
            check([13, size, 31]);
            check([7, 4, size]);
        }
        for i in 0..30 {
            let sizes = Stream::new(9, i).normals(3, 1.0);
            check([sizes[0], sizes[1], sizes[2]].map(|v| 1 + (v.abs() * 90.0) as usize));
        }
        // More than a block of the depth, more than a block of rows.
        check([150, 2 * deep + 3, 40]);
    }

    #[test]
    fn portable_bf16() {
        check_all(Portable, true);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn kernels_of_this_machine() {
        use micro::{Amx, Avx2, Avx512, Avx512Bf16, Rounded};
        fn check_or_say<M: Micro>(kernel: Option<M>, bf16: bool, name: &str) {
            use std::io::Write;
            match kernel {
                Some(kernel) => check_all(kernel, bf16),
                None => {
                    let _ = std::writeln!(std::io::stderr(), "NOT RUN: this machine has no {name}");
                }
            }
        }
        check_or_say(Avx2::<f32>::new(), false, "AVX2");
        check_or_say(Avx2::<Rounded>::new(), true, "AVX2");
        check_or_say(Avx512::<f32>::new(), false, "AVX-512");
        check_or_say(Avx512::<Rounded>::new(), true, "AVX-512");
        check_or_say(Avx512Bf16::new(), true, "AVX-512 BF16");
        check_or_say(Amx::new(), true, "AMX");
    }

    /// The same code on emulated instructions.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn kernels_for_avx512_anywhere() {
        check_all(micro::avx512::emulated::Emulated512, false);
        check_all(micro::avx512::emulated::Emulated512Bf16, true);
    }

    /// The same code on tiles in memory.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn kernel_for_amx_anywhere() {
        check_all(micro::amx::emulated::EmulatedAmx, true);
    }

    /// `finish` sees every element once, finished, where it belongs, beside its place in the second result.
    #[test]
    fn finishing() {
        let sizes = if cfg!(miri) {
            [[1, 3, 130], [5, 30, 17], [13, 5, 3]]
        } else {
            [[1, 3, 700], [37, 900, 65], [300, 5, 3]]
        };
        for [m, k, n] in sizes {
            let (left, right) = (random(m, k, false, 1), random(k, n, false, 2));
            let (mut c, mut also) = (Array2::zeros((m, n)), Array2::zeros((m, n)));
            let into = Results { c: c.view_mut(), also: Some(also.view_mut()), add: false };
            multiply(
                Portable,
                left.view(),
                &Right::pack(Portable, right.t()),
                into,
                &|row, column, c, also| {
                    for (i, (c, also)) in c.iter_mut().zip(also).enumerate() {
                        *also += *c + (row * n + column + i) as f32;
                        *c = -*c;
                    }
                },
            );
            for ((row, column), &got) in also.indexed_iter() {
                assert_eq!(got, (row * n + column) as f32 - c[[row, column]]);
            }
        }
    }

    #[test]
    #[cfg(feature = "std")]
    fn same_bits_on_any_number_of_threads() {
        let [m, k, n] = if cfg!(miri) { [9, 30, 33] } else { [203, 900, 130] };
        let (left, right) = (random(m, k, false, 1), random(k, n, true, 2));
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let mut c = vec![0.0; m * n];
                let into = Results::replacing(ArrayViewMut2::from_shape((m, n), &mut c).expect("extents"));
                multiply(Portable, left.view(), &Right::pack(Portable, right.t()), into, &nothing);
                c
            })
        };
        let one = on(1);
        assert!([2, 3, 7].into_iter().all(|threads| on(threads) == one));
    }

    #[test]
    fn columns_are_cut_where_rows_leave_threads_idle() {
        for (tall, threads, wide) in
            [(1, 1, 1), (4, 2, 1), (7, 2, 2), (17, 2, 1), (2, 8, 4), (13, 8, 3), (7, 8, 8), (100, 8, 1)]
        {
            assert_eq!(pieces_of_columns(tall, threads), wide, "{tall} for {threads} threads");
        }
    }

    #[test]
    fn bf16_is_rounded_to_the_nearest_even() {
        for (x, bits) in [
            (1.0, 0x3f80),
            (1.003_906_3, 0x3f80),
            (1.011_718_8, 0x3f82),
            (-1.006, 0xbf81),
            (f32::MAX, 0x7f80),
        ] {
            assert_eq!(micro::bf16_bits(x), bits, "{x}");
        }
        assert!(f32::from_bits(micro::bf16_bits(f32::NAN) << 16).is_nan());
        assert!(f32::from_bits(micro::bf16_bits(f32::from_bits(0x7f80_0001)) << 16).is_nan());
    }
}
