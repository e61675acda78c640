//! Data sets in tables, a row a picture, as the Hugging Face hub and its library `datasets` have them.

#[cfg(feature = "arrow")]
mod arrow;
mod columns;
mod features;
mod files;
// Only Parquet files are read in blocks.
#[cfg_attr(not(feature = "parquet"), allow(dead_code))]
mod kept;
mod labels;
#[cfg(feature = "parquet")]
mod parquet;
mod shard;

use std::path::PathBuf;
use std::time::SystemTime;

use super::table_spec::Spec;
use super::{Groups, Source};
use crate::bands::Bands;
use crate::decode::MAX_PICTURE_BYTES;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::split::Split;
use files::{Files, Naming};
use kept::Kept;
use labels::{Gathered, Labels};
use shard::Shard;

/// Bytes of pictures, as they stand in files, that are kept in memory.
const KEPT_BYTES: usize = 1 << 30;
/// Bytes of a window of groups. While one is left and the next begun both are in memory, and some more that are read ahead.
const WINDOW_BYTES: u64 = 384 << 20;
/// Most groups of a window.
const MAX_WINDOW: u64 = 256;

/// Pictures in the rows of Parquet or Arrow files, read when they are asked for.
pub struct Table {
    parts: Vec<Box<dyn Part>>,
    /// The number after the last row of each part.
    ends: Vec<usize>,
    labels: Labels,
    notes: Vec<String>,
    /// None where a picture is read without its neighbours.
    groups: Option<Groups>,
    /// Bytes of all groups.
    bytes: u64,
    kept: Kept,
    /// How pictures are read.
    bands: Option<Bands>,
}

/// One file of a table.
trait Part: Send + Sync {
    fn shard(&self) -> &Shard;

    fn rows(&self) -> usize;

    /// How its rows are read together, those of each group at once and of each at least one. None where a row is read alone.
    fn groups(&self) -> Vec<Group> {
        Vec::new()
    }

    /// The picture of a row, a file of any format. `number` is that of this part.
    fn encoded(&self, number: usize, row: usize, kept: &Kept) -> Result<Vec<u8>>;
}

/// Rows that are read together.
#[derive(Clone, Copy)]
struct Group {
    rows: usize,
    bytes: u64,
}

/// A result whose error is what is wrong with a file that is named elsewhere.
type Said<T> = std::result::Result<T, String>;

/// Opens a file: adds its labels, and says what its owner should know.
type OpenPart = fn(Shard, &Spec, &mut Gathered) -> Result<(Box<dyn Part>, Option<String>)>;

impl Table {
    /// Opens a split of a set in Parquet files. `spec` is `PLACE[,PLACE…][,image=COLUMN][,label=COLUMN]`: files, or folders with files,
    /// which are looked into eight levels deep.
    ///
    /// - A file belongs to the split that the last such word of its name says (`train-00000-of-00005.parquet`), or else the nearest folder that
    ///   it lies in, up to the place that was named. Splits have
    ///   [their names](Split::folder_names); of several tests that of the first name is read. Where no file has such a name, all are the
    ///   training split. Files, or a folder, that have the name of one split are read as they are, for whichever split is asked.
    /// - Pictures are the only column that is a struct with `bytes`, or the one that is named, which may also be of bytes.
    /// - Labels are the column `label`, `labels`, or the only one with named classes; `label=` reads none. Numbers are classes, which
    ///   the file may name (the key `huggingface` of its metadata); texts are the names of classes, numbered in their order. A test split
    ///   has the classes of the training split. Rows below 0 or without a label have none.
    ///
    /// # Errors
    ///
    /// [`Error::NoTables`], [`Error::NoSplit`], [`Error::Table`], [`Error::LabelOutOfRange`], [`Error::UnknownLabel`] or [`Error::Read`].
    #[cfg(feature = "parquet")]
    pub fn parquet(spec: &str, split: Split) -> Result<Self> {
        let spec = Spec::parse(spec);
        let files = Files::find(&spec.places, Naming::PARQUET, split)?;
        Self::open(files, &spec, parquet::open)
    }

