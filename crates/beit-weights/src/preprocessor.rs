//! `preprocessor_config.json`: how transformers' `BeitImageProcessor` makes tensors of pictures.

use crate::config::{Keys, limit_statistics};
use crate::error::{Error, Result};
use crate::json::write_json;
use beit_data::{Bands, Channels, Filter, Fit, Normalise, PerChannel, Preprocessing};
use beit_vit::Config;
use serde_json::{Value, json};
use std::path::Path;

/// The name of the file.
pub const PREPROCESSOR: &str = "preprocessor_config.json";

/// Reads the file of a checkpoint folder.
///
/// # Errors
///
/// When it is absent, damaged, or asks for something that [`Preprocessing`] cannot say.
pub fn read_preprocessing(folder: impl AsRef<Path>) -> Result<Preprocessing> {
    described(&Keys::read(&folder.as_ref().join(PREPROCESSOR))?, None)
}

/// Writes the file into a folder.
///
/// # Errors
///
/// When the disk does not take it.
pub fn write_preprocessing(folder: impl AsRef<Path>, preprocessing: &Preprocessing) -> Result<()> {
    write_json(&folder.as_ref().join(PREPROCESSOR), &describing(preprocessing))
}

/// The greatest value of a byte becomes 1.
const BYTE: f64 = 1.0 / 255.0;

/// No picture is larger, and no damaged file shall make us reserve memory for one.
const LIMIT: usize = 1 << 14;

/// The numbers that Pillow gives to the filters.
const RESAMPLE: [(u8, Filter); 3] = [(1, Filter::Lanczos), (2, Filter::Bilinear), (3, Filter::Bicubic)];

/// Ours, for what the file has no word for: pictures with a border.
const BORDER: (&str, &str) = ("crop_mode", "border");

/// Ours, for what the file has no word for: pictures whose channels are read as they are.
const AS_THEY_ARE: (&str, &str) = ("channels", "as_they_are");

/// The keys of a file that says this.
pub(crate) fn describing(preprocessing: &Preprocessing) -> Value {
    let Preprocessing { size, fit, filter, normalise: Normalise { channels, mean, std } } = *preprocessing;
    let sides = |[height, width]: [usize; 2]| json!({"height": height, "width": width});
    let (resized, crop) = match fit {
        Fit::Squash => (sides(size), None),
        Fit::CentreCrop { least } => (json!({"shortest_edge": least[0].min(least[1])}), Some(size)),
        Fit::SquashAndCrop { to } => (sides(to), Some(size)),
        Fit::Border { within } => (sides(within), Some(size)),
    };
    let resample = RESAMPLE.iter().find(|(_, known)| *known == filter).expect("every filter has a number").0;
    let mut file = json!({
        "image_processor_type": "BeitImageProcessor",
        "do_resize": true,
        "size": resized,
        "resample": resample,
        "do_center_crop": crop.is_some(),
        "do_rescale": true,
        "rescale_factor": BYTE,
        "do_normalize": true,
        "image_mean": mean[..channels.count()],
        "image_std": std[..channels.count()],
        "do_reduce_labels": false,
    });
    if let Some(crop) = crop {
        file["crop_size"] = sides(crop);
    }
    if channels.bands().is_some() {
        file[AS_THEY_ARE.0] = AS_THEY_ARE.1.into();
    }
    if matches!(fit, Fit::Border { .. }) {
        file[BORDER.0] = BORDER.1.into();
    }
    file
}

/// What the keys of a file say. Absent ones are taken as the published checkpoints mean them, and an absent size is that of the images
/// of `vit`, the model's transformer.
pub(crate) fn described(keys: &Keys, vit: Option<&Config>) -> Result<Preprocessing> {
    let number: u8 = keys.or("resample", 2)?;
    let Some((_, filter)) = RESAMPLE.iter().find(|(known, _)| *known == number) else {
        let known = "1 (Lanczos), 2 (bilinear) or 3 (bicubic)";
        return Err(keys.wrong("resample", format_args!("is {number}, expected {known}")));
    };
    let (size, fit) = sides(keys, vit.map(|vit| vit.image))?;
    Ok(Preprocessing { size, fit, filter: *filter, normalise: statistics(keys, vit)? })
}

