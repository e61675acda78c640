//! Linear layers, and the activation that follows one.

use super::{Device, GradientOps};
use crate::params::Linear;
use crate::plan::{Plan, Planned, is, same};

/// Linear layers and GELU, forward.
pub trait LinearOps: Device {
    /// `x [M, C] · weight [N, C]ᵀ + bias [N] -> y [M, N]`
    fn linear(&self, x: &Self::Tensor, p: &Linear<Self::Tensor>) -> Self::Tensor;

    /// `x Φ(x) = x/2 · (1 + erf(x/√2))`, the exact form.
    fn gelu(&self, x: &Self::Tensor) -> Self::Tensor;

    /// `gelu(x Wᵀ + b)`
    fn linear_gelu(&self, x: &Self::Tensor, p: &Linear<Self::Tensor>) -> Self::Tensor {
        self.gelu(&self.linear(x, p))
    }
}

/// Their gradients.
pub trait LinearTraining: LinearOps + GradientOps {
    /// The mirror of [`linear`](LinearOps::linear); returns `dx [M, C]`.
    fn linear_backward(
        &self,
        dy: &Self::Tensor,
        x: &Self::Tensor,
        p: &Linear<Self::Tensor>,
        dp: &mut Linear<Self::Tensor>,
    ) -> Self::Tensor;
    /// [`linear_backward`](LinearTraining::linear_backward) where nobody needs `dx`: the first layer of a model.
    fn linear_backward_params(&self, dy: &Self::Tensor, x: &Self::Tensor, dp: &mut Linear<Self::Tensor>);

    /// The mirror of [`gelu`](LinearOps::gelu): `dx = dy · (Φ(x) + x φ(x))`
    fn gelu_backward(&self, dy: &Self::Tensor, x: &Self::Tensor) -> Self::Tensor;

    /// [`linear_gelu`](LinearOps::linear_gelu) before a backward: `(pre, gelu(pre))` with `pre = x Wᵀ + b`.
    fn linear_gelu_forward(
        &self,
        x: &Self::Tensor,
        p: &Linear<Self::Tensor>,
    ) -> (Self::Tensor, Self::Tensor) {
        let pre = self.linear(x, p);
        let act = self.gelu(&pre);
        (pre, act)
    }
    /// [`linear_backward`](LinearTraining::linear_backward) of a layer whose input was `act = gelu(pre)`: returns `d_pre`. Its sums over
    /// rows are added to `d_bias`, the gradient of the bias in `pre`, where there is one.
    fn linear_gelu_backward(
        &self,
        dy: &Self::Tensor,
        [pre, act]: [&Self::Tensor; 2],
        p: &Linear<Self::Tensor>,
        dp: &mut Linear<Self::Tensor>,
        d_bias: Option<&mut Self::Tensor>,
    ) -> Self::Tensor {
        let d_act = self.linear_backward(dy, act, p, dp);
        let d_pre = self.gelu_backward(&d_act, pre);
        if let Some(d_bias) = d_bias {
            self.add_column_sums(&d_pre, d_bias);
        }
        d_pre
    }
}

impl LinearOps for Plan {
    fn linear(&self, x: &Planned, p: &Linear<Planned>) -> Planned {
        let [n, c] = p.weight.shape.matrix();
        let m = x.shape.elements() / c;
        assert_eq!(m * c, x.shape.elements(), "rows of {c} in {}", x.shape);
        if let Some(bias) = &p.bias {
            is(bias, [n]);
        }
        self.products(1, m, c, n);
        self.operand(&p.weight, p.weight.shape.elements());
        self.activation([m, n])
    }
    fn gelu(&self, x: &Planned) -> Planned {
        self.like(x, x.shape)
    }
    fn linear_gelu(&self, x: &Planned, p: &Linear<Planned>) -> Planned {
        self.linear(x, p)
    }
}

impl LinearTraining for Plan {
    fn linear_backward(
        &self,
        dy: &Planned,
        x: &Planned,
        p: &Linear<Planned>,
        dp: &mut Linear<Planned>,
    ) -> Planned {
        self.linear_backward_params(dy, x, dp);
        same(&p.weight, &dp.weight);
        let [n, c] = p.weight.shape.matrix();
        self.products(1, dy.rows(), n, c);
        self.activation(x.shape)
    }
    fn linear_backward_params(&self, dy: &Planned, x: &Planned, dp: &mut Linear<Planned>) {
        let [n, c] = dp.weight.shape.matrix();
        let m = x.shape.elements() / c;
        is(dy, [m, n]);
        self.products(1, n, m, c);
    }
    fn gelu_backward(&self, dy: &Planned, x: &Planned) -> Planned {
        same(dy, x);
        self.like(dy, x.shape)
    }
}
