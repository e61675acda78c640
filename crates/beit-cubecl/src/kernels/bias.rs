//! A bias added to each row; its gradient is a column sum (`columns.rs`).
//!
//! ```text
//! add_bias   y[m, c] = x[m, c] + bias[c]      thread = one vector of y (see elementwise.rs)
//! ```

use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch, vector_width};
use crate::tensor::Tensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Elements that a thread loads at once.
const MAX_VECTOR: usize = 4;

/// `y[m, c] = x[m, c] + bias[c]`
#[cube(launch_unchecked)]
fn add_to_rows<X: Float, B: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    bias: &Array<Vector<B, N>>,
    y: &mut Array<Vector<X, N>>,
    #[define(X, B)] _types: [ElemType; 2],
) {
    let columns = bias.len();
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        let sum = Vector::<f32, N>::cast_from(x[i]) + Vector::<f32, N>::cast_from(bias[i % columns]);
        y[i] = Vector::cast_from(sum);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `x + bias` in the type of `x`.
pub(crate) fn add<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, bias: &Tensor) -> Tensor {
    assert_eq!(x.last(), bias.len(), "rows of {} and a bias of {}", x.shape, bias.shape);
    let y = gpu.empty(x.shape, x.dtype);
    let n = vector_width(MAX_VECTOR, &[bias.len()]);
    let (count, dim) = (grid(x.len() / n, THREADS as usize), CubeDim::new_1d(THREADS));
    launch!(add_to_rows(gpu, count, dim, n, x.arg(), bias.arg(), y.arg(), [x.elem(), bias.elem()]));
    y
}
