use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::paths::Paths;
use super::scan::{add_images_below, entries};
use super::{Source, file_version};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::split::Split;

/// Images in folders, decoded when they are asked for. Hidden files are skipped; jpg, jpeg, png and webp are read.
pub struct Folder {
    paths: Paths,
    /// `[len]`, or empty where images have no labels.
    labels: Vec<u32>,
    class_names: Vec<String>,
}

impl Folder {
    /// Opens a split of `dir`.
    ///
    /// - Where `dir` has a folder of the split (`train`; `val`, `validation` or `test`, the first that is there), that one is read,
    ///   and a test split takes the numbers of its classes from `train`.
    /// - Where `dir` has no folder of any split, it is itself the training split.
    /// - Where the name of `dir` is that of a split, it is read as it is, for whichever split is asked.
    ///
    /// A test split that is not there is an error; none is drawn from the training images. A folder `train` that holds images
    /// itself, beside folders that are no splits, is a class and not a split: there are pictures of trains.
    ///
    /// # Errors
    ///
    /// [`Error::NoFolder`], [`Error::NoSplit`], [`Error::UnknownClass`] and those of [`open_exact`](Self::open_exact).
    pub fn open(dir: &Path, split: Split) -> Result<Self> {
        if !dir.is_dir() {
            return Err(Error::NoFolder { path: dir.to_owned() });
        }
        let classes = train_is_a_class(dir)?;
        let inside = |split: Split| {
            let folders = split.folder_names().iter().map(|name| dir.join(name));
            folders.filter(|_| !classes).find(|path| path.is_dir())
        };
        match (inside(Split::Train), inside(Split::Test), split) {
            (Some(train), _, Split::Train) => Self::open_exact(&train),
            (Some(train), Some(test), Split::Test) => {
                Self::open_with_classes(&test, Self::open_exact(&train)?.class_names)
            }
            (None, Some(test), Split::Test) => Self::open_exact(&test),
            (None, None, _) if split == Split::Train || names_split(dir) => Self::open_exact(dir),
            _ => Err(Error::NoSplit { path: dir.to_owned(), split }),
        }
    }

    /// Opens `dir` as it is: where it holds folders and no images, each folder is a class and holds its images, at any depth;
    /// classes are numbered in the order of their names. Otherwise its images, at any depth, have no labels.
    ///
    /// # Errors
    ///
    /// [`Error::NoFolder`], [`Error::NoImages`], [`Error::Read`], [`Error::Loop`] or [`Error::TooDeep`].
    pub fn open_exact(dir: &Path) -> Result<Self> {
        if !dir.is_dir() {
            return Err(Error::NoFolder { path: dir.to_owned() });
        }
        let found = entries(dir)?;
        if !found.has_images {
            let class_names = found.folders.iter().map(|folder| class_name(folder)).collect();
            return Self::read_classes(dir, &found.folders, class_names);
        }
        let mut paths = Paths::default();
        add_images_below(dir, &mut paths)?;
        Ok(Self { paths, labels: Vec::new(), class_names: Vec::new() })
    }

    /// A test split whose classes are numbered as those of the training split.
    fn open_with_classes(dir: &Path, class_names: Vec<String>) -> Result<Self> {
        if class_names.is_empty() {
            return Self::open_exact(dir);
        }
        Self::read_classes(dir, &entries(dir)?.folders, class_names)
    }

    fn read_classes(dir: &Path, folders: &[PathBuf], class_names: Vec<String>) -> Result<Self> {
        let (mut paths, mut labels) = (Paths::default(), Vec::new());
        let mut numbers = HashMap::new();
        for (name, number) in class_names.iter().zip(0_u32..) {
            // Names that are not UTF-8 may read the same: the first has the number.
            numbers.entry(name.as_str()).or_insert(number);
        }
        for folder in folders {
            let class = numbers.get(class_name(folder).as_str());
            let class = *class.ok_or_else(|| Error::UnknownClass { path: folder.clone() })?;
            add_images_below(folder, &mut paths)?;
            labels.resize(paths.len(), class);
        }
        if paths.len() == 0 {
            return Err(Error::NoImages { path: dir.to_owned() });
        }
        Ok(Self { paths, labels, class_names })
    }

    /// The file of image `index`.
    #[must_use]
    pub fn path(&self, index: usize) -> PathBuf {
        self.paths.get(index)
    }
}

/// Whether the name of a folder is that of a split.
fn names_split(folder: &Path) -> bool {
    let names = [Split::Train, Split::Test].into_iter().flat_map(Split::folder_names);
    folder.file_name().is_some_and(|own| names.into_iter().any(|name| own == *name))
}

/// Whether `dir` has a folder `train` with images in it, beside folders that are no splits.
fn train_is_a_class(dir: &Path) -> Result<bool> {
    let folders = entries(dir)?.folders;
    let train = folders.iter().find(|folder| class_name(folder) == "train");
    let has_images = train.map(|train| entries(train)).transpose()?.is_some_and(|train| train.has_images);
    Ok(has_images && folders.iter().any(|folder| !names_split(folder)))
}

fn class_name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl Source for Folder {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn image(&self, index: usize) -> Result<Image> {
        Image::open(self.path(index))
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.get(index).copied()
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn name(&self, index: usize) -> String {
        self.path(index).display().to_string()
    }

    fn version(&self, index: usize) -> Option<(u64, SystemTime)> {
        file_version(&self.path(index))
    }
}
