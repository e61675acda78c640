//! Convolutions of stride 1 over feature maps `[B, h, w, C]`: products of a matrix whose rows are the surroundings of pixels, and
//! which never exists. Kernels pack what they need of it from the lines of an image ("implicit GEMM").

mod patches;
mod winograd;

use self::patches::Images;
pub(crate) use self::patches::Patches;
use self::winograd::Winograd;
use super::array::{Array, data, data_mut, matrix_mut, scratch, shape, unwritten, view, view_mut, zeros};
use super::gemm::{Engine, Left, Products, Results, WithEngine, nothing};
use super::linear::add_bias;
use super::real::Real;
use super::rows::{self, add, add_column_sums};
use super::{Host, activation, par, pool, residual};
use crate::ops::{ConvOps, ConvTraining};
use crate::params::Conv2d;
use alloc::vec;
use alloc::vec::Vec;

/// At most this many partial weight gradients,
const PARTIALS: usize = 16;
/// and at most this many elements of them together: 128 MiB of f32.
const PARTIAL_ELEMENTS: usize = 32 * 1024 * 1024;
/// From this many outputs on, the rows of a one-tap weight gradient are work enough for all cores.
const WIDE: usize = 256;

/// `[B, C, h, w] -> [B, h, w, C]`
pub(super) fn channels_last<F: Real>(x: &Array<F>) -> Array<F> {
    let [b, c, h, w] = extents(x);
    let mut y = unwritten([b, h, w, c]);
    let x = data(x);
    par::chunks(data_mut(&mut y), (h * w * c).max(1), |i, y| {
        for (channel, x) in x[i * y.len()..][..y.len()].chunks_exact(h * w).enumerate() {
            for (row, &v) in y.chunks_exact_mut(c).zip(x) {
                row[channel] = v;
            }
        }
    });
    y
}

/// `y[b, y, x, o] = bias[o] + Σ weight[o, i, ky, kx] x[b, y + ky - p, x + kx - p, i]` with `p = (k - 1) / 2`.
pub(super) fn forward<F: Real>(products: Products, x: &Array<F>, p: &Conv2d<Array<F>>) -> Array<F> {
    let bias = data(&p.bias);
    let [o, i, k, _] = extents(&p.weight);
    if k == 1 {
        let [b, h, w, _] = extents(x);
        let mut y = unwritten([b, h, w, o]);
        let into = Results::replacing(view_mut(data_mut(&mut y), [b * h * w, o]));
        F::product_by(products, view(data(x), [b * h * w, i]), &p.weight, into, &add_bias(bias));
        return y;
    }
    convolve(products, x, Weight::Forward(&p.weight), Some(bias))
}

/// Elements of the copy in f32 that the weight `[O, I, k, k]` of a convolution keeps.
pub(crate) fn packed_elements(extents: [usize; 4]) -> usize {
    if winograd::suits(extents) { winograd::packed_elements(extents) } else { extents.iter().product() }
}

/// The convolution of `dy` with the kernel turned by 180 degrees and its channels exchanged.
pub(super) fn backward_input<F: Real>(products: Products, dy: &Array<F>, p: &Conv2d<Array<F>>) -> Array<F> {
    let [o, i, k, _] = extents(&p.weight);
    if k == 1 {
        let [b, h, w, _] = extents(dy);
        let mut dx = unwritten([b, h, w, i]);
        let into = Results::replacing(view_mut(data_mut(&mut dx), [b * h * w, i]));
        F::product(products, view(data(dy), [b * h * w, o]), view(data(&p.weight), [o, i]), into, &nothing);
        return dx;
    }
    convolve(products, dy, Weight::Turned(&p.weight), None)
}

/// With fewer products where numbers bear it: rounded to bf16, what the tiles hold would lose more than it has to.
fn convolve<F: Real>(
    products: Products,
    x: &Array<F>,
    weight: Weight<'_, F>,
    bias: Option<&[F]>,
) -> Array<F> {
    if products == Products::Exact && F::MINIMAL && winograd::suits(weight.extents()) {
        return F::with_engine(products, Winograd { x, weight, bias });
    }
    let images = Images::new(x, weight.extents()[2]);
    F::with_engine(products, Convolve { images, weight, bias })
}