/// `(x · factor - mean) / deviation` of bytes, in words of pixels in 0 to 1.
fn statistics(keys: &Keys, vit: Option<&Config>) -> Result<Normalise> {
    let seen = channels(keys, vit)?;
    let count = vit.map_or(seen.count(), |vit| vit.channels);
    let factor = match keys.or("do_rescale", true)? {
        true => keys.or("rescale_factor", BYTE)?,
        false => 1.0,
    };
    if !(factor > 0.0 && factor.is_finite()) {
        return Err(keys.wrong("rescale_factor", format_args!("is {factor}, expected more than 0")));
    }
    let (mean, std) = match keys.or("do_normalize", true)? {
        true => {
            let half = PerChannel::repeated(0.5, count);
            let read = |key| Ok::<_, Error>(keys.statistics(key, count)?.unwrap_or(half));
            (read("image_mean")?, read("image_std")?)
        }
        false => (PerChannel::repeated(0.0, count), PerChannel::repeated(1.0, count)),
    };
    // A factor that is 1/255 but for the digits that were written changes nothing.
    let scale = if (factor - BYTE).abs() < 1e-6 { 1.0 } else { BYTE / factor };
    let scaled = |values: PerChannel| values.map(|value| (f64::from(value) * scale) as f32);
    let normalise = Normalise { channels: seen, mean, std };
    limit_statistics(["image_mean", "image_std"], &normalise)
        .map_err(|problem| Error::config(keys.path(), problem))?;
    Ok(Normalise { mean: scaled(mean), std: scaled(std), ..normalise })
}

/// How pictures are read: as they are where the file says so, with as many channels as the model or the statistics have.
fn channels(keys: &Keys, vit: Option<&Config>) -> Result<Channels> {
    if keys.get::<String>(AS_THEY_ARE.0)?.as_deref() != Some(AS_THEY_ARE.1) {
        return Ok(Channels::Colour);
    }
    let count = match vit {
        Some(vit) => vit.channels,
        None => keys.count("image_mean"),
    };
    match Bands::new(count) {
        Some(bands) => Ok(Channels::Own(bands)),
        None => Err(keys.wrong("image_mean", format_args!("has {count} numbers, expected 1 to 16"))),
    }
}

/// What the model sees, and how pictures are brought to that.
fn sides(keys: &Keys, image: Option<[usize; 2]>) -> Result<([usize; 2], Fit)> {
    let size = keys.inside("size");
    let shortest: Option<usize> = size.as_ref().map(|size| size.get("shortest_edge")).transpose()?.flatten();
    let crop = match keys.or("do_center_crop", false)? {
        true => keys.sides("crop_size")?,
        false => None,
    };
    let resized = match shortest {
        None if keys.or("do_resize", true)? => keys.sides("size")?,
        _ => None,
    };
    let within = |sides: [usize; 2]| match sides
        .into_iter()
        .chain(shortest)
        .find(|side| !(1..=LIMIT).contains(side))
    {
        Some(side) => {
            Err(keys.wrong("size", format_args!("has a side of {side} pixels, expected 1 to {LIMIT}")))
        }
        None => Ok(sides),
    };
    let absent = || {
        keys.wrong("size", "does not tell the size of the model's images, expected a `height` and a `width`")
    };
    match (shortest, resized, crop) {
        (Some(shortest), _, crop) => {
            let crop = within(crop.or(image).ok_or_else(absent)?)?;
            Ok((crop, Fit::CentreCrop { least: crop.map(|side| side.max(shortest)) }))
        }
        (None, Some(size), Some(crop)) => cropped(keys, within(size)?, within(crop)?),
        (None, size, crop) => Ok((within(size.or(crop).or(image).ok_or_else(absent)?)?, Fit::Squash)),
    }
}

/// Pictures that are resized to `size` and then cut to `crop`.
fn cropped(keys: &Keys, size: [usize; 2], crop: [usize; 2]) -> Result<([usize; 2], Fit)> {
    let border = keys.get::<String>(BORDER.0)?.as_deref() == Some(BORDER.1);
    match crop {
        _ if (0..2).any(|axis| crop[axis] > size[axis]) => Err(keys.wrong(
            "crop_size",
            format_args!(
                "is {crop:?} and `size` {size:?}, expected a crop that is no larger than the resized picture"
            ),
        )),
        _ if border => Ok((crop, Fit::Border { within: size })),
        _ if crop == size => Ok((size, Fit::Squash)),
        _ => Ok((crop, Fit::SquashAndCrop { to: size })),
    }
}
