//! A third execution: no numbers, only shapes. Proves the wiring and counts work and memory before a run starts.

use crate::ops::{
    AdamW, AttentionShape, DeviceError, Embeddings, GumbelNoise, Ops, QkvBias, QkvBiasGrad, Residual, Targets,
};
use crate::params::{Conv2d, Linear, Norm};
use crate::{Shape, relative_position_rows};
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;

/// A device without numbers: a tensor is its shape, and its lifetime is metered.
///
/// A wrong shape panics with both shapes. Memory is counted as the device of the [`Footprint`] holds it; what operations
/// allocate and free inside themselves (packing buffers, partial sums) is not in it.
///
/// ```
/// use beit_ops::{Linear, Ops, Plan};
/// let plan = Plan::default();
/// let p = Linear { weight: plan.zeros([10, 4]), bias: Some(plan.zeros([10])) };
/// let y = plan.linear(&plan.zeros([3, 4]), &p);
/// assert_eq!(&*plan.shape(&y), [3, 10]);
/// assert_eq!(plan.flops(), 2 * 3 * 4 * 10);
/// assert_eq!(plan.peak_bytes(), 4 * (40 + 10 + 12 + 30));
/// ```
#[derive(Debug, Default)]
pub struct Plan {
    footprint: Footprint,
    flops: Cell<u64>,
    memory: Rc<Memory>,
}

/// How a device holds what the model keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of an element that matrix products make or read: 4 for f32, 2 for bf16. All else is f32.
    pub activation: usize,
    /// Whether weights that are used again before they change keep a copy in the order of the kernels, as the
    /// [`Host`](crate::Host) does: in inference, and where several batches make a step.
    pub keeps_packed: bool,
}

impl Footprint {
    /// That of a device, a GPU, whose products make and read numbers of as many bytes, and which packs nothing.
    pub const fn of(activation: usize) -> Self {
        Self { activation, keeps_packed: false }
    }
}

impl Default for Footprint {
    /// That of [`Host<f32>`](crate::Host).
    fn default() -> Self {
        Self { activation: F32, keeps_packed: cfg!(feature = "std") }
    }
}

/// Bytes of an element in single precision.
const F32: usize = 4;

impl Plan {
    /// A plan for a device of this footprint.
    pub fn new(footprint: Footprint) -> Self {
        Self { footprint, ..Self::default() }
    }

    /// Floating-point operations so far: two for each multiply-add of matrix products, attention and convolutions.
    pub fn flops(&self) -> u64 {
        self.flops.get()
    }

    /// Bytes of the tensors that are alive.
    pub fn live_bytes(&self) -> usize {
        self.memory.live.get()
    }

    /// The largest number of bytes that were alive at once.
    pub fn peak_bytes(&self) -> usize {
        self.memory.peak.get()
    }

    /// A tensor in f32.
    fn tensor(&self, shape: impl Into<Shape>) -> Planned {
        self.sized(shape, F32)
    }

    /// A tensor that a matrix product makes or reads.
    fn activation(&self, shape: impl Into<Shape>) -> Planned {
        self.sized(shape, self.footprint.activation)
    }

    /// A tensor of the type of `x`.
    fn like(&self, x: &Planned, shape: impl Into<Shape>) -> Planned {
        self.sized(shape, x.element)
    }

    fn sized(&self, shape: impl Into<Shape>, element: usize) -> Planned {
        let shape = shape.into();
        self.memory.take(element * shape.elements());
        Planned {
            shape,
            element,
            copied: Cell::new(0),
            used: Cell::new(false),
            memory: Rc::clone(&self.memory),
        }
    }

    /// Notes that a matrix product reads the weight `x`: it is copied to the type of activations once, or kept packed in
    /// `packed` elements from the second time on.
    fn operand(&self, x: &Planned, packed: usize) {
        if x.copied.get() > 0 {
            return;
        }
        let again = x.used.replace(true);
        let elements = match x.element == self.footprint.activation {
            false => x.shape.elements(),
            true if again && self.footprint.keeps_packed => packed,
            true => return,
        };
        let bytes = self.footprint.activation * elements;
        x.copied.set(bytes);
        self.memory.take(bytes);
    }

