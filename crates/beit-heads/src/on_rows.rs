//! A linear layer on some of a transformer's tokens: what the models of masked image modelling share, whatever they predict.

use beit_ops::init::Stream;
use beit_ops::{Device, Linear, Norm, Ops, Shape, TransformerOps};
use beit_vit::{Block, Init, Input, Keep, Saved as VitSaved, Vit};

/// The parameters of the layer.
pub(crate) fn shapes(outputs: usize, width: usize) -> Linear<Shape> {
    Linear { weight: Shape::from([outputs, width]), bias: Some(Shape::from([outputs])) }
}

/// Its initial values.
pub(crate) fn init<O: Device>(ops: &O, outputs: usize, width: usize, seed: u64) -> Linear<O::Tensor> {
    let weight = Init::Pretraining.weights(width, outputs * width, &mut Stream::new(seed, 0));
    Linear { weight: ops.upload([outputs, width], &weight), bias: Some(ops.zeros([outputs])) }
}

/// What `forward` keeps for `backward`.
pub struct Saved<O: Ops> {
    vit: VitSaved<O>,
    rows: O::Ids,
    gathered: O::Tensor,
    normed: Option<(O::Tensor, O::Stats)>,
}

/// A transformer and the layer on its tokens, or their gradients.
pub(crate) type Parts<'a, T> = (&'a Vit<T>, &'a Linear<T>);

/// `images -> outputs [rows, V]` of the named rows of `[B·T, C]` only.
pub(crate) fn forward<O: Ops>(
    ops: &O,
    (vit, head): Parts<'_, O::Tensor>,
    input: &Input<'_, O::Tensor>,
    rows: &O::Ids,
    keep: Keep,
) -> (O::Tensor, Saved<O>) {
    let (tokens, saved) = vit.forward_rows(ops, input, keep, Some(rows));
    // The norm works row by row, so gathering first gives the same numbers for less work.
    let gathered = ops.gather_rows(&tokens, rows);
    let eps = vit.config().layer_norm_eps;
    let normed = vit.norm.as_ref().map(|norm| ops.layer_norm_forward(&gathered, norm, eps));
    let features = normed.as_ref().map_or(&gathered, |(normed, _)| normed);
    let outputs = ops.linear(features, head);
    (outputs, Saved { vit: saved, rows: rows.clone(), gathered, normed })
}

/// `d_outputs [rows, V]`; adds to the gradients of both. `finished` sees those of each block when nothing more is added to them, from
/// the last block to the first.
pub(crate) fn backward<O: Ops>(
    ops: &O,
    (vit, head): Parts<'_, O::Tensor>,
    input: &Input<'_, O::Tensor>,
    (d_outputs, saved): (&O::Tensor, Saved<O>),
    (d_vit, d_head): (&mut Vit<O::Tensor>, &mut Linear<O::Tensor>),
    finished: &mut dyn FnMut(&Block<O::Tensor>),
) {
    let Saved { vit: saved, rows, gathered, normed } = saved;
    let features = normed.as_ref().map_or(&gathered, |(normed, _)| normed);
    let mut d_rows = ops.linear_backward(d_outputs, features, head, d_head);
    if let (Some(norm), Some(d_norm), Some((_, stats))) = (&vit.norm, &mut d_vit.norm, &normed) {
        d_rows = ops.layer_norm_backward(&d_rows, &gathered, norm, stats, d_norm);
    }
    let batch = ops.shape(input.images)[0];
    let d_tokens = ops.gather_rows_backward(&d_rows, &rows, batch * vit.config().tokens());
    vit.backward_watched(ops, input, d_tokens, saved, d_vit, finished);
}

/// `images -> outputs [rows, V]`, keeping nothing.
pub(crate) fn infer<O: TransformerOps>(
    ops: &O,
    (vit, head): Parts<'_, O::Tensor>,
    input: &Input<'_, O::Tensor>,
    rows: &O::Ids,
) -> O::Tensor {
    let tokens = vit.infer_rows(ops, input, Some(rows), &mut |_, _| {});
    let gathered = ops.gather_rows(&tokens, rows);
    let eps = vit.config().layer_norm_eps;
    let norm = |norm: &Norm<O::Tensor>| ops.layer_norm(&gathered, norm, eps);
    let normed = vit.norm.as_ref().map(norm);
    ops.linear(normed.as_ref().unwrap_or(&gathered), head)
}
