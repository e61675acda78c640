//! The launches that the project makes: every model takes a step, at the sizes at which it is trained.

use beit_heads::{Classifier, ClassifierConfig, Mim, MimConfig, Pooling, masked_rows};
use beit_ops::prelude::*;
use beit_ops::{AdamW, GumbelNoise, Shape, Targets, Tree};
use beit_tokenizer::{Objective, Tokenizer};
use beit_vit::{Config, DropPath, Input, Keep, Preset, RelativePositions};

/// A class of shapes: the width and the sequence of a published model, one or two of its blocks.
#[derive(Clone, Debug)]
pub struct Model {
    /// For messages.
    pub name: String,
    /// The transformer that is pre-trained.
    pub vit: Config,
    /// Visual tokens.
    pub vocab: usize,
    /// Classes of fine-tuning.
    pub classes: usize,
    /// Images of a batch. No kernel may depend on their number.
    pub batch: usize,
}

impl Model {
    /// `preset` at images of `side` pixels.
    pub fn new(preset: Preset, side: usize, vocab: usize) -> Self {
        let vit = Config::new(preset);
        let vit = Config { image: [side; 2], depth: 2, ..vit };
        Self { name: format!("{preset:?} at {side} pixels"), vit, vocab, classes: 1000, batch: 2 }
    }

    /// The classes of shapes that are trained and fine-tuned.
    pub fn all() -> Vec<Self> {
        let tiny = Self { classes: 10, ..Self::new(Preset::Tiny, 28, 256) };
        let mut all = vec![tiny, Self::new(Preset::Small, 224, 8192)];
        for preset in [Preset::Base, Preset::Large] {
            all.extend([224, 384, 512].map(|side| Self::new(preset, side, 8192)));
        }
        all
    }
}

/// Reads a tensor, since the device reports failed launches at the next read.
///
/// # Errors
///
/// What the device reported.
fn settled<O: Ops>(ops: &O, x: &O::Tensor) -> Result<(), String> {
    ops.read(x).map(|_| ()).map_err(|e| e.to_string())
}

/// Parameters of zero. Their values do not matter on a device that executes nothing.
fn zeros<O: Ops, S: Tree<Shape>>(ops: &O, shapes: &S) -> S::Of<O::Tensor> {
    shapes.map(&mut |&shape| ops.zeros(shape))
}

/// Clips the gradients and takes a step of AdamW, as the loop of training does.
fn update<O: Ops, P: Tree<O::Tensor>>(ops: &O, params: &mut P, grads: &mut P) -> Result<(), String> {
    let hyper = AdamW { lr: 1e-3, beta1: 0.9, beta2: 0.98, eps: 1e-8, weight_decay: 0.05, step: 1 };
    let zeros = |param: &&O::Tensor| [(); 2].map(|()| ops.zeros(ops.shape(param)));
    let mut moments: Vec<_> = params.leaves().iter().map(zeros).collect();
    ops.gather_in_memory(params.leaves_mut());
    ops.gather_in_memory(grads.leaves_mut());
    let clip = ops.clip_factor(&grads.leaves(), Some(3.0), 1.0);
    let count = moments.len();
    let moments = moments.iter_mut().map(|[first, second]| [first, second]).collect();
    ops.adamw_all(params.leaves_mut(), grads.leaves_mut(), moments, &clip, &vec![hyper; count]);
    settled(ops, &clip)
}

/// A step of the tokenizer's own training at images of `side` pixels.
///
/// # Errors
///
/// What the device reported.
pub fn tokenizer_step<O: Ops>(ops: &O, config: &beit_tokenizer::Config, side: usize) -> Result<(), String> {
    let mut params = zeros(ops, &Tokenizer::<Shape>::shapes(config));
    let mut grads = zeros(ops, &Tokenizer::<Shape>::shapes(config));
    let pixels = ops.zeros([2, config.channels, side, side]);
    let objective = Objective { temperature: 1.0, kl_weight: 1.0, usage_weight: 0.1 };
    let noise = GumbelNoise { seed: 1, step: 2 };
    let (losses, saved) = params.forward(ops, &pixels, noise, &objective);
    params.backward(ops, saved, &objective, &mut grads);
    losses.read(ops).map_err(|e| e.to_string())?;
    update(ops, &mut params, &mut grads)
}