    /// Notes that `x` changes: what was packed of it is dropped.
    fn changes(&self, x: &mut Planned) {
        if self.footprint.keeps_packed {
            x.used.set(false);
            self.memory.give(x.copied.take());
        }
    }

    fn ids(&self, len: usize) -> PlannedIds {
        PlannedIds(self.tensor([len]))
    }

    /// Counts `products` products of `[m, k]` and `[k, n]`.
    fn products(&self, products: usize, m: usize, k: usize, n: usize) {
        self.flops.set(self.flops.get() + 2 * products as u64 * m as u64 * k as u64 * n as u64);
    }
}

#[derive(Debug, Default)]
struct Memory {
    live: Cell<usize>,
    peak: Cell<usize>,
}

impl Memory {
    fn take(&self, bytes: usize) {
        self.live.set(self.live.get() + bytes);
        self.peak.set(self.peak.get().max(self.live.get()));
    }

    fn give(&self, bytes: usize) {
        self.live.set(self.live.get() - bytes);
    }
}

/// A tensor of [`Plan`]: its shape.
#[derive(Debug)]
pub struct Planned {
    shape: Shape,
    /// Bytes of an element.
    element: usize,
    /// Bytes of the copy that matrix products read.
    copied: Cell<usize>,
    /// Whether a product read it since it last changed.
    used: Cell<bool>,
    memory: Rc<Memory>,
}

impl Planned {
    fn rows(&self) -> usize {
        self.shape.elements() / self.last()
    }
    fn last(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }
    /// `[B, h, w, C]`
    fn map(&self) -> [usize; 4] {
        let &[b, h, w, c] = &*self.shape else {
            panic!("a feature map has four extents, not {}", self.shape)
        };
        [b, h, w, c]
    }
}

impl Clone for Planned {
    fn clone(&self) -> Self {
        self.memory.take(self.element * self.shape.elements());
        Self { copied: Cell::new(0), used: Cell::new(false), memory: Rc::clone(&self.memory), ..*self }
    }
}

impl Drop for Planned {
    fn drop(&mut self) {
        let bytes = self.element * self.shape.elements() + self.copied.get();
        self.memory.give(bytes);
    }
}

/// Integers of [`Plan`]: their number.
#[derive(Clone, Debug)]
pub struct PlannedIds(Planned);

#[track_caller]
fn same(a: &Planned, b: &Planned) {
    assert_eq!(a.shape, b.shape, "two tensors of one shape");
}

#[track_caller]
fn is(x: &Planned, shape: impl Into<Shape>) {
    assert_eq!(x.shape, shape.into(), "a tensor of another shape than its place asks for");
}

impl Ops for Plan {
    type Tensor = Planned;
    type Ids = PlannedIds;
    type Stats = Planned;
    type Probs = Planned;

    fn upload(&self, shape: impl Into<Shape>, data: &[f32]) -> Planned {
        let shape = shape.into();
        assert_eq!(shape.elements(), data.len());
        self.tensor(shape)
    }
    fn upload_ids(&self, ids: &[u32]) -> PlannedIds {
        self.ids(ids.len())
    }
    fn read(&self, x: &Planned) -> Result<Vec<f32>, DeviceError> {
        Ok(vec![0.0; x.shape.elements()])
    }
    fn read_ids(&self, ids: &PlannedIds) -> Result<Vec<u32>, DeviceError> {
        Ok(vec![0; ids.0.shape.elements()])
    }
    fn shape(&self, x: &Planned) -> Shape {
        x.shape
    }
    fn zeros(&self, shape: impl Into<Shape>) -> Planned {
        self.tensor(shape)
    }
    fn reshape(&self, mut x: Planned, shape: impl Into<Shape>) -> Planned {
        let shape = shape.into();
        assert_eq!(x.shape.elements(), shape.elements(), "{} reshaped to {shape}", x.shape);
        x.shape = shape;
        x
    }
    fn clear(&self, x: &mut Planned) {
        self.changes(x);
    }
    fn add_assign(&self, a: &mut Planned, b: &Planned) {
        same(a, b);
        self.changes(a);
    }

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
    fn linear_gelu_infer(&self, x: &Planned, p: &Linear<Planned>) -> Planned {
        self.linear(x, p)
    }
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

