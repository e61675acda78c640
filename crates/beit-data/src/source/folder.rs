use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::index::Indexing;
use super::kinds::Unread;
use super::layout::{Layout, Training, split_of};
use super::paths::Paths;
use super::reading::Reading;
use super::scan::{Entries, entries, images_below};
use super::{Source, file_version, folder_index};
use crate::bands::Bands;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::split::Split;

/// Images in folders, decoded when they are asked for. Hidden files and folders are skipped, and so are those that a system puts
/// there (`__MACOSX`).
///
/// Files are read by their endings, in any case: jpg, jpeg, jpe, jfif, png, webp, bmp, tif, tiff and gif, of which the first picture;
/// and npy where pictures are read as they are ([`open_as`](Folder::open_as)).
pub struct Folder {
    pub(super) paths: Paths,
    /// `[len]`, or empty where images have no labels.
    pub(super) labels: Vec<u32>,
    pub(super) class_names: Vec<String>,
    /// For each class, files that are not read.
    pub(super) unread: Vec<Unread>,
    pub(super) notes: Vec<String>,
    /// How pictures are read.
    pub(super) bands: Option<Bands>,
}

impl Folder {
    /// Opens a split of `dir`. The folders of splits are those with one of [their names](Split::folder_names), in any case.
    ///
    /// - Where `dir` has a folder of the split, that one is read, and a test split takes the numbers of its classes from the training
    ///   split. Of several test folders the first with images is read: `valid`, `val`, `validation`, `test`, `testing`.
    /// - Where it has a folder for a test beside folders of classes, these are the training split.
    /// - Where `dir` has no folder of any split, it is itself the training split.
    /// - Where the name of `dir` is that of a split, it is read as it is, for whichever split is asked.
    ///
    /// A test split that is not there is an error; none is drawn from the training images. A folder `train` that holds images
    /// itself, beside folders that are no splits, is a class and not a split: there are pictures of trains. So is `valid` beside a
    /// single other folder. What was taken as what is among the [notes](Source::notes).
    ///
    /// # Errors
    ///
    /// [`Error::NoFolder`], [`Error::NoSplit`], [`Error::UnknownClass`] and those of [`open_exact`](Self::open_exact).
    pub fn open(dir: &Path, split: Split) -> Result<Self> {
        Self::open_as(dir, split, None)
    }

    /// The same with pictures of so many channels, which are read as they are ([`Image::open_as`]); `npy` files are read then too.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_as(dir: &Path, split: Split, bands: Option<Bands>) -> Result<Self> {
        if !dir.is_dir() {
            return Err(Error::NoFolder { path: dir.to_owned() });
        }
        let (layout, note) = Layout::find(dir, bands)?;
        let training = |train: &Training| match train {
            Training::Folder(train) => Self::open_exact_as(train, bands),
            Training::Classes(folders) => {
                Self::read_classes(dir, &Entries::of_folders(folders), Reading::default(), bands)
            }
        };
        let mut folder = match (&layout, split) {
            (Layout::Splits { train: Some(train), .. }, Split::Train) => training(train),
            (Layout::Splits { train: Some(train), test: Some(test) }, Split::Test) => {
                Self::open_with_classes(test, training(train)?.class_names, bands)
            }
            (Layout::Splits { train: None, test: Some(test) }, Split::Test) => {
                Self::open_exact_as(test, bands)
            }
            (Layout::Whole, _) if split == Split::Train || split_of(dir).is_some() => {
                Self::open_exact_as(dir, bands)
            }
            _ => Err(Error::NoSplit { path: dir.to_owned(), split }),
        }?;
        folder.notes.splice(0..0, note);
        Ok(folder)
    }

    /// [`open_as`](Self::open_as) by an index where there is one, which holds as long as no folder in `dir` has changed: then no folder is read.
    /// Of many images one is made for the next time.
    ///
    /// Not noticed is a link that leads somewhere else while it stays where it is, from a file to a folder or the other way round.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn open_indexed(dir: &Path, split: Split, bands: Option<Bands>, indexing: &Indexing) -> Result<Self> {
        folder_index::open(dir, split, bands, indexing)
    }

    /// Bytes that are in use for the names and classes of images.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.paths.memory() + size_of::<u32>() * self.labels.capacity()
    }

    /// Opens `dir` as it is: where it holds folders and no images, each folder with images in it is a class and holds its images, at
    /// any depth; classes are numbered in the order of their names, as torchvision's `ImageFolder` does it (`10` before `2`).
    /// Otherwise its images, at any depth, have no labels.
    ///
    /// # Errors
    ///
    /// [`Error::NoFolder`], [`Error::NoImages`], [`Error::Read`], [`Error::Loop`] or [`Error::TooDeep`].
    pub fn open_exact(dir: &Path) -> Result<Self> {
        Self::open_exact_as(dir, None)
    }

    /// The same with pictures that are read as [`open_as`](Self::open_as) reads them.
    ///
    /// # Errors
    ///
    /// As [`open_exact`](Self::open_exact).
    pub fn open_exact_as(dir: &Path, bands: Option<Bands>) -> Result<Self> {
        if !dir.is_dir() {
            return Err(Error::NoFolder { path: dir.to_owned() });
        }
        let found = entries(dir, bands)?;
        if !found.has_images {
            return Self::read_classes(dir, &found, Reading::default(), bands);
        }
        let mut reading = Reading::default();
        reading.add_unlabelled(images_below(dir, bands)?);
        Self::of(reading, dir, bands)
    }

    /// A test split whose classes are numbered as those of the training split.
    fn open_with_classes(dir: &Path, class_names: Vec<String>, bands: Option<Bands>) -> Result<Self> {
        let found = entries(dir, bands)?;
        if class_names.is_empty() || found.has_images {
            return Self::open_exact_as(dir, bands);
        }
        Self::read_classes(dir, &found, Reading::of_classes(class_names), bands)
    }

    fn read_classes(dir: &Path, found: &Entries, mut reading: Reading, bands: Option<Bands>) -> Result<Self> {
        reading.all_unread.extend(&found.unread);
        for folder in &found.folders {
            reading.add_class(folder, images_below(folder, bands)?)?;
        }
        Self::of(reading, dir, bands)
    }

    fn of(reading: Reading, dir: &Path, bands: Option<Bands>) -> Result<Self> {
        let notes = reading.notes(dir);
        let Reading { mut paths, mut labels, class_names, unread, all_unread, .. } = reading;
        paths.shrink();
        labels.shrink_to_fit();
        if paths.len() == 0 {
            return Err(Error::NoImages { path: dir.to_owned(), unread: all_unread });
        }
        Ok(Self { paths, labels, class_names, unread, notes, bands })
    }

    /// The file of image `index`.
    #[must_use]
    pub fn path(&self, index: usize) -> PathBuf {
        self.paths.get(index)
    }
}

impl Source for Folder {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn image(&self, index: usize) -> Result<Image> {
        Image::open_as(self.path(index), self.bands)
    }

    fn encoded(&self, index: usize) -> Result<Option<Vec<u8>>> {
        self.bands.is_none().then(|| Image::read(self.path(index))).transpose()
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.get(index).copied()
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn size(&self, index: usize) -> Result<[usize; 2]> {
        Image::size_as(self.path(index), self.bands)
    }

    fn name(&self, index: usize) -> String {
        self.path(index).display().to_string()
    }

    fn version(&self, index: usize) -> Option<(u64, SystemTime)> {
        file_version(&self.path(index))
    }

    fn unread(&self, class: u32) -> Option<&Unread> {
        self.unread.get(class as usize)
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}
