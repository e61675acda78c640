//! What feeds a step: masks, and pictures decoded and augmented. One thread each, so that a rate is that of a core.

use crate::case::{Case, Fill, Running};
use anyhow::Context;
use beit_data::{ColourJitter, Image, Preprocessing, Purpose, sample_rng};
use beit_mask::{Config, Masker};
use beit_ops::Ops;
use serde_json::{Value, json};
use std::hint::black_box;
use std::path::{Path, PathBuf};

/// Masks of one call.
const MASKS: usize = 64;
/// Width and height of the picture where none is given: those of many pictures in ImageNet.
const SIZE: [usize; 2] = [500, 375];

/// Block-wise masks of 14 x 14 patches.
pub(super) struct Masks(Masker);

impl Masks {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(Masker::new(Config::official())?))
    }
}

impl Case for Masks {
    fn name(&self) -> String {
        format!("{MASKS} block-wise masks, one thread")
    }
    fn images(&self) -> Option<usize> {
        Some(MASKS)
    }
    fn prepare<'a, O: Ops>(&'a self, _: &'a O, _: Fill<O>) -> Running<'a> {
        let mut mask = vec![false; self.0.cells()];
        // One generator for all, as the peer has one.
        let mut rng = sample_rng(1, 0, 0, Purpose::Sample);
        Box::new(move || {
            for _ in 0..MASKS {
                self.0.fill(&mut rng, &mut mask);
                black_box(&mask);
            }
        })
    }
    fn question(&self) -> Option<Value> {
        Some(json!({ "row": "masks", "masks": MASKS }))
    }
}

/// A photograph read, decoded and augmented for pre-training.
pub(super) struct Pipeline {
    file: PathBuf,
    masker: Masker,
    /// Where the picture is if this program made it: removed in the end.
    made: bool,
}

impl Pipeline {
    /// Of this photograph, or of one that is made.
    pub(super) fn new(file: Option<&Path>) -> anyhow::Result<Self> {
        let masker = Masker::new(Config::official())?;
        let (file, made) = match file {
            Some(file) => (file.to_owned(), false),
            None => {
                let file = std::env::temp_dir().join(format!("beit-bench-{}.jpg", std::process::id()));
                (file, true)
            }
        };
        if made {
            make_picture(&file)?;
        }
        Image::open(&file).with_context(|| format!("--image {}", file.display()))?;
        Ok(Self { file, masker, made })
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if self.made {
            let _ = std::fs::remove_file(&self.file);
        }
    }
}

impl Case for Pipeline {
    fn name(&self) -> String {
        "a JPEG decoded, two views and a mask, one thread".into()
    }
    fn images(&self) -> Option<usize> {
        Some(1)
    }
    fn prepare<'a, O: Ops>(&'a self, _: &'a O, _: Fill<O>) -> Running<'a> {
        let transform = Preprocessing::unilm([224; 2]).pretrain([112; 2], ColourJitter::STANDARD);
        let mut index = 0;
        Box::new(move || {
            // It could be read when the row was prepared.
            if let Ok(image) = Image::open(&self.file) {
                let mut rng = sample_rng(1, 0, index, Purpose::Sample);
                black_box(transform.apply(image, &self.masker, &mut rng));
                index += 1;
            }
        })
    }
    fn question(&self) -> Option<Value> {
        Some(json!({ "row": "pipeline", "file": self.file }))
    }
}

/// Waves, edges and grain, so that a decoder has about as much to do as with a photograph.
fn make_picture(file: &Path) -> anyhow::Result<()> {
    let [width, height] = SIZE;
    let grain = |i: usize| f64::from(((i as u32).wrapping_mul(2_654_435_761) >> 24) as u8) / 16.0;
    let pixel = |i: usize| {
        let (x, y, channel) = (i / 3 % width, i / 3 / width, i % 3);
        let (x, y) = (x as f64, y as f64);
        let wave = 60.0 * (x / 23.0 + channel as f64).sin() + 40.0 * (y / 11.0).cos();
        let edge = if (x - y).rem_euclid(90.0) < 30.0 { 30.0 } else { 0.0 };
        (110.0 + wave + edge + grain(i)).clamp(0.0, 255.0) as u8
    };
    let pixels: Vec<u8> = (0..width * height * 3).map(pixel).collect();
    image::save_buffer(file, &pixels, width as u32, height as u32, image::ColorType::Rgb8)
        .with_context(|| format!("cannot write {}", file.display()))
}
