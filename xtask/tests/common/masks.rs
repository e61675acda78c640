//! A small set of images with masks.

use super::Place;
use image::{GrayImage, Luma, Rgb, RgbImage};
use std::fs;

/// Side of the pictures.
pub(crate) const SIDE: u32 = 24;
/// The set, as the command line reads it.
pub(crate) const DATA: &str = "--data masks:set/images,set/masks,set/classes.txt";

/// A bright square on a dark ground, and where it is.
pub(crate) fn pair(number: u32) -> (RgbImage, GrayImage) {
    let (left, top, side) = (number * 3 % 12, number * 5 % 12, 8 + number % 4);
    let inside = |x: u32, y: u32| x >= left && x < left + side && y >= top && y < top + side;
    let image = RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let light = if inside(x, y) { 200 } else { 40 } + ((x * 7 + y * 13 + number) % 16) as u8;
        Rgb([light, light / 2, 255 - light])
    });
    let mask = GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([u8::from(inside(x, y))]));
    (image, mask)
}

impl Place {
    /// With `set`: twelve pictures with masks to train, six to test.
    pub(crate) fn with_masks() -> Self {
        let place = Self::new();
        place.masks(12, 6);
        place
    }

    /// Makes `set`, so many pictures with masks to train and to test.
    pub(crate) fn masks(&self, train: u32, test: u32) {
        self.write("set/classes.txt", "ground\nsquare\n");
        for (split, count) in [("train", train), ("test", test)] {
            for folder in ["images", "masks"] {
                fs::create_dir_all(self.path(&format!("set/{folder}/{split}"))).unwrap();
            }
            for number in 0..count {
                let (image, mask) = pair(number);
                image.save(self.path(&format!("set/images/{split}/{number:02}.png"))).unwrap();
                mask.save(self.path(&format!("set/masks/{split}/{number:02}.png"))).unwrap();
            }
        }
    }
}
