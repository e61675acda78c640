//! What no configuration may ask for.

use crate::error::{Error, Result};
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
