//! How many channels pictures have that are read as they are.

use std::fmt;
use std::str::FromStr;

/// Most channels of a picture.
pub const MAX_CHANNELS: usize = 16;

/// So many channels, 1 to [`MAX_CHANNELS`], of pictures that are read as they are, with their 8 or 16 bits.
///
/// ```
/// use beit_data::Bands;
/// assert_eq!("5".parse::<Bands>().unwrap().count(), 5);
/// assert!("0".parse::<Bands>().is_err() && Bands::new(17).is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bands(u8);

impl Bands {
    /// So many; `None` where no picture has so many.
    #[must_use]
    pub const fn new(count: usize) -> Option<Self> {
        if count >= 1 && count <= MAX_CHANNELS { Some(Self(count as u8)) } else { None }
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Bands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Bands {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let count = text.trim().parse().ok().and_then(Self::new);
        count.ok_or_else(|| format!("expected a number of channels from 1 to {MAX_CHANNELS}, found `{text}`"))
    }
}
