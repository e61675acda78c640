//! Small models.

use beit_heads::{Classifier, ClassifierConfig, Mim, MimConfig, Pooling};
use beit_ops::prelude::*;
use beit_ops::{Host, Tree};
use beit_vit::{Config, Preset, RelativePositions};

pub(crate) type Device = Host<f32>;
pub(crate) type Tensor = <Device as beit_ops::Device>::Tensor;

/// 8x8 images in four patches.
pub(crate) fn vit() -> Config {
    let sizes = Config::new(Preset::Tiny);
    Config { image: [8; 2], patch: [4; 2], width: 8, depth: 2, heads: 2, hidden: 16, ..sizes }
}

pub(crate) fn mim_config() -> MimConfig {
    MimConfig { vit: vit(), vocab: 6 }
}

pub(crate) fn classifier_config(pooling: Pooling) -> ClassifierConfig {
    let vit = Config { relative_positions: RelativePositions::PerLayer, layer_norm_eps: 1e-6, ..vit() };
    ClassifierConfig::on(vit, 3, pooling)
}

/// No two values are alike, so that an exchange shows.
pub(crate) fn distinct<P: Tree<Tensor, Of<Tensor> = P>>(ops: &Device, params: &P) -> P {
    let mut next = 0.0;
    params.map(&mut |param| {
        let shape = ops.shape(param);
        let values: Vec<f32> = (0..shape.elements())
            .map(|_| {
                next += 1.0;
                next
            })
            .collect();
        ops.upload(shape, &values)
    })
}

pub(crate) fn mim(ops: &Device) -> Mim<Tensor> {
    distinct(ops, &Mim::init(ops, &mim_config(), 0))
}

pub(crate) fn classifier(ops: &Device, pooling: Pooling) -> Classifier<Tensor> {
    distinct(ops, &Classifier::init(ops, &classifier_config(pooling), 0))
}
