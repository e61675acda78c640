//! What a tokenizer of any kind does.

use crate::{Codebook, Encoder, Tokenizer};
use alloc::vec::Vec;
use beit_ops::{Device, DeviceError, RowOps, TokenizerOps};

/// Names the visual tokens of images: what masked image modelling asks of a tokenizer, whatever its kind.
///
/// `pixels [B, C, height, width]` are mapped by [`map`](crate::pixels::map). Positions are counted row by row and image by image,
/// `[B·h·w]`.
pub trait VisualTokens<O: RowOps> {
    /// Which visual tokens there are.
    fn codebook(&self) -> Codebook;

    /// `pixels [B, C, height, width] -> logits [B·h·w, V]`, the largest of which is the token's.
    fn logits(&self, ops: &O, pixels: &O::Tensor) -> O::Tensor;

    /// The visual tokens of each image: `pixels [B, C, height, width] -> ids [B·h·w]`.
    fn codes(&self, ops: &O, pixels: &O::Tensor) -> O::Ids {
        ops.argmax_rows(&self.logits(ops, pixels))
    }

    /// The visual tokens of some positions: [`codes`](Self::codes) without the work for the others.
    fn codes_at(&self, ops: &O, pixels: &O::Tensor, positions: &O::Ids) -> O::Ids;

    /// Whether there are [`pictures`](Self::pictures).
    fn draws(&self) -> bool;

    /// The most likely images of visual tokens: `codes`, row by row on a `grid` of height and width, to pixels
    /// `[B, C, height, width]` in 0 to 1; none where the tokenizer cannot draw.
    ///
    /// # Errors
    ///
    /// The device.
    ///
    /// # Panics
    ///
    /// On a code outside the vocabulary; [`Codebook::check_codes`] finds it.
    fn pictures(&self, ops: &O, codes: &[u32], grid: [usize; 2]) -> Result<Option<Vec<f32>>, DeviceError>;
}

/// The half of a discrete VAE that names tokens.
impl<O: TokenizerOps> VisualTokens<O> for Encoder<<O as Device>::Tensor> {
    fn codebook(&self) -> Codebook {
        self.config().codebook()
    }
    fn logits(&self, ops: &O, pixels: &O::Tensor) -> O::Tensor {
        Encoder::logits(self, ops, pixels)
    }
    fn codes_at(&self, ops: &O, pixels: &O::Tensor, positions: &O::Ids) -> O::Ids {
        self.encode_positions(ops, pixels, positions)
    }
    fn draws(&self) -> bool {
        false
    }
    fn pictures(&self, _: &O, _: &[u32], _: [usize; 2]) -> Result<Option<Vec<f32>>, DeviceError> {
        Ok(None)
    }
}

/// A whole discrete VAE.
impl<O: TokenizerOps> VisualTokens<O> for Tokenizer<<O as Device>::Tensor> {
    fn codebook(&self) -> Codebook {
        self.config().codebook()
    }
    fn logits(&self, ops: &O, pixels: &O::Tensor) -> O::Tensor {
        self.encoder.logits(ops, pixels)
    }
    fn codes_at(&self, ops: &O, pixels: &O::Tensor, positions: &O::Ids) -> O::Ids {
        self.encoder.encode_positions(ops, pixels, positions)
    }
    fn draws(&self) -> bool {
        true
    }
    fn pictures(&self, ops: &O, codes: &[u32], grid: [usize; 2]) -> Result<Option<Vec<f32>>, DeviceError> {
        self.decoder.decode(ops, codes, grid).map(Some)
    }
}
