//! Accuracy of the tokens named for masked patches.

use crate::error::Result;
use crate::masked::Masked;
use beit_data::{Loader, PretrainSample};
use beit_heads::Mim;
use beit_ops::{Ops, Targets};
use beit_tokenizer::{Usage, VisualTokens};
use beit_vit::Input;
use serde::Serialize;

/// How well the tokens of masked patches were named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TokenAccuracy {
    /// Masked patches.
    pub patches: usize,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Share of masked patches whose token was named.
    pub accuracy: f64,
    /// Share of the commonest token among them: the accuracy of always naming that one.
    pub majority: f64,
    /// Masked patches that are not background, that is whose pixels are not all alike (within 4 of 255).
    pub content_patches: usize,
    /// Share of those whose token was named.
    pub content_accuracy: f64,
    /// Share of the commonest token among those.
    pub content_majority: f64,
}

/// Names the tokens of the masked patches of every image of a loader.
///
/// # Errors
///
/// The data or the device.
pub fn evaluate_tokens<O: Ops>(
    ops: &O,
    params: &Mim<O::Tensor>,
    tokenizer: &impl VisualTokens<O>,
    loader: &Loader<PretrainSample>,
) -> Result<TokenAccuracy> {
    let config = params.config();
    let (mut all, mut content) = (Tally::new(config.vocab), Tally::new(config.vocab));
    let mut loss = 0.0;
    for batch in loader.epoch(0)? {
        let batch = batch?;
        let token = tokenizer.codebook().sides;
        let masked = Masked::new(ops, &config.vit, token, &batch.data, batch.indices.len());
        let ids = masked.codes(ops, tokenizer);
        let codes = ops.read_ids(&ids)?;
        let input = Input { images: &masked.images, mask: Some(&masked.mask), drop_path: None };
        let logits = params.infer(ops, &input, &masked.rows);
        let (metrics, _) = ops.cross_entropy(&logits, &Targets::Classes { ids: &ids, smoothing: 0.0 });
        loss += f64::from(ops.read(&metrics)?[0]) * codes.len() as f64;
        let named = ops.read_ids(&ops.argmax_rows(&logits))?;
        let size = ops.shape(&masked.token_pixels);
        let flat = FlatPatches {
            pixels: &batch.data.token_pixels,
            size: [size[2], size[3]],
            grid: config.vit.grid(),
        };
        for ((&named, &code), &position) in named.iter().zip(&codes).zip(&masked.positions) {
            all.add(named, code);
            if !flat.is_flat(position) {
                content.add(named, code);
            }
        }
    }
    Ok(TokenAccuracy {
        patches: all.patches(),
        loss: loss / all.patches().max(1) as f64,
        accuracy: all.accuracy(),
        majority: all.usage.majority(),
        content_patches: content.patches(),
        content_accuracy: content.accuracy(),
        content_majority: content.usage.majority(),
    })
}

/// Counts tokens and how many were named.
struct Tally {
    usage: Usage,
    right: usize,
}

impl Tally {
    fn new(vocab: usize) -> Self {
        Self { usage: Usage::new(vocab), right: 0 }
    }
    fn add(&mut self, named: u32, code: u32) {
        self.usage.add(&[code]);
        self.right += usize::from(named == code);
    }
    fn patches(&self) -> usize {
        self.usage.total() as usize
    }
    fn accuracy(&self) -> f64 {
        self.right as f64 / self.patches().max(1) as f64
    }
}

/// Background: patches of `pixels [B, 3, h, w]`, mapped to 0.1..0.9, that have no content.
struct FlatPatches<'a> {
    pixels: &'a [f32],
    size: [usize; 2],
    grid: [usize; 2],
}

/// Four grey levels of 255, on pixels that were scaled by 0.8.
const FLAT: f32 = 0.8 * 4.0 / 255.0;

impl FlatPatches<'_> {
    /// Whether patch `position` of `[B·N]` has pixels that are all alike in each channel.
    fn is_flat(&self, position: usize) -> bool {
        let ([height, width], [rows, cols]) = (self.size, self.grid);
        let (image, patch) = (position / (rows * cols), position % (rows * cols));
        let (h, w) = (height / rows, width / cols);
        let (top, left) = (patch / cols * h, patch % cols * w);
        (0..3).all(|channel| {
            let plane = &self.pixels[(image * 3 + channel) * height * width..][..height * width];
            let lines = (top..top + h).map(|y| &plane[y * width + left..][..w]);
            let (low, high) = lines.flatten().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
            high - low <= FLAT
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_patches() {
        // One image of 2x4 pixels in a grid of 1x2; one bright pixel in the blue plane of the second patch.
        let mut pixels = vec![0.1; 3 * 8];
        pixels[2 * 8 + 4 + 3] = 0.2;
        let flat = FlatPatches { pixels: &pixels, size: [2, 4], grid: [1, 2] };
        assert!(flat.is_flat(0));
        assert!(!flat.is_flat(1));
    }
}
