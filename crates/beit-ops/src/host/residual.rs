//! Residual connections: the sum of a trunk and a branch, scaled by LayerScale and drop path.

use super::Host;
use super::activation::{binary, unary};
use super::array::{Array, data, data_mut, last, shape, unwritten};
use super::layer_norm::{self, RowStats, normalise_row};
use super::par;
use super::real::Real;
use super::reduce::{add, add_column_sums, add_partials};
use crate::ops::{BranchGrads, GradientOps, Residual, ResidualOps, ResidualTraining};
use crate::params::Norm;

/// `a += b`
pub(super) fn add_assign<F: Real>(a: &mut Array<F>, b: &Array<F>) {
    let chunk = par::rows_per_task(1);
    let b = data(b);
    par::chunks(data_mut(a), chunk, |i, a| {
        par::simd(
            #[inline(always)]
            || add(a, &b[i * chunk..]),
        )
    });
}

/// `a + scale · b`
pub(super) fn add_scaled<F: Real>(a: &Array<F>, b: &Array<F>, scale: f64) -> Array<F> {
    let scale = F::from_f64(scale);
    binary(a, b, move |a, b| a + scale * b)
}

/// `scale · x`
pub(super) fn scaled<F: Real>(x: &Array<F>, scale: f64) -> Array<F> {
    let scale = F::from_f64(scale);
    unary(x, move |x| scale * x)
}

/// The factors of a branch: LayerScale for each column, drop path for each image.
struct Factor<'a, F> {
    gamma: Option<&'a [F]>,
    keep: Option<&'a [F]>,
    rows_per_image: usize,
}

impl<'a, F: Real> Factor<'a, F> {
    fn new(scale: &Residual<'a, Array<F>>, rows: usize) -> Self {
        let keep = scale.keep.map(data);
        let rows_per_image = keep.map_or(1, |keep| rows / keep.len());
        Self { gamma: scale.gamma.map(data), keep, rows_per_image }
    }

    /// `y = x + keep · gamma ⊙ branch` for one row.
    #[inline(always)]
    fn add(&self, row: usize, x: &[F], branch: &[F], y: &mut [F]) {
        let (n, keep) = (y.len(), self.keep(row));
        match self.gamma {
            Some(gamma) => {
                for k in 0..n {
                    y[k] = x[k] + keep * gamma[k] * branch[k];
                }
            }
            None => {
                for k in 0..n {
                    y[k] = x[k] + keep * branch[k];
                }
            }
        }
    }

    /// `d_branch = keep · gamma ⊙ dy` for one row.
    #[inline(always)]
    fn scale(&self, row: usize, dy: &[F], d_branch: &mut [F]) {
        let (n, keep) = (dy.len(), self.keep(row));
        match self.gamma {
            Some(gamma) => {
                for k in 0..n {
                    d_branch[k] = keep * gamma[k] * dy[k];
                }
            }
            None => {
                for k in 0..n {
                    d_branch[k] = keep * dy[k];
                }
            }
        }
    }

    /// The drop path factor of the image that a row belongs to.
    #[inline(always)]
    fn keep(&self, row: usize) -> F {
        self.keep.map_or(F::from_f64(1.0), |keep| keep[row / self.rows_per_image])
    }
}

/// `x + keep · gamma ⊙ branch`
pub(super) fn forward<F: Real>(x: &Array<F>, branch: &Array<F>, scale: &Residual<'_, Array<F>>) -> Array<F> {
    let c = last(x);
    let factor = Factor::new(scale, x.len() / c);
    let mut y = unwritten(shape(x));
    let rows = par::rows_per_task(c);
    let (x, branch) = (data(x), data(branch));
    par::chunks(data_mut(&mut y), rows * c, |i, y| {
        par::simd(
            #[inline(always)]
            || {
                for (j, y) in y.chunks_exact_mut(c).enumerate() {
                    let row = i * rows + j;
                    factor.add(row, &x[row * c..][..c], &branch[row * c..][..c], y);
                }
            },
        );
    });
    y
}

/// [`forward`], then the layer norm of each row while it is in the cache. Returns `(y, normed, stats)`.
pub(super) fn forward_norm<F: Real>(
    x: &Array<F>,
    branch: &Array<F>,
    scale: &Residual<'_, Array<F>>,
    norm: &Norm<Array<F>>,
    eps: f64,
) -> (Array<F>, Array<F>, RowStats<F>) {
    let c = last(x);
    let m = x.len() / c;
    let factor = Factor::new(scale, m);
    let (mut y, mut normed, mut stats) = (unwritten(shape(x)), unwritten(shape(x)), unwritten([m, 2]));
    let rows = par::rows_per_task(c);
    let (x, branch, norm) = (data(x), data(branch), [data(&norm.weight), data(&norm.bias)]);
    let (y_rows, normed_rows) = ((data_mut(&mut y), rows * c), (data_mut(&mut normed), rows * c));
    par::chunks3(y_rows, normed_rows, (data_mut(&mut stats), rows * 2), |i, y, normed, stats| {
        par::simd(
            #[inline(always)]
            || {
                let all =
                    y.chunks_exact_mut(c).zip(normed.chunks_exact_mut(c)).zip(stats.chunks_exact_mut(2));
                for (j, ((y, normed), stats)) in all.enumerate() {
                    let row = i * rows + j;
                    factor.add(row, &x[row * c..][..c], &branch[row * c..][..c], y);
                    normalise_row(y, norm, eps, normed, stats);
                }
            },
        );
    });
    (y, normed, RowStats(stats))
}