    fn layer_norm(&self, x: &Planned, p: &Norm<Planned>, _: f64) -> (Planned, Planned) {
        is(&p.weight, [x.last()]);
        is(&p.bias, [x.last()]);
        (self.activation(x.shape), self.tensor([2, x.rows()]))
    }
    fn layer_norm_backward(
        &self,
        dy: &Planned,
        x: &Planned,
        p: &Norm<Planned>,
        stats: &Planned,
        dp: &mut Norm<Planned>,
    ) -> Planned {
        same(dy, x);
        same(&p.weight, &dp.weight);
        is(stats, [2, x.rows()]);
        self.like(x, x.shape)
    }

    fn gelu(&self, x: &Planned) -> Planned {
        self.like(x, x.shape)
    }
    fn gelu_backward(&self, dy: &Planned, x: &Planned) -> Planned {
        same(dy, x);
        self.like(dy, x.shape)
    }
    fn relu(&self, x: &Planned) -> Planned {
        self.like(x, x.shape)
    }
    fn relu_backward(&self, dy: &Planned, x: &Planned) -> Planned {
        same(dy, x);
        self.like(dy, x.shape)
    }

    fn attention(
        &self,
        qkv: &Planned,
        bias: &QkvBias<'_, Planned>,
        shape: AttentionShape,
    ) -> (Planned, Planned) {
        let AttentionShape { heads, tokens, window } = shape;
        let c = qkv.last() / 3;
        assert!(qkv.last() == 3 * c && c.is_multiple_of(heads) && qkv.rows().is_multiple_of(tokens));
        is(bias.q, [c]);
        is(bias.v, [c]);
        for table in [bias.table, bias.shared].into_iter().flatten() {
            assert_eq!(window[0] * window[1] + 1, tokens, "a window of {window:?} for {tokens} tokens");
            is(table, [relative_position_rows(window), heads]);
        }
        let batch = qkv.rows() / tokens;
        self.products(2 * batch * heads, tokens, c / heads, tokens);
        (self.activation([batch * tokens, c]), self.tensor([batch, heads, tokens]))
    }
    fn attention_backward(
        &self,
        d_context: &Planned,
        qkv: &Planned,
        bias: &QkvBias<'_, Planned>,
        probs: &Planned,
        shape: AttentionShape,
        d_bias: &mut QkvBiasGrad<'_, Planned>,
    ) -> Planned {
        let AttentionShape { heads, tokens, .. } = shape;
        let (c, batch) = (qkv.last() / 3, qkv.rows() / tokens);
        is(d_context, [batch * tokens, c]);
        assert_eq!(probs.shape[..3], [batch, heads, tokens]);
        same(bias.q, d_bias.q);
        same(bias.v, d_bias.v);
        assert_eq!(bias.table.map(|t| t.shape), d_bias.table.as_ref().map(|t| t.shape));
        assert_eq!(bias.shared.map(|t| t.shape), d_bias.shared.as_ref().map(|t| t.shape));
        self.products(4 * batch * heads, tokens, c / heads, tokens);
        self.activation(qkv.shape)
    }

