//! What is known of images that were looked at once: their classes, their pixels, and the features of every layer.

use super::ProbePool;
use crate::device::{Device, Work};
use crate::embedder::{Transformer, cls_tokens};
use crate::error::{Error, Result};
use crate::load::Opened;
use crate::loaders::Loading;
use crate::progress::Task;
use crate::ranks::Team;
use crate::settings::Crops;
use beit_data::{Batch, Channels, Normalise, Preprocessing, Source};
use beit_ops::Ops;
use beit_train::share_batches;
use beit_vit::{Input, Vit};
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use std::sync::Arc;

/// Images in the order of their source, without those that cannot be decoded.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Seen {
    /// `[images]`
    pub(super) labels: Vec<u32>,
    /// What the model sees before it is normalised, `[images, C, H, W]`, if it is kept.
    pub(super) pixels: Vec<u16>,
    /// A layer: `[images, width]`.
    pub(super) layers: Vec<Vec<f32>>,
}

/// All images of a probe, as they were seen.
pub(super) struct Sight {
    /// `[H, W]`
    pub(super) size: [usize; 2],
    /// Channels of an image.
    pub(super) channels: usize,
    /// The greatest value of a pixel.
    pub(super) greatest: u16,
    /// To learn from.
    pub(super) train: Seen,
    /// To judge by.
    pub(super) test: Seen,
}

impl Sight {
    /// Of the images to learn from, and of those that judge.
    pub(super) fn labels(&self) -> [&[u32]; 2] {
        [&self.train.labels, &self.test.labels]
    }
}

/// How images are looked at.
pub(super) struct Look<'a> {
    /// To learn from, and to judge by; all have labels.
    pub(super) sources: [Arc<dyn Source>; 2],
    pub(super) loading: &'a Loading,
    /// Who shares the images, batch by batch.
    pub(super) team: &'a Team,
    /// Bytes of pixels that may be kept; nothing where none are wanted.
    pub(super) most_bytes: Option<usize>,
}

/// Makes the features of all layers of a batch: `[B, C, H, W]` to `[B, width]` each.
type Layers<'a> = dyn FnMut(&[f32]) -> Result<Vec<Vec<f32>>> + 'a;

impl Look<'_> {
    /// Every image once, through a model of this name.
    pub(super) fn through<O: Ops>(
        &self,
        ops: &O,
        vit: &Vit<O::Tensor>,
        (name, pool): (&str, ProbePool),
        preprocessing: Preprocessing,
    ) -> Result<Sight> {
        let width = if pool == ProbePool::ClsMean { 2 } else { 1 } * vit.config().width;
        self.see(preprocessing, &mut |pixels| {
            let features = layers(ops, vit, pool, pixels)?;
            let image = |row| format!("image {} of a batch", row + 1);
            features.iter().try_for_each(|x| Error::unless_finite(name, "features", x, width, image))?;
            Ok(features)
        })
    }

    /// Every image once.
    pub(super) fn see(&self, preprocessing: Preprocessing, layers: &mut Layers<'_>) -> Result<Sight> {
        let (size, [train, test]) = (preprocessing.size, &self.sources);
        let channels = preprocessing.normalise.channels.count();
        let pixels = (train.len() + test.len()).saturating_mul(size[0] * size[1]);
        let bytes = pixels.saturating_mul(channels).saturating_mul(size_of::<u16>());
        let keep = self.most_bytes.is_some_and(|most| bytes <= most);
        if !keep && self.most_bytes.is_some() {
            self.loading.watch.note(&format!("pixels are left out: they would take {bytes} bytes"));
        }
        let (train, test) = (
            self.see_all(train, preprocessing, keep, layers)?,
            self.see_all(test, preprocessing, keep, layers)?,
        );
        let greatest = greatest(preprocessing.normalise.channels);
        Ok(Sight { size, channels, greatest, train, test })
    }

    fn see_all(
        &self,
        source: &Arc<dyn Source>,
        preprocessing: Preprocessing,
        keep_pixels: bool,
        layers: &mut Layers<'_>,
    ) -> Result<Seen> {
        let (loading, mut seen) = (self.loading, Seen::default());
        let plane = preprocessing.size[0] * preprocessing.size[1];
        let loader = loading.pixels(source, (preprocessing, Crops::One))?;
        loading.watch.begin(&Task::Images { total: loader.images() as u64 });
        let find = |batch: &Batch<Vec<f32>>| -> Result<Seen> {
            let pixels = levels(&batch.data, plane, &preprocessing.normalise);
            Ok(Seen {
                labels: batch.indices.iter().filter_map(|&index| source.label(index)).collect(),
                pixels: if keep_pixels { pixels.collect() } else { Vec::new() },
                layers: layers(&batch.data)?,
            })
        };
        let range = 0..loader.batches_per_epoch();
        share_batches(&mut *self.team.ranks(), &loader, range, find, |_, found| {
            seen.layers.resize_with(found.layers.len(), Vec::new);
            seen.layers.iter_mut().zip(found.layers).for_each(|(all, some)| all.extend(some));
            seen.pixels.extend(found.pixels);
            seen.labels.extend(found.labels);
            loading.watch.done(seen.labels.len() as u64);
            Ok(())
        })?;
        loading.watch.end();
        Ok(seen)
    }
}

