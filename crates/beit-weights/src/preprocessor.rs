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
    /// 1 in the file.
    Lanczos,
}

impl Resample {
    /// The name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        }
    }
}

/// How a picture is brought to the size of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Resized to exactly this height and width, whatever its aspect.
    Squash([usize; 2]),
    /// Resized so that its shorter side is `side`, then cut to the height and width `crop` of its centre.
    Shorter {
        /// In pixels.
        side: usize,
        /// Height and width.
        crop: [usize; 2],
    },
}

/// From a picture to the pixels of a model: resize, perhaps cut out the centre, divide by 255, normalise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocessor {
    /// Resizing and cutting.
    pub fit: Fit,
    /// Filter of the resizing.
    pub resample: Resample,
    /// Mean of each channel, in 0 to 1.
    pub mean: [f32; 3],
    /// Deviation of each channel, in 0 to 1.
    pub std: [f32; 3],
}

impl Preprocessor {
    /// That of the published `microsoft/beit-*`: no crop, bilinear, mean and deviation 0.5.
    #[must_use]
    pub const fn squash(size: [usize; 2]) -> Self {
        Self { fit: Fit::Squash(size), resample: Resample::Bilinear, mean: [0.5; 3], std: [0.5; 3] }
    }

    /// Height and width of what the model sees.
    #[must_use]
    pub const fn size(&self) -> [usize; 2] {
        match self.fit {
            Fit::Squash(size) | Fit::Shorter { crop: size, .. } => size,
        }
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
    Shorter { shortest_edge: usize },
}

impl Size {
    fn exact(self) -> Result<[usize; 2], String> {
        match self {
            Self::Square(side) => Ok([side; 2]),
            Self::Rectangle { height, width } => Ok([height, width]),
            Self::Shorter { .. } => Err("`shortest_edge` without a crop".into()),
        }
    }
}

impl From<[usize; 2]> for Size {
    fn from([height, width]: [usize; 2]) -> Self {
        Self::Rectangle { height, width }
    }
}

/// No picture is larger, and no damaged file shall make us reserve memory for one.
const LIMIT: usize = 1 << 14;

impl File {
    fn of(p: &Preprocessor) -> Self {
        let (size, crop) = match p.fit {
            Fit::Squash(size) => (size.into(), None),
            Fit::Shorter { side, crop } => (Size::Shorter { shortest_edge: side }, Some(crop.into())),
        };
        Self {
            image_processor_type: "BeitImageProcessor",
            do_resize: true,
            size,
            resample: match p.resample {
                Resample::Lanczos => 1,
                Resample::Bilinear => 2,
                Resample::Bicubic => 3,
            },
            do_center_crop: crop.is_some(),
            crop_size: crop,
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
        if self.image_std.iter().any(|std| std.is_nan() || *std <= 0.0) {
            return Err(format!("`image_std` is {:?}, expected more than 0", self.image_std));
        }
        let resample = match self.resample {
            1 => Resample::Lanczos,
            2 => Resample::Bilinear,
            3 => Resample::Bicubic,
            other => {
                let known = "1 (Lanczos), 2 (bilinear) or 3 (bicubic)";
                return Err(format!("`resample` is {other}, expected {known}"));
            }
        };
        let fit = self.fit()?;
        Ok(Preprocessor { fit, resample, mean: self.image_mean, std: self.image_std })
    }

    fn fit(&self) -> Result<Fit, String> {
        let crop = self.do_center_crop.then_some(self.crop_size).flatten();
        let fit = match (self.size, crop) {
            (Size::Shorter { shortest_edge: side }, Some(crop)) => Fit::Shorter { side, crop: crop.exact()? },
            (size, Some(crop)) if size.exact()? != crop.exact()? => {
                return Err(
                    "an exact `size` and then a smaller `crop_size`; expected one of them or `shortest_edge`"
                        .into(),
                );
            }
            (size, _) => Fit::Squash(size.exact()?),
        };
        let sides = match fit {
            Fit::Squash([height, width]) => [height, width, height],
            Fit::Shorter { side, crop: [height, width] } => [side, height, width],
        };
        match sides.iter().find(|side| !(1..=LIMIT).contains(*side)) {
            Some(side) => Err(format!("a side of {side} pixels, expected 1 to {LIMIT}")),
            None => Ok(fit),
        }
    }
}
