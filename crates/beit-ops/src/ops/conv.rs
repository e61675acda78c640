//! Feature maps: what a convolutional tokenizer does with them.

use super::Device;
use crate::params::Conv2d;
use crate::plan::{Plan, Planned, is, same};

/// Convolutions and what stands between them, forward.
pub trait ConvOps: Device {
    /// `[B, C, height, width] -> [B, height, width, C]`
    fn channels_last(&self, x: &Self::Tensor) -> Self::Tensor;

    /// `x [B, h, w, I] -> y [B, h, w, O]`, stride 1, zero padding `(k-1)/2`.
    fn conv2d(&self, x: &Self::Tensor, p: &Conv2d<Self::Tensor>) -> Self::Tensor;

    /// `max(x, 0)`; NaN stays NaN.
    fn relu(&self, x: &Self::Tensor) -> Self::Tensor;

    /// `x [B, h, w, C] -> y [B, h/2, w/2, C]`: the largest of each 2x2 square, NaN if one of the four is. Of an odd side the last
    /// row or column is left out.
    fn max_pool2(&self, x: &Self::Tensor) -> Self::Tensor;

    /// `x [B, h, w, C] -> y [B, 2h, 2w, C]`: every element four times (nearest neighbour).
    fn upsample2(&self, x: &Self::Tensor) -> Self::Tensor;

    /// `y = a + scale · b`, the residual sum of the dVAE (its post gain).
    fn add_scaled(&self, a: &Self::Tensor, b: &Self::Tensor, scale: f64) -> Self::Tensor;

    /// `max(conv2d(x), 0)`
    fn conv2d_relu(&self, x: &Self::Tensor, p: &Conv2d<Self::Tensor>) -> Self::Tensor {
        self.relu(&self.conv2d(x, p))
    }

    /// `y = a + scale · conv2d(x)`
    fn conv2d_add_scaled(
        &self,
        a: &Self::Tensor,
        x: &Self::Tensor,
        p: &Conv2d<Self::Tensor>,
        scale: f64,
    ) -> Self::Tensor {
        self.add_scaled(a, &self.conv2d(x, p), scale)
    }

    /// `y = x + bias` for each row of `x [M, C]`, with `bias [C]`.
    fn add_bias(&self, x: &Self::Tensor, bias: &Self::Tensor) -> Self::Tensor;
}

/// Their gradients. Nobody needs that of [`channels_last`](ConvOps::channels_last), whose input is the images.
pub trait ConvTraining: ConvOps {
    /// The mirror of [`conv2d`](ConvOps::conv2d); returns `dx [B, h, w, I]`.
    fn conv2d_backward(
        &self,
        dy: &Self::Tensor,
        x: &Self::Tensor,
        p: &Conv2d<Self::Tensor>,
        dp: &mut Conv2d<Self::Tensor>,
    ) -> Self::Tensor;
    /// [`conv2d_backward`](ConvTraining::conv2d_backward) where nobody needs `dx`.
    fn conv2d_backward_params(&self, dy: &Self::Tensor, x: &Self::Tensor, dp: &mut Conv2d<Self::Tensor>);

    /// The mirror of [`relu`](ConvOps::relu): `dx = 0` where `x <= 0`, else `dy`.
    fn relu_backward(&self, dy: &Self::Tensor, x: &Self::Tensor) -> Self::Tensor;

    /// The mirror of [`max_pool2`](ConvOps::max_pool2); returns `dx [B, h, w, C]`. The first of equals takes the gradient;
    /// in a square with NaN, one of the four does.
    fn max_pool2_backward(&self, dy: &Self::Tensor, x: &Self::Tensor) -> Self::Tensor;

    /// The mirror of [`upsample2`](ConvOps::upsample2); returns `dx [B, h, w, C]`.
    fn upsample2_backward(&self, dy: &Self::Tensor) -> Self::Tensor;

    /// `scale · x`, the gradient of `b` in [`add_scaled`](ConvOps::add_scaled).
    fn scaled(&self, x: &Self::Tensor, scale: f64) -> Self::Tensor;

    /// The mirror of [`add_bias`](ConvOps::add_bias): adds the sum of the rows of `dy [M, C]` to `d_bias [C]`; `dx` is `dy` itself.
    fn add_bias_backward(&self, dy: &Self::Tensor, d_bias: &mut Self::Tensor);
}

impl ConvOps for Plan {
    fn channels_last(&self, x: &Planned) -> Planned {
        let [b, c, h, w] = x.map();
        self.like(x, [b, h, w, c])
    }
    fn conv2d(&self, x: &Planned, p: &Conv2d<Planned>) -> Planned {
        let [b, h, w, c] = x.map();
        let [o, i, k, k2] = p.weight.map();
        assert!(i == c && k == k2 && k % 2 == 1, "a convolution {} of {}", p.weight.shape, x.shape);
        if let Some(bias) = &p.bias {
            is(bias, [o]);
        }
        self.products(1, b * h * w, c * k * k, o);
        self.operand_if_packed(&p.weight, crate::host::packed_elements(p.weight.map()));
        self.activation([b, h, w, o])
    }
    fn relu(&self, x: &Planned) -> Planned {
        self.like(x, x.shape)
    }
    fn max_pool2(&self, x: &Planned) -> Planned {
        let [b, h, w, c] = x.map();
        assert!(h > 1 && w > 1, "2x2 squares in {}", x.shape);
        self.like(x, [b, h / 2, w / 2, c])
    }
    fn upsample2(&self, x: &Planned) -> Planned {
        let [b, h, w, c] = x.map();
        self.like(x, [b, 2 * h, 2 * w, c])
    }
    fn add_scaled(&self, a: &Planned, b: &Planned, _: f64) -> Planned {
        same(a, b);
        self.like(a, a.shape)
    }
    fn add_bias(&self, x: &Planned, bias: &Planned) -> Planned {
        is(bias, [x.last()]);
        self.like(x, x.shape)
    }
}

impl ConvTraining for Plan {
    fn conv2d_backward(
        &self,
        dy: &Planned,
        x: &Planned,
        p: &Conv2d<Planned>,
        dp: &mut Conv2d<Planned>,
    ) -> Planned {
        self.conv2d_backward_params(dy, x, dp);
        same(&p.weight, &dp.weight);
        let [o, i, k, _] = p.weight.map();
        self.products(1, x.rows(), o * k * k, i);
        self.activation(x.shape)
    }
    fn conv2d_backward_params(&self, dy: &Planned, x: &Planned, dp: &mut Conv2d<Planned>) {
        let [b, h, w, c] = x.map();
        let [o, i, k, _] = dp.weight.map();
        assert_eq!(i, c);
        is(dy, [b, h, w, o]);
        self.products(1, o, b * h * w, i * k * k);
    }
    fn relu_backward(&self, dy: &Planned, x: &Planned) -> Planned {
        same(dy, x);
        self.like(dy, x.shape)
    }
    fn max_pool2_backward(&self, dy: &Planned, x: &Planned) -> Planned {
        let [b, h, w, c] = x.map();
        is(dy, [b, h / 2, w / 2, c]);
        self.like(dy, x.shape)
    }
    fn upsample2_backward(&self, dy: &Planned) -> Planned {
        let [b, h, w, c] = dy.map();
        self.like(dy, [b, h / 2, w / 2, c])
    }
    fn scaled(&self, x: &Planned, _: f64) -> Planned {
        self.like(x, x.shape)
    }
    fn add_bias_backward(&self, dy: &Planned, d_bias: &mut Planned) {
        is(d_bias, [dy.last()]);
    }
}
