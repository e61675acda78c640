//! Initial values (spec of the released code; paper §2.5).

use crate::{Config, Vit};
use alloc::vec;
use alloc::vec::Vec;
use beit_ops::init::Stream;
use beit_ops::{Device, Layer, Leaf, Role, Shape, Start, Tree};

/// Standard deviation of the normal that weights are drawn from, at the width of the base model and above it.
const STD: f32 = 0.02;
/// Width of the base model.
const BASE: f32 = 768.0;

/// The deviation for a model of this width: the released one for the released models. What a linear map makes of its input grows
/// with √C, so narrower models begin with larger weights; with the released ones their blocks would add next to nothing at first.
fn deviation(width: usize) -> f32 {
    STD * libm::sqrtf(BASE / width as f32).max(1.0)
}

/// Which of the released initialisations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// `beit/modeling_pretrain.py`: normal of deviation 0.02 cut at ±0.02, that is at **one** sigma. Models narrower than the base
    /// model, of which none was released, have a larger deviation: 0.02 · √(768 / C).
    Pretraining,
    /// `beit/modeling_finetune.py`: cut at ±2, so practically not at all; the patch embedding keeps the uniform initial values
    /// of a convolution, `±1/√fan_in`.
    FineTuning,
}

/// Draws the initial values of a transformer and puts them on a device.
///
/// What each parameter starts as is said by its [`Role`](beit_ops::Role). The weights of `attn.proj` and `mlp.fc2` in block
/// l = 1..L are divided by `√(2l)`.
pub fn init<O: Device>(ops: &O, config: &Config, kind: Init, seed: u64) -> Vit<O::Tensor> {
    let shapes = Vit::<Shape>::shapes(config);
    let mut number = 0;
    let mut values = shapes.map_described(&mut |leaf, shape| {
        number += 1;
        initial(leaf, *shape, config, kind, Stream::new(seed, number))
    });
    for (i, block) in values.blocks.iter_mut().enumerate() {
        let factor = 1.0 / libm::sqrtf(2.0 * (i + 1) as f32);
        for weight in [&mut block.attn.proj.weight, &mut block.mlp.fc2.weight] {
            weight.iter_mut().for_each(|v| *v *= factor);
        }
    }
    let mut shapes = shapes.leaves().into_iter();
    values.map(&mut |values| ops.upload(*shapes.next().expect("a shape for every parameter"), values))
}

fn initial(leaf: &Leaf, shape: Shape, config: &Config, kind: Init, mut stream: Stream) -> Vec<f32> {
    let n = shape.elements();
    match leaf.role.start() {
        Start::Zeros => vec![0.0; n],
        Start::Ones => vec![1.0; n],
        Start::LayerScale => vec![config.layer_scale.unwrap_or(1.0); n],
        // The one weight of the stem is that of the patch embedding.
        Start::Drawn if (leaf.role, leaf.layer, kind) == (Role::Weight, Layer::Stem, Init::FineTuning) => {
            let [_, fan_in] = shape.matrix();
            stream.uniforms_within(n, 1.0 / libm::sqrtf(fan_in as f32))
        }
        Start::Drawn => kind.weights(config.width, n, &mut stream),
    }
}

impl Init {
    /// Draws `n` weights of a linear map or of a token of a model of this width.
    pub fn weights(self, width: usize, n: usize, stream: &mut Stream) -> Vec<f32> {
        let std = deviation(width);
        let cut = match self {
            Self::Pretraining => std,
            Self::FineTuning => 2.0,
        };
        stream.truncated_normals(n, std, cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;
    use beit_ops::Host;

    type Leaf = <Host<f32> as Device>::Tensor;

    fn tiny(kind: Init) -> Vit<Leaf> {
        init(&Host::<f32>::new(), &Config::new(Preset::Tiny), kind, 9)
    }

    fn measured(x: &Leaf) -> f32 {
        libm::sqrtf(x.iter().map(|v| v * v).sum::<f32>() / x.len() as f32)
    }

    /// Of a normal that is cut at one sigma.
    const CUT: f32 = 0.54;
    /// Of the tiny model, whose width is 96: 0.02 · √8.
    const TINY: f32 = 0.056_57;

    #[test]
    fn released_widths_have_the_released_deviation() {
        assert_eq!([768, 1024].map(deviation), [0.02; 2]);
        assert!((deviation(96) - TINY).abs() < 1e-5);
    }

    #[test]
    fn pretraining_cuts_at_one_sigma() {
        let vit = tiny(Init::Pretraining);
        let qkv = &vit.blocks[0].attn.qkv.weight;
        assert!(qkv.iter().all(|v| v.abs() <= TINY + 1e-5));
        assert!((measured(qkv) / (CUT * TINY) - 1.0).abs() < 0.03, "{}", measured(qkv));
        assert!((measured(&vit.patch_embed.weight) / (CUT * TINY) - 1.0).abs() < 0.05);
        assert!(vit.embeddings.cls_token.iter().any(|&v| v != 0.0));
    }

    #[test]
    fn branches_are_divided_by_the_root_of_twice_their_depth() {
        let vit = tiny(Init::Pretraining);
        for (i, block) in vit.blocks.iter().enumerate() {
            let want = CUT * TINY / libm::sqrtf(2.0 * (i + 1) as f32);
            for weight in [&block.attn.proj.weight, &block.mlp.fc2.weight] {
                assert!((measured(weight) / want - 1.0).abs() < 0.03, "block {i}: {}", measured(weight));
            }
            assert!((measured(&block.mlp.fc1.weight) / (CUT * TINY) - 1.0).abs() < 0.03);
        }
    }

    #[test]
    fn constants() {
        let vit = tiny(Init::Pretraining);
        let block = &vit.blocks[2];
        let all = |x: &Leaf, want: f32| assert!(x.iter().all(|&v| v == want));
        all(block.gamma_1.as_ref().expect("LayerScale"), 0.1);
        all(&block.norm1.weight, 1.0);
        all(&block.norm1.bias, 0.0);
        all(&block.attn.q_bias, 0.0);
        all(vit.rel_pos_bias.as_ref().expect("a shared table"), 0.0);
        all(&vit.norm.as_ref().expect("a final norm").weight, 1.0);
    }

    #[test]
    fn fine_tuning_hardly_cuts_and_keeps_the_convolution() {
        let vit = tiny(Init::FineTuning);
        assert!((measured(&vit.blocks[0].attn.qkv.weight) / TINY - 1.0).abs() < 0.03);
        let bound = 1.0 / libm::sqrtf(48.0);
        assert!(vit.patch_embed.weight.iter().all(|v| v.abs() <= bound));
        // A uniform in ±b has deviation b / √3.
        assert!((measured(&vit.patch_embed.weight) - bound / libm::sqrtf(3.0)).abs() < 2e-3);
    }

    #[test]
    fn seeds_and_parameters_draw_apart() {
        let (a, b) = (tiny(Init::Pretraining), tiny(Init::Pretraining));
        assert_eq!(a, b);
        assert_ne!(a.blocks[0].attn.qkv.weight, a.blocks[1].attn.qkv.weight);
        let other = init(&Host::<f32>::new(), &Config::new(Preset::Tiny), Init::Pretraining, 10);
        assert_ne!(a.blocks[0].attn.qkv.weight, other.blocks[0].attn.qkv.weight);
    }
}
