//! What no configuration may ask for.

use crate::error::{Error, Result};
use beit_data::Normalise;
use std::ops::RangeInclusive;
use std::path::Path;

/// No published model has an extent near this one, and no damaged file shall make us reserve memory for more.
const LIMIT: usize = 1 << 16;

/// Refuses absurd numbers.
pub(super) fn limit(path: &Path, extents: &[(&str, usize)]) -> Result<()> {
    match extents.iter().find(|(_, value)| *value > LIMIT) {
        None => Ok(()),
        Some((key, value)) => {
            Err(Error::config(path, format_args!("`{key}` is {value}, expected at most {LIMIT}")))
        }
    }
}

/// Published models have 1e-12 to 1e-5. What f32 takes for nothing divides by zero, and much more than the largest hides the signal.
const EPS: RangeInclusive<f64> = 1e-37..=1e-2;

/// Refuses an epsilon that no layer norm can have.
pub(super) fn limit_eps(path: &Path, eps: f64) -> Result<()> {
    if EPS.contains(&eps) {
        return Ok(());
    }
    Err(Error::config(
        path,
        format_args!("`layer_norm_eps` is {eps:e}, expected more than 0 and at most {}", EPS.end()),
    ))
}

/// Means of pixels in 0 to 1, or of bytes.
const MEAN: RangeInclusive<f32> = 0.0..=255.0;
/// Their standard deviations. One near 0 makes pixels of thousands.
const STD: RangeInclusive<f32> = 1e-3..=255.0;
/// The least of channels that are read as they are: many use a small part of 16 bits, of which one step is 1.5e-5.
const LEAST_OF_BANDS: f32 = 1e-6;

/// Refuses statistics that no pictures have; what is wrong with them. `names` are those of the fields.
pub(crate) fn limit_statistics(names: [&str; 2], normalise: &Normalise) -> Result<(), String> {
    let [mean, std] = names;
    let least = if normalise.channels.bands().is_some() { LEAST_OF_BANDS } else { *STD.start() };
    for (name, found, range) in [(mean, normalise.mean, MEAN), (std, normalise.std, least..=*STD.end())] {
        if !found.iter().all(|value| range.contains(value)) {
            let (least, most) = range.into_inner();
            return Err(format!("`{name}` is {found:?}, expected numbers from {least} to {most}"));
        }
    }
    Ok(())
}
