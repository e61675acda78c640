//! Initial values.

use crate::{Config, Tokenizer};
use beit_ops::init::Stream;
use beit_ops::{Device, Shape, Start, Tree};

/// Draws the initial values of a tokenizer as the released code does and puts them on a device: weights from
/// `N(0, 1 / fan_in)`, biases zero (openai/DALL-E `utils.py`).
pub fn init<O: Device>(ops: &O, config: &Config, seed: u64) -> Tokenizer<O::Tensor> {
    let mut number = 0;
    Tokenizer::<Shape>::shapes(config).map_described(&mut |leaf, shape| {
        number += 1;
        if leaf.role.start() == Start::Zeros {
            return ops.zeros(*shape);
        }
        let [_, fan_in] = shape.matrix();
        let std = 1.0 / libm::sqrtf(fan_in as f32);
        ops.upload(*shape, &Stream::new(seed, number).normals(shape.elements(), std))
    })
}