/// A step of masked image modelling: the tokenizer encodes the images, the model predicts the tokens of masked patches.
///
/// # Errors
///
/// What the device reported.
pub fn pretraining_step<O: Ops>(
    ops: &O,
    model: &Model,
    tokenizer: &beit_tokenizer::Config,
) -> Result<(), String> {
    let (vit, batch) = (&model.vit, model.batch);
    let config = MimConfig { vit: vit.clone(), vocab: model.vocab };
    let encoder = zeros(ops, &beit_tokenizer::Encoder::<Shape>::shapes(tokenizer));
    let [rows, columns] = vit.grid().map(|side| side * tokenizer.downsampling());
    let codes = encoder.encode(ops, &ops.zeros([1, tokenizer.channels, rows, columns]));
    ops.read_ids(&codes).map_err(|e| e.to_string())?;

    let masks: Vec<bool> = (0..batch * vit.patches()).map(|i| i % 5 < 2).collect();
    let masked = ops.upload_ids(&masked_rows(&masks, vit.patches()));
    let labels = ops.upload_ids(&vec![3; masks.iter().filter(|&&m| m).count()]);
    let mask: Vec<f32> = masks.iter().map(|&m| f32::from(u8::from(m))).collect();
    let mask = ops.upload([batch, vit.patches()], &mask);

    let mut params = zeros(ops, &Mim::<Shape>::shapes(&config));
    let mut grads = zeros(ops, &Mim::<Shape>::shapes(&config));
    let images = ops.zeros([batch, vit.channels, vit.image[0], vit.image[1]]);
    let drop_path = drop_path(ops, vit, batch);
    let input = Input { images: &images, mask: Some(&mask), drop_path: Some(&drop_path) };
    let (logits, saved) = params.forward(ops, &input, &masked, Keep::ALL);
    let targets = Targets::Classes { ids: &labels, smoothing: 0.0 };
    let (metrics, lse) = ops.cross_entropy(&logits, &targets);
    let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, 0.5);
    params.backward(ops, &input, &d_logits, saved, &mut grads);
    settled(ops, &metrics)?;
    update(ops, &mut params, &mut grads)?;
    settled(ops, &params.infer(ops, &input, &masked))
}

/// A step of fine-tuning, with labels that are mixed and with labels that are not, and inference.
///
/// # Errors
///
/// What the device reported.
pub fn fine_tuning_step<O: Ops>(ops: &O, model: &Model, pooling: Pooling) -> Result<(), String> {
    let vit = Config { relative_positions: RelativePositions::PerLayer, ..model.vit.clone() };
    let config = ClassifierConfig::on(vit, model.classes, pooling);
    let (vit, batch) = (&config.vit, model.batch);
    let mut params = zeros(ops, &Classifier::<Shape>::shapes(&config));
    let mut grads = zeros(ops, &Classifier::<Shape>::shapes(&config));
    let images = ops.zeros([batch, vit.channels, vit.image[0], vit.image[1]]);
    let drop_path = drop_path(ops, vit, batch);
    let input = Input { images: &images, mask: None, drop_path: Some(&drop_path) };
    let ids = ops.upload_ids(&vec![1; batch]);
    let mixed = ops.zeros([batch, model.classes]);
    for targets in [Targets::Classes { ids: &ids, smoothing: 0.1 }, Targets::Probabilities(&mixed)] {
        let (logits, saved) = params.forward(ops, &input, Keep::ALL);
        let (metrics, lse) = ops.cross_entropy(&logits, &targets);
        let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, 1.0);
        params.backward(ops, &input, &d_logits, saved, &mut grads);
        settled(ops, &metrics)?;
    }
    update(ops, &mut params, &mut grads)?;
    settled(ops, &params.infer(ops, &images))
}

/// Factors of 1: no branch is dropped.
fn drop_path<O: Ops>(ops: &O, vit: &Config, batch: usize) -> DropPath<O::Tensor> {
    let factors = || ops.upload([batch], &vec![1.0; batch]);
    DropPath((0..vit.depth).map(|_| [factors(), factors()]).collect())
}

/// The paper's model, which differs from the released one in its positions and has no LayerScale.
pub fn paper(preset: Preset, vocab: usize) -> Model {
    let vit = Config { depth: 1, ..Config::paper(preset) };
    Model { name: format!("{preset:?} of the paper"), vit, ..Model::new(preset, 224, vocab) }
}

/// A block of BEiT-3, with norms inside, and one of EVA's giant model, whose heads have 88 elements.
pub fn relatives() -> [Model; 2] {
    let model = |name: &str, vit| Model { name: name.to_owned(), vit, ..paper(Preset::Base, 8192) };
    let block = Config { depth: 1, ..Config::paper(Preset::Base) };
    let beit3 = Config { inner_norms: true, key_bias: true, ..block.clone() };
    let giant = Config { patch: [14; 2], width: 1408, heads: 16, hidden: 6144, ..block };
    [model("BEiT-3", beit3), model("EVA giant", giant)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use beit_ops::Host;

    /// The steps are steps: the host takes them.
    #[test]
    fn the_host_takes_the_steps() {
        let host = Host::<f32>::new();
        let tokenizer = beit_tokenizer::Config::tiny();
        let model = Model { vocab: tokenizer.vocab, ..Model::all().remove(0) };
        tokenizer_step(&host, &tokenizer, 32).unwrap();
        pretraining_step(&host, &model, &tokenizer).unwrap();
        for pooling in [Pooling::Mean, Pooling::Cls] {
            fine_tuning_step(&host, &model, pooling).unwrap();
        }
    }
}