    /// Opens a split of a set in Arrow files, as `save_to_disk` of `datasets` writes it and as its cache keeps it; `spec` is that of
    /// `Table::parquet`, but that folders are looked into two levels deep. Of a folder with `dataset_dict.json` each split is a folder; `state.json` names the files of one.
    ///
    /// # Errors
    ///
    /// Those of `Table::parquet`.
    #[cfg(feature = "arrow")]
    pub fn arrow(spec: &str, split: Split) -> Result<Self> {
        let spec = Spec::parse(spec);
        let files = arrow::saved(Files::find(&spec.places, Naming::ARROW, split)?, &spec.places)?;
        Self::open(files, &spec, arrow::open)
    }

    /// The same with pictures of so many channels, which are read as they are ([`Image::open_as`]); `None` for RGB.
    #[must_use]
    pub fn seen_as(self, bands: Option<Bands>) -> Self {
        Self { bands, ..self }
    }

    fn open(files: Files, spec: &Spec, open: OpenPart) -> Result<Self> {
        let Files { files, training, note } = files;
        let Opened { parts, labels: own, mut notes } = Opened::all(files, spec, open)?;
        let training =
            if training.is_empty() { None } else { Some(Opened::all(training, spec, open)?.labels) };
        notes.splice(0..0, note);
        let after = parts.iter().map(|part| part.rows()).scan(0, |end, rows| {
            *end += rows;
            Some(*end)
        });
        let ends: Vec<usize> = after.collect();
        let all: Vec<Group> = parts.iter().flat_map(|part| part.groups()).collect();
        if ends.last().is_none_or(|&rows| rows == 0) {
            let path = parts.first().map(|part| part.shard().path.clone()).unwrap_or_default();
            return Err(Error::Table { path, problem: "expected at least one row, found none".to_owned() });
        }
        let labels = own.finish(training, |index| row_name(&parts, &ends, index))?;
        let groups = (!all.is_empty()).then(|| Groups::new(all.iter().map(|group| group.rows), window(&all)));
        let kept = Kept::new(KEPT_BYTES);
        let bytes = all.iter().map(|group| group.bytes).fold(0, u64::saturating_add);
        Ok(Self { parts, ends, labels, notes, groups, bytes, kept, bands: None })
    }

    /// The number of the part and the row in it of picture `index`.
    fn place(&self, index: usize) -> (usize, usize) {
        place(&self.ends, index)
    }

    /// The file of picture `index`, in whatever format it is.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] with the file and the row where there is none or it cannot be read, and where the file was cut short;
    /// [`Error::ShardGone`] or [`Error::ShardChanged`] where it is no longer what was opened, and [`Error::TooManyOpen`].
    pub fn file(&self, index: usize) -> Result<Vec<u8>> {
        let (number, row) = self.place(index);
        let bytes = self.parts[number].encoded(number, row, &self.kept)?;
        match bytes.len() as u64 > MAX_PICTURE_BYTES {
            true => {
                let reason = format!("expected at most {MAX_PICTURE_BYTES} bytes, found {}", bytes.len());
                Err(self.parts[number].shard().bad_row(row, reason))
            }
            false => Ok(bytes),
        }
    }
}

/// Files that were opened.
#[derive(Default)]
struct Opened {
    parts: Vec<Box<dyn Part>>,
    labels: Gathered,
    /// Each once.
    notes: Vec<String>,
}

impl Opened {
    /// Opens files in their order.
    fn all(files: Vec<PathBuf>, spec: &Spec, open: OpenPart) -> Result<Self> {
        let mut all = Self::default();
        for path in files {
            let (part, note) = open(Shard::new(path)?, spec, &mut all.labels)?;
            all.parts.push(part);
            // Files of one set have the same columns: one of them is enough to say what is odd.
            if all.notes.is_empty() {
                all.notes.extend(note);
            }
        }
        Ok(all)
    }
}

/// So many groups that a window fits, whichever they are.
fn window(groups: &[Group]) -> usize {
    let largest = groups.iter().map(|group| group.bytes).max().unwrap_or(0).max(1);
    (WINDOW_BYTES / largest).clamp(1, MAX_WINDOW) as usize
}