/// The greatest value of a pixel: channels that are read as they are have 16 bits at most.
fn greatest(channels: Channels) -> u16 {
    if channels.bands().is_some() { u16::MAX } else { u8::MAX.into() }
}

/// The bytes that were normalised, exactly, or 16 bits: channels of `plane` values.
fn levels(normal: &[f32], plane: usize, normalise: &Normalise) -> impl Iterator<Item = u16> {
    let Normalise { channels, mean, std } = *normalise;
    let greatest = f32::from(greatest(channels));
    normal.iter().enumerate().map(move |(i, x)| {
        let channel = i / plane % channels.count();
        (greatest * (x * std[channel] + mean[channel])).round() as u16
    })
}

/// [`Look::see`] with a model.
pub(super) struct LookThrough<'a> {
    pub(super) look: Look<'a>,
    pub(super) name: &'a str,
    pub(super) opened: &'a Opened<'a>,
    pub(super) pool: ProbePool,
}

impl Work for LookThrough<'_> {
    type Output = Sight;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, _: &Device) -> Result<Sight> {
        let Self { look, name, opened, pool } = self;
        let Transformer { vit, preprocessing, .. } = Transformer::load(&**ops, name, opened)?;
        look.loading.watch.note(&format!("preprocessing: {preprocessing}"));
        let model = format!("{} seen as {preprocessing}", crate::checksum::parameters(&**ops, &vit)?);
        look.team.same(&model, |first, other| format!("its model is {other}, in rank 0 {first}"))?;
        look.through(&**ops, &vit, (name, pool), preprocessing)
    }
}

/// The pooled output of every block, `[B, width]` each, by one pass through the model.
fn layers<O: Ops>(ops: &O, vit: &Vit<O::Tensor>, pool: ProbePool, pixels: &[f32]) -> Result<Vec<Vec<f32>>> {
    let (config, tokens) = (vit.config(), vit.config().tokens());
    let images = ops.upload(config.images(pixels.len() / config.numbers()), pixels);
    let input = Input { images: &images, mask: None, drop_path: None };
    let mut pooled = Vec::new();
    vit.infer(ops, &input, &mut |_, x| {
        let cls = (pool != ProbePool::Mean).then(|| cls_tokens(ops, x, tokens));
        let mean = (pool != ProbePool::Cls).then(|| ops.mean_pool(x, tokens));
        pooled.push([cls, mean]);
    });
    let read = |part: Option<O::Tensor>| part.map(|part| ops.read(&part)).transpose();
    let joined = |[cls, mean]: [Option<O::Tensor>; 2]| match (read(cls)?, read(mean)?) {
        (Some(cls), Some(mean)) => Ok(side_by_side(&cls, &mean, vit.config().width)),
        (one, other) => Ok(one.or(other).unwrap_or_default()),
    };
    pooled.into_iter().map(joined).collect()
}

/// `a [B, C], b [B, C] -> [B, 2C]`
fn side_by_side(a: &[f32], b: &[f32], width: usize) -> Vec<f32> {
    a.chunks_exact(width).zip(b.chunks_exact(width)).flat_map(|(a, b)| [a, b].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use beit_data::Image;

    #[test]
    fn pixels_come_back_from_normalised_ones() {
        let image = Image::new(16, 16, (0..=255).flat_map(|x| [x, 255 - x, x / 2]).collect());
        for normalise in [Normalise::HALF, Normalise::IMAGENET] {
            let back: Vec<u16> = levels(&normalise.planes(&image), 256, &normalise).collect();
            for (pixel, rgb) in image.pixels().chunks_exact(3).enumerate() {
                assert_eq!(
                    [back[pixel], back[256 + pixel], back[512 + pixel]],
                    [0, 1, 2].map(|c| u16::from(rgb[c]))
                );
            }
        }
    }

    #[test]
    fn parts_of_an_image_stay_together() {
        assert_eq!(side_by_side(&[1.0, 2.0], &[3.0, 4.0], 1), [1.0, 3.0, 2.0, 4.0]);
    }
}
