//! Training and test.

use std::fmt;
use std::path::Path;

/// Which part of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// To learn from.
    Train,
    /// Held out.
    Test,
}

impl Split {
    /// Names that a folder of this split may have, the first choice first. They are compared without case, and with or without
    /// `set` behind them (`Training_Set`).
    #[must_use]
    pub const fn folder_names(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train", "training", "trn"],
            Self::Test => &["valid", "val", "validation", "test", "testing"],
        }
    }

    /// The split that a folder of this name holds, and the place of the name among those of the split.
    pub(crate) fn of_folder(name: &str) -> Option<(Self, usize)> {
        let name = name.to_ascii_lowercase();
        let bare = name.strip_suffix("set").unwrap_or(&name).trim_end_matches(['_', '-', ' ']);
        [Self::Train, Self::Test].into_iter().find_map(|split| {
            let place = split.folder_names().iter().position(|known| *known == bare)?;
            Some((split, place))
        })
    }

    /// The split that the name of a file says: the last word of it that is the name of a split (`train-00000-of-00005.parquet`,
    /// `my_test_set-train.tar`).
    pub(crate) fn of_file(file: &Path) -> Option<(Self, usize)> {
        let stem = file.file_stem()?.to_string_lossy();
        stem.rsplit(['-', '_', '.', ' ']).find_map(Self::of_folder)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_have_many_names() {
        for name in ["train", "Train", "TRAINING", "trn", "training_set", "Train Set", "trainset"] {
            assert_eq!(Split::of_folder(name).map(|(split, _)| split), Some(Split::Train), "{name}");
        }
        for name in ["val", "Valid", "VALIDATION", "test", "Testing", "test-set"] {
            assert_eq!(Split::of_folder(name).map(|(split, _)| split), Some(Split::Test), "{name}");
        }
        for name in ["trainer", "valley", "set", "", "contest", "train2"] {
            assert_eq!(Split::of_folder(name), None, "{name}");
        }
    }

    #[test]
    fn the_last_word_of_a_file_counts() {
        for (file, split) in [
            ("train-00000-of-00005-a1b2.parquet", Some(Split::Train)),
            ("my_test_set-train.tar", Some(Split::Train)),
            ("imagefolder-validation-00001-of-00002.arrow", Some(Split::Test)),
            ("training set.parquet", Some(Split::Train)),
            ("test/0000.tar", None),
            ("trains.tar", None),
        ] {
            assert_eq!(Split::of_file(Path::new(file)).map(|(split, _)| split), split, "{file}");
        }
    }
}
