//! Semantic segmentation: a class for every pixel (paper §2.6, "Semantic segmentation").
//!
//! The transformer gives a map for each tapped block, one element a patch; a head makes classes of them. `conv_norm` is the layer that
//! heads are made of, `setr` and `upernet` are the heads, `pyramid` and `pooling` parts of UPerNet, `fcn` its auxiliary head, `head` the
//! choice between them, `loss` what training minimises.

mod config;
mod conv_norm;
mod fcn;
mod head;
mod init;
mod loss;
mod pooling;
mod pyramid;
mod scores;
mod setr;
mod upernet;

pub use config::{Auxiliary, HeadConfig, MOST_CHANNELS, MOST_CLASSES, SegmenterConfig, Unfit};
pub use conv_norm::{ConvNorm, ConvNormRunning};
pub use fcn::{Fcn, FcnRunning};
pub use head::{Head, HeadRunning, SetrPup, SetrPupRunning, Upernet, UpernetRunning};
pub use init::initial as initial_segmentation_head;
pub use loss::{AUXILIARY_WEIGHT, PixelLoss, PixelMean, Pixels, pixel_loss};
pub use pooling::{Module, ModuleRunning, PyramidPooling, PyramidPoolingRunning};
pub use pyramid::{Pyramid, PyramidRunning};
pub use setr::{Pup, PupRunning, Stage, StageRunning};
pub use upernet::{UperHead, UperHeadRunning};

use crate::mim::patch_rows;
use alloc::vec::Vec;
use beit_ops::{Device, Ops, SegmentationOps, Shape, tree};
use beit_vit::{Block, Init, Input, Keep, Saved as VitSaved, Vit};

/// The share of the channels that is dropped before classes are scored, in training (mmsegmentation, `dropout_ratio`).
pub const CHANNEL_DROPOUT: f32 = 0.1;

tree! {
    /// The transformer and a head.
    pub struct Segmenter {
        config: SegmenterConfig = plain,
        /// The transformer.
        pub vit: Vit<T> = tree "",
        /// The head.
        pub head: Head<T> = tree "",
    }
}

impl Segmenter<Shape> {
    /// The definition of the parameters.
    #[must_use]
    pub fn shapes(config: &SegmenterConfig) -> Self {
        Self {
            config: config.clone(),
            vit: Vit::<Shape>::shapes(&config.vit),
            head: Head::<Shape>::shapes(config),
        }
    }

    /// The definition of the running statistics, which are no parameters: they change in training without a gradient.
    #[must_use]
    pub fn running(config: &SegmenterConfig) -> HeadRunning<Shape> {
        Head::<Shape>::shapes(config).running()
    }
}

/// What `forward` keeps for `backward`.
pub struct Saved<O: Ops> {
    vit: VitSaved<O>,
    rows: O::Ids,
    tokens: usize,
    maps: Vec<O::Tensor>,
    head: head::Saved<O>,
}

impl<T> Segmenter<T> {
    /// The configuration that the parameters were made for.
    pub fn config(&self) -> &SegmenterConfig {
        &self.config
    }
}

impl<T: Clone> Segmenter<T> {
    /// Draws the initial values: those of training from scratch.
    pub fn init<O: Device<Tensor = T>>(ops: &O, config: &SegmenterConfig, seed: u64) -> Self {
        let vit = beit_vit::init(ops, &config.vit, Init::FineTuning, seed);
        Self::on(ops, config, vit, seed)
    }

    /// A new head on a transformer that has learned already.
    pub fn on<O: Device<Tensor = T>>(ops: &O, config: &SegmenterConfig, vit: Vit<T>, seed: u64) -> Self {
        Self { config: config.clone(), vit, head: init::head(ops, config, seed) }
    }

    /// The running statistics of a new head.
    pub fn init_running<O: Device<Tensor = T>>(ops: &O, config: &SegmenterConfig) -> HeadRunning<T> {
        init::running(ops, config)
    }

