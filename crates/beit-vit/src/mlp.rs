//! The MLP of a block.

use crate::inner_norm::Inner;
use beit_ops::{Linear, Norm, Ops, tree};

tree! {
    /// `fc2(norm(gelu(fc1(x))))`
    pub struct Mlp {
        /// `[hidden, C]`
        pub fc1: Linear<T> = tree "fc1.",
        /// Before the second layer `[hidden]`.
        pub norm: Option<Norm<T>> = maybe_tree "norm.",
        /// `[C, hidden]`
        pub fc2: Linear<T> = tree "fc2.",
    }
}

impl<T> Mlp<T> {
    /// `dy [M, C] -> d_pre [M, hidden]`, through the second layer, the norm and GELU. Where there is no norm, the slope of GELU is
    /// part of the product. The gradients of both layers' biases are sums over rows of other results: that of `fc2` is made with `dy`,
    /// that of `fc1` here.
    pub(crate) fn backward_to_pre<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        dy: &T,
        pre: &T,
        act: &Inner<O>,
        grads: &mut Self,
    ) -> T {
        let d_bias = grads.fc1.bias.as_mut();
        if self.norm.is_none() {
            return without_bias(&mut grads.fc2, |d_fc2| {
                ops.linear_gelu_backward(dy, [pre, act.output()], &self.fc2, d_fc2, d_bias)
            });
        }
        let d_normed =
            without_bias(&mut grads.fc2, |d_fc2| ops.linear_backward(dy, act.output(), &self.fc2, d_fc2));
        let d_act = act.backward(ops, d_normed, self.norm.as_ref(), grads.norm.as_mut());
        let d_pre = ops.gelu_backward(&d_act, pre);
        if let Some(d_bias) = d_bias {
            ops.add_column_sums(&d_pre, d_bias);
        }
        d_pre
    }
}

/// What `f` adds to the gradient of a layer whose bias has its gradient already.
pub(crate) fn without_bias<T, R>(grads: &mut Linear<T>, f: impl FnOnce(&mut Linear<T>) -> R) -> R {
    let bias = grads.bias.take();
    let result = f(grads);
    grads.bias = bias;
    result
}
