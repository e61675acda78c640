//! Visual tokens: how often each is used, and what it looks like.

use crate::device::Device;
use crate::error::{Result, setting};
use crate::loaders::Loading;
use crate::picture::{Cell, Grid, from_planes};
use crate::progress::Watch;
use crate::settings::{Batches, DataSettings, MeasureSettings};
use crate::tokenizer::Tokenizer;
use beit_data::{CropBox, Image, Stretch};
use beit_tokenizer::{Usage, pixels::unmap};
use serde::Serialize;
use std::path::Path;

/// Tokens beside each other.
const COLUMNS: usize = 16;
/// A token is drawn among copies of itself, so many to a side, of which the middle one is taken: what a decoder does at borders is not
/// the token's.
const AMONG: usize = 3;

/// Which tokens are drawn, and how.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct CodebookSettings {
    /// The most used tokens, at most so many
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().tokens, value_name = "N"))]
    pub tokens: usize,
    /// The mean of the patches that have a token, instead of what the tokenizer draws for it; always so where it cannot draw
    #[cfg_attr(feature = "clap", arg(long))]
    pub means: bool,
}

impl Default for CodebookSettings {
    fn default() -> Self {
        Self { tokens: 128, means: false }
    }
}

/// What a picture of a codebook shows.
#[derive(Clone, Debug, Serialize)]
pub struct ShownCodebook {
    /// Images whose tokens were counted.
    pub images: usize,
    /// Which images: `test` or `train`.
    pub split: String,
    /// Tokens that there are.
    pub vocab: usize,
    /// Tokens that occur.
    pub used: usize,
    /// `exp(entropy)` of their shares: as informative as so many equally frequent ones.
    pub perplexity: f64,
    /// Whether they are drawn by the tokenizer, or are means of patches.
    pub drawn: bool,
    /// Those of the picture, the most used first.
    pub tokens: Vec<ShownToken>,
}

/// A token of the picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownToken {
    /// Its number.
    pub token: u32,
    /// Its share of all tokens of the images.
    pub share: f64,
}

/// What is counted over images.
struct Counted {
    usage: Usage,
    /// Sums of the patches of each token, `[V, C, h, w]`; empty where they are not needed.
    sums: Vec<f64>,
}

impl Tokenizer {
    /// Writes a picture of the most used tokens over images that were held out, resized to `size`, the most used first, with the number and
    /// the share of each; tokens that do not occur are left out.
    ///
    /// # Errors
    ///
    /// Images that are not there, sides that are no whole number of tokens, the device, or a file that cannot be written.
    pub fn write_codebook(
        &self,
        path: &Path,
        (data, measure, size): (&DataSettings, MeasureSettings, [usize; 2]),
        settings: &CodebookSettings,
        device: &Device,
        watch: &Watch,
    ) -> Result<ShownCodebook> {
        if settings.tokens == 0 {
            setting!("--tokens 0: expected at least 1");
        }
        let data = &self.seen(data)?;
        let (source, split) = measure.held_out(data)?;
        watch.notes_of(source.as_ref());
        let drawn = self.draws() && !settings.means;
        let loading = Loading::new(Batches::LARGE, 0, data, device, watch);
        let numbers = self.channels() * self.token_sides().iter().product::<usize>();
        let sums = if drawn { Vec::new() } else { vec![0.0; self.vocab() * numbers] };
        let (mut counted, mut images) = (Counted { usage: Usage::new(self.vocab()), sums }, 0);
        self.each_batch(size, &source, &loading, &mut |pixels, codes| {
            images += pixels.len() / (self.channels() * size[0] * size[1]);
            counted.add(pixels, codes, [self.channels(), size[0], size[1]], self.token_sides());
        })?;
        let tokens = most_used(&counted.usage, settings.tokens);
        let pictures = match drawn {
            true => self.alone(&tokens)?,
            false => counted.means(&tokens, self.token_sides()),
        };
        let caption = |token: &ShownToken| format!("{}\n{:.2} %", token.token, 100.0 * token.share);
        let cells = alike(pictures).zip(&tokens).map(|(picture, token)| Cell::new(picture, caption(token)));
        let cells: Vec<Cell> = cells.collect();
        Grid::new(cells.chunks(COLUMNS).map(<[_]>::to_vec)).write(path)?;
        let (used, perplexity) = (counted.usage.used(), counted.usage.perplexity());
        let (split, vocab) = (split.to_string(), self.vocab());
        Ok(ShownCodebook { images, split, vocab, used, perplexity, drawn, tokens })
    }

    /// Each token as it is drawn among copies of itself.
    fn alone(&self, tokens: &[ShownToken]) -> Result<Vec<Image>> {
        let codes: Vec<u32> = tokens.iter().flat_map(|token| [token.token; AMONG * AMONG]).collect();
        let [height, width] = self.token_sides();
        let (top, left) = (AMONG / 2 * height, AMONG / 2 * width);
        let middle = |image: Image| image.crop(CropBox { top, left, height, width });
        Ok(self.decode_all(&codes, [AMONG; 2])?.into_iter().map(middle).collect())
    }
}