    fn scale_residual(&self, x: &Planned, branch: &Planned, scale: &Residual<'_, Planned>) -> Planned {
        same(x, branch);
        if let Some(gamma) = scale.gamma {
            is(gamma, [x.last()]);
        }
        if let Some(keep) = scale.keep {
            assert!(x.rows().is_multiple_of(keep.last()), "{} images in {}", keep.shape, x.shape);
        }
        self.like(x, x.shape)
    }
    fn scale_residual_backward(
        &self,
        dy: &Planned,
        branch: &Planned,
        scale: &Residual<'_, Planned>,
        d_gamma: Option<&mut Planned>,
    ) -> Planned {
        same(dy, branch);
        assert_eq!(scale.gamma.map(|g| g.shape), d_gamma.map(|g| g.shape));
        self.like(branch, dy.shape)
    }

    fn patchify(&self, images: &Planned, patch: [usize; 2]) -> Planned {
        let [batch, channels, height, width] = images.map();
        let [ph, pw] = patch;
        assert!(
            height.is_multiple_of(ph) && width.is_multiple_of(pw),
            "patches {patch:?} in {}",
            images.shape
        );
        self.activation([batch * (height / ph) * (width / pw), channels * ph * pw])
    }
    fn embed(
        &self,
        patches: &Planned,
        p: &Embeddings<Planned>,
        mask: Option<&Planned>,
        tokens: usize,
    ) -> Planned {
        let (n, c) = (tokens - 1, patches.last());
        let batch = patches.rows() / n;
        assert_eq!(batch * n, patches.rows(), "{n} patches an image in {}", patches.shape);
        is(&p.cls_token, [1, 1, c]);
        p.mask_token.iter().for_each(|token| is(token, [1, 1, c]));
        p.pos_embed.iter().for_each(|pos| is(pos, [1, tokens, c]));
        mask.into_iter().for_each(|mask| is(mask, [batch, n]));
        self.tensor([batch * tokens, c])
    }
    fn embed_backward(
        &self,
        d_tokens: &Planned,
        mask: Option<&Planned>,
        tokens: usize,
        dp: &mut Embeddings<Planned>,
    ) -> Planned {
        let (batch, c) = (d_tokens.rows() / tokens, d_tokens.last());
        is(&dp.cls_token, [1, 1, c]);
        mask.into_iter().for_each(|mask| is(mask, [batch, tokens - 1]));
        self.activation([batch * (tokens - 1), c])
    }

    fn gather_rows(&self, x: &Planned, rows: &PlannedIds) -> Planned {
        self.like(x, [rows.0.last(), x.last()])
    }
    fn gather_rows_backward(&self, dy: &Planned, rows: &PlannedIds, m: usize) -> Planned {
        is(dy, [rows.0.last(), dy.last()]);
        self.tensor([m, dy.last()])
    }
    fn mean_pool(&self, x: &Planned, tokens: usize) -> Planned {
        assert!(x.rows().is_multiple_of(tokens), "{tokens} tokens an image in {}", x.shape);
        self.tensor([x.rows() / tokens, x.last()])
    }
    fn mean_pool_backward(&self, dy: &Planned, tokens: usize) -> Planned {
        self.tensor([dy.rows() * tokens, dy.last()])
    }
    fn argmax_rows(&self, x: &Planned) -> PlannedIds {
        self.ids(x.rows())
    }

    fn cross_entropy(&self, logits: &Planned, targets: &Targets<'_, Self>) -> (Planned, Planned) {
        match targets {
            Targets::Classes { ids, .. } => is(&ids.0, [logits.rows()]),
            Targets::Probabilities(p) => same(p, logits),
        }
        (self.tensor([2]), self.tensor([logits.rows()]))
    }
    fn cross_entropy_backward(
        &self,
        logits: &Planned,
        _: &Targets<'_, Self>,
        lse: &Planned,
        _: f32,
    ) -> Planned {
        is(lse, [logits.rows()]);
        self.like(logits, logits.shape)
    }

