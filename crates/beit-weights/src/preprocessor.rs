//! `preprocessor_config.json`: how transformers' `BeitImageProcessor` makes tensors of pictures.

use crate::config::{read_json, write_json};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The name of the file.
pub const PREPROCESSOR: &str = "preprocessor_config.json";

/// How pixels between pixels are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resample {
    /// 2 in the file, Pillow's number.
    Bilinear,
    /// 3 in the file.
    Bicubic,
}

/// From a picture to the pixels of a model: resize to exactly `size`, cut out the centre, divide by 255, normalise.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessor {
    /// Height and width after resizing, whatever the picture's aspect.
    pub size: [usize; 2],
    /// Filter of the resizing.
    pub resample: Resample,
    /// Height and width of the centre that is cut out.
    pub crop: Option<[usize; 2]>,
    /// Mean of each channel, in 0 to 1.
    pub mean: [f32; 3],
    /// Deviation of each channel, in 0 to 1.
    pub std: [f32; 3],
}

impl Preprocessor {
    /// That of the published `microsoft/beit-*`: no crop, bilinear, mean and deviation 0.5.
    #[must_use]
    pub const fn squash(size: [usize; 2]) -> Self {
        Self { size, resample: Resample::Bilinear, crop: None, mean: [0.5; 3], std: [0.5; 3] }
    }

    /// Reads the file of a checkpoint folder.
    ///
    /// # Errors
    ///
    /// When it is absent, damaged, or asks for something else than the above.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let path = &folder.as_ref().join(PREPROCESSOR);
        read_json::<File>(path)?.preprocessor().map_err(|problem| Error::config(path, problem))
    }

    /// Writes the file into a folder.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<()> {
        write_json(&folder.as_ref().join(PREPROCESSOR), &File::of(self))
    }
}

/// The keys of the file. Absent ones are taken as the published checkpoints mean them.
#[derive(Serialize, Deserialize)]
struct File {
    #[serde(skip_deserializing)]
    image_processor_type: &'static str,
    #[serde(default = "yes")]
    do_resize: bool,
    size: Size,
    #[serde(default = "bilinear")]
    resample: u8,
    #[serde(default)]
    do_center_crop: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crop_size: Option<Size>,
    #[serde(default = "yes")]
    do_rescale: bool,
    #[serde(default = "byte")]
    rescale_factor: f64,
    #[serde(default = "yes")]
    do_normalize: bool,
    #[serde(default = "half")]
    image_mean: [f32; 3],
    #[serde(default = "half")]
    image_std: [f32; 3],
    #[serde(default)]
    do_reduce_labels: bool,
}

/// The greatest value of a byte becomes 1.
const BYTE: f64 = 1.0 / 255.0;

fn yes() -> bool {
    true
}

fn bilinear() -> u8 {
    2
}

fn byte() -> f64 {
    BYTE
}

fn half() -> [f32; 3] {
    [0.5; 3]
}

/// A number in the files of transformers 4.25 and before, an object since.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum Size {
    Square(usize),
    Rectangle { height: usize, width: usize },
}

impl From<Size> for [usize; 2] {
    fn from(size: Size) -> Self {
        match size {
            Size::Square(side) => [side; 2],
            Size::Rectangle { height, width } => [height, width],
        }
    }
}

impl From<[usize; 2]> for Size {
    fn from([height, width]: [usize; 2]) -> Self {
        Self::Rectangle { height, width }
    }
}

impl File {
    fn of(p: &Preprocessor) -> Self {
        Self {
            image_processor_type: "BeitImageProcessor",
            do_resize: true,
            size: p.size.into(),
            resample: if p.resample == Resample::Bilinear { 2 } else { 3 },
            do_center_crop: p.crop.is_some(),
            crop_size: p.crop.map(Size::from),
            do_rescale: true,
            rescale_factor: BYTE,
            do_normalize: true,
            image_mean: p.mean,
            image_std: p.std,
            do_reduce_labels: false,
        }
    }

    fn preprocessor(&self) -> Result<Preprocessor, String> {
        if !(self.do_resize && self.do_rescale && self.do_normalize) {
            return Err("`do_resize`, `do_rescale` and `do_normalize` must be true".into());
        }
        if (self.rescale_factor - BYTE).abs() > 1e-6 {
            return Err(format!("`rescale_factor` is {}, expected 1/255", self.rescale_factor));
        }
        let resample = match self.resample {
            2 => Resample::Bilinear,
            3 => Resample::Bicubic,
            other => return Err(format!("`resample` is {other}, expected 2 (bilinear) or 3 (bicubic)")),
        };
        let size = self.size.into();
        let crop = self.do_center_crop.then(|| self.crop_size.map_or(size, <[usize; 2]>::from));
        Ok(Preprocessor { size, resample, crop, mean: self.image_mean, std: self.image_std })
    }
}
