//! Initial values (spec of the released code; paper §2.5).

use crate::{Config, Vit};
use alloc::vec;
use alloc::vec::Vec;
use beit_ops::init::Stream;
use beit_ops::{Device, Layer, Leaf, Role, Shape, Start, Tree};

/// Standard deviation of the normal that weights are drawn from.
const STD: f32 = 0.02;

/// Which of the released initialisations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// `beit/modeling_pretrain.py`: normal of deviation 0.02 cut at ±0.02, that is at **one** sigma.
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
    let shapes = Vit::<Shape>::of(config);
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
        Start::Drawn => kind.weights(n, &mut stream),
    }
}

impl Init {
    /// Draws `n` weights of a linear map or of a token.
    pub fn weights(self, n: usize, stream: &mut Stream) -> Vec<f32> {
        let cut = match self {
            Self::Pretraining => STD,
            Self::FineTuning => 2.0,
        };
        stream.truncated_normals(n, STD, cut)
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

    fn deviation(x: &Leaf) -> f32 {
        libm::sqrtf(x.iter().map(|v| v * v).sum::<f32>() / x.len() as f32)
    }

    /// Cut at one sigma, a normal of deviation 0.02 has deviation 0.0108.
    #[test]
    fn pretraining_cuts_at_one_sigma() {
        let vit = tiny(Init::Pretraining);
        let qkv = &vit.blocks[0].attn.qkv.weight;
        assert!(qkv.iter().all(|v| v.abs() <= 0.02));
        assert!((deviation(qkv) - 0.0108).abs() < 3e-4, "{}", deviation(qkv));
        assert!((deviation(&vit.patch_embed.weight) - 0.0108).abs() < 5e-4);
        assert!(vit.embeddings.cls_token.iter().any(|&v| v != 0.0));
    }

    #[test]
    fn branches_are_divided_by_the_root_of_twice_their_depth() {
        let vit = tiny(Init::Pretraining);
        for (i, block) in vit.blocks.iter().enumerate() {
            let want = 0.0108 / libm::sqrtf(2.0 * (i + 1) as f32);
            for weight in [&block.attn.proj.weight, &block.mlp.fc2.weight] {
                assert!((deviation(weight) / want - 1.0).abs() < 0.03, "block {i}: {}", deviation(weight));
            }
            assert!((deviation(&block.mlp.fc1.weight) - 0.0108).abs() < 3e-4);
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
        assert!((deviation(&vit.blocks[0].attn.qkv.weight) - 0.02).abs() < 5e-4);
        let bound = 1.0 / libm::sqrtf(48.0);
        assert!(vit.patch_embed.weight.iter().all(|v| v.abs() <= bound));
        // A uniform in ±b has deviation b / √3.
        assert!((deviation(&vit.patch_embed.weight) - bound / libm::sqrtf(3.0)).abs() < 2e-3);
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