    /// `images -> logits [B, ., ., V]`: those of the head, then those of each auxiliary head. Batch norms go by the batch, and `running`
    /// follows. `dropout` has a factor `[B, channels]` for every channel that is [scored](SegmenterConfig::scored); none keeps all.
    pub fn forward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        running: &mut HeadRunning<T>,
        dropout: &[T],
        keep: Keep,
    ) -> (Vec<T>, Saved<O>) {
        let (outputs, vit) = self.vit.forward_taps(ops, input, keep, self.config.read());
        let (tokens, rows) = self.rows(ops, &outputs[0]);
        let maps: Vec<T> = outputs.into_iter().map(|output| self.map(ops, &output, &rows)).collect();
        let (logits, head) = self.head.forward(ops, &maps, running, dropout);
        (logits, Saved { vit, rows, tokens, maps, head })
    }

    /// From the gradients of all logits; adds to `grads`.
    pub fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        d_logits: &[T],
        dropout: &[T],
        saved: Saved<O>,
        grads: &mut Self,
    ) {
        self.backward_watched(ops, input, (d_logits, dropout), saved, grads, &mut |_| {});
    }

    /// [`backward`](Segmenter::backward) of `(d_logits, dropout)`; `finished` sees the gradients of each block when nothing more is added to
    /// them, from the last block to the first.
    pub fn backward_watched<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        (d_logits, dropout): (&[T], &[T]),
        saved: Saved<O>,
        grads: &mut Self,
        finished: &mut dyn FnMut(&Block<T>),
    ) {
        let Saved { vit, rows, tokens, maps, head } = saved;
        let d_maps = self.head.backward(ops, &maps, d_logits, dropout, head, &mut grads.head);
        drop(maps);
        let d_outputs = d_maps.into_iter().map(|d| {
            let shape = ops.shape(&d);
            let d = ops.reshape(d, [shape[0] * shape[1] * shape[2], shape[3]]);
            ops.gather_rows_backward(&d, &rows, tokens)
        });
        let d_taps = (self.config.read(), d_outputs.collect());
        self.vit.backward_taps_watched(ops, input, d_taps, vit, &mut grads.vit, finished);
    }

    /// `images -> logits [B, height, width, V]`, keeping nothing, batch norms by running statistics.
    pub fn infer<O: SegmentationOps<Tensor = T>>(&self, ops: &O, images: &T, running: &HeadRunning<T>) -> T {
        self.head.infer(ops, self.maps(ops, images), running)
    }

    /// [`infer`](Segmenter::infer) of UPerNet's auxiliary head, where it has one.
    pub fn infer_auxiliary<O: SegmentationOps<Tensor = T>>(
        &self,
        ops: &O,
        images: &T,
        running: &HeadRunning<T>,
    ) -> Option<T> {
        self.head.infer_auxiliary(ops, &self.maps(ops, images), running)
    }

    fn maps<O: SegmentationOps<Tensor = T>>(&self, ops: &O, images: &T) -> Vec<T> {
        let input = Input { images, mask: None, drop_path: None };
        let outputs = self.vit.infer_taps(ops, &input, self.config.read());
        let (_, rows) = self.rows(ops, &outputs[0]);
        outputs.into_iter().map(|output| self.map(ops, &output, &rows)).collect()
    }

    /// The number of tokens in `[B·T, C]`, and the rows of those that are patches.
    fn rows<O: SegmentationOps<Tensor = T>>(&self, ops: &O, output: &T) -> (usize, O::Ids) {
        let (all, patches) = (ops.shape(output)[0], self.config.vit.patches());
        let batch = all / self.config.vit.tokens();
        (all, ops.upload_ids(&patch_rows(batch, patches)))
    }

    /// `[B·T, C] -> [B, h, w, C]`
    fn map<O: SegmentationOps<Tensor = T>>(&self, ops: &O, output: &T, rows: &O::Ids) -> T {
        let ([h, w], c) = (self.config.vit.grid(), self.config.vit.width);
        let batch = ops.shape(output)[0] / self.config.vit.tokens();
        ops.reshape(ops.gather_rows(output, rows), [batch, h, w, c])
    }
}