/// `d_weight[o, i, ky, kx] += Σ dy[b, y, x, o] x[b, y + ky - p, x + kx - p, i]`, `d_bias += Σ dy`
pub(super) fn backward_params<F: Real>(
    products: Products,
    dy: &Array<F>,
    x: &Array<F>,
    dp: &mut Conv2d<Array<F>>,
) {
    let [o, i, k, _] = extents(&dp.weight);
    add_column_sums(data(dy), data_mut(&mut dp.bias));
    if k == 1 && o >= WIDE {
        let rows = x.len() / i;
        let dy = view(data(dy), [rows, o]);
        let into = Results::adding(matrix_mut(&mut dp.weight));
        return F::product(products, dy.t(), view(data(x), [rows, i]), into, &nothing);
    }
    let sum = F::with_engine(products, Correlate { images: Images::new(x, k), dy: data(dy), o });
    add_unpacked(&sum, [o, i, k], data_mut(&mut dp.weight));
}

/// The kernels of a convolution and which way they face.
enum Weight<'a, F: Real> {
    /// As they are, `[O, I, k, k]`.
    Forward(&'a Array<F>),
    /// By 180 degrees, the channels exchanged: `[I, O, k, k]`.
    Turned(&'a Array<F>),
}

impl<F: Real> Weight<'_, F> {
    /// Of the kernels as they lie, `[O, I, k, k]`.
    fn extents(&self) -> [usize; 4] {
        match self {
            Self::Forward(weight) | Self::Turned(weight) => extents(weight),
        }
    }

    /// Channels that come in.
    fn inputs(&self) -> usize {
        match self {
            Self::Forward(weight) => extents(weight)[1],
            Self::Turned(weight) => extents(weight)[0],
        }
    }

    /// Channels that come out.
    fn outputs(&self) -> usize {
        match self {
            Self::Forward(weight) => extents(weight)[0],
            Self::Turned(weight) => extents(weight)[1],
        }
    }

    /// The kernel of 3 x 3 from one channel to another.
    #[inline(always)]
    fn kernel(&self, output: usize, input: usize) -> [F; 9] {
        let (weight, at) = match self {
            Self::Forward(weight) => (weight, output * self.inputs() + input),
            Self::Turned(weight) => (weight, input * self.outputs() + output),
        };
        let taps = *weight[9 * at..].first_chunk().expect("nine taps");
        match self {
            Self::Forward(_) => taps,
            Self::Turned(_) => core::array::from_fn(|i| taps[8 - i]),
        }
    }

    /// A copy of the kernels in another order, which they keep if they are used again before they change.
    #[cfg(feature = "std")]
    fn copied<T: super::kept::Keep + core::any::Any + Send + Sync>(
        &self,
        make: impl FnOnce(&Self) -> T,
    ) -> super::kept::Copy<'_, T> {
        match self {
            Self::Forward(kept) => kept.copied(|| make(self)),
            Self::Turned(_) => super::kept::Copy::Own(make(self)),
        }
    }

    /// A copy of the kernels in another order.
    #[cfg(not(feature = "std"))]
    fn copied<T>(&self, make: impl FnOnce(&Self) -> T) -> T {
        make(self)
    }

    /// `[k·k·channels in, channels out]`, tap by tap.
    fn pack<E: Engine<F>>(&self, engine: E) -> E::Right {
        match self {
            Self::Forward(weight) => {
                let [o, i, k, _] = extents(weight);
                engine.pack(view(&pack(weight, [o, i, k]), [k * k * i, o]).t())
            }
            Self::Turned(weight) => {
                let [o, i, k, _] = extents(weight);
                engine.pack(view(&pack_turned(weight, [o, i, k]), [k * k * o, i]).t())
            }
        }
    }
}

/// A convolution, tap by tap.
struct Convolve<'a, F: Real> {
    images: Images<'a, F>,
    weight: Weight<'a, F>,
    bias: Option<&'a [F]>,
}

impl<F: Real> WithEngine<F> for Convolve<'_, F> {
    type Output = Array<F>;
    fn run<E: Engine<F>>(self, engine: E) -> Array<F> {
        let Self { images, weight, bias } = self;
        let o = weight.outputs();
        let weight = weight.copied(|weight| weight.pack(engine));
        let mut y = unwritten([images.count, images.h, images.w, o]);
        par::each(by_block(&images, data_mut(&mut y), o), |n, y| {
            if let Some(bias) = bias {
                y.chunks_exact_mut(o).for_each(|row| row.copy_from_slice(bias));
            }
            let mut room = scratch(images.room());
            let patches = images.patches(n, &mut room);
            let into = Results { c: view_mut(y, [patches.pixels(), o]), also: None, add: bias.is_some() };
            engine.multiply_serial(Left::Patches(patches), &weight, into);
        });
        y
    }
}

