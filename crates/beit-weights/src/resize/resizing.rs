use super::positions::PositionResize;
use super::table::TableResize;
use serde::Serialize;

/// Whose way of bringing positions to another window of patches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resizing {
    /// The released code's: relative tables by a spline on a geometric sequence, which keeps what small distances have learned.
    #[default]
    Unilm,
    /// timm's: the same sequence, bilinear.
    Timm,
    /// transformers': tables as if they were pictures, bilinear. Hurts (microsoft/unilm issue 376).
    Transformers,
}

impl Resizing {
    /// Whose way it is.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unilm => "unilm",
            Self::Timm => "timm",
            Self::Transformers => "transformers",
        }
    }

    /// How it resizes relative tables, and how absolute positions.
    pub(crate) const fn methods(self) -> (TableResize, PositionResize) {
        match self {
            Self::Unilm => (TableResize::Geometric, PositionResize::Bicubic),
            Self::Timm => (TableResize::Timm, PositionResize::Antialiased),
            Self::Transformers => (TableResize::Transformers, PositionResize::Bicubic),
        }
    }
}

impl Serialize for Resizing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
