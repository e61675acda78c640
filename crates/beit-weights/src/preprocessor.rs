//! `preprocessor_config.json`: how transformers' `BeitImageProcessor` makes tensors of pictures.

use crate::config::limit_statistics;
use crate::error::{Error, Result};
use crate::json::{read_json, write_json};
use beit_data::{Filter, Fit, Normalise, Preprocessing};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The name of the file.
pub const PREPROCESSOR: &str = "preprocessor_config.json";

/// Reads the file of a checkpoint folder.
///
/// # Errors
///
/// When it is absent, damaged, or asks for something that [`Preprocessing`] cannot say.
pub fn read_preprocessing(folder: impl AsRef<Path>) -> Result<Preprocessing> {
    let path = &folder.as_ref().join(PREPROCESSOR);
    read_json::<File>(path)?.preprocessing().map_err(|problem| Error::config(path, problem))
}

/// Writes the file into a folder.
///
/// # Errors
///
/// When the disk does not take it.
pub fn write_preprocessing(folder: impl AsRef<Path>, preprocessing: &Preprocessing) -> Result<()> {
    write_json(&folder.as_ref().join(PREPROCESSOR), &File::describing(preprocessing))
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

/// The numbers that Pillow gives to the filters.
const RESAMPLE: [(u8, Filter); 3] = [(1, Filter::Lanczos), (2, Filter::Bilinear), (3, Filter::Bicubic)];

fn resample(filter: Filter) -> u8 {
    let known = RESAMPLE.iter().find(|(_, known)| *known == filter);
    known.expect("every filter has a number").0
}

impl File {
    fn describing(preprocessing: &Preprocessing) -> Self {
        let Preprocessing { size, filter, normalise: Normalise { mean, std }, .. } = *preprocessing;
        let (size, crop) = match preprocessing.shortest_edge() {
            None => (size.into(), None),
            Some(shortest_edge) => (Size::Shorter { shortest_edge }, Some(size.into())),
        };
        Self {
            image_processor_type: "BeitImageProcessor",
            do_resize: true,
            size,
            resample: resample(filter),
            do_center_crop: crop.is_some(),
            crop_size: crop,
            do_rescale: true,
            rescale_factor: BYTE,
            do_normalize: true,
            image_mean: mean,
            image_std: std,
            do_reduce_labels: false,
        }
    }

    fn preprocessing(&self) -> Result<Preprocessing, String> {
        if !(self.do_resize && self.do_rescale && self.do_normalize) {
            return Err("`do_resize`, `do_rescale` and `do_normalize` must be true".into());
        }
        if (self.rescale_factor - BYTE).abs() > 1e-6 {
            return Err(format!("`rescale_factor` is {}, expected 1/255", self.rescale_factor));
        }
        let normalise = Normalise { mean: self.image_mean, std: self.image_std };
        limit_statistics(["image_mean", "image_std"], &normalise)?;
        let Some((_, filter)) = RESAMPLE.iter().find(|(number, _)| *number == self.resample) else {
            let known = "1 (Lanczos), 2 (bilinear) or 3 (bicubic)";
            return Err(format!("`resample` is {}, expected {known}", self.resample));
        };
        let (size, shortest_edge) = self.sides()?;
        let squashed = Preprocessing { size, fit: Fit::Squash, filter: *filter, normalise };
        Ok(shortest_edge.map_or(squashed, |side| squashed.covering(side)))
    }

    /// Height and width of what the model sees, and the length of the shorter side where a centre is cut out.
    fn sides(&self) -> Result<([usize; 2], Option<usize>), String> {
        let crop = self.do_center_crop.then_some(self.crop_size).flatten();
        let (size, shortest_edge) = match (self.size, crop) {
            (Size::Shorter { shortest_edge }, Some(crop)) => (crop.exact()?, Some(shortest_edge)),
            (size, Some(crop)) if size.exact()? != crop.exact()? => {
                return Err(
                    "an exact `size` and then a smaller `crop_size`; expected one of them or `shortest_edge`"
                        .into(),
                );
            }
            (size, _) => (size.exact()?, None),
        };
        match shortest_edge.into_iter().chain(size).find(|side| !(1..=LIMIT).contains(side)) {
            Some(side) => Err(format!("a side of {side} pixels, expected 1 to {LIMIT}")),
            None => Ok((size, shortest_edge)),
        }
    }
}
