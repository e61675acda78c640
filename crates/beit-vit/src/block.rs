//! One transformer block: forward, and its mirror below.

use crate::inner_norm::{self, Inner};
use crate::mlp::{Mlp, without_bias};
use beit_ops::{
    AttentionShape, BranchGrads, Linear, Norm, Ops, QkvBias, QkvBiasGrad, Residual, RowOps, SumNorm,
    SumNormGrads, TransformerOps, tree,
};

tree! {
    /// Self-attention: `proj(norm(attention(x)))`. One product gives q, k and v; q and v have a bias, and what k has is not computed.
    pub struct Attention {
        /// `[3C, C]`, rows q | k | v, without bias.
        pub qkv: Linear<T> = tree "qkv.",
        /// `[C]`
        pub q_bias: T = leaf "q_bias" as Bias,
        /// `[C]`, of models that have one. It adds `(q + q_bias) · k_bias` to all scores of a query, one number, which the softmax does
        /// not see: so no output depends on it and its gradient is zero. It is here because files have it.
        pub k_bias: Option<T> = maybe_leaf "k_bias" as Bias,
        /// `[C]`
        pub v_bias: T = leaf "v_bias" as Bias,
        /// `[R, H]`
        pub relative_position_bias_table: Option<T> = maybe_leaf "relative_position_bias_table" as RelativePositions,
        /// Before the projection `[C]`.
        pub norm: Option<Norm<T>> = maybe_tree "norm.",
        /// `[C, C]`
        pub proj: Linear<T> = tree "proj.",
    }
}

tree! {
    /// Pre-norm: `x + γ₁ attn(norm1(x))`, then `x + γ₂ mlp(norm2(x))`.
    pub struct Block {
        /// LayerScale of the attention `[C]`.
        pub gamma_1: Option<T> = maybe_leaf "gamma_1" as Gamma,
        /// LayerScale of the MLP `[C]`.
        pub gamma_2: Option<T> = maybe_leaf "gamma_2" as Gamma,
        /// Before the attention.
        pub norm1: Norm<T> = tree "norm1.",
        /// Attention.
        pub attn: Attention<T> = tree "attn.",
        /// Before the MLP.
        pub norm2: Norm<T> = tree "norm2.",
        /// MLP.
        pub mlp: Mlp<T> = tree "mlp.",
    }
}

/// What a block needs to know besides its own parameters.
#[derive(Debug)]
pub struct Context<'a, T> {
    /// How the rows belong together.
    pub shape: AttentionShape,
    /// Of the layer norms.
    pub eps: f64,
    /// The relative position table `[R, H]` that all layers share.
    pub shared: Option<&'a T>,
    /// Drop path of the attention and of the MLP, `[B]` each.
    pub keep: [Option<&'a T>; 2],
}

/// What the branches of a block read: its input `[B·T, C]`, and the norm of that.
pub(crate) struct Entry<O: Ops> {
    pub(crate) x: O::Tensor,
    normed: O::Tensor,
    stats: O::Stats,
}

/// The gradients of an [`Entry`] without those of the norm, which is taken together with the residual sum before it.
pub(crate) struct EntryGrads<O: Ops> {
    x: O::Tensor,
    stats: O::Stats,
    /// Of the norm `[B·T, C]`.
    d_normed: O::Tensor,
    /// Of the input `[B·T, C]`, by what reads it besides the norm.
    pub(crate) d_x: O::Tensor,
}

/// What `forward` keeps for `backward`; dropping it gives the memory back.
pub struct Saved<O: Ops> {
    pub(crate) x: O::Tensor,
    stats1: O::Stats,
    normed1: O::Tensor,
    qkv: O::Tensor,
    probs: O::Probs,
    context: Inner<O>,
    branch1: O::Tensor,
    mid: O::Tensor,
    stats2: O::Stats,
    normed2: O::Tensor,
    pre: O::Tensor,
    act: Inner<O>,
    branch2: O::Tensor,
    /// The rows that the MLP saw, if not all.
    rows: Option<O::Ids>,
}

