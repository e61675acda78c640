use std::path::{Path, PathBuf};

use crate::bands::Bands;
use crate::files::is_too_many_open;
use crate::source::{Unread, endings};
use crate::split::Split;

/// A result whose error is [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A file that could not be decoded and was left out of its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFile {
    /// Its index in the source.
    pub index: usize,
    /// Its name, for people.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What can go wrong between a data source and a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Whoever watches what takes a while wanted it to stop.
    #[error("stopped")]
    Stopped,
    /// The string names no known kind of source.
    #[error("unknown data source `{spec}`: expected {}", .known.join(", "))]
    UnknownSource {
        /// The string.
        spec: String,
        /// What it may be.
        known: &'static [&'static str],
    },
    /// The folder is not there, or is not a folder.
    #[error("no folder at {}", .path.display())]
    NoFolder {
        /// Where it was expected.
        path: PathBuf,
    },
    /// The operating system could not read a file or folder.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// As many files are open as the operating system lets a process have.
    #[error(
        "cannot open {}: too many files are open already: let the process have more of them (ulimit -n 4096), or start fewer workers",
        .path.display()
    )]
    TooManyOpen {
        /// The file that was wanted.
        path: PathBuf,
    },
    /// A link leads to a folder that it lies in itself, so that a search would never end.
    #[error("{} is a link to {}, a folder that it lies in itself", .path.display(), .ancestor.display())]
    Loop {
        /// The link.
        path: PathBuf,
        /// The folder.
        ancestor: PathBuf,
    },
    /// A folder is nested deeper than [`depth`](Self::TooDeep::depth) levels.
    #[error("{} is nested more than {depth} folders deep", .path.display())]
    TooDeep {
        /// The folder.
        path: PathBuf,
        /// The greatest depth that is read.
        depth: usize,
    },
    /// The folder holds no image.
    #[error("no images in {}: expected files ending in {}{}", .path.display(), endings(), .unread.remark())]
    NoImages {
        /// The folder.
        path: PathBuf,
        /// What is there instead.
        unread: Unread,
    },
    /// The folder has no such split.
    #[error(
        "no {split} split in {}: expected a folder {} in it, in any case; to use other images, name their own folder", .path.display(),
        .split.folder_names().join(" or ")
    )]
    NoSplit {
        /// The folder.
        path: PathBuf,
        /// What was asked for.
        split: Split,
    },
    /// A class of the test split is unknown to the training split.
    #[error(
        "class folder {} has no counterpart among the training classes: rename it as one of them, or take it away", .path.display()
    )]
    UnknownClass {
        /// The folder of the class.
        path: PathBuf,
    },
    /// None of the IDX files that belong to the split is there.
    #[error("no {name} (or {name}.gz) in {}", .folder.display())]
    NoIdx {
        /// The folder.
        folder: PathBuf,
        /// The usual name of the file.
        name: &'static str,
    },
    /// An IDX file is not what its header claims.
    #[error("{file} is not a valid IDX file: {problem}")]
    Idx {
        /// The file.
        file: String,
        /// Expected and found.
        problem: String,
    },
    /// What names shards cannot be understood, or names nothing to read.
    #[error("{0}")]
    Shards(String),
    /// There are shards, and none of this split.
    #[error(
        "no {split} split among the shards of `{spec}`: expected folders or names with `train` and `val` in them, or TRAIN;TEST; to read all \
         as test images, name them behind a semicolon"
    )]
    NoShards {
        /// What names them.
        spec: String,
        /// What was asked for.
        split: Split,
    },
    /// The folder holds no file of a table.
    #[error(
        "no files ending in .{ending} in {}, which is looked into {depth} levels of folders deep: name the files, or the folder that they lie in",
        .path.display()
    )]
    NoTables {
        /// The folder.
        path: PathBuf,
        /// The ending of the format.
        ending: &'static str,
        /// Levels that are looked into, the folder itself being the first.
        depth: usize,
    },
    /// A file of a table cannot be used.
    #[error("cannot use {}: {problem}", .path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Expected and found.
        problem: String,
    },
    /// A shard is not as it should be.
    #[error("shard {}: {problem}", .path.display())]
    Shard {
        /// The shard.
        path: PathBuf,
        /// Expected and found.
        problem: String,
    },
    /// A shard, or a file of a table, is no longer there.
    #[error("shard {} is gone since it was indexed: put it back, or begin without it", .path.display())]
    ShardGone {
        /// The shard.
        path: PathBuf,
    },
    /// A shard, or a file of a table, was replaced or written to while it was being read.
    #[error("shard {} has changed since it was indexed: expected the same length and time of change, found others; start the run again, or put the \
         file back as it was", .path.display())]
    ShardChanged {
        /// The shard.
        path: PathBuf,
    },
    /// A label of the test split is unknown to the training split.
    #[error(
        "label `{label}` of {name} is none of the training split's {classes}: add it to the training split, or take the row away"
    )]
    UnknownLabel {
        /// The first row with it.
        name: String,
        /// The label.
        label: String,
        /// Number of classes of the training split.
        classes: usize,
    },
    /// An image could not be decoded.
    #[error("cannot decode {name}: {reason}")]
    Decode {
        /// The image.
        name: String,
        /// What the decoder says.
        reason: String,
    },
    /// A picture of other channels than a model sees.
    #[error("{}", other_channels(*.channels, *.bits, *.expected))]
    Channels {
        /// Those of the picture.
        channels: usize,
        /// Bits of each.
        bits: usize,
        /// Those that were expected as they are; `None` for RGB of 8 bits.
        expected: Option<Bands>,
    },
    /// A source that has no pictures of so many channels.
    #[error(
        "{spec} has pictures of {found}, expected {expected} (--channels): take other images, or leave the number of channels out"
    )]
    NoBands {
        /// The source.
        spec: String,
        /// What it has.
        found: &'static str,
        /// What was asked for.
        expected: Bands,
    },
    /// An image that must have a label has none.
    #[error(
        "expected a label for every image, found none for {name}: put the images of each class in a folder of its own"
    )]
    NoLabel {
        /// The first image without a label.
        name: String,
    },
    /// A label that is not the number of a class.
    #[error("expected a label below {classes}, found {label} for {name}")]
    LabelOutOfRange {
        /// The first such image.
        name: String,
        /// Its label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// Fewer than two classes: nothing to tell apart.
    #[error("expected at least 2 classes to tell apart, found {found}")]
    TooFewClasses {
        /// How many.
        found: usize,
    },
    /// An image that must have a mask has none.
    #[error("no mask for {image}{}", expected_mask(.expected.as_deref()))]
    NoMask {
        /// The image.
        image: String,
        /// The file that was expected, where the source has its masks in files.
        expected: Option<PathBuf>,
    },
    /// A mask cannot be understood.
    #[error("mask {name}: {reason}")]
    Mask {
        /// The mask.
        name: String,
        /// Expected and found.
        reason: String,
    },
    /// A mask that is not as large as its image.
    #[error(
        "mask {mask} has {} x {} pixels, its image {image} has {} x {} (height x width): expected the same size",
        .mask_size[0], .mask_size[1], .image_size[0], .image_size[1]
    )]
    MaskSize {
        /// The image.
        image: String,
        /// `[H, W]` of the image as it stands upright.
        image_size: [usize; 2],
        /// The mask.
        mask: String,
        /// `[H, W]` of the mask.
        mask_size: [usize; 2],
    },
    /// A file that names the classes of masks is not as it should be.
    #[error("{} names no classes of masks: {problem}", .path.display())]
    MaskClasses {
        /// The file.
        path: PathBuf,
        /// Expected and found, with the number of the line.
        problem: String,
    },
    /// Fewer than two classes of pixels: nothing to tell apart.
    #[error(
        "expected at least 2 classes of pixels to tell apart, found {}: {} in a mask means that a pixel is ignored, so write two classes \
         as 0 and 1", found_classes(.names), crate::Mask::IGNORED
    )]
    TooFewMaskClasses {
        /// Their names.
        names: Vec<String>,
    },
    /// No pixel of any mask has a class.
    #[error(
        "expected masks with pixels that have a class, found {masks} in which all are ignored; first {first}"
    )]
    NoValidPixel {
        /// Number of masks.
        masks: usize,
        /// The first.
        first: String,
    },
    /// The folder of masks lies in the folder of images, or the other way round, so that masks would be taken for images.
    #[error(
        "images in {} and masks in {}: expected two folders of which none lies in the other", .images.display(), .masks.display()
    )]
    NestedMasks {
        /// The folder of images.
        images: PathBuf,
        /// The folder of masks.
        masks: PathBuf,
    },
    /// A class without a single training image.
    #[error("class {class} has no training image{}", expected_instead(.unread))]
    EmptyClass {
        /// Its name.
        class: String,
        /// What its folder has instead.
        unread: Unread,
    },
    /// A subset of no images, or of more than there are.
    #[error("expected a subset of 1 to {available} images, found {asked}")]
    Subset {
        /// Asked for.
        asked: usize,
        /// At hand.
        available: usize,
    },
    /// A loader setting that cannot work.
    #[error("loader: {0}")]
    Config(String),
    /// Too many files could not be decoded.
    #[error("{} of {total} files cannot be decoded, at most {allowed:.1} % may; first {}: {}", .bad.len(), .bad[0].name, .bad[0].reason)]
    TooManyBad {
        /// Those met so far, at least one.
        bad: Vec<BadFile>,
        /// Files in the set.
        total: usize,
        /// The limit in percent.
        allowed: f64,
    },
    /// A worker thread panicked while it made a batch: a bug in a source or a transform.
    #[error("a loader thread panicked on batch {batch}: {message}")]
    WorkerPanicked {
        /// The batch, counted from the first of the first epoch.
        batch: u64,
        /// What the panic said.
        message: String,
    },
    /// The operating system gave no thread.
    #[error("cannot start a loader thread")]
    Thread(#[source] std::io::Error),
}

