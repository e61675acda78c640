//! Classification of whole images (paper §2.6, "Image classification").

use alloc::vec::Vec;
use beit_ops::init::Stream;
use beit_ops::{Device, Linear, Norm, Ops, Shape, TransformerOps, tree};
use beit_vit::{Block, Config, Init, Input, Keep, Saved as VitSaved, Vit};

/// What represents an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of the patch tokens, then `fc_norm`; no norm over tokens. The released default.
    Mean,
    /// The final norm, then \[CLS\].
    Cls,
}

/// What a classifier looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassifierConfig {
    /// The transformer: with a final norm for [`Pooling::Cls`], without for [`Pooling::Mean`].
    pub vit: Config,
    /// Number of classes.
    pub classes: usize,
    /// What represents an image.
    pub pooling: Pooling,
}

impl ClassifierConfig {
    /// The classifier on top of a transformer that was pre-trained: no mask token, the norm that the pooling asks for.
    pub fn on(vit: Config, classes: usize, pooling: Pooling) -> Self {
        let final_norm = pooling == Pooling::Cls;
        Self { vit: Config { mask_token: false, final_norm, ..vit }, classes, pooling }
    }
}

tree! {
    /// The transformer, a norm of the pooled tokens, and a linear layer.
    pub struct Classifier {
        /// Number of classes.
        classes: usize = plain,
        /// What represents an image.
        pooling: Pooling = plain,
        /// The transformer.
        pub vit: Vit<T> = tree "",
        /// Of the mean, `[C]`.
        pub fc_norm: Option<Norm<T>> = maybe_tree "fc_norm.",
        /// `[classes, C]`
        pub head: Linear<T> = tree "head.",
    }
}

impl Classifier<Shape> {
    /// The definition of the parameters.
    pub fn shapes(config: &ClassifierConfig) -> Self {
        let (classes, c) = (config.classes, Shape::from([config.vit.width]));
        Self {
            classes,
            pooling: config.pooling,
            vit: Vit::<Shape>::shapes(&config.vit),
            fc_norm: (config.pooling == Pooling::Mean).then_some(Norm { weight: c, bias: c }),
            head: Linear {
                weight: Shape::from([classes, config.vit.width]),
                bias: Some(Shape::from([classes])),
            },
        }
    }
}

/// The released code multiplies the head's initial values by this (`--init_scale`).
const HEAD_SCALE: f32 = 0.001;

/// The initial weights of a head, `[classes, C]`; its bias begins at 0.
pub fn initial_head(config: &ClassifierConfig, seed: u64) -> Vec<f32> {
    let count = config.classes * config.vit.width;
    let mut weight = Init::FineTuning.weights(config.vit.width, count, &mut Stream::new(seed, 0));
    weight.iter_mut().for_each(|v| *v *= HEAD_SCALE);
    weight
}

/// What `forward` keeps for `backward`.
pub struct Saved<O: Ops> {
    vit: VitSaved<O>,
    pooled: O::Tensor,
    normed: Option<(O::Tensor, O::Stats)>,
    cls_rows: Option<O::Ids>,
}

impl<T> Classifier<T> {
    /// The configuration that the parameters were made for.
    pub fn config(&self) -> ClassifierConfig {
        ClassifierConfig { vit: self.vit.config().clone(), classes: self.classes, pooling: self.pooling }
    }
}

impl<T: Clone> Classifier<T> {
    /// Draws the initial values of the fine-tuning model: those of training from scratch.
    pub fn init<O: Device<Tensor = T>>(ops: &O, config: &ClassifierConfig, seed: u64) -> Self {
        let vit = beit_vit::init(ops, &config.vit, Init::FineTuning, seed);
        Self::on(ops, config, vit, seed)
    }

    /// A new head on a transformer that has learned already.
    pub fn on<O: Device<Tensor = T>>(ops: &O, config: &ClassifierConfig, vit: Vit<T>, seed: u64) -> Self {
        let (classes, c) = (config.classes, config.vit.width);
        let weight = initial_head(config, seed);
        let norm = || Norm { weight: ops.upload([c], &alloc::vec![1.0; c]), bias: ops.zeros([c]) };
        Self {
            classes,
            pooling: config.pooling,
            vit,
            fc_norm: (config.pooling == Pooling::Mean).then(norm),
            head: Linear { weight: ops.upload([classes, c], &weight), bias: Some(ops.zeros([classes])) },
        }
    }

