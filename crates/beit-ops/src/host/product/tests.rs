//! Every kernel against products in f64, and the blocks around them.

use super::blocked::{column_splits, multiply};
use super::destination::{Destination, no_epilogue};
use super::micro::{self, Microkernel, Packed, Portable};
use super::pack::Right;
use crate::init::Stream;
use alloc::vec;
use ndarray::{Array2, ArrayViewMut2, ShapeBuilder};

fn random(rows: usize, columns: usize, transposed: bool, number: u64) -> Array2<f32> {
    // A congruential generator, because Miri would spend most of its time in Philox.
    let mut state = number;
    let draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 22) as f32 - 2.0
    };
    let values = core::iter::repeat_with(draw).take(rows * columns).collect();
    Array2::from_shape_vec((rows, columns).set_f(transposed), values).expect("as many as the extents ask for")
}

/// `left · right + c` in f64, of factors that are rounded as the kernel rounds them.
fn expected(left: &Array2<f32>, right: &Array2<f32>, c: &Array2<f32>, bf16: bool) -> Array2<f64> {
    let rounded = |x: f32| f64::from(if bf16 { f32::from_bits(micro::bf16_bits(x) << 16) } else { x });
    left.mapv(rounded).dot(&right.mapv(rounded)) + c.mapv(f64::from)
}

/// Leaves NaN in idle buffers, so that a read of elements that were not written shows.
fn poison<P: Packed>() {
    if cfg!(miri) {
        // Miri checks addresses, and filling these buffers would take most of its time.
        return;
    }
    for len in [2048, 8192, 32768] {
        let mut buffer = P::buffers().take(len, P::default());
        buffer.fill(P::pack([f32::NAN; 2]));
        P::buffers().give(buffer);
    }
}

/// One product with each operand row-major and column-major, replacing and adding.
fn check<M: Microkernel>(kernel: M, bf16: bool, [m, k, n]: [usize; 3]) {
    for layout in 0..4 {
        let left = random(m, k, layout % 2 == 1, 1);
        let right = random(k, n, layout / 2 == 1, 2);
        let add = layout == 1 || layout == 2;
        let start = random(m, n, false, 3);
        let mut c = start.clone();
        poison::<M::Packed>();
        let into = Destination { c: c.view_mut(), second: None, accumulate: add };
        multiply(kernel, left.view(), &Right::pack(kernel, right.t()), into, &no_epilogue);
        let start = if add { start } else { Array2::zeros((m, n)) };
        let want = expected(&left, &right, &start, bf16);
        let allowed = 1e-6 * (k as f64 + 10.0);
        for (got, want) in c.iter().zip(&want) {
            let off = (f64::from(*got) - want).abs();
            assert!(off < allowed, "{m}x{k}x{n}, layout {layout}: got {got}, want {want}");
        }
    }
}

fn check_all<M: Microkernel>(kernel: M, bf16: bool) {
    let check = |sizes| check(kernel, bf16, sizes);
    let deep = M::DEPTH * M::Packed::NUMBERS;
    if cfg!(miri) {
        // Under Miri a product takes ten thousand times as long. Full and partial tiles, and more than a block of the depth.
        check([1, 1, 1]);
        check([M::ROWS - 1, 19, M::COLUMNS + 1]);
        check([M::ROWS + 1, 4, M::COLUMNS]);
        check([2, deep + 1, 1]);
        return;
    }
    // Every size up to 70 in each extent, the other extents just below or above a tile's.
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
    fn check_or_say<M: Microkernel>(kernel: Option<M>, bf16: bool, name: &str) {
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

/// The kernels for AVX-512 on emulated instructions.
#[test]
#[cfg(target_arch = "x86_64")]
fn kernels_for_avx512_anywhere() {
    check_all(micro::avx512::emulated::Emulated512, false);
    check_all(micro::avx512::emulated::Emulated512Bf16, true);
}

/// The kernel for AMX on tiles in memory.
#[test]
#[cfg(target_arch = "x86_64")]
fn kernel_for_amx_anywhere() {
    check_all(micro::amx::emulated::EmulatedAmx, true);
}

/// The epilogue sees every element once, finished, with its position and its place in the second result.
#[test]
fn the_epilogue_sees_every_element_once() {
    let sizes = if cfg!(miri) {
        [[1, 3, 130], [5, 30, 17], [13, 5, 3]]
    } else {
        [[1, 3, 700], [37, 900, 65], [300, 5, 3]]
    };
    for [m, k, n] in sizes {
        let (left, right) = (random(m, k, false, 1), random(k, n, false, 2));
        let (mut c, mut second) = (Array2::zeros((m, n)), Array2::zeros((m, n)));
        let into = Destination { c: c.view_mut(), second: Some(second.view_mut()), accumulate: false };
        multiply(
            Portable,
            left.view(),
            &Right::pack(Portable, right.t()),
            into,
            &|row, column, c, second| {
                for (i, (c, second)) in c.iter_mut().zip(second).enumerate() {
                    *second += *c + (row * n + column + i) as f32;
                    *c = -*c;
                }
            },
        );
        for ((row, column), &got) in second.indexed_iter() {
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
            let into = Destination::replace(ArrayViewMut2::from_shape((m, n), &mut c).expect("extents"));
            multiply(Portable, left.view(), &Right::pack(Portable, right.t()), into, &no_epilogue);
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
        assert_eq!(column_splits(tall, threads), wide, "{tall} for {threads} threads");
    }
}

#[test]
fn bf16_is_rounded_to_the_nearest_even() {
    for (x, bits) in
        [(1.0, 0x3f80), (1.003_906_3, 0x3f80), (1.011_718_8, 0x3f82), (-1.006, 0xbf81), (f32::MAX, 0x7f80)]
    {
        assert_eq!(micro::bf16_bits(x), bits, "{x}");
    }
    assert!(f32::from_bits(micro::bf16_bits(f32::NAN) << 16).is_nan());
    assert!(f32::from_bits(micro::bf16_bits(f32::from_bits(0x7f80_0001)) << 16).is_nan());
}