fn other_channels(channels: usize, bits: usize, expected: Option<Bands>) -> String {
    let expected = match expected {
        Some(bands) => format!("one of {bands} channels, read as it is"),
        None => "RGB of 8 bits".to_owned(),
    };
    format!("the picture has {channels} channels of {bits} bits, expected {expected}")
}

impl Error {
    /// Whether it is about more than one file, so that going on without that file is no help.
    pub(crate) fn ends_loading(&self) -> bool {
        matches!(self, Self::ShardGone { .. } | Self::ShardChanged { .. } | Self::TooManyOpen { .. })
    }

    /// What is wrong with a file that cannot be opened, or with the system.
    pub(crate) fn opening(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        if is_too_many_open(&source) { Self::TooManyOpen { path } } else { Self::Read { path, source } }
    }
}

fn expected_mask(expected: Option<&Path>) -> String {
    match expected {
        Some(path) => format!(": expected {}; put it there, or take the image away", path.display()),
        None => ": expected a source with masks, such as ade:DIR or masks:IMAGES,MASKS".to_owned(),
    }
}

fn found_classes(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => format!("{} ({})", names.len(), names.join(", ")),
    }
}

/// What a class should have where it has files that are not read.
fn expected_instead(unread: &Unread) -> String {
    match unread.files() {
        0 => String::new(),
        _ => format!(": expected files ending in {}{}", endings(), unread.remark()),
    }
}
