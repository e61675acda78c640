//! Rows, gathered, scattered and named by their largest element.

use super::case::{Backward, Case, Forward, Input, activation};
use super::check::Check;
use crate::{RowOps, RowTraining};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

pub(super) fn infer<O: RowOps>(check: &mut Check<'_, O>) {
    gathers().for_each(|case| check.half(&case));
    scatters().for_each(|case| check.half(&case));
    argmax(check);
}

pub(super) fn train<O: RowTraining>(check: &mut Check<'_, O>) {
    gathers().for_each(|case| check.pair(&case));
    scatters().for_each(|case| check.pair(&case));
}

fn gathers() -> impl Iterator<Item = Gather> {
    [Gather { m: 7, c: 3, rows: vec![6, 0, 3] }, Gather { m: 1, c: 1, rows: vec![0] }].into_iter()
}

fn scatters() -> impl Iterator<Item = Scatter> {
    let shapes = [(9, 8, vec![8, 2, 3, 0]), (1, 1, vec![0]), (5, 3, vec![4])];
    shapes.into_iter().map(|(m, c, rows)| Scatter { m, c, rows })
}

struct Gather {
    m: usize,
    c: usize,
    rows: Vec<u32>,
}

impl Case for Gather {
    fn name(&self) -> String {
        format!("gather_rows {:?} of {}x{}", self.rows, self.m, self.c)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("x", [self.m, self.c], 24)]
    }
}

impl<O: RowOps> Forward<O> for Gather {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.gather_rows(&x[0], &ops.upload_ids(&self.rows))]
    }
}

impl<O: RowTraining> Backward<O> for Gather {
    fn backward(
        &self,
        ops: &O,
        _: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.gather_rows_backward(dy, &ops.upload_ids(&self.rows), self.m))]
    }
}

struct Scatter {
    m: usize,
    c: usize,
    rows: Vec<u32>,
}

impl Case for Scatter {
    fn name(&self) -> String {
        format!("scatter_rows {:?} of {}x{}", self.rows, self.m, self.c)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("x", [self.rows.len(), self.c], 36)]
    }
}

impl<O: RowOps> Forward<O> for Scatter {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.scatter_rows(&x[0], &ops.upload_ids(&self.rows), self.m)]
    }
}

impl<O: RowTraining> Backward<O> for Scatter {
    fn backward(
        &self,
        ops: &O,
        _: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.scatter_rows_backward(dy, &ops.upload_ids(&self.rows)))]
    }
}

fn argmax<O: RowOps>(check: &mut Check<'_, O>) {
    let name = "argmax_rows: the first of equals";
    if !(check.wanted)(name) {
        return;
    }
    let x = check.ops.upload([3, 4], &[0., 2., 2., 1., -1., -2., -3., -0.5, 5., 5., 5., 5.]);
    let got = check.ops.argmax_rows(&x);
    check.ids(name, &got, &[1, 3, 0]);
}
