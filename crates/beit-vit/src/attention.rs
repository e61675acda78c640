//! What a block's attention looks at.

use crate::{Block, Context, Input, Vit};
use alloc::vec::Vec;
use beit_ops::{DeviceError, QkvBias, TransformerOps, attention_probabilities};

impl<T: Clone> Block<T> {
    /// The probabilities of the attention for some `queries`, tokens of which 0 is \[CLS\]: `x [B·T, C] -> [B, H, queries, T]`, where x is
    /// what the block reads. Their products with the values, through the norm before the projection where there is one and through the
    /// projection, are the branch that the block adds. q and k are the device's; from there on it is computed on the host.
    ///
    /// # Errors
    ///
    /// What the device reported.
    pub fn attention<O: TransformerOps<Tensor = T>>(
        &self,
        ops: &O,
        x: &T,
        cx: &Context<'_, T>,
        queries: &[usize],
    ) -> Result<Vec<f32>, DeviceError> {
        let normed1 = ops.layer_norm(x, &self.norm1, cx.eps);
        let qkv = ops.read(&ops.linear(&normed1, &self.attn.qkv))?;
        let QkvBias { q, v, table, shared } = self.attn.bias(cx.shared);
        let read = |tensor: Option<&T>| tensor.map(|tensor| ops.read(tensor)).transpose();
        let (q, v, table, shared) = (ops.read(q)?, ops.read(v)?, read(table)?, read(shared)?);
        let bias = QkvBias { q: &q, v: &v, table: table.as_ref(), shared: shared.as_ref() };
        Ok(attention_probabilities(&qkv, &bias, cx.shape, queries))
    }
}

impl<T: Clone> Vit<T> {
    /// [`Block::attention`] of block `i`, from 0, where the transformer sees `input`: `[B, H, queries, T]`. What comes after that
    /// block's attention is not computed.
    ///
    /// # Errors
    ///
    /// What the device reported.
    pub fn attention<O: TransformerOps<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        i: usize,
        queries: &[usize],
    ) -> Result<Vec<f32>, DeviceError> {
        let (mut x, _) = self.embed(ops, input);
        for (before, block) in self.blocks[..i].iter().enumerate() {
            x = block.infer(ops, x, &self.context(input, before), None);
        }
        self.blocks[i].attention(ops, &x, &self.context(input, i), queries)
    }

    /// [`attention`](Self::attention) of every block, from the first to the last, in one pass: `see` is given `[B, H, queries, T]` of each.
    ///
    /// # Errors
    ///
    /// What the device reported.
    pub fn attention_of_each<O: TransformerOps<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        queries: &[usize],
        see: &mut dyn FnMut(Vec<f32>),
    ) -> Result<(), DeviceError> {
        let (mut x, _) = self.embed(ops, input);
        for (i, block) in self.blocks.iter().enumerate() {
            see(block.attention(ops, &x, &self.context(input, i), queries)?);
            x = block.infer(ops, x, &self.context(input, i), None);
        }
        Ok(())
    }
}