impl Counted {
    /// `pixels [B, C, H, W]`, mapped, and their tokens `[B · rows · columns]` of `[h, w]` pixels.
    fn add(
        &mut self,
        pixels: &[f32],
        codes: &[u32],
        [channels, height, width]: [usize; 3],
        [h, w]: [usize; 2],
    ) {
        self.usage.add(codes);
        if self.sums.is_empty() {
            return;
        }
        let (cols, positions) = (width / w, (height / h) * (width / w));
        for (at, &x) in pixels.iter().enumerate() {
            let (column, row) = (at % width, at / width % height);
            let (channel, image) = (at / width / height % channels, at / width / height / channels);
            let code = codes[image * positions + row / h * cols + column / w] as usize;
            let place = (channel * h + row % h) * w + column % w;
            self.sums[code * channels * h * w + place] += f64::from(unmap(x));
        }
    }

    fn means(&self, tokens: &[ShownToken], sides: [usize; 2]) -> Vec<Image> {
        let (numbers, counts) = (self.sums.len() / self.usage.counts().len(), self.usage.counts());
        let mean = |&ShownToken { token, .. }: &ShownToken| {
            let (sums, count) = (&self.sums[token as usize * numbers..][..numbers], counts[token as usize]);
            let planes: Vec<f32> = sums.iter().map(|sum| (sum / count as f64) as f32).collect();
            from_planes(&planes, sides, |x| x)
        };
        tokens.iter().map(mean).collect()
    }
}

/// Pictures as they are shown, all under one stretch where they have more than 8 bits: each by itself would show noise as contrast.
fn alike(pictures: Vec<Image>) -> impl Iterator<Item = Image> {
    let stretches = pictures.iter().map(Stretch::of).filter(|&stretch| stretch != Stretch::NONE);
    let both = |a: Stretch, b: Stretch| Stretch { low: a.low.min(b.low), high: a.high.max(b.high) };
    let stretch = stretches.reduce(both).unwrap_or(Stretch::NONE);
    pictures.into_iter().map(move |picture| picture.shown_with(stretch).into_owned())
}

/// At most `most` tokens that occur, the most used first, of equally used ones that of the smaller number.
fn most_used(usage: &Usage, most: usize) -> Vec<ShownToken> {
    let counts = usage.counts();
    let mut order: Vec<usize> = (0..counts.len()).filter(|&token| counts[token] > 0).collect();
    order.sort_by_key(|&token| std::cmp::Reverse(counts[token]));
    order.truncate(most);
    let share = |token: usize| counts[token] as f64 / usage.total() as f64;
    order.into_iter().map(|token| ShownToken { token: token as u32, share: share(token) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use beit_tokenizer::pixels::map;

    #[test]
    fn the_most_used_come_first() {
        let usage = Usage::counted(&[4, 1, 4, 3, 1, 4, 0, 3], 6);
        let found =
            |most| most_used(&usage, most).into_iter().map(|t| (t.token, t.share)).collect::<Vec<_>>();
        assert_eq!(found(9), [(4, 0.375), (1, 0.25), (3, 0.25), (0, 0.125)]);
        assert_eq!(found(2), [(4, 0.375), (1, 0.25)]);
    }

    #[test]
    fn pictures_of_many_bits_share_one_stretch() {
        let word = |low: u16, high: u16| Image::of_channels(1, 2, 1, vec![low, high].into());
        let shown: Vec<Vec<u8>> = alike(vec![word(0, 100), word(50, 200), word(50, 50)])
            .map(|image| image.pixels().to_vec())
            .collect();
        assert_eq!(shown, [[0, 0, 0, 128, 128, 128], [64, 64, 64, 255, 255, 255], [64; 6]]);
    }

    /// Two grey images of 2x4 pixels, tokens of 2x2: the mean of token 1 is that of three patches.
    #[test]
    fn means_are_of_the_patches_that_have_the_token() {
        let patches = [[0.1, 0.2, 0.3, 0.4], [0.5; 4], [0.3, 0.2, 0.1, 0.0], [0.2, 0.5, 0.2, 0.8]];
        let image = |a: [f32; 4], b: [f32; 4]| [a[0], a[1], b[0], b[1], a[2], a[3], b[2], b[3]];
        let pixels = [image(patches[0], patches[1]), image(patches[2], patches[3])].concat();
        let mapped: Vec<f32> = pixels.into_iter().map(map).collect();
        let mut counted = Counted { usage: Usage::new(3), sums: vec![0.0; 3 * 4] };
        counted.add(&mapped, &[1, 2, 1, 1], [1, 2, 4], [2, 2]);
        let tokens = most_used(&counted.usage, 3);
        assert_eq!(tokens.iter().map(|token| token.token).collect::<Vec<_>>(), [1, 2]);
        let means = counted.means(&tokens, [2, 2]);
        let share = |token: usize, at: usize| means[token].samples().share(at);
        for (at, want) in [0.2, 0.3, 0.2, 0.4].into_iter().enumerate() {
            assert!((share(0, at) - want).abs() < 1e-3, "{at}: {}", share(0, at));
            assert!((share(1, at) - 0.5).abs() < 1e-3);
        }
    }
}
