//! Training and test.

use std::fmt;

/// Which part of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// To learn from.
    Train,
    /// Held out.
    Test,
}

impl Split {
    /// Names that a folder of this split may have, in the order in which they are looked for.
    #[must_use]
    pub const fn folder_names(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train"],
            Self::Test => &["val", "validation", "test"],
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}
