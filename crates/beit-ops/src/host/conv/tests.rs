use super::{backward_input, backward_params, forward, winograd};
use crate::host::array::{Array, array, extents4, shape, zeros};
use crate::host::product::{Images, Products};
use crate::init::Stream;
use crate::params::Conv2d;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use alloc::vec::Vec;

fn random(shape: [usize; 4], number: u64) -> Array<f64> {
    let values = Stream::new(1, number).normals(shape.iter().product(), 1.0);
    array(shape, values.into_iter().map(f64::from).collect())
}

/// Two images of several blocks each.
const LARGE: [usize; 4] = [2, 30, 16, 300];

/// Against the definition, one element at a time. Some images have several blocks, some are smaller than the filter.
#[test]
fn against_the_definition() {
    for ([b, h, w, i], o, k) in [
        ([2, 5, 4, 3], 2, 3),
        ([70, 2, 3, 2], 3, 3),
        ([1, 2, 1, 3], 2, 7),
        ([2, 3, 3, 4], 5, 1),
        (LARGE, 1, 3),
    ] {
        let (x, weight) = (random([b, h, w, i], 1), random([o, i, k, k], 2));
        let p = Conv2d { weight, bias: Some(array([o], (0..o).map(|o| o as f64).collect())) };
        let y = forward(Products::Exact, &x, &p);
        for (at, &got) in view4(&y).indexed_iter() {
            let want = element(&x, &p, at.into());
            assert!((got - want).abs() < 1e-12, "{k}x{k} at {at:?}: got {got}, want {want}");
        }
    }
}

/// Winograd's algorithm in f32 against the definition in f64, forward and backward. There are rows and columns that tiles do
/// not fill, several images in a task, and several tasks in an image.
#[test]
fn with_fewer_products() {
    let single = |x: &Array<f64>| array(shape(x), x.iter().map(|&v| v as f32).collect());
    for [b, h, w, i, o] in
        [[1, 1, 1, 32, 32], [3, 5, 4, 40, 32], [2, 8, 7, 32, 48], [1, 40, 9, 64, 32], [1, 2, 9, 32, 200]]
    {
        let x = random([b, h, w, i], 1);
        let p = Conv2d { weight: random([o, i, 3, 3], 2), bias: Some(random([o, 1, 1, 1], 3)) };
        let q = Conv2d { weight: single(&p.weight), bias: p.bias.as_ref().map(single) };
        assert!(winograd::suits(extents4(&p.weight)));
        let dy = random([b, h, w, o], 4);
        let close = |want: &Array<f64>, got: &Array<f32>| {
            let largest = want.iter().fold(0.0, |a: f64, v| a.max(v.abs()));
            for (want, &got) in want.iter().zip(got) {
                let off = (want - f64::from(got)).abs() / largest;
                assert!(off < 1e-6, "{b}x{h}x{w}x{i} to {o}: {got}, want {want}");
            }
        };
        close(&forward(Products::Exact, &x, &p), &forward(Products::Exact, &single(&x), &q));
        close(&backward_input(Products::Exact, &dy, &p), &backward_input(Products::Exact, &single(&dy), &q));
    }
}

/// The number of threads changes how tiles are split into tasks, but no sum.
#[test]
#[cfg(feature = "std")]
fn same_bits_on_any_number_of_threads() {
    let numbers = |n, number| Stream::new(4, number).normals(n, 1.0);
    let x = array([2, 30, 18, 64], numbers(2 * 30 * 18 * 64, 1));
    let p = Conv2d { weight: array([40, 64, 3, 3], numbers(40 * 64 * 9, 2)), bias: Some(zeros([40])) };
    assert!(winograd::suits(extents4(&p.weight)));
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| forward(Products::Exact, &x, &p).to_vec())
    };
    let one: Vec<f32> = on(1);
    assert!([2, 3, 7].into_iter().all(|threads| on(threads) == one));
}

