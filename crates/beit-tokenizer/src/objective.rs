//! What training minimises.

use beit_ops::{Device, DeviceError, Shape};

/// The weights of the training loss
///
/// `reconstruction + kl_weight · P/(H·W·C) · KL(q ‖ U) + usage_weight · KL(mean of q ‖ U)`
///
/// where the reconstruction term is the mean over all H·W·C elements, and `KL(q ‖ U)` the mean over the P positions of an
/// image. This is the paper's loss: the evidence bound summed over pixels and positions, divided by the number of elements.
/// At 256x256 pixels with 32x32 positions the factor is 1/192.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// Of the Gumbel-softmax: tau.
    pub temperature: f64,
    /// Of the divergence of each position's posterior from the uniform prior: beta.
    ///
    /// Below zero it rewards certain posteriors. Together with a usage weight, which wants the *mean* posterior uniform, that is
    /// a reward for the mutual information of picture and token, `KL(q ‖ U) - KL(mean of q ‖ U)`.
    pub kl_weight: f64,
    /// Of the divergence of the *mean* posterior from the uniform prior: ours, 0 in DALL-E. It is zero when all visual
    /// tokens are equally frequent, however certain each position is.
    pub usage_weight: f64,
}

impl Objective {
    /// The weights of the two mean divergences, for pixels `[B, H, W, C]` and positions `[B·h·w, V]`.
    pub(crate) fn divergence_weights(&self, pixels: &Shape, positions: &Shape) -> [f64; 2] {
        let share = positions[0] as f64 / pixels.elements() as f64;
        [self.kl_weight * share, self.usage_weight]
    }
}

/// The terms of the loss, on the device.
#[derive(Clone, Debug)]
pub struct Losses<T> {
    /// `[1]`: nats per pixel and channel.
    pub reconstruction: T,
    /// `[2]`: `KL(q ‖ U)` per position, and `KL(mean of q ‖ U)`, in nats.
    pub divergences: T,
}

impl<T> Losses<T> {
    /// Waits for the device.
    pub fn read<O: Device<Tensor = T>>(&self, ops: &O) -> Result<Terms, DeviceError> {
        let reconstruction = ops.read(&self.reconstruction)?;
        let divergences = ops.read(&self.divergences)?;
        Ok(Terms { reconstruction: reconstruction[0], kl: divergences[0], usage: divergences[1] })
    }
}

/// The terms of the loss, before their weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    /// Negative log-likelihood in nats per pixel and channel. Negative when the density exceeds one.
    pub reconstruction: f32,
    /// `KL(q ‖ U)` in nats per position: 0 when nothing is said, ln V when the posterior is certain.
    pub kl: f32,
    /// `KL(mean of q ‖ U)` in nats: 0 when all tokens are equally frequent.
    pub usage: f32,
}
