//! Whole steps: inference, fine-tuning, pre-training with and without the tokenizer.

use crate::case::{Case, Fill, Running};
use beit::settings::Size;
use beit_heads::{Classifier, ClassifierConfig, Mim, MimConfig, Pooling, masked_rows};
use beit_ops::{Ops, Shape, Targets, Tree};
use beit_tokenizer::Encoder;
use beit_train::{Decay, Hyper, Optimiser, Schedule};
use beit_vit::{Config, Input, Keep, RelativePositions};
use serde_json::{Value, json};

/// Classes of ImageNet-1k.
const CLASSES: usize = 1000;

/// A model and a batch.
pub(super) struct Model {
    pub(super) name: String,
    pub(super) vit: Config,
    pub(super) vocab: usize,
    pub(super) batch: usize,
    keep: Keep,
    /// Its tokenizer.
    pub(super) tokenizer: beit_tokenizer::Config,
}

impl Model {
    pub(super) fn new(preset: Size, batch: usize, recompute: bool) -> anyhow::Result<Self> {
        let vit = Config { drop_path: 0.0, ..Config::new(preset.into()) };
        let tokenizer = match preset {
            Size::Tiny | Size::Mini | Size::Midi => beit::tokenizer_for(&vit)?,
            _ => beit_tokenizer::Config::dalle(),
        };
        let name = format!("{preset:?}").to_lowercase();
        let keep = Keep { inputs_only: recompute, ..Keep::ALL };
        Ok(Self { name, vit, vocab: tokenizer.vocab, batch, keep, tokenizer })
    }

    /// M, the rows of all tokens of a batch.
    pub(super) fn rows(&self) -> usize {
        self.batch * self.vit.tokens()
    }

    /// The rows of all masked patches of a batch, in the released code's share.
    pub(super) fn masked(&self) -> usize {
        self.batch * self.masked_per_image()
    }

    fn masked_per_image(&self) -> usize {
        (self.vit.patches() as f64 * beit_mask::OFFICIAL_RATIO) as usize
    }

    /// A visual token for each masked patch.
    pub(super) fn codes(&self) -> Vec<u32> {
        (0..self.masked()).map(|i| (i * 7919 % self.vocab) as u32).collect()
    }

    pub(super) fn mim(&self) -> MimConfig {
        MimConfig { vit: self.vit.clone(), vocab: self.vocab }
    }

    fn classifier(&self) -> ClassifierConfig {
        let vit = Config { relative_positions: RelativePositions::PerLayer, ..self.vit.clone() };
        ClassifierConfig::on(vit, CLASSES, Pooling::Mean)
    }

    /// Height and width of the view of an image that the tokenizer gets.
    pub(super) fn view(&self) -> [usize; 2] {
        self.vit.grid().map(|side| side * self.tokenizer.downsampling())
    }

    fn images<O: Ops>(&self, ops: &O, fill: Fill<O>) -> O::Tensor {
        let [height, width] = self.vit.image;
        fill(ops, Shape::from([self.batch, 3, height, width]))
    }
}

/// AdamW with clipping, at one rate.
pub(super) fn optimiser<O: Ops>(
    ops: &O,
    params: &impl Tree<O::Tensor>,
    depth: usize,
) -> Optimiser<O::Tensor> {
    let schedule = Schedule { peak: 1e-5, min: 1e-5, warmup: 0, total: u64::MAX, decay: Decay::Cosine };
    Optimiser::new(ops, params, Hyper { clip_grad: Some(3.0), ..Hyper::new(schedule) }, depth)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Inference,
    Tokenizer,
    FineTuning,
    PreTraining,
    WithTokenizer,
}

/// A step of a model.
pub(super) struct Step<'a> {
    model: &'a Model,
    kind: Kind,
}

/// In the order of the memory that they take; `beside_peer` in the order of what is asked first, since a device that is only lent may
/// be gone before the last.
pub(super) fn steps(model: &Model, beside_peer: bool) -> Vec<Step<'_>> {
    let kinds = match beside_peer {
        false => [Kind::Inference, Kind::Tokenizer, Kind::FineTuning, Kind::PreTraining, Kind::WithTokenizer],
        true => [Kind::PreTraining, Kind::Tokenizer, Kind::FineTuning, Kind::Inference, Kind::WithTokenizer],
    };
    kinds.into_iter().map(|kind| Step { model, kind }).collect()
}

/// Inference alone.
pub(super) fn inference(model: &Model) -> Step<'_> {
    Step { model, kind: Kind::Inference }
}

