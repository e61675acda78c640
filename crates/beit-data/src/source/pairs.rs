use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::layout::{Layout, Training, split_of};
use super::meaning::Meaning;
use super::paths::Paths;
use super::reading::Reading;
use super::scan::{Found, images_below};
use super::{Source, file_version};
use crate::bands::Bands;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::mask::{ClassTable, Mask};
use crate::split::Split;

/// Images in one folder and their masks in another. Both are decoded when they are asked for.
///
/// An image and its mask have the same path in their folders, but for the ending: `IMAGES/train/a.jpg` and `MASKS/train/a.png`.
/// Masks are PNG: grey of at most 8 bits, or with a palette, whose values are the numbers of classes, never scaled; or RGB, whose
/// colours a file of classes must name. A value of 255 is ignored.
pub struct Pairs {
    images: Paths,
    /// `[len]`.
    masks: Vec<PathBuf>,
    meaning: Meaning,
    notes: Vec<String>,
    /// How pictures are read.
    bands: Option<Bands>,
}

impl Pairs {
    /// Opens a split of the images in `images`, whose folders of splits are found as [`Folder::open`](super::Folder::open) finds them.
    /// There are no classes of images: their folders mean nothing.
    ///
    /// `classes` is a text with a line for each value of a mask, from 0 on: `NAME`, or `NAME R G B` where masks are RGB. Empty lines
    /// and those that begin with `#` do not count. Pixels of `void`, `ignore`, `ignored`, `unlabeled` and `unlabelled`, in any case, are
    /// ignored; the other lines are the classes, numbered in their order. Without it, values are classes, named by their numbers up
    /// to the greatest in any mask of either split; the masks are read for that when somebody asks for the classes.
    ///
    /// # Errors
    ///
    /// [`Error::NoFolder`], [`Error::NoSplit`], [`Error::NoImages`], [`Error::NestedMasks`], [`Error::MaskClasses`], [`Error::Read`], and
    /// [`Error::NoMask`] for the first image without a mask.
    pub fn open(images: &Path, masks: &Path, classes: Option<&Path>, split: Split) -> Result<Self> {
        Self::open_as(images, masks, classes, split, None)
    }

    /// The same with pictures of so many channels, which are read as they are ([`Image::open_as`]); `npy` files are read then too.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_as(
        images: &Path,
        masks: &Path,
        classes: Option<&Path>,
        split: Split,
        bands: Option<Bands>,
    ) -> Result<Self> {
        let table = classes.map(ClassTable::open).transpose()?;
        check_folders(images, masks)?;
        let found = images_below(masks, None)?;
        let meaning =
            table.map_or_else(|| Meaning::values(found.paths().filter(|path| is_png(path))), Meaning::Table);
        Self::find(images, (masks, &found), meaning, split, bands)
    }

    /// Opens a split of ADE20K's scene parsing (`ADEChallengeData2016`): `dir`, or a folder of that name in it, has
    /// `images/training`, `images/validation`, and `annotations` alike. Value 0 of a mask is ignored, value n is class n - 1 of 150. Their
    /// names are read from `objectInfo150.txt` if it is there.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn ade(dir: &Path, split: Split) -> Result<Self> {
        let inner = dir.join("ADEChallengeData2016");
        let dir = if inner.is_dir() { &inner } else { dir };
        let (images, masks) = (dir.join("images"), dir.join("annotations"));
        check_folders(&images, &masks)?;
        let meaning = Meaning::ade(&dir.join("objectInfo150.txt"))?;
        Self::find(&images, (&masks, &images_below(&masks, None)?), meaning, split, None)
    }

    fn find(
        root: &Path,
        masks: (&Path, &Found),
        meaning: Meaning,
        split: Split,
        bands: Option<Bands>,
    ) -> Result<Self> {
        let (reading, mut notes) = images_of(root, split, bands)?;
        notes.extend(reading.notes(root));
        let images = reading.paths;
        let masks = matched(root, &images, masks)?;
        Ok(Self { images, masks, meaning, notes, bands })
    }
}

