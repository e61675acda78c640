//! Accuracy of the tokens named for masked patches.

use crate::error::{Error, Result};
use crate::masked::{Masked, Recover, token_view};
use crate::position_usage::PositionUsage;
use crate::ranks::{Communicator, share_batches};
use beit_data::{Batch, Loader, PretrainSample};
use beit_heads::Mim;
use beit_ops::{Ops, Targets};
use beit_tokenizer::{Usage, VisualTokens};
use serde::{Deserialize, Serialize};

/// How well the tokens of masked patches were named, beside what needs no model. Each baseline is a share of the same patches.
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
    /// The accuracy of naming the commonest token at each position.
    pub position_majority: f64,
    /// The accuracy of naming the token of the nearest visible patch. Of several the first is taken, row by row.
    pub nearest_visible: f64,
    /// Masked patches that are not background, that is whose pixels are not all alike (within 4 of 255).
    pub content_patches: usize,
    /// Share of those whose token was named.
    pub content_accuracy: f64,
    /// Share of the commonest token among those.
    pub content_majority: f64,
}

impl TokenAccuracy {
    /// The best accuracy that needs no model.
    #[must_use]
    pub fn baseline(&self) -> f64 {
        self.majority.max(self.position_majority).max(self.nearest_visible)
    }

    /// How much of the way from the [baseline](Self::baseline) to naming every token was gone.
    #[must_use]
    pub fn share_of_gap(&self) -> f64 {
        share_of_gap(self.accuracy, self.baseline())
    }
}

/// `(accuracy - baseline) / (1 - baseline)`: 0 where nothing was learned that the baseline does not know, 1 where everything
/// was. Where the baseline is 1 already nothing is left to learn, and it is 0.
#[must_use]
pub fn share_of_gap(accuracy: f64, baseline: f64) -> f64 {
    if baseline < 1.0 { (accuracy - baseline) / (1.0 - baseline) } else { 0.0 }
}

/// Names the tokens of the masked patches of every image of a loader. Several ranks take turns, and all of them return what a single one
/// would, to the bit.
///
/// # Errors
///
/// The data or the device.
pub fn evaluate_tokens<O: Ops>(
    ranks: &mut dyn Communicator,
    ops: &O,
    params: &Mim<O::Tensor>,
    tokenizer: &impl VisualTokens<O>,
    loader: &Loader<PretrainSample>,
) -> Result<TokenAccuracy> {
    tally(ranks, ops, &params.config().vit, tokenizer, loader, |masked, wanted| {
        let ids = ops.upload_ids(wanted);
        let logits = params.infer(ops, &masked.input(None), &masked.rows);
        let (metrics, _) = ops.cross_entropy(&logits, &Targets::Classes { ids: &ids, smoothing: 0.0 });
        let loss = f64::from(ops.read(&metrics)?[0]) * wanted.len() as f64;
        Ok(Some(Named { loss, tokens: ops.read_ids(&ops.argmax_rows(&logits))? }))
    })
}

/// What needs no model of [`evaluate_tokens`]: loss and accuracies are 0.
///
/// # Errors
///
/// The data or the device.
pub fn token_baselines<O: Ops>(
    ranks: &mut dyn Communicator,
    ops: &O,
    vit: &beit_vit::Config,
    tokenizer: &impl VisualTokens<O>,
    loader: &Loader<PretrainSample>,
) -> Result<TokenAccuracy> {
    tally(ranks, ops, vit, tokenizer, loader, |_, _| Ok(None))
}

/// What a model says of the masked patches of a batch.
struct Named {
    /// The sum over the patches.
    loss: f64,
    /// The most likely token of each.
    tokens: Vec<u32>,
}

/// What a batch says.
#[derive(Serialize, Deserialize)]
struct Found {
    /// The sum over the patches.
    loss: f64,
    /// Masked patches whose token is that of the nearest visible one.
    nearest_right: usize,
    patches: Vec<Patch>,
}

/// A masked patch: its position of `[B·N]`, its token, the one that was named if any was, and whether it is background.
type Patch = (usize, u32, Option<u32>, bool);

/// Counts the tokens of the masked patches of every image, and what `name` says of those of a batch.
fn tally<O: Ops>(
    ranks: &mut dyn Communicator,
    ops: &O,
    vit: &beit_vit::Config,
    tokenizer: &impl VisualTokens<O>,
    loader: &Loader<PretrainSample>,
    name: impl Fn(&Masked<O>, &[u32]) -> Result<Option<Named>>,
) -> Result<TokenAccuracy> {
    let codebook = tokenizer.codebook();
    let mut tally = Tally::new(codebook.vocab, vit.grid());
    let find = |batch: &Batch<PretrainSample>| {
        let images = batch.indices.len();
        let masked = Masked::new(ops, vit, &batch.data, images, Recover::Masked);
        let view = token_view(ops, vit, codebook, &batch.data, images);
        let codes = ops.read_ids(&tokenizer.codes(ops, &view))?;
        let wanted: Vec<u32> = masked.positions.iter().map(|&position| codes[position]).collect();
        let named = name(&masked, &wanted)?;
        let size = ops.shape(&view);
        let flat = FlatPatches {
            pixels: &batch.data.token_pixels,
            channels: codebook.channels,
            size: [size[2], size[3]],
            grid: vit.grid(),
        };
        let patch = |(i, (&code, &position)): (usize, (&u32, &usize))| {
            let named = named.as_ref().map(|named| named.tokens[i]);
            (position, code, named, flat.is_flat(position))
        };
        Ok::<_, Error>(Found {
            loss: named.as_ref().map_or(0.0, |named| named.loss),
            nearest_right: nearest_right(&codes, &batch.data.masks, vit.grid()),
            patches: wanted.iter().zip(&masked.positions).enumerate().map(patch).collect(),
        })
    };
    share_batches(ranks, loader, 0..loader.batches_per_epoch(), find, |_, found| {
        tally.loss += found.loss;
        tally.nearest_right += found.nearest_right;
        for (position, code, named, flat) in found.patches {
            tally.add(named, code, position, flat);
        }
        Ok(())
    })?;
    Ok(tally.accuracy())
}

