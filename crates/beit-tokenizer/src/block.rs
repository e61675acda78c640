//! The residual block of both halves: `y = id(x) + gain · res(x)`.

use crate::config::{BOTTLENECK, KERNEL};
use beit_ops::{Conv2d, Ops, Shape, TokenizerOps, tree};

tree! {
    /// Four convolutions, a ReLU before each.
    pub struct ResPath {
        /// Encoder: `[n/4, i, 3, 3]`, decoder: `[n/4, i, 1, 1]`.
        pub conv_1: Conv2d<T> = tree "conv_1.",
        /// `[n/4, n/4, 3, 3]`
        pub conv_2: Conv2d<T> = tree "conv_2.",
        /// `[n/4, n/4, 3, 3]`
        pub conv_3: Conv2d<T> = tree "conv_3.",
        /// Encoder: `[n, n/4, 1, 1]`, decoder: `[n, n/4, 3, 3]`.
        pub conv_4: Conv2d<T> = tree "conv_4.",
    }
}

tree! {
    /// A residual block from `i` to `n` channels. Encoder and decoder differ in the order of the kernel sizes only.
    pub struct Block {
        /// `[n, i, 1, 1]`, absent where `i = n`.
        pub id_path: Option<Conv2d<T>> = maybe_tree "id_path.",
        /// The convolutions.
        pub res_path: ResPath<T> = tree "res_path.path.",
    }
}

/// What the backward of a block needs.
#[derive(Debug)]
pub(crate) struct Saved<T> {
    /// The input, kept for the identity path's convolution.
    x: Option<T>,
    /// The inputs of the four convolutions. Where they are positive, so were the inputs of the ReLUs.
    relu: [T; 4],
}

impl Block<Shape> {
    /// Kernel sizes 3, 3, 3, 1.
    pub(crate) fn encoder(i: usize, n: usize) -> Self {
        Self::shapes(i, n, [KERNEL, 1])
    }

    /// Kernel sizes 1, 3, 3, 3.
    pub(crate) fn decoder(i: usize, n: usize) -> Self {
        Self::shapes(i, n, [1, KERNEL])
    }

    fn shapes(i: usize, n: usize, [first, last]: [usize; 2]) -> Self {
        let hid = n / BOTTLENECK;
        let res_path = ResPath {
            conv_1: conv(i, hid, first),
            conv_2: conv(hid, hid, KERNEL),
            conv_3: conv(hid, hid, KERNEL),
            conv_4: conv(hid, n, last),
        };
        Self { id_path: (i != n).then(|| conv(i, n, 1)), res_path }
    }
}

/// A convolution from `i` to `n` channels with a `k x k` kernel.
pub(crate) fn conv(i: usize, n: usize, k: usize) -> Conv2d<Shape> {
    Conv2d { weight: [n, i, k, k].into(), bias: Some([n].into()) }
}

impl<T: Clone> Block<T> {
    /// `x [B, h, w, i] -> y [B, h, w, n]`. The identity path sees `x` before the ReLU; nothing follows the sum.
    pub(crate) fn forward<O: TokenizerOps<Tensor = T>>(&self, ops: &O, x: T, gain: f64) -> (T, Saved<T>) {
        let res = &self.res_path;
        let relu_1 = ops.relu(&x);
        let relu_2 = ops.conv2d_relu(&relu_1, &res.conv_1);
        let relu_3 = ops.conv2d_relu(&relu_2, &res.conv_2);
        let relu_4 = ops.conv2d_relu(&relu_3, &res.conv_3);
        let added_to = |base: &T| ops.conv2d_add_scaled(base, &relu_4, &res.conv_4, gain);
        let (y, x) = match &self.id_path {
            Some(id) => (added_to(&ops.conv2d(&x, id)), Some(x)),
            None => (added_to(&x), None),
        };
        (y, Saved { x, relu: [relu_1, relu_2, relu_3, relu_4] })
    }

    /// Returns `dx [B, h, w, i]`.
    pub(crate) fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        dy: T,
        saved: Saved<T>,
        gain: f64,
        grads: &mut Self,
    ) -> T {
        let (res, d_res) = (&self.res_path, &mut grads.res_path);
        let [relu_1, relu_2, relu_3, relu_4] = &saved.relu;
        let d = ops.scaled(&dy, gain);
        let d = ops.relu_backward(&ops.conv2d_backward(&d, relu_4, &res.conv_4, &mut d_res.conv_4), relu_4);
        let d = ops.relu_backward(&ops.conv2d_backward(&d, relu_3, &res.conv_3, &mut d_res.conv_3), relu_3);
        let d = ops.relu_backward(&ops.conv2d_backward(&d, relu_2, &res.conv_2, &mut d_res.conv_2), relu_2);
        let mut dx =
            ops.relu_backward(&ops.conv2d_backward(&d, relu_1, &res.conv_1, &mut d_res.conv_1), relu_1);
        match (&self.id_path, &saved.x, &mut grads.id_path) {
            (Some(id), Some(x), Some(d_id)) => {
                ops.add_assign(&mut dx, &ops.conv2d_backward(&dy, x, id, d_id))
            }
            _ => ops.add_assign(&mut dx, &dy),
        }
        dx
    }
}