/// Without a bias, `⟨dy, y⟩ = ⟨dx, x⟩ = ⟨dW, W⟩`.
#[test]
fn the_backward_is_the_adjoint() {
    let [b, h, w, i] = LARGE;
    assert!(Images::new(&random(LARGE, 1), 3).blocks() > LARGE[0], "an image of several blocks");
    let o = 2;
    let (x, dy) = (random(LARGE, 1), random([b, h, w, o], 2));
    let conv = |weight| Conv2d { weight, bias: None };
    let (p, mut dp) = (conv(random([o, i, 3, 3], 3)), conv(zeros([o, i, 3, 3])));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let want = dot(&dy, &forward(Products::Exact, &x, &p));
    backward_params(Products::Exact, &dy, &x, &mut dp);
    let dx = backward_input(Products::Exact, &dy, &p);
    for got in [dot(&dx, &x), dot(&dp.weight, &p.weight)] {
        assert!((got - want).abs() < 1e-12 * want.abs().max(1.0), "got {got}, want {want}");
    }
}

/// A kernel packs the same bits from an image as from the unrolled matrix.
#[test]
#[cfg(all(feature = "std", target_arch = "x86_64"))]
fn packed_from_the_image() {
    use crate::host::product::micro::amx::emulated::EmulatedAmx;
    use crate::host::product::micro::avx512::emulated::{Emulated512, Emulated512Bf16};
    use crate::host::product::micro::{Amx, Avx2, Avx512Bf16, Portable, Rounded};
    packed_by(Portable);
    packed_by(Emulated512);
    packed_by(Emulated512Bf16);
    packed_by(EmulatedAmx);
    Avx2::<f32>::new().into_iter().for_each(packed_by);
    Avx2::<Rounded>::new().into_iter().for_each(packed_by);
    Avx512Bf16::new().into_iter().for_each(packed_by);
    Amx::new().into_iter().for_each(packed_by);
}

/// Runs that are whole blocks of a kernel and runs that are not, more than a block of the depth, and a filter of one tap.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
fn packed_by<E: crate::host::product::Engine<f32>>(engine: E) {
    use crate::host::array::{scratch, view, view_mut};
    use crate::host::product::{Destination, Left};
    use alloc::vec;
    for (shape, k) in [([2, 5, 4, 3], 3), ([1, 9, 6, 16], 3), ([1, 4, 5, 20], 7), ([1, 3, 3, 5], 1)] {
        let numbers = |n| Stream::new(3, n as u64).normals(n, 1.0);
        let x = array(shape, numbers(shape.iter().product()));
        let images = Images::new(&x, k);
        for block in 0..images.blocks() {
            let mut buffer = scratch(images.buffer_len());
            let patches = images.patches(block, &mut buffer);
            let mut unrolled = Vec::new();
            patches.unrolled(|_, rows| unrolled.extend_from_slice(rows));
            let unrolled = view(&unrolled, [patches.pixels(), patches.taps()]);
            let pairs = [
                (Left::Patches(patches), Left::Matrix(unrolled)),
                (Left::PatchesTransposed(patches), Left::Matrix(unrolled.t())),
            ];
            for (image, matrix) in pairs {
                let (m, depth) = image.extents();
                let right = numbers(depth * 37);
                let right = engine.pack(view(&right, [37, depth]));
                let product = |left: Left<'_, f32>| {
                    let mut c = vec![0.0; m * 37];
                    engine.multiply_serial(left, &right, Destination::replace(view_mut(&mut c, [m, 37])));
                    c
                };
                assert_eq!(product(image), product(matrix), "{shape:?} under {k}x{k}");
            }
        }
    }
}

fn view4(x: &Array<f64>) -> ndarray::ArrayView4<'_, f64> {
    ndarray::ArrayView4::from_shape(extents4(x), x).expect("four extents")
}

fn element(x: &Array<f64>, p: &Conv2d<Array<f64>>, [b, y, x_, o]: [usize; 4]) -> f64 {
    let [_, h, w, i] = extents4(x);
    let k = extents4(&p.weight)[2];
    let mut sum = p.bias.as_ref().map_or(0.0, |bias| bias[o]);
    let (weight, x) = (view4(&p.weight), view4(x));
    for (ky, kx) in (0..k * k).map(|tap| (tap / k, tap % k)) {
        let (sy, sx) = ((y + ky).wrapping_sub(k / 2), (x_ + kx).wrapping_sub(k / 2));
        if sy < h && sx < w {
            sum += (0..i).map(|i| weight[[o, i, ky, kx]] * x[[b, sy, sx, i]]).sum::<f64>();
        }
    }
    sum
}
