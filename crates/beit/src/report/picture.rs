//! The pictures of a run, as they stand within a page.

use crate::run::step_of;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, ImageReader};
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// Larger files would make the page too heavy for a telephone.
const LARGEST: u64 = 8 << 20;

/// A PNG.
pub(super) struct Picture {
    /// The name of its file, without the ending.
    pub(super) name: String,
    /// Steps that were done, of one that was drawn on the way.
    pub(super) after: Option<u64>,
    pub(super) width: u32,
    pub(super) height: u32,
    /// The whole file, as an address.
    pub(super) data: String,
}

impl Picture {
    /// The pictures in a folder by their names, and what is wrong with others.
    pub(super) fn all_in(folder: &Path) -> (Vec<Self>, Vec<String>) {
        // Runs without pictures have no such folder.
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let is_png = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "png");
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_png).collect();
        paths.sort();
        let (mut pictures, mut notes) = (Vec::new(), Vec::new());
        for path in paths {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            match Self::read(&path, &name) {
                Ok(picture) => pictures.push(picture),
                Err(problem) => notes.push(format!("the picture {name}.png is not shown: {problem}")),
            }
        }
        (pictures, notes)
    }

    fn read(path: &Path, name: &str) -> Result<Self, String> {
        let length = path.metadata().map_err(|error| error.to_string())?.len();
        if length > LARGEST {
            return Err(format!("it has {length} bytes, expected at most {LARGEST}"));
        }
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        let reader = ImageReader::with_format(Cursor::new(&bytes), ImageFormat::Png);
        let (width, height) = reader.into_dimensions().map_err(|error| error.to_string())?;
        let data = format!("data:image/png;base64,{}", STANDARD.encode(&bytes));
        Ok(Self { name: name.to_owned(), after: step_of(path), width, height, data })
    }
}
