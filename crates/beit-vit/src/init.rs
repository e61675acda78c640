//! Initial values (spec of the released code; paper §2.5).

use crate::{Config, Vit};
use alloc::vec;
use alloc::vec::Vec;
use beit_ops::init::Stream;
use beit_ops::{Ops, Shape, Tree};

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
/// Biases, norms' biases and relative tables start at 0, norms' weights at 1, gammas at the configured value. The weights
/// of `attn.proj` and `mlp.fc2` in block l = 1..L are divided by `√(2l)`.
pub fn init<O: Ops>(ops: &O, config: &Config, kind: Init, seed: u64) -> Vit<O::Tensor> {
    let mut number = 0;
    Vit::<Shape>::of(config).map_named("", &mut |name, shape| {
        number += 1;
        let mut values = initial(name, *shape, config, kind, Stream::new(seed, number));
        if let Some(depth) = rescaled_block(name) {
            let factor = 1.0 / libm::sqrtf(2.0 * depth as f32);
            values.iter_mut().for_each(|v| *v *= factor);
        }
        ops.upload(*shape, &values)
    })
}

fn initial(name: &str, shape: Shape, config: &Config, kind: Init, mut stream: Stream) -> Vec<f32> {
    let n = shape.elements();
    if name.contains("gamma_") {
        vec![config.layer_scale.unwrap_or(1.0); n]
    } else if name.ends_with("bias") || name.ends_with("relative_position_bias_table") {
        vec![0.0; n]
    } else if name.contains("norm") {
        vec![1.0; n]
    } else if name.starts_with("patch_embed") && kind == Init::FineTuning {
        let [_, fan_in] = shape.matrix();
        stream.uniforms_within(n, 1.0 / libm::sqrtf(fan_in as f32))
    } else {
        kind.weights(n, &mut stream)
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

/// The one-based number of the block whose residual branch ends in this weight.
fn rescaled_block(name: &str) -> Option<usize> {
    let (number, rest) = name.strip_prefix("blocks.")?.split_once('.')?;
    let ends_branch = matches!(rest, "attn.proj.weight" | "mlp.fc2.weight");
    ends_branch.then(|| number.parse().ok().map(|block: usize| block + 1))?
}
