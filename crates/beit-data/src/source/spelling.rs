//! Names that are the same, however a system spells them.

use std::path::Path;

use unicode_normalization::UnicodeNormalization;

/// A name in Unicode's normal form C: macOS may write `é` as `e` and an accent behind it, Linux writes one letter, and both mean the
/// same class.
///
/// ```
/// assert_eq!(beit_data::normal_name("cafe\u{301}"), "café");
/// ```
#[must_use]
pub fn normal_name(name: &str) -> String {
    name.nfc().collect()
}

/// The name of a folder of a class.
pub(crate) fn class_name(folder: &Path) -> String {
    normal_name(&folder.file_name().unwrap_or_default().to_string_lossy())
}
