//! How good a tokenizer is.

use crate::error::{Error, Result};
use beit_data::Loader;
use beit_ops::Ops;
use beit_tokenizer::{Usage, VisualTokens, pixels};
use serde::{Serialize, Serializer};
use serde_json::json;

/// How good a tokenizer is on some images.
#[derive(Clone, Debug)]
pub struct TokenizerQuality {
    /// Images measured.
    pub images: usize,
    /// Mean absolute difference of pixels in 0 to 1 between images and their reconstruction from hard tokens.
    pub mean_absolute_error: f64,
    /// How often each token occurs.
    pub usage: Usage,
}

/// `images`, `mean_absolute_error`, and of the usage `vocab`, `used`, `perplexity`, `majority` and the `counts` of all tokens.
impl Serialize for TokenizerQuality {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let value = json!({
            "images": self.images,
            "vocab": self.usage.counts().len(),
            "used": self.usage.used(),
            "perplexity": self.usage.perplexity(),
            "majority": self.usage.majority(),
            "mean_absolute_error": self.mean_absolute_error,
            "counts": self.usage.counts(),
        });
        value.serialize(serializer)
    }
}

/// Encodes and decodes every image of a loader of `[B, 3, height, width]`.
///
/// # Errors
///
/// A tokenizer that cannot draw, the data or the device.
pub fn tokenizer_quality<O: Ops>(
    ops: &O,
    tokenizer: &impl VisualTokens<O>,
    image: [usize; 2],
    loader: &Loader<Vec<f32>>,
) -> Result<TokenizerQuality> {
    let codebook = tokenizer.codebook();
    let grid = codebook.grid(image)?;
    let mut usage = Usage::new(codebook.vocab);
    let (mut images, mut error, mut elements) = (0, 0.0, 0);
    for batch in loader.epoch(0)? {
        let batch = batch?;
        let b = batch.indices.len();
        let pixels = ops.upload([b, 3, image[0], image[1]], &batch.data);
        let codes = ops.read_ids(&tokenizer.codes(ops, &pixels))?;
        let decoded = tokenizer.pictures(ops, &codes, grid)?.ok_or(Error::NoDecoder)?;
        let differences =
            decoded.iter().zip(&batch.data).map(|(d, &x)| f64::from((d - pixels::unmap(x)).abs()));
        error += differences.sum::<f64>();
        usage.add(&codes);
        images += b;
        elements += batch.data.len();
    }
    Ok(TokenizerQuality { images, mean_absolute_error: error / elements.max(1) as f64, usage })
}
