use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::Source;
use crate::error::{Error, Result};
use crate::files::open_regular;
use crate::image::Image;
use crate::split::Split;

/// First bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Most bytes that a file may hold, compressed or not: 1 GiB. They are kept in memory.
const MAX_BYTES: u64 = 1 << 30;
/// A file is a header of some bytes longer than its contents.
const MAX_HEADER: u64 = 64;
/// Most bytes that one byte of gzip may become.
const MAX_RATIO: u64 = 1032;
/// IDX's code for unsigned bytes.
const UNSIGNED_BYTE: u8 = 0x08;

/// Grey pictures in MNIST's IDX files, plain or compressed with gzip, held in memory.
pub struct Idx {
    /// Where they come from, for people.
    name: String,
    rows: usize,
    cols: usize,
    /// `[len, rows, cols]`.
    images: Vec<u8>,
    /// `[len]`, or empty where pictures have no labels.
    labels: Vec<u8>,
    class_names: Vec<String>,
}

impl Idx {
    /// Reads the files of a split in `dir`: `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, or `t10k-…` for the test
    /// split, with or without `.gz`, of at most 1 GiB. The labels may be absent. Classes are named by their numbers, up to the
    /// greatest in either split.
    ///
    /// # Errors
    ///
    /// [`Error::NoFolder`], [`Error::NoIdx`], [`Error::Read`] or [`Error::Idx`].
    pub fn open(dir: &Path, split: Split) -> Result<Self> {
        if !dir.is_dir() {
            return Err(Error::NoFolder { path: dir.to_owned() });
        }
        let [images, labels] = file_names(split);
        let path = find(dir, images).ok_or_else(|| Error::NoIdx { folder: dir.to_owned(), name: images })?;
        let labels = read_labels(dir, labels)?;
        let [_, train] = file_names(Split::Train);
        let classes = match &labels {
            Some(labels) => {
                count_classes(labels).max(read_labels(dir, train)?.map_or(0, |train| count_classes(&train)))
            }
            None => 0,
        };
        let class_names = (0..classes).map(|class| class.to_string()).collect();
        Self::read(open(&path)?, labels, class_names, path.display().to_string())
    }

    /// Reads pictures from an opened file; `labels`, if any, must be as many as they are.
    pub(crate) fn read(
        images: Opened<impl BufRead>,
        labels: Option<Vec<u8>>,
        class_names: Vec<String>,
        name: String,
    ) -> Result<Self> {
        let ([len, rows, cols], images) = read_idx(images, &name)?;
        let labels = labels.unwrap_or_default();
        let problem = if len == 0 || rows == 0 || cols == 0 {
            Some(format!("expected images with pixels, found {len} of {rows} x {cols}"))
        } else if !class_names.is_empty() && labels.len() != len {
            Some(format!("expected as many images as labels, found {len} images and {} labels", labels.len()))
        } else {
            None
        };
        match problem {
            Some(problem) => Err(Error::Idx { file: name, problem }),
            None => Ok(Self { name, rows, cols, images, labels, class_names }),
        }
    }

    /// The grey picture `index`, `[rows, cols]`.
    #[must_use]
    pub fn grey(&self, index: usize) -> &[u8] {
        let size = self.rows * self.cols;
        &self.images[index * size..(index + 1) * size]
    }
}

impl Source for Idx {
    fn len(&self) -> usize {
        self.images.len() / (self.rows * self.cols)
    }

    fn image(&self, index: usize) -> Result<Image> {
        Ok(Image::from_grey(self.rows, self.cols, self.grey(index)))
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.get(index).copied().map(u32::from)
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn name(&self, index: usize) -> String {
        format!("{}#{index}", self.name)
    }
}

/// Usual names of the images and labels of a split.
const fn file_names(split: Split) -> [&'static str; 2] {
    match split {
        Split::Train => ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"],
        Split::Test => ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"],
    }
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    // What is no file is found too, so that opening it says what it is.
    [name.to_owned(), format!("{name}.gz")].iter().map(|name| dir.join(name)).find(|path| path.exists())
}

/// A file, and how long it is.
pub(crate) struct Opened<R> {
    pub(crate) file: R,
    pub(crate) length: u64,
}

fn open(path: &Path) -> Result<Opened<BufReader<File>>> {
    let opened = open_regular(path, MAX_BYTES + MAX_HEADER)
        .and_then(|file| Ok(Opened { length: file.metadata()?.len(), file: BufReader::new(file) }));
    opened.map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn read_labels(dir: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let Some(path) = find(dir, name) else { return Ok(None) };
    let ([_], labels) = read_idx(open(&path)?, &path.display().to_string())?;
    Ok(Some(labels))
}

fn count_classes(labels: &[u8]) -> usize {
    labels.iter().max().map_or(0, |&greatest| usize::from(greatest) + 1)
}

/// Reads a file of unsigned bytes in `D` dimensions, decompressing it if need be: the sizes, and the bytes.
pub(crate) fn read_idx<const D: usize>(
    opened: Opened<impl BufRead>,
    name: &str,
) -> Result<([usize; D], Vec<u8>)> {
    let error = |problem: String| Error::Idx { file: name.to_owned(), problem };
    let Opened { mut file, length } = opened;
    let start = file.fill_buf().map_err(|source| error(source.to_string()))?;
    if start.starts_with(&GZIP) {
        read_plain(MultiGzDecoder::new(file), length.saturating_mul(MAX_RATIO)).map_err(error)
    } else {
        read_plain(file, length.saturating_sub(4 * (1 + D as u64))).map_err(error)
    }
}

/// Reads what the header claims, and one byte more to see that there is none. A claim of more than `most` bytes, which is all that
/// there can be, is refused at once; memory grows with the bytes that are really there.
fn read_plain<const D: usize>(
    mut file: impl Read,
    most: u64,
) -> std::result::Result<([usize; D], Vec<u8>), String> {
    let magic = read_word(&mut file)?;
    let expected = [0, 0, UNSIGNED_BYTE, D as u8];
    if magic != expected {
        return Err(format!("expected the first bytes {expected:?}, found {magic:?}"));
    }
    let mut sizes = [0; D];
    for size in &mut sizes {
        *size = u32::from_be_bytes(read_word(&mut file)?) as usize;
    }
    let claimed = sizes.iter().try_fold(1_u64, |product, &size| product.checked_mul(size as u64));
    let claimed = claimed.filter(|&bytes| bytes <= MAX_BYTES);
    let claimed = claimed.ok_or_else(|| format!("expected at most 1 GiB, found sizes {sizes:?}"))?;
    if claimed > most {
        return Err(format!("expected {claimed} bytes for {sizes:?}, found a file that has at most {most}"));
    }
    let mut bytes = Vec::new();
    file.take(claimed + 1).read_to_end(&mut bytes).map_err(|source| source.to_string())?;
    match (bytes.len() as u64).cmp(&claimed) {
        Ordering::Equal => Ok((sizes, bytes)),
        Ordering::Less => Err(format!("expected {claimed} bytes for {sizes:?}, found {}", bytes.len())),
        Ordering::Greater => Err(format!("expected {claimed} bytes for {sizes:?}, found more")),
    }
}

fn read_word(file: &mut impl Read) -> std::result::Result<[u8; 4], String> {
    let mut bytes = [0; 4];
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(source) if source.kind() == ErrorKind::UnexpectedEof => {
            Err("it ends within its header".to_owned())
        }
        Err(source) => Err(source.to_string()),
    }
}