    fn channels_last(&self, x: &Planned) -> Planned {
        let [b, c, h, w] = x.map();
        self.like(x, [b, h, w, c])
    }
    fn conv2d(&self, x: &Planned, p: &Conv2d<Planned>) -> Planned {
        let [b, h, w, c] = x.map();
        let [o, i, k, k2] = p.weight.map();
        assert!(i == c && k == k2 && k % 2 == 1, "a convolution {} of {}", p.weight.shape, x.shape);
        is(&p.bias, [o]);
        self.products(1, b * h * w, c * k * k, o);
        if self.footprint.keeps_packed {
            self.operand(&p.weight, crate::host::packed_elements(p.weight.map()));
        }
        self.activation([b, h, w, o])
    }
    fn conv2d_backward(
        &self,
        dy: &Planned,
        x: &Planned,
        p: &Conv2d<Planned>,
        dp: &mut Conv2d<Planned>,
    ) -> Planned {
        self.conv2d_backward_params(dy, x, dp);
        same(&p.weight, &dp.weight);
        let [o, i, k, _] = p.weight.map();
        self.products(1, x.rows(), o * k * k, i);
        self.activation(x.shape)
    }
    fn conv2d_backward_params(&self, dy: &Planned, x: &Planned, dp: &mut Conv2d<Planned>) {
        let [b, h, w, c] = x.map();
        let [o, i, k, _] = dp.weight.map();
        assert_eq!(i, c);
        is(dy, [b, h, w, o]);
        self.products(1, o, b * h * w, i * k * k);
    }
    fn max_pool2(&self, x: &Planned) -> Planned {
        let [b, h, w, c] = x.map();
        assert!(h % 2 == 0 && w % 2 == 0, "2x2 squares in {}", x.shape);
        self.like(x, [b, h / 2, w / 2, c])
    }
    fn max_pool2_backward(&self, dy: &Planned, x: &Planned) -> Planned {
        let [b, h, w, c] = x.map();
        is(dy, [b, h / 2, w / 2, c]);
        self.like(dy, x.shape)
    }
    fn upsample2(&self, x: &Planned) -> Planned {
        let [b, h, w, c] = x.map();
        self.like(x, [b, 2 * h, 2 * w, c])
    }
    fn upsample2_backward(&self, dy: &Planned) -> Planned {
        let [b, h, w, c] = dy.map();
        self.like(dy, [b, h / 2, w / 2, c])
    }
    fn add_scaled(&self, a: &Planned, b: &Planned, _: f64) -> Planned {
        same(a, b);
        self.like(a, a.shape)
    }
    fn scaled(&self, x: &Planned, _: f64) -> Planned {
        self.like(x, x.shape)
    }

    fn gumbel_softmax(&self, logits: &Planned, _: GumbelNoise, _: f64) -> Planned {
        self.activation(logits.shape)
    }
    fn gumbel_softmax_backward(&self, dy: &Planned, y: &Planned, _: f64) -> Planned {
        same(dy, y);
        self.activation(y.shape)
    }
    fn posterior_kl(&self, logits: &Planned) -> (Planned, [Planned; 2]) {
        (self.tensor([2]), [self.tensor(logits.shape), self.tensor([logits.last()])])
    }
    fn posterior_kl_backward(&self, saved: &[Planned; 2], _: [f64; 2]) -> Planned {
        self.like(&saved[0], saved[0].shape)
    }
    fn logit_laplace(&self, params: &Planned, x: &Planned) -> Planned {
        assert_eq!(params.shape.elements(), 2 * x.shape.elements());
        self.tensor([1])
    }
    fn logit_laplace_backward(&self, params: &Planned, _: &Planned) -> Planned {
        self.activation(params.shape)
    }

    fn clip_factor(&self, _: &[&Planned], _: Option<f32>, _: f32) -> Planned {
        self.tensor([2])
    }
    fn adamw(
        &self,
        param: &mut Planned,
        grad: &Planned,
        [first, second]: [&mut Planned; 2],
        clip: &Planned,
        _: &AdamW,
    ) {
        same(param, grad);
        same(param, first);
        same(param, second);
        is(clip, [2]);
        self.changes(param);
    }
}