/// Cuts `y [B, h, w, O]` into the blocks of its images.
fn by_block<'a, F: Real>(images: &Images<'_, F>, mut y: &'a mut [F], o: usize) -> Vec<&'a mut [F]> {
    let blocks = 0..images.count * images.blocks();
    blocks
        .map(|n| {
            let block = y.split_off_mut(..images.lines(n).len() * images.w * o);
            block.expect("as many lines as the blocks have together")
        })
        .collect()
}

/// `Σ patchesᵀ [k·k·I, M] · dy [M, O]`, in at most [`PARTIALS`] sums that are added in order.
struct Correlate<'a, F> {
    images: Images<'a, F>,
    dy: &'a [F],
    o: usize,
}

impl<F: Real> WithEngine<F> for Correlate<'_, F> {
    type Output = Array<F>;
    fn run<E: Engine<F>>(self, engine: E) -> Array<F> {
        let Self { images, dy, o } = self;
        let inner = images.taps();
        let blocks = images.count * images.blocks();
        let span = blocks.div_ceil((PARTIAL_ELEMENTS / (inner * o)).clamp(1, PARTIALS));
        let partials = par::map(blocks.div_ceil(span), |n| {
            let mut sum = zeros([inner, o]);
            let mut room = scratch(images.room());
            for block in n * span..blocks.min((n + 1) * span) {
                let patches = images.patches(block, &mut room);
                let dy =
                    view(&dy[images.first_pixel(block) * o..][..patches.pixels() * o], [patches.pixels(), o]);
                let into = Results::adding(matrix_mut(&mut sum));
                engine.multiply_serial(Left::PatchesTurned(patches), &engine.pack(dy.t()), into);
            }
            sum
        });
        partials.into_iter().reduce(sum_of).unwrap_or_else(|| zeros([inner, o]))
    }
}

fn sum_of<F: Real>(mut a: Array<F>, b: Array<F>) -> Array<F> {
    par::simd(
        #[inline(always)]
        || add(&mut a, &b),
    );
    a
}

/// `weight [O, I, k, k] -> [k·k·I, O]`
fn pack<F: Real>(weight: &[F], [o_n, i_n, k]: [usize; 3]) -> Vec<F> {
    let mut packed = vec![F::of(0.0); weight.len()];
    for (oi, taps) in weight.chunks_exact(k * k).enumerate() {
        let (o, i) = (oi / i_n, oi % i_n);
        for (tap, &v) in taps.iter().enumerate() {
            packed[(tap * i_n + i) * o_n + o] = v;
        }
    }
    packed
}

/// `weight [O, I, k, k] -> [k·k·O, I]`, the taps in reverse.
fn pack_turned<F: Real>(weight: &[F], [o_n, i_n, k]: [usize; 3]) -> Vec<F> {
    let mut packed = vec![F::of(0.0); weight.len()];
    for (oi, taps) in weight.chunks_exact(k * k).enumerate() {
        let (o, i) = (oi / i_n, oi % i_n);
        for (tap, &v) in taps.iter().rev().enumerate() {
            packed[(tap * o_n + o) * i_n + i] = v;
        }
    }
    packed
}

/// `weight [O, I, k, k] += packed [k·k·I, O]`
fn add_unpacked<F: Real>(packed: &[F], [o_n, i_n, k]: [usize; 3], weight: &mut [F]) {
    for (oi, taps) in weight.chunks_exact_mut(k * k).enumerate() {
        let (o, i) = (oi / i_n, oi % i_n);
        for (tap, v) in taps.iter_mut().enumerate() {
            *v += packed[(tap * i_n + i) * o_n + o];
        }
    }
}

fn extents<F: Real>(x: &Array<F>) -> [usize; 4] {
    shape(x)[..].try_into().expect("images, feature maps and kernels have four extents")
}