fn place(ends: &[usize], index: usize) -> (usize, usize) {
    let number = ends.partition_point(|&end| end <= index);
    let start = number.checked_sub(1).map_or(0, |before| ends[before]);
    (number, index - start)
}

fn row_name(parts: &[Box<dyn Part>], ends: &[usize], index: usize) -> String {
    let (number, row) = place(ends, index);
    parts[number].shard().row(row)
}

impl Source for Table {
    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn image(&self, index: usize) -> Result<Image> {
        Image::decode_as(&self.file(index)?, self.bands, &self.name(index))
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.get(index)
    }

    fn class_names(&self) -> &[String] {
        &self.labels.class_names
    }

    fn size(&self, index: usize) -> Result<[usize; 2]> {
        Image::size_in_as(&self.file(index)?, self.bands, &self.name(index))
    }

    fn encoded(&self, index: usize) -> Result<Option<Vec<u8>>> {
        self.bands.is_none().then(|| self.file(index)).transpose()
    }

    fn name(&self, index: usize) -> String {
        row_name(&self.parts, &self.ends, index)
    }

    fn version(&self, index: usize) -> Option<(u64, SystemTime)> {
        Some(self.parts[self.place(index).0].shard().version())
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn groups(&self) -> Option<Groups> {
        self.groups.clone()
    }

    fn scatter(&self) {
        if self.bytes > KEPT_BYTES as u64 {
            self.kept.scatter();
        }
    }
}

#[cfg(all(test, feature = "parquet"))]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use ::parquet::basic::{Compression, GzipLevel, ZstdLevel};
    use ::parquet::data_type::{ByteArray, ByteArrayType};
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;

    use super::*;

    /// Two row groups in pages of a few rows, some of them null.
    fn written(path: &Path, codec: Compression) {
        let schema = "message m { optional group image { optional binary bytes; } }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let settings = WriterProperties::builder()
            .set_compression(codec)
            .set_data_page_row_count_limit(3)
            .set_write_batch_size(1)
            .build();
        let file = std::fs::File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(settings)).unwrap();
        for group in 0..2_u8 {
            let mut columns = writer.next_row_group().unwrap();
            let mut column = columns.next_column().unwrap().unwrap();
            let pictures: Vec<ByteArray> = (0..9).map(|row| [row, group].repeat(row.into()).into()).collect();
            let levels: Vec<i16> = (0..10).map(|row| if row == 4 { 0 } else { 2 }).collect();
            column.typed::<ByteArrayType>().write_batch(&pictures, Some(&levels), None).unwrap();
            column.close().unwrap();
            columns.close().unwrap();
        }
        writer.close().unwrap();
    }

    /// A set too large to be kept is read row by row, and is the same.
    #[test]
    fn rows_are_read_alone_where_nothing_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.parquet");
        let codecs = [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(GzipLevel::default()),
            Compression::ZSTD(ZstdLevel::default()),
        ];
        for codec in codecs {
            written(&path, codec);
            let [kept, scattered] =
                [(); 2].map(|()| Table::parquet(path.to_str().unwrap(), Split::Train).unwrap());
            scattered.kept.scatter();
            for index in (0..kept.len()).rev().chain(0..kept.len()) {
                let (file, wanted) = (kept.file(index).ok(), scattered.file(index).ok());
                assert_eq!((&file, file.is_some()), (&wanted, index % 10 != 4), "{codec} {index}");
            }
            assert!(scattered.kept.is_empty() && !kept.kept.is_empty(), "{codec}");
        }
    }

    #[test]
    fn a_window_is_kept_twice() {
        let groups = |bytes: u64, count: usize| vec![Group { rows: 1, bytes }; count];
        for (bytes, wanted) in [(0, 256), (1 << 20, 256), (32 << 20, 12), (100 << 20, 3), (1 << 40, 1)] {
            let window = window(&groups(bytes, 5));
            assert_eq!(window, wanted, "groups of {bytes} bytes");
            assert!(window == 1 || 2 * window as u64 * bytes <= KEPT_BYTES as u64);
        }
    }
}
