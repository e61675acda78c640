//! Images that are different everywhere.

use beit_data::{Image, Source};

/// So many images of 8 x 8 pixels without labels.
pub(crate) struct Noise(pub(crate) usize);

impl Source for Noise {
    fn len(&self) -> usize {
        self.0
    }
    fn image(&self, index: usize) -> beit_data::Result<Image> {
        Ok(Image::new(8, 8, (0..192).map(|i| (i * (index + 3) * 37 % 251) as u8).collect()))
    }
    fn label(&self, _: usize) -> Option<u32> {
        None
    }
    fn class_names(&self) -> &[String] {
        &[]
    }
    fn name(&self, index: usize) -> String {
        format!("image {index}")
    }
}

/// The pixels of an image, spread from `low` to `high`.
pub(crate) fn values(image: &Image, low: f32, high: f32) -> Vec<f32> {
    image.pixels().iter().map(|&v| low + (high - low) * f32::from(v) / 255.0).collect()
}
