//! Rows: picked by number, put back in their places, named by their largest element.

use super::Device;
use crate::plan::{Plan, Planned, PlannedIds, is};

/// Rows, forward.
pub trait RowOps: Device {
    /// `x [M, C] -> y [rows, C]`: the named rows.
    fn gather_rows(&self, x: &Self::Tensor, rows: &Self::Ids) -> Self::Tensor;

    /// `x [rows, C] -> y [M, C]`: row `i` of `x` becomes row `rows[i]` of `y`. Rows that are not named are zero, and no row is
    /// named twice.
    fn scatter_rows(&self, x: &Self::Tensor, rows: &Self::Ids, m: usize) -> Self::Tensor;

    /// The column of the largest element of each row of `x [M, V]`; the first of equals. NaN is larger than every
    /// number, as in PyTorch: of a row with NaN it is the column of the first.
    fn argmax_rows(&self, x: &Self::Tensor) -> Self::Ids;
}

/// The gradients of moved rows: where no row is named twice, gathering and scattering are each other's.
pub trait RowTraining: RowOps {
    /// The mirror of [`gather_rows`](RowOps::gather_rows); returns `dx [M, C]`. No row is named twice.
    fn gather_rows_backward(&self, dy: &Self::Tensor, rows: &Self::Ids, m: usize) -> Self::Tensor {
        self.scatter_rows(dy, rows, m)
    }

    /// The mirror of [`scatter_rows`](RowOps::scatter_rows); returns `dx [rows, C]`.
    fn scatter_rows_backward(&self, dy: &Self::Tensor, rows: &Self::Ids) -> Self::Tensor {
        self.gather_rows(dy, rows)
    }
}

impl RowOps for Plan {
    fn gather_rows(&self, x: &Planned, rows: &PlannedIds) -> Planned {
        self.like(x, [rows.len(), x.last()])
    }
    fn scatter_rows(&self, x: &Planned, rows: &PlannedIds, m: usize) -> Planned {
        is(x, [rows.len(), x.last()]);
        self.tensor([m, x.last()])
    }
    fn argmax_rows(&self, x: &Planned) -> PlannedIds {
        self.ids(x.rows())
    }
}

impl RowTraining for Plan {}