fn check_folders(images: &Path, masks: &Path) -> Result<()> {
    for path in [images, masks] {
        if !path.is_dir() {
            return Err(Error::NoFolder { path: path.to_owned() });
        }
    }
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (whole_images, whole_masks) = (whole(images), whole(masks));
    if whole_images.starts_with(&whole_masks) || whole_masks.starts_with(&whole_images) {
        return Err(Error::NestedMasks { images: images.to_owned(), masks: masks.to_owned() });
    }
    Ok(())
}

/// The images of a split, and how it was found.
fn images_of(dir: &Path, split: Split, bands: Option<Bands>) -> Result<(Reading, Vec<String>)> {
    let (layout, note) = Layout::find(dir, bands)?;
    let folders = match (layout, split) {
        (Layout::Splits { train: Some(Training::Folder(train)), .. }, Split::Train) => vec![train],
        (Layout::Splits { train: Some(Training::Classes(folders)), .. }, Split::Train) => folders,
        (Layout::Splits { test: Some(test), .. }, Split::Test) => vec![test],
        (Layout::Whole, _) if split == Split::Train || split_of(dir).is_some() => vec![dir.to_owned()],
        _ => return Err(Error::NoSplit { path: dir.to_owned(), split }),
    };
    let mut reading = Reading::default();
    for folder in &folders {
        reading.add_unlabelled(images_below(folder, bands)?);
    }
    if reading.paths.len() == 0 {
        let path = folders.into_iter().next().unwrap_or_else(|| dir.to_owned());
        return Err(Error::NoImages { path, unread: reading.all_unread });
    }
    // Folders of whole pictures are no classes, so what is said of these is not true here.
    let note = note.filter(|_| folders != [dir]);
    Ok((reading, note.into_iter().collect()))
}

/// The mask of every image.
fn matched(root: &Path, images: &Paths, (folder, found): (&Path, &Found)) -> Result<Vec<PathBuf>> {
    let mut known: HashMap<PathBuf, PathBuf> = HashMap::new();
    for mask in found.paths().filter(|path| is_png(path)) {
        let place = mask.strip_prefix(folder).unwrap_or(&mask).with_extension("");
        known.entry(place).or_insert(mask);
    }
    let mask = |index: usize| {
        let image = images.get(index);
        let place = image.strip_prefix(root).unwrap_or(&image);
        known.get(&place.with_extension("")).cloned().ok_or_else(|| Error::NoMask {
            image: image.display().to_string(),
            expected: Some(folder.join(place.with_extension("png"))),
        })
    };
    (0..images.len()).map(mask).collect()
}

fn is_png(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png"))
}

impl Source for Pairs {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn image(&self, index: usize) -> Result<Image> {
        Image::open_as(self.images.get(index), self.bands)
    }

    fn label(&self, _: usize) -> Option<u32> {
        None
    }

    fn class_names(&self) -> &[String] {
        &[]
    }

    fn size(&self, index: usize) -> Result<[usize; 2]> {
        Image::size_as(self.images.get(index), self.bands)
    }

    fn mask(&self, index: usize) -> Result<Option<Mask>> {
        self.meaning.open(&self.masks[index]).map(Some)
    }

    fn mask_name(&self, index: usize) -> String {
        self.masks[index].display().to_string()
    }

    fn mask_classes(&self) -> &[String] {
        self.meaning.names()
    }

    fn mask_palette(&self) -> Option<&[[u8; 3]]> {
        self.meaning.palette()
    }

    fn name(&self, index: usize) -> String {
        self.images.get(index).display().to_string()
    }

    fn version(&self, index: usize) -> Option<(u64, SystemTime)> {
        let (image, mask) = (file_version(&self.images.get(index))?, file_version(&self.masks[index])?);
        Some((image.0.wrapping_add(mask.0), image.1.max(mask.1)))
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}