/// Counts tokens and how many were named.
struct Tally {
    loss: f64,
    all: PositionUsage,
    content: Usage,
    right: usize,
    content_right: usize,
    nearest_right: usize,
}

impl Tally {
    fn new(vocab: usize, grid: [usize; 2]) -> Self {
        let (all, content) = (PositionUsage::new(vocab, grid), Usage::new(vocab));
        Self { loss: 0.0, all, content, right: 0, content_right: 0, nearest_right: 0 }
    }

    /// Counts the patch at `position` of `[B·N]`.
    fn add(&mut self, named: Option<u32>, code: u32, position: usize, flat: bool) {
        let right = usize::from(named == Some(code));
        self.all.add_at(position, code);
        self.right += right;
        if !flat {
            self.content.add(&[code]);
            self.content_right += right;
        }
    }

    fn accuracy(self) -> TokenAccuracy {
        let position_majority = self.all.position_majority();
        let all = self.all.into_usage();
        let share = |right: usize, of: &Usage| right as f64 / of.total().max(1) as f64;
        TokenAccuracy {
            patches: all.total() as usize,
            loss: self.loss / all.total().max(1) as f64,
            accuracy: share(self.right, &all),
            majority: all.majority(),
            position_majority,
            nearest_visible: share(self.nearest_right, &all),
            content_patches: self.content.total() as usize,
            content_accuracy: share(self.content_right, &self.content),
            content_majority: self.content.majority(),
        }
    }
}

/// Masked patches whose token is that of the nearest visible one, of `codes [B·N]` under `masks [B·N]`.
fn nearest_right(codes: &[u32], masks: &[bool], [rows, cols]: [usize; 2]) -> usize {
    let cells = rows * cols;
    let of_image = |(codes, mask): (&[u32], &[bool])| {
        let right =
            |&cell: &usize| nearest_visible(cell, mask, cols).is_some_and(|near| codes[near] == codes[cell]);
        (0..cells).filter(|&cell| mask[cell]).filter(right).count()
    };
    codes.chunks_exact(cells).zip(masks.chunks_exact(cells)).map(of_image).sum()
}

/// The visible cell at the least distance, the first of several; none where all are masked.
#[must_use]
pub fn nearest_visible(cell: usize, mask: &[bool], cols: usize) -> Option<usize> {
    let distance = |other: usize| {
        let [rows, columns] = [cell / cols, cell % cols].map(|x| x as isize);
        let (dy, dx) = ((other / cols) as isize - rows, (other % cols) as isize - columns);
        dy * dy + dx * dx
    };
    (0..mask.len()).filter(|&other| !mask[other]).min_by_key(|&other| distance(other))
}

/// Background: patches of `pixels [B, 3, h, w]`, mapped to 0.1..0.9, that have no content.
struct FlatPatches<'a> {
    pixels: &'a [f32],
    channels: usize,
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
        (0..self.channels).all(|channel| {
            let plane = &self.pixels[(image * self.channels + channel) * height * width..][..height * width];
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
    fn the_nearest_visible_patch() {
        // In a row of four, 0 and 3 are visible.
        let mask = [false, true, true, false];
        assert_eq!([1, 2].map(|cell| nearest_visible(cell, &mask, 4)), [Some(0), Some(3)]);
        // In a square of three by three, the middle is as near to 1 as to 3, 5 and 7.
        let mut mask = [false; 9];
        mask[4] = true;
        assert_eq!(nearest_visible(4, &mask, 3), Some(1));
        assert_eq!(nearest_visible(0, &[true], 1), None);
    }

    #[test]
    fn baselines_and_the_gap() {
        let mut tally = Tally::new(3, [1, 2]);
        // Two images; the second patch of each is masked. One has the token of its neighbour; one is named.
        tally.nearest_right = nearest_right(&[1, 1, 0, 2], &[false, true, false, true], [1, 2]);
        tally.add(Some(1), 1, 1, false);
        tally.add(Some(0), 2, 3, true);
        let found = tally.accuracy();
        assert_eq!((found.patches, found.content_patches), (2, 1));
        assert_eq!((found.accuracy, found.nearest_visible, found.position_majority), (0.5, 0.5, 0.5));
        assert_eq!((found.baseline(), found.share_of_gap()), (0.5, 0.0));
        assert_eq!(share_of_gap(0.75, 0.5), 0.5);
        assert_eq!(share_of_gap(1.0, 1.0), 0.0);
    }

    #[test]
    fn flat_patches() {
        // One image of 2x4 pixels in a grid of 1x2; one bright pixel in the blue plane of the second patch.
        let mut pixels = vec![0.1; 3 * 8];
        pixels[2 * 8 + 4 + 3] = 0.2;
        let flat = FlatPatches { pixels: &pixels, channels: 3, size: [2, 4], grid: [1, 2] };
        assert!(flat.is_flat(0));
        assert!(!flat.is_flat(1));
    }
}
