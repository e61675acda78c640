//! What the channels of training images are like.

use crate::error::{Result, unfit};
use crate::progress::Watch;
use crate::settings::{DataSettings, ModelSettings};
use beit_data::{Channels, Image, Source};

/// Images that are looked at, at most.
const LOOKED_AT: usize = 1000;
/// Less than a step of 16 bits: a channel that is the same everywhere.
const FLAT: f64 = 1e-5;

impl ModelSettings {
    /// Measures the mean and the deviation of each channel where pictures are read as they are and nothing is given.
    pub(super) fn settle_statistics(
        &mut self,
        data: &DataSettings,
        source: &dyn Source,
        watch: &Watch,
    ) -> Result<()> {
        let channels = Channels::of_pictures(data.bands());
        self.check_statistics(channels)?;
        if data.bands().is_none() || !self.mean.is_empty() {
            return Ok(());
        }
        let mut sums = Sums::new(channels.count());
        let all = source.len();
        let some = all.min(LOOKED_AT);
        // At even distances, so that a sorted source shows more than its first class.
        let looked_at = (0..some).map(|i| (i as u128 * all as u128 / some as u128) as usize);
        let mut first = None;
        for index in looked_at {
            match source.image(index) {
                Ok(image) => sums.add(&image),
                // It is named when a batch asks for it.
                Err(error) => first = first.or(Some(error)),
            }
        }
        if let (0, Some(error)) = (sums.images, first) {
            unfit!("none of {some} images can be decoded to measure their channels; the first: {error}");
        }
        (self.mean, self.std) = sums.statistics();
        watch.note(&format!(
            "measured on {} images: --mean {} --std {}",
            sums.images,
            listed(&self.mean),
            listed(&self.std)
        ));
        Ok(())
    }
}

/// Sums over pixels, of each channel.
struct Sums {
    images: usize,
    pixels: f64,
    /// Of the values, and of their squares.
    channels: Vec<[f64; 2]>,
}

impl Sums {
    fn new(channels: usize) -> Self {
        Self { images: 0, pixels: 0.0, channels: vec![[0.0; 2]; channels] }
    }

    fn add(&mut self, image: &Image) {
        let count = self.channels.len();
        for index in 0..image.samples().len() {
            let share = f64::from(image.samples().share(index));
            let [sum, squares] = &mut self.channels[index % count];
            *sum += share;
            *squares += share * share;
        }
        self.images += 1;
        self.pixels += (image.height() * image.width()) as f64;
    }

    /// Means and deviations; 1 for a channel that is the same everywhere.
    fn statistics(&self) -> (Vec<f32>, Vec<f32>) {
        let of = |[sum, squares]: &[f64; 2]| {
            let mean = sum / self.pixels;
            let deviation = (squares / self.pixels - mean * mean).max(0.0).sqrt();
            (mean as f32, if deviation < FLAT { 1.0 } else { deviation as f32 })
        };
        self.channels.iter().map(of).unzip()
    }
}

fn listed(numbers: &[f32]) -> String {
    numbers.iter().map(f32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_own_statistics() {
        let mut sums = Sums::new(2);
        let half = u16::MAX / 5;
        sums.add(&Image::of_channels(1, 2, 2, vec![0, half, 2 * half, half].into()));
        sums.add(&Image::of_channels(1, 2, 2, vec![0, half, 2 * half, half].into()));
        let (mean, std) = sums.statistics();
        let near = |found: f32, wanted: f32| (found - wanted).abs() < 1e-6;
        assert!(near(mean[0], 0.2) && near(mean[1], 0.2), "{mean:?}");
        assert!(near(std[0], 0.2) && std[1] == 1.0, "{std:?}");
    }
}