/// `d_branch = keep · gamma ⊙ dy`, `d_gamma += Σ keep · dy ⊙ branch`, `d_bias += Σ d_branch`
pub(super) fn backward<F: Real>(
    dy: &Array<F>,
    branch: &Array<F>,
    scale: &Residual<'_, Array<F>>,
    into: BranchGrads<'_, Array<F>>,
) -> Array<F> {
    let c = last(dy);
    let factor = Factor::new(scale, dy.len() / c);
    let mut d_branch = unwritten(shape(dy));
    let rows = par::rows_per_task(c);
    let dy = data(dy);
    par::chunks(data_mut(&mut d_branch), rows * c, |i, d_branch| {
        par::simd(
            #[inline(always)]
            || {
                for (j, d_branch) in d_branch.chunks_exact_mut(c).enumerate() {
                    let row = i * rows + j;
                    factor.scale(row, &dy[row * c..][..c], d_branch);
                }
            },
        );
    });
    if let Some(d_bias) = into.bias {
        add_column_sums(data(&d_branch), data_mut(d_bias));
    }
    if let Some(d_gamma) = into.gamma {
        let branch = data(branch);
        add_partials(dy.len() / c, &mut [data_mut(d_gamma)], |rows, [out]| {
            // Of known length, so that the loop below needs no checks and becomes vector instructions.
            let d_gamma = &mut data_mut(out)[..c];
            par::simd(
                #[inline(always)]
                || {
                    for row in rows {
                        let keep = factor.keep(row);
                        let (dy, branch) = (&dy[row * c..][..c], &branch[row * c..][..c]);
                        for k in 0..c {
                            d_gamma[k] += keep * dy[k] * branch[k];
                        }
                    }
                },
            );
        });
    }
    d_branch
}

on_host! {
    impl GradientOps for Host<F> {
        fn clear(&self, x: &mut Tensor) {
            x.fill(F::from_f64(0.0));
        }
        fn add_assign(&self, a: &mut Tensor, b: &Tensor) {
            add_assign(a, b);
        }
        fn add_column_sums(&self, x: &Tensor, into: &mut Tensor) {
            add_column_sums(data(x), data_mut(into));
        }
    }

    impl ResidualOps for Host<F> {
        fn layer_norm(&self, x: &Tensor, p: &Norm<Tensor>, eps: f64) -> Tensor {
            layer_norm::forward(x, p, eps).0
        }
        fn scale_residual(&self, x: &Tensor, branch: &Tensor, scale: &Residual<'_, Tensor>) -> Tensor {
            forward(x, branch, scale)
        }
        fn scale_residual_norm(
            &self,
            x: &Tensor,
            branch: &Tensor,
            scale: &Residual<'_, Tensor>,
            p: &Norm<Tensor>,
            eps: f64,
        ) -> (Tensor, Tensor) {
            let (y, normed, _) = forward_norm(x, branch, scale, p, eps);
            (y, normed)
        }
    }

    impl ResidualTraining for Host<F> {
        type Stats = RowStats<F>;

        fn layer_norm_forward(&self, x: &Tensor, p: &Norm<Tensor>, eps: f64) -> (Tensor, RowStats<F>) {
            layer_norm::forward(x, p, eps)
        }
        fn layer_norm_backward(
            &self,
            dy: &Tensor,
            x: &Tensor,
            p: &Norm<Tensor>,
            stats: &RowStats<F>,
            dp: &mut Norm<Tensor>,
        ) -> Tensor {
            layer_norm::backward(dy, x, p, stats, dp, None)
        }
        fn scale_residual_backward(
            &self,
            dy: &Tensor,
            branch: &Tensor,
            scale: &Residual<'_, Tensor>,
            into: BranchGrads<'_, Tensor>,
        ) -> Tensor {
            backward(dy, branch, scale, into)
        }
        fn scale_residual_norm_forward(
            &self,
            x: &Tensor,
            branch: &Tensor,
            scale: &Residual<'_, Tensor>,
            p: &Norm<Tensor>,
            eps: f64,
        ) -> (Tensor, Tensor, RowStats<F>) {
            forward_norm(x, branch, scale, p, eps)
        }
        fn layer_norm_backward_residual(
            &self,
            d_normed: &Tensor,
            x: &Tensor,
            p: &Norm<Tensor>,
            stats: &RowStats<F>,
            dp: &mut Norm<Tensor>,
            dy: &Tensor,
        ) -> Tensor {
            layer_norm::backward(d_normed, x, p, stats, dp, Some(dy))
        }
    }
}
