//! Convolutions of stride 1 over feature maps `[B, h, w, C]`, padded with zeros so that the size stays.
//!
//! There are three ways to compute one, all by matrix products:
//!
//! ```text
//!   filter 1 x 1          a product of all pixels and the filters, as of a linear layer
//!
//!   filter k x k          y [pixels, O] = patches [pixels, k·k·C] · filters [k·k·C, O]      (direct)
//!                         one task for each block of image rows, whose patches are packed
//!                         from the image and never unrolled
//!
//!   filter 3 x 3, f32,    16 products, one for each element of tiles of 4 x 4 pixels        (winograd)
//!   many channels         in a transformed basis: 16 multiplications where direct has 36
//! ```
//!
//! Winograd's algorithm is not used with factors in bf16: the transformed tiles would lose more precision to rounding than
//! pixels and filters do.

mod direct;
mod filters;
#[cfg(test)]
mod tests;
mod winograd;

use self::direct::{Convolve, Correlate};
use self::filters::Filters;
use self::winograd::Winograd;
use super::array::{Array, data, data_mut, extents4, matrix_mut, unwritten, view, view_mut};
use super::linear::add_bias;
use super::product::{Destination, Images, Multiply, Products, no_epilogue};
use super::real::Real;
use super::reduce::add_column_sums;
use super::{Host, activation, par, pool, residual, rows};
use crate::ops::{ConvOps, ConvTraining};
use crate::params::Conv2d;

/// With this many outputs or more, the weight gradient of a 1 x 1 filter has enough rows for all threads to share one product.
const WIDE: usize = 256;

/// `[B, C, h, w] -> [B, h, w, C]`
pub(super) fn channels_last<F: Real>(x: &Array<F>) -> Array<F> {
    let [b, c, h, w] = extents4(x);
    let mut y = unwritten([b, h, w, c]);
    let x = data(x);
    par::chunks(data_mut(&mut y), (h * w * c).max(1), |i, y| {
        for (channel, x) in x[i * y.len()..][..y.len()].chunks_exact(h * w).enumerate() {
            for (pixel, &v) in y.chunks_exact_mut(c).zip(x) {
                pixel[channel] = v;
            }
        }
    });
    y
}

/// `y[b, y, x, o] = bias[o] + Σ weight[o, i, ky, kx] x[b, y + ky - p, x + kx - p, i]` with `p = (k - 1) / 2`.
pub(super) fn forward<F: Multiply>(products: Products, x: &Array<F>, p: &Conv2d<Array<F>>) -> Array<F> {
    let bias = p.bias.as_ref().map(data);
    let [o, i, k, _] = extents4(&p.weight);
    if k == 1 {
        let [b, h, w, _] = extents4(x);
        let mut y = unwritten([b, h, w, o]);
        let into = Destination::replace(view_mut(data_mut(&mut y), [b * h * w, o]));
        let x = view(data(x), [b * h * w, i]);
        match bias {
            Some(bias) => F::product_by_weight(products, x, &p.weight, into, &add_bias(bias)),
            None => F::product_by_weight(products, x, &p.weight, into, &no_epilogue),
        }
        return y;
    }
    convolve(products, x, Filters::Forward(&p.weight), bias)
}

/// The number of elements of the copy in f32 that a convolution caches of its weight `[O, I, k, k]`.
pub(crate) fn packed_elements(extents: [usize; 4]) -> usize {
    if winograd::suits(extents) { winograd::packed_elements(extents) } else { extents.iter().product() }
}

/// `dx` is the convolution of `dy` with the filters rotated by 180 degrees and their channels exchanged.
pub(super) fn backward_input<F: Multiply>(
    products: Products,
    dy: &Array<F>,
    p: &Conv2d<Array<F>>,
) -> Array<F> {
    let [o, i, k, _] = extents4(&p.weight);
    if k == 1 {
        let [b, h, w, _] = extents4(dy);
        let mut dx = unwritten([b, h, w, i]);
        let into = Destination::replace(view_mut(data_mut(&mut dx), [b * h * w, i]));
        F::product(
            products,
            view(data(dy), [b * h * w, o]),
            view(data(&p.weight), [o, i]),
            into,
            &no_epilogue,
        );
        return dx;
    }
    convolve(products, dy, Filters::Rotated(&p.weight), None)
}

fn convolve<F: Multiply>(
    products: Products,
    x: &Array<F>,
    filters: Filters<'_, F>,
    bias: Option<&[F]>,
) -> Array<F> {
    if products == Products::Exact && F::WINOGRAD && winograd::suits(filters.extents()) {
        return F::with_engine(products, Winograd { x, filters, bias });
    }
    let images = Images::new(x, filters.extents()[2]);
    F::with_engine(products, Convolve { images, filters, bias })
}

/// `d_weight[o, i, ky, kx] += Σ dy[b, y, x, o] x[b, y + ky - p, x + kx - p, i]`, `d_bias += Σ dy`
pub(super) fn backward_params<F: Multiply>(
    products: Products,
    dy: &Array<F>,
    x: &Array<F>,
    dp: &mut Conv2d<Array<F>>,
) {
    let [o, i, k, _] = extents4(&dp.weight);
    if let Some(d_bias) = &mut dp.bias {
        add_column_sums(data(dy), data_mut(d_bias));
    }
    if k == 1 && o >= WIDE {
        let rows = x.len() / i;
        let dy = view(data(dy), [rows, o]);
        let into = Destination::add(matrix_mut(&mut dp.weight));
        return F::product(products, dy.t(), view(data(x), [rows, i]), into, &no_epilogue);
    }
    let sum = F::with_engine(products, Correlate { images: Images::new(x, k), dy: data(dy), o });
    filters::add_tap_major(&sum, [o, i, k], data_mut(&mut dp.weight));
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
            add_column_sums(dy, d_bias);
        }
    }
}
