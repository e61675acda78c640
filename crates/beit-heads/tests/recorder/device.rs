//! A device for inference alone, as an exporter would write it: tensors are shapes, and every operation leaves a line.

use beit_ops::{
    AttentionOps, AttentionShape, Conv2d, ConvOps, Device, DeviceError, Embeddings, Linear, LinearOps, Norm,
    QkvBias, Residual, ResidualOps, RowOps, Shape, TokenOps,
};
use std::cell::RefCell;

/// Writes down the operations that it is given, with the shapes of what they read and make.
#[derive(Default)]
pub(crate) struct Recorder(RefCell<Vec<String>>);

impl Recorder {
    /// What was recorded since the last call: `operation inputs -> output`.
    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take()
    }

    fn record(&self, operation: &str, inputs: &[&Shape], output: impl Into<Shape>) -> Shape {
        let output = output.into();
        let inputs: Vec<_> = inputs.iter().map(|shape| format!("{shape} ")).collect();
        self.0.borrow_mut().push(format!("{operation} {}-> {output}", inputs.concat()));
        output
    }
}

/// `[B, h, w, C]`
fn map(x: &Shape) -> [usize; 4] {
    x[..].try_into().expect("four extents")
}

impl Device for Recorder {
    type Tensor = Shape;
    /// How many.
    type Ids = usize;

    fn upload(&self, shape: impl Into<Shape>, _: &[f32]) -> Shape {
        shape.into()
    }
    fn upload_ids(&self, ids: &[u32]) -> usize {
        ids.len()
    }
    fn read(&self, x: &Shape) -> Result<Vec<f32>, DeviceError> {
        Ok(vec![0.0; x.elements()])
    }
    fn read_ids(&self, ids: &usize) -> Result<Vec<u32>, DeviceError> {
        Ok(vec![0; *ids])
    }
    fn shape(&self, x: &Shape) -> Shape {
        *x
    }
    fn reshape(&self, _: Shape, shape: impl Into<Shape>) -> Shape {
        shape.into()
    }
}

impl LinearOps for Recorder {
    fn linear(&self, x: &Shape, p: &Linear<Shape>) -> Shape {
        let [n, c] = p.weight.matrix();
        self.record("linear", &[x, &p.weight], [x.elements() / c, n])
    }
    fn gelu(&self, x: &Shape) -> Shape {
        self.record("gelu", &[x], *x)
    }
}

impl ResidualOps for Recorder {
    fn layer_norm(&self, x: &Shape, _: &Norm<Shape>, _: f64) -> Shape {
        self.record("layer_norm", &[x], *x)
    }
    fn scale_residual(&self, x: &Shape, branch: &Shape, _: &Residual<'_, Shape>) -> Shape {
        self.record("scale_residual", &[x, branch], *x)
    }
}

impl AttentionOps for Recorder {
    fn attention(&self, qkv: &Shape, _: &QkvBias<'_, Shape>, _: AttentionShape) -> Shape {
        self.record("attention", &[qkv], [qkv[0], qkv[1] / 3])
    }
}

impl TokenOps for Recorder {
    fn patchify(&self, images: &Shape, [ph, pw]: [usize; 2]) -> Shape {
        let [b, c, height, width] = map(images);
        self.record("patchify", &[images], [b * (height / ph) * (width / pw), c * ph * pw])
    }
    fn embed(&self, patches: &Shape, _: &Embeddings<Shape>, _: Option<&Shape>, tokens: usize) -> Shape {
        self.record("embed", &[patches], [patches[0] / (tokens - 1) * tokens, patches[1]])
    }
    fn mean_pool(&self, x: &Shape, tokens: usize) -> Shape {
        self.record("mean_pool", &[x], [x[0] / tokens, x[1]])
    }
}

impl RowOps for Recorder {
    fn gather_rows(&self, x: &Shape, rows: &usize) -> Shape {
        self.record("gather_rows", &[x], [*rows, x[1]])
    }
    fn scatter_rows(&self, x: &Shape, _: &usize, m: usize) -> Shape {
        self.record("scatter_rows", &[x], [m, x[1]])
    }
    fn argmax_rows(&self, x: &Shape) -> usize {
        self.record("argmax_rows", &[x], [x[0]])[0]
    }
}

impl ConvOps for Recorder {
    fn channels_last(&self, x: &Shape) -> Shape {
        let [b, c, h, w] = map(x);
        self.record("channels_last", &[x], [b, h, w, c])
    }
    fn conv2d(&self, x: &Shape, p: &Conv2d<Shape>) -> Shape {
        let [b, h, w, _] = map(x);
        self.record("conv2d", &[x, &p.weight], [b, h, w, p.weight[0]])
    }
    fn relu(&self, x: &Shape) -> Shape {
        self.record("relu", &[x], *x)
    }
    fn max_pool2(&self, x: &Shape) -> Shape {
        let [b, h, w, c] = map(x);
        self.record("max_pool2", &[x], [b, h / 2, w / 2, c])
    }
    fn upsample2(&self, x: &Shape) -> Shape {
        let [b, h, w, c] = map(x);
        self.record("upsample2", &[x], [b, 2 * h, 2 * w, c])
    }
    fn add_scaled(&self, a: &Shape, b: &Shape, _: f64) -> Shape {
        self.record("add_scaled", &[a, b], *a)
    }
    fn add_bias(&self, x: &Shape, bias: &Shape) -> Shape {
        self.record("add_bias", &[x, bias], *x)
    }
}