on_host! {
    impl ConvOps for Host<F> {
        fn channels_last(&self, x: &Tensor) -> Tensor {
            channels_last(x)
        }
        fn conv2d(&self, x: &Tensor, p: &Conv2d<Tensor>) -> Tensor {
            forward(self.products, x, p)
        }
        fn relu(&self, x: &Tensor) -> Tensor {
            activation::relu(x)
        }
        fn max_pool2(&self, x: &Tensor) -> Tensor {
            pool::max_pool2(x)
        }
        fn upsample2(&self, x: &Tensor) -> Tensor {
            pool::upsample2(x)
        }
        fn add_scaled(&self, a: &Tensor, b: &Tensor, scale: f64) -> Tensor {
            residual::add_scaled(a, b, scale)
        }
        fn add_bias(&self, x: &Tensor, bias: &Tensor) -> Tensor {
            rows::add_bias(x, bias)
        }
    }

    impl ConvTraining for Host<F> {
        fn conv2d_backward(
            &self,
            dy: &Tensor,
            x: &Tensor,
            p: &Conv2d<Tensor>,
            dp: &mut Conv2d<Tensor>,
        ) -> Tensor {
            backward_params(self.products, dy, x, dp);
            backward_input(self.products, dy, p)
        }
        fn conv2d_backward_params(&self, dy: &Tensor, x: &Tensor, dp: &mut Conv2d<Tensor>) {
            backward_params(self.products, dy, x, dp);
        }
        fn relu_backward(&self, dy: &Tensor, x: &Tensor) -> Tensor {
            activation::relu_backward(dy, x)
        }
        fn max_pool2_backward(&self, dy: &Tensor, x: &Tensor) -> Tensor {
            pool::max_pool2_backward(dy, x)
        }
        fn upsample2_backward(&self, dy: &Tensor) -> Tensor {
            pool::upsample2_backward(dy)
        }
        fn scaled(&self, x: &Tensor, scale: f64) -> Tensor {
            residual::scaled(x, scale)
        }
        fn add_bias_backward(&self, dy: &Tensor, d_bias: &mut Tensor) {
            rows::add_column_sums(dy, d_bias);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::array::array;
    use super::*;
    use crate::init::Stream;

    fn random(shape: [usize; 4], number: u64) -> Array<f64> {
        let values = Stream::new(1, number).normals(shape.iter().product(), 1.0);
        array(shape, values.into_iter().map(f64::from).collect())
    }

    /// Two images of several blocks each.
    const LARGE: [usize; 4] = [2, 30, 16, 300];

    /// The definition, one element at a time. More than a block in an image, and smaller than the kernel.
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
            let p = Conv2d { weight, bias: array([o], (0..o).map(|o| o as f64).collect()) };
            let y = forward(Products::Exact, &x, &p);
            for (at, &got) in view4(&y).indexed_iter() {
                let want = element(&x, &p, at.into());
                assert!((got - want).abs() < 1e-12, "{k}x{k} at {at:?}: got {got}, want {want}");
            }
        }
    }

    /// In f32, both ways: lines and columns that tiles do not fill, several images in a task and several tasks in an image.
    #[test]
    fn with_fewer_products() {
        let single = |x: &Array<f64>| array(shape(x), x.iter().map(|&v| v as f32).collect());
        for [b, h, w, i, o] in
            [[1, 1, 1, 32, 32], [3, 5, 4, 40, 32], [2, 8, 7, 32, 48], [1, 40, 9, 64, 32], [1, 2, 9, 32, 200]]
        {
            let x = random([b, h, w, i], 1);
            let p = Conv2d { weight: random([o, i, 3, 3], 2), bias: random([o, 1, 1, 1], 3) };
            let q = Conv2d { weight: single(&p.weight), bias: single(&p.bias) };
            assert!(winograd::suits(extents(&p.weight)));
            let dy = random([b, h, w, o], 4);
            let close = |want: &Array<f64>, got: &Array<f32>| {
                let largest = want.iter().fold(0.0, |a: f64, v| a.max(v.abs()));
                for (want, &got) in want.iter().zip(got) {
                    let off = (want - f64::from(got)).abs() / largest;
                    assert!(off < 1e-6, "{b}x{h}x{w}x{i} to {o}: {got}, want {want}");
                }
            };
            close(&forward(Products::Exact, &x, &p), &forward(Products::Exact, &single(&x), &q));
            close(
                &backward_input(Products::Exact, &dy, &p),
                &backward_input(Products::Exact, &single(&dy), &q),
            );
        }
    }

    /// Threads cut the tiles into other tasks, and not one sum changes.
    #[test]
    #[cfg(feature = "std")]
    fn same_bits_on_any_number_of_threads() {
        let numbers = |n, number| Stream::new(4, number).normals(n, 1.0);
        let x = array([2, 30, 18, 64], numbers(2 * 30 * 18 * 64, 1));
        let p = Conv2d { weight: array([40, 64, 3, 3], numbers(40 * 64 * 9, 2)), bias: zeros([40]) };
        assert!(winograd::suits(extents(&p.weight)));
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| forward(Products::Exact, &x, &p).to_vec())
        };
        let one: Vec<f32> = on(1);
        assert!([2, 3, 7].into_iter().all(|threads| on(threads) == one));
    }

    /// `⟨dy, y⟩` without the bias is `⟨dx, x⟩` and `⟨dW, W⟩`.
    #[test]
    fn the_backward_is_the_adjoint() {
        let [b, h, w, i] = LARGE;
        assert!(Images::new(&random(LARGE, 1), 3).blocks() > 1, "an image of several blocks");
        let o = 2;
        let (x, dy) = (random(LARGE, 1), random([b, h, w, o], 2));
        let conv = |weight| Conv2d { weight, bias: zeros([o]) };
        let (p, mut dp) = (conv(random([o, i, 3, 3], 3)), conv(zeros([o, i, 3, 3])));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let want = dot(&dy, &forward(Products::Exact, &x, &p));
        backward_params(Products::Exact, &dy, &x, &mut dp);
        let dx = backward_input(Products::Exact, &dy, &p);
        for got in [dot(&dx, &x), dot(&dp.weight, &p.weight)] {
            assert!((got - want).abs() < 1e-12 * want.abs().max(1.0), "got {got}, want {want}");
        }
    }

    /// What kernels pack from an image is what they pack from the unrolled matrix, to the last bit.
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

    /// Runs that are whole blocks of a kernel and runs that are not, more than a block of the depth, and a kernel of one tap.
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    fn packed_by<E: Engine<f32>>(engine: E) {
        for (shape, k) in [([2, 5, 4, 3], 3), ([1, 9, 6, 16], 3), ([1, 4, 5, 20], 7), ([1, 3, 3, 5], 1)] {
            let numbers = |n| Stream::new(3, n as u64).normals(n, 1.0);
            let x = array(shape, numbers(shape.iter().product()));
            let images = Images::new(&x, k);
            for block in 0..images.count * images.blocks() {
                let mut room = scratch(images.room());
                let patches = images.patches(block, &mut room);
                let mut unrolled = Vec::new();
                patches.unrolled(|_, rows| unrolled.extend_from_slice(rows));
                let unrolled = view(&unrolled, [patches.pixels(), patches.taps()]);
                let pairs = [
                    (Left::Patches(patches), Left::Matrix(unrolled)),
                    (Left::PatchesTurned(patches), Left::Matrix(unrolled.t())),
                ];
                for (image, matrix) in pairs {
                    let (m, depth) = image.extents();
                    let right = numbers(depth * 37);
                    let right = engine.pack(view(&right, [37, depth]));
                    let product = |left: Left<'_, f32>| {
                        let mut c = vec![0.0; m * 37];
                        engine.multiply_serial(left, &right, Results::replacing(view_mut(&mut c, [m, 37])));
                        c
                    };
                    assert_eq!(product(image), product(matrix), "{shape:?} under {k}x{k}");
                }
            }
        }
    }

    fn view4(x: &Array<f64>) -> ndarray::ArrayView4<'_, f64> {
        ndarray::ArrayView4::from_shape(extents(x), x).expect("four extents")
    }

    fn element(x: &Array<f64>, p: &Conv2d<Array<f64>>, [b, y, x_, o]: [usize; 4]) -> f64 {
        let [_, h, w, i] = extents(x);
        let k = extents(&p.weight)[2];
        let mut sum = p.bias[o];
        let (weight, x) = (view4(&p.weight), view4(x));
        for (ky, kx) in (0..k * k).map(|tap| (tap / k, tap % k)) {
            let (sy, sx) = ((y + ky).wrapping_sub(k / 2), (x_ + kx).wrapping_sub(k / 2));
            if sy < h && sx < w {
                sum += (0..i).map(|i| weight[[o, i, ky, kx]] * x[[b, sy, sx, i]]).sum::<f64>();
            }
        }
        sum
    }
}