    /// `images -> logits [B, classes]`
    pub fn forward<O: Ops<Tensor = T>>(&self, ops: &O, input: &Input<'_, T>, keep: Keep) -> (T, Saved<O>) {
        let (tokens, vit) = self.vit.forward(ops, input, keep);
        let (pooled, cls_rows) = self.pool(ops, &tokens);
        let eps = self.vit.config().layer_norm_eps;
        let normed = self.norm().map(|norm| ops.layer_norm_forward(&pooled, norm, eps));
        let features = normed.as_ref().map_or(&pooled, |(normed, _)| normed);
        let logits = ops.linear(features, &self.head);
        (logits, Saved { vit, pooled, normed, cls_rows })
    }

    /// `d_logits [B, classes]`; adds to `grads`.
    pub fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        d_logits: &T,
        saved: Saved<O>,
        grads: &mut Self,
    ) {
        self.backward_watched(ops, input, d_logits, saved, grads, &mut |_| {});
    }

    /// [`backward`](Classifier::backward); `finished` sees the gradients of each block when nothing more is added to them, from the last
    /// block to the first.
    pub fn backward_watched<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        d_logits: &T,
        saved: Saved<O>,
        grads: &mut Self,
        finished: &mut dyn FnMut(&Block<T>),
    ) {
        let Saved { vit, pooled, normed, cls_rows } = saved;
        let features = normed.as_ref().map_or(&pooled, |(normed, _)| normed);
        let mut d_pooled = ops.linear_backward(d_logits, features, &self.head, &mut grads.head);
        if let (Some(norm), Some(d_norm), Some((_, stats))) = (self.norm(), grads.norm_mut(), &normed) {
            d_pooled = ops.layer_norm_backward(&d_pooled, &pooled, norm, stats, d_norm);
        }
        let tokens = self.vit.config().tokens();
        let d_tokens = match cls_rows {
            None => ops.mean_pool_backward(&d_pooled, tokens),
            Some(rows) => ops.gather_rows_backward(&d_pooled, &rows, ops.shape(&d_pooled)[0] * tokens),
        };
        self.vit.backward_watched(ops, input, d_tokens, vit, &mut grads.vit, finished);
    }

    /// `images -> logits [B, classes]`, keeping nothing.
    pub fn infer<O: TransformerOps<Tensor = T>>(&self, ops: &O, images: &T) -> T {
        let input = Input { images, mask: None, drop_path: None };
        let tokens = self.vit.infer(ops, &input, &mut |_, _| {});
        let (pooled, _) = self.pool(ops, &tokens);
        let eps = self.vit.config().layer_norm_eps;
        let normed = self.norm().map(|norm| ops.layer_norm(&pooled, norm, eps));
        ops.linear(normed.as_ref().unwrap_or(&pooled), &self.head)
    }

    /// The one norm after pooling. Norms work row by row, so the final norm may follow the choice of \[CLS\].
    fn norm(&self) -> Option<&Norm<T>> {
        self.fc_norm.as_ref().or(self.vit.norm.as_ref())
    }

    fn norm_mut(&mut self) -> Option<&mut Norm<T>> {
        self.fc_norm.as_mut().or(self.vit.norm.as_mut())
    }

    /// `tokens [B·T, C] -> pooled [B, C]`, and the rows of \[CLS\] where those were taken.
    fn pool<O: TransformerOps<Tensor = T>>(&self, ops: &O, tokens: &T) -> (T, Option<O::Ids>) {
        let t = self.vit.config().tokens();
        match self.pooling {
            Pooling::Mean => (ops.mean_pool(tokens, t), None),
            Pooling::Cls => {
                let batch = ops.shape(tokens)[0] / t;
                let rows: Vec<u32> = (0..batch).map(|b| (b * t) as u32).collect();
                let rows = ops.upload_ids(&rows);
                (ops.gather_rows(tokens, &rows), Some(rows))
            }
        }
    }
}