impl Case for Step<'_> {
    fn name(&self) -> String {
        let name = match self.kind {
            Kind::Inference => "inference",
            Kind::Tokenizer => "tokenizer alone",
            Kind::FineTuning => "fine-tuning step",
            Kind::PreTraining => "pre-training step",
            Kind::WithTokenizer => "pre-training step with tokenizer",
        };
        format!("{} {name}, batch {}", self.model.name, self.model.batch)
    }

    fn images(&self) -> Option<usize> {
        Some(self.model.batch)
    }

    fn prepare<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        match self.kind {
            Kind::Inference => self.inference(ops, fill),
            Kind::Tokenizer => {
                let encode = self.tokenizer(ops, fill);
                Box::new(move || drop(encode()))
            }
            Kind::FineTuning => self.fine_tuning(ops, fill),
            Kind::PreTraining => self.pre_training(ops, fill, None),
            Kind::WithTokenizer => self.pre_training(ops, fill, Some(self.tokenizer(ops, fill))),
        }
    }

    fn question(&self) -> Option<Value> {
        let row = match self.kind {
            Kind::Inference => "inference",
            Kind::Tokenizer => "tokenizer",
            Kind::FineTuning => "finetune",
            Kind::PreTraining => "pretrain",
            Kind::WithTokenizer => return None,
        };
        let Model { vit, vocab, batch, tokenizer, .. } = self.model;
        Some(json!({
            "row": row, "batch": batch, "image": vit.image[0], "patch": vit.patch[0], "width": vit.width, "depth": vit.depth,
            "heads": vit.heads, "hidden": vit.hidden, "vocab": vocab, "classes": CLASSES,
            "masked": self.model.masked_per_image(), "groups": tokenizer.groups, "blocks": tokenizer.blocks_per_group,
            "tokenizer_hidden": tokenizer.hidden,
        }))
    }
}

/// Names the visual tokens of the masked patches.
type Encode<'a, O> = Box<dyn Fn() -> <O as beit_ops::Device>::Ids + 'a>;

impl Step<'_> {
    fn inference<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        let config = self.model.classifier();
        let params = Classifier::shapes(&config).map(&mut |shape| fill(ops, *shape));
        let images = self.model.images(ops, fill);
        Box::new(move || drop(params.infer(ops, &images)))
    }

    fn tokenizer<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Encode<'a, O> {
        let config = self.model.tokenizer;
        let encoder = Encoder::shapes(&config).map(&mut |shape| fill(ops, *shape));
        let [height, width] = self.model.view();
        let pixels = fill(ops, Shape::from([self.model.batch, 3, height, width]));
        let masked = self.masks().into_iter().enumerate().filter(|(_, masked)| *masked);
        let positions = ops.upload_ids(&masked.map(|(i, _)| i as u32).collect::<Vec<_>>());
        Box::new(move || encoder.encode_positions(ops, &pixels, &positions))
    }

    fn fine_tuning<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        let (config, keep) = (self.model.classifier(), self.model.keep);
        let mut params = Classifier::shapes(&config).map(&mut |shape| fill(ops, *shape));
        let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
        let mut optimiser = optimiser(ops, &params, self.model.vit.depth);
        optimiser.gather(ops, &mut params, &mut grads);
        let images = self.model.images(ops, fill);
        let classes: Vec<u32> = (0..self.model.batch as u32).map(|i| i % CLASSES as u32).collect();
        let ids = ops.upload_ids(&classes);
        Box::new(move || {
            let input = Input { images: &images, mask: None, drop_path: None };
            let (logits, saved) = params.forward(ops, &input, keep);
            let d_logits = loss(ops, &logits, &ids, 0.1);
            params.backward(ops, &input, &d_logits, saved, &mut grads);
            let clip = optimiser.clip(ops, &grads);
            optimiser.step(ops, &mut params, &mut grads, &clip);
        })
    }

    fn pre_training<'a, O: Ops>(
        &'a self,
        ops: &'a O,
        fill: Fill<O>,
        encode: Option<Encode<'a, O>>,
    ) -> Running<'a> {
        let (config, keep) = (self.model.mim(), self.model.keep);
        let mut params = Mim::shapes(&config).map(&mut |shape| fill(ops, *shape));
        let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
        let mut optimiser = optimiser(ops, &params, self.model.vit.depth);
        optimiser.gather(ops, &mut params, &mut grads);
        let images = self.model.images(ops, fill);
        let masks = self.masks();
        let patches = self.model.vit.patches();
        let numbers: Vec<f32> = masks.iter().map(|&masked| f32::from(masked)).collect();
        let mask = ops.upload([self.model.batch, patches], &numbers);
        let rows = ops.upload_ids(&masked_rows(&masks, patches));
        let given = ops.upload_ids(&self.model.codes());
        Box::new(move || {
            let codes = encode.as_ref().map_or_else(|| given.clone(), |encode| encode());
            let input = Input { images: &images, mask: Some(&mask), drop_path: None };
            let (logits, saved) = params.forward(ops, &input, &rows, keep);
            let d_logits = loss(ops, &logits, &codes, 0.0);
            params.backward(ops, &input, &d_logits, saved, &mut grads);
            let clip = optimiser.clip(ops, &grads);
            optimiser.step(ops, &mut params, &mut grads, &clip);
        })
    }

    /// The first patches of every image.
    fn masks(&self) -> Vec<bool> {
        let patches = self.model.vit.patches();
        (0..self.model.batch * patches).map(|i| i % patches < self.model.masked_per_image()).collect()
    }
}

/// The gradient of the mean cross-entropy.
fn loss<O: Ops>(ops: &O, logits: &O::Tensor, ids: &O::Ids, smoothing: f32) -> O::Tensor {
    let targets = Targets::Classes { ids, smoothing };
    let (_, lse) = ops.cross_entropy(logits, &targets);
    ops.cross_entropy_backward(logits, &targets, &lse, 1.0)
}
