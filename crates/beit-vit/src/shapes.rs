//! The definition of the parameters: which there are, and their shapes.

use crate::{Attention, Block, Config, Mlp, RelativePositions, Vit};
use beit_ops::{Embeddings, Linear, Norm, Shape, Tree, relative_position_rows};

impl Vit<Shape> {
    /// The definition of the parameters.
    pub fn shapes(config: &Config) -> Self {
        let c = config.width;
        let token = Shape::from([1, 1, c]);
        Self {
            config: config.clone(),
            embeddings: Embeddings {
                cls_token: token,
                mask_token: config.mask_token.then_some(token),
                pos_embed: config.absolute_positions.then(|| Shape::from([1, config.tokens(), c])),
            },
            patch_embed: Linear {
                weight: Shape::from([c, config.channels, config.patch[0], config.patch[1]]),
                bias: Some(Shape::from([c])),
            },
            rel_pos_bias: table(config, RelativePositions::Shared),
            blocks: (0..config.depth).map(|_| Block::<Shape>::shapes(config)).collect(),
            norm: config.final_norm.then(|| norm(c)),
        }
    }

    /// Number of trainable parameters.
    pub fn parameters(&self) -> usize {
        self.leaves().iter().map(|shape| shape.elements()).sum()
    }
}

impl Block<Shape> {
    fn shapes(config: &Config) -> Self {
        let (c, hidden) = (config.width, config.hidden);
        let vector = Shape::from([c]);
        let gamma = config.layer_scale.map(|_| vector);
        Self {
            gamma_1: gamma,
            gamma_2: gamma,
            norm1: norm(c),
            attn: Attention {
                qkv: Linear { weight: Shape::from([3 * c, c]), bias: None },
                q_bias: vector,
                k_bias: config.key_bias.then_some(vector),
                v_bias: vector,
                relative_position_bias_table: table(config, RelativePositions::PerLayer),
                norm: config.inner_norms.then(|| norm(c)),
                proj: linear(c, c),
            },
            norm2: norm(c),
            mlp: Mlp {
                fc1: linear(hidden, c),
                norm: config.inner_norms.then(|| norm(hidden)),
                fc2: linear(c, hidden),
            },
        }
    }
}

fn norm(c: usize) -> Norm<Shape> {
    Norm { weight: Shape::from([c]), bias: Shape::from([c]) }
}

fn linear(n: usize, c: usize) -> Linear<Shape> {
    Linear { weight: Shape::from([n, c]), bias: Some(Shape::from([n])) }
}

/// The table `[R, H]` of a model that has it in this place.
fn table(config: &Config, place: RelativePositions) -> Option<Shape> {
    (config.relative_positions == place)
        .then(|| Shape::from([relative_position_rows(config.grid()), config.heads]))
}