impl<T: Clone> Block<T> {
    /// `x [B·T, C] -> y [B·T, C]`. With `rows` only those of y are its own: the others leave the MLP out.
    pub fn forward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        x: T,
        cx: &Context<'_, T>,
        rows: Option<&O::Ids>,
    ) -> (T, Saved<O>) {
        let saved = self.branches(ops, self.enter(ops, x, cx), cx, rows);
        (self.leave(ops, &saved, cx), saved)
    }

    /// The first norm.
    pub(crate) fn enter<O: Ops<Tensor = T>>(&self, ops: &O, x: T, cx: &Context<'_, T>) -> Entry<O> {
        let (normed, stats) = ops.layer_norm_forward(&x, &self.norm1, cx.eps);
        Entry { x, normed, stats }
    }

    /// The last sum: the output.
    pub(crate) fn leave<O: Ops<Tensor = T>>(&self, ops: &O, saved: &Saved<O>, cx: &Context<'_, T>) -> T {
        ops.scale_residual(&saved.mid, &saved.branch2, &self.scale2(cx))
    }

    /// [`leave`](Self::leave), and the first norm of the `next` block in the same pass.
    pub(crate) fn hand_over<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        saved: &Saved<O>,
        cx: &Context<'_, T>,
        next: &Self,
    ) -> Entry<O> {
        let scale = self.scale2(cx);
        let (x, normed, stats) =
            ops.scale_residual_norm_forward(&saved.mid, &saved.branch2, &scale, &next.norm1, cx.eps);
        Entry { x, normed, stats }
    }

    /// Attention and MLP, which the last sum adds up.
    pub(crate) fn branches<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        Entry { x, normed: normed1, stats: stats1 }: Entry<O>,
        cx: &Context<'_, T>,
        rows: Option<&O::Ids>,
    ) -> Saved<O> {
        let qkv = ops.linear(&normed1, &self.attn.qkv);
        let (context, probs) = ops.attention_forward(&qkv, &self.attn.bias(cx.shared), cx.shape);
        let context = Inner::forward(ops, context, self.attn.norm.as_ref(), cx.eps);
        let branch1 = ops.linear(context.output(), &self.attn.proj);

        let (mid, normed2, stats2) =
            ops.scale_residual_norm_forward(&x, &branch1, &self.scale1(cx), &self.norm2, cx.eps);
        // The MLP works row by row, so leaving rows out gives the same numbers for less work.
        let normed2 = gathered(ops, normed2, rows);
        let (pre, act) = ops.linear_gelu_forward(&normed2, &self.mlp.fc1);
        let act = Inner::forward(ops, act, self.mlp.norm.as_ref(), cx.eps);
        let branch2 = ops.linear(act.output(), &self.mlp.fc2);
        let branch2 = scattered(ops, branch2, rows, &mid);

        Saved {
            x,
            stats1,
            normed1,
            qkv,
            probs,
            context,
            branch1,
            mid,
            stats2,
            normed2,
            pre,
            act,
            branch2,
            rows: rows.cloned(),
        }
    }

    /// [`forward`](Block::forward) where no backward follows.
    pub fn infer<O: TransformerOps<Tensor = T>>(
        &self,
        ops: &O,
        x: T,
        cx: &Context<'_, T>,
        rows: Option<&O::Ids>,
    ) -> T {
        let normed = ops.layer_norm(&x, &self.norm1, cx.eps);
        self.infer_to_end(ops, [x, normed], cx, rows)
    }

    /// [`infer`](Self::infer) of an input and its norm.
    pub(crate) fn infer_to_end<O: TransformerOps<Tensor = T>>(
        &self,
        ops: &O,
        entry: [T; 2],
        cx: &Context<'_, T>,
        rows: Option<&O::Ids>,
    ) -> T {
        let [mid, branch2] = self.infer_branches(ops, entry, cx, rows);
        ops.scale_residual(&mid, &branch2, &self.scale2(cx))
    }

    /// [`infer_to_end`](Self::infer_to_end), and the first norm of the `next` block: `[y, norm(y)]`.
    pub(crate) fn infer_to_next<O: TransformerOps<Tensor = T>>(
        &self,
        ops: &O,
        entry: [T; 2],
        cx: &Context<'_, T>,
        next: &Self,
    ) -> [T; 2] {
        let [mid, branch2] = self.infer_branches(ops, entry, cx, None);
        ops.scale_residual_norm(&mid, &branch2, &self.scale2(cx), &next.norm1, cx.eps).into()
    }

    /// The two that the last sum adds up.
    fn infer_branches<O: TransformerOps<Tensor = T>>(
        &self,
        ops: &O,
        [x, normed1]: [T; 2],
        cx: &Context<'_, T>,
        rows: Option<&O::Ids>,
    ) -> [T; 2] {
        let qkv = ops.linear(&normed1, &self.attn.qkv);
        let context = ops.attention(&qkv, &self.attn.bias(cx.shared), cx.shape);
        let context = inner_norm::infer(ops, context, self.attn.norm.as_ref(), cx.eps);
        let branch1 = ops.linear(&context, &self.attn.proj);
        let (mid, normed2) = ops.scale_residual_norm(&x, &branch1, &self.scale1(cx), &self.norm2, cx.eps);
        let act = ops.linear_gelu(&gathered(ops, normed2, rows), &self.mlp.fc1);
        let act = inner_norm::infer(ops, act, self.mlp.norm.as_ref(), cx.eps);
        let branch2 = scattered(ops, ops.linear(&act, &self.mlp.fc2), rows, &mid);
        [mid, branch2]
    }

    /// `dy [B·T, C] -> dx [B·T, C]`, adding to `grads` and to the gradient of the shared table.
    pub fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        dy: T,
        saved: Saved<O>,
        cx: &Context<'_, T>,
        grads: &mut Self,
        d_shared: Option<&mut T>,
    ) -> T {
        let d_branch2 = self.leave_backward(ops, &dy, &saved, cx, grads);
        let entry = self.branches_backward(ops, [dy, d_branch2], saved, cx, grads, d_shared);
        self.enter_backward(ops, entry, grads)
    }

    /// The mirror of [`leave`](Self::leave): returns the gradient of the MLP's branch.
    pub(crate) fn leave_backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        dy: &T,
        saved: &Saved<O>,
        cx: &Context<'_, T>,
        grads: &mut Self,
    ) -> T {
        ops.scale_residual_backward(dy, &saved.branch2, &self.scale2(cx), grads.branch2())
    }

    /// The mirror of [`hand_over`](Self::hand_over): the gradients of the sum and of the MLP's branch. `grads` are those of this block,
    /// `next_grads` those of the next.
    pub(crate) fn hand_over_backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        entry: &EntryGrads<O>,
        saved: &Saved<O>,
        cx: &Context<'_, T>,
        grads: &mut Self,
        (next, next_grads): (&Self, &mut Self),
    ) -> [T; 2] {
        let EntryGrads { x, stats, d_normed, d_x } = entry;
        let (branch, scale) = (&saved.branch2, self.scale2(cx));
        let given = SumNorm { y: x, stats, branch, scale, norm: &next.norm1 };
        let reached = SumNormGrads { normed: d_normed, y: d_x };
        ops.scale_residual_norm_backward(reached, &given, &mut next_grads.norm1, grads.branch2()).into()
    }

    /// The mirror of [`enter`](Self::enter).
    pub(crate) fn enter_backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        EntryGrads { x, stats, d_normed, d_x }: EntryGrads<O>,
        grads: &mut Self,
    ) -> T {
        ops.layer_norm_backward_residual(&d_normed, &x, &self.norm1, &stats, &mut grads.norm1, &d_x)
    }

    /// The mirror of [`branches`](Self::branches), of the gradients of the last sum and of the MLP's branch.
    pub(crate) fn branches_backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        [dy, d_branch2]: [T; 2],
        s: Saved<O>,
        cx: &Context<'_, T>,
        grads: &mut Self,
        d_shared: Option<&mut T>,
    ) -> EntryGrads<O> {
        let d_branch2 = match &s.rows {
            Some(rows) => ops.scatter_rows_backward(&d_branch2, rows),
            None => d_branch2,
        };
        let d_pre = self.mlp.backward_to_pre(ops, &d_branch2, &s.pre, &s.act, &mut grads.mlp);
        let d_fc1 = &mut grads.mlp.fc1;
        let d_normed2 =
            without_bias(d_fc1, |d_fc1| ops.linear_backward(&d_pre, &s.normed2, &self.mlp.fc1, d_fc1));
        let d_normed2 = match &s.rows {
            Some(rows) => ops.gather_rows_backward(&d_normed2, rows, ops.shape(&s.mid)[0]),
            None => d_normed2,
        };
        let (stats, branch, scale) = (&s.stats2, &s.branch1, self.scale1(cx));
        let (d_mid, d_branch1) = ops.scale_residual_norm_backward(
            SumNormGrads { normed: &d_normed2, y: &dy },
            &SumNorm { y: &s.mid, stats, branch, scale, norm: &self.norm2 },
            &mut grads.norm2,
            BranchGrads { gamma: grads.gamma_1.as_mut(), bias: grads.attn.proj.bias.as_mut() },
        );

        let d_context = without_bias(&mut grads.attn.proj, |d_proj| {
            ops.linear_backward(&d_branch1, s.context.output(), &self.attn.proj, d_proj)
        });
        let d_context = s.context.backward(ops, d_context, self.attn.norm.as_ref(), grads.attn.norm.as_mut());
        let bias = self.attn.bias(cx.shared);
        let mut d_bias = grads.attn.bias_grad(d_shared);
        let d_qkv = ops.attention_backward(&d_context, &s.qkv, &bias, &s.probs, cx.shape, &mut d_bias);
        let d_normed = ops.linear_backward(&d_qkv, &s.normed1, &self.attn.qkv, &mut grads.attn.qkv);
        EntryGrads { x: s.x, stats: s.stats1, d_normed, d_x: d_mid }
    }

    /// What the sum with the MLP's branch adds its gradients to.
    fn branch2(&mut self) -> BranchGrads<'_, T> {
        BranchGrads { gamma: self.gamma_2.as_mut(), bias: self.mlp.fc2.bias.as_mut() }
    }

    fn scale1<'a>(&'a self, cx: &Context<'a, T>) -> Residual<'a, T> {
        Residual { gamma: self.gamma_1.as_ref(), keep: cx.keep[0] }
    }

    fn scale2<'a>(&'a self, cx: &Context<'a, T>) -> Residual<'a, T> {
        Residual { gamma: self.gamma_2.as_ref(), keep: cx.keep[1] }
    }
}

/// The named rows of `x`.
fn gathered<O: RowOps>(ops: &O, x: O::Tensor, rows: Option<&O::Ids>) -> O::Tensor {
    match rows {
        Some(rows) => ops.gather_rows(&x, rows),
        None => x,
    }
}

/// The named rows where they belong among as many as `like` has, the others zero.
fn scattered<O: RowOps>(ops: &O, y: O::Tensor, rows: Option<&O::Ids>, like: &O::Tensor) -> O::Tensor {
    match rows {
        Some(rows) => ops.scatter_rows(&y, rows, ops.shape(like)[0]),
        None => y,
    }
}

impl<T> Attention<T> {
    pub(crate) fn bias<'a>(&'a self, shared: Option<&'a T>) -> QkvBias<'a, T> {
        let table = self.relative_position_bias_table.as_ref();
        QkvBias { q: &self.q_bias, v: &self.v_bias, table, shared }
    }

    fn bias_grad<'a>(&'a mut self, shared: Option<&'a mut T>) -> QkvBiasGrad<'a, T> {
        let table = self.relative_position_bias_table.as_mut();
        QkvBiasGrad { q: &mut self.q_bias, v: &mut self.v_bias, table, shared }
    }
}
