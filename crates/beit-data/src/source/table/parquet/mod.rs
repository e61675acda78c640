//! Parquet files.

mod schema;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::data_type::ByteArray;
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
    ParquetStatisticsPolicy, RowGroupMetaData,
};
use parquet::file::serialized_reader::SerializedPageReader;

use super::columns::{Chosen, Label};
use super::features::{Features, KEY};
use super::kept::{Block, Kept};
use super::labels::Gathered;
use super::shard::Shard;
use super::spec::Spec;
use super::{Group, Part, Said};
use crate::error::{Error, Result};
use crate::files::read_exact_at;
use schema::columns;

/// Pictures of a row group that are read together, in bytes; a larger group is several blocks.
const BLOCK_BYTES: u64 = 32 << 20;
/// Most bytes of a block as it turns out to be: its pictures need not be as large as the mean.
const MAX_BLOCK_BYTES: usize = 1 << 30;
/// Rows that are read at once, so that no page stays in memory for longer than it is copied.
const ROWS_AT_ONCE: usize = 64;
/// Most rows for each byte of a column: what is above this is no data but a claim.
const MAX_ROWS_PER_BYTE: u64 = 1024;
/// First and last bytes of a file.
const MAGIC: &[u8; 4] = b"PAR1";
/// First and last bytes of an encrypted one.
const ENCRYPTED: &[u8; 4] = b"PARE";

/// A file, with what is needed to find its pictures.
struct ParquetFile {
    shard: Shard,
    groups: Vec<RowGroup>,
    /// The number after the last row of each row group.
    ends: Vec<usize>,
    /// Where the blocks of each row group begin in the numbers of blocks.
    first_blocks: Vec<usize>,
}

/// A row group.
struct RowGroup {
    rows: usize,
    blocks: usize,
    /// Where its pictures lie.
    pictures: ColumnChunkMetaData,
}

/// Opens a file and gathers its labels.
pub(super) fn open(
    shard: Shard,
    spec: &Spec,
    labels: &mut Gathered,
) -> Result<(Box<dyn Part>, Option<String>)> {
    let file = shard.open()?;
    check_ends(&file, &shard)?;
    let wrong = |problem: String| shard.error(problem);
    let metadata = guarded(|| {
        let options = ParquetMetaDataOptions::new()
            .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
            .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
        ParquetMetaDataReader::new().with_metadata_options(Some(options)).parse_and_finish(&file)
    })
    .map_err(wrong)?;
    let mut features = features(&metadata).map_err(wrong)?;
    let Chosen { image, label, note } =
        Chosen::choose(&columns(&metadata), &features, spec).map_err(wrong)?;
    labels.name(label.as_ref().and_then(|label| features.take(&label.name))).map_err(wrong)?;
    let mut groups = Vec::new();
    for group in metadata.row_groups() {
        let pictures = checked(group, image, shard.length).map_err(wrong)?;
        gather(&file, group, label.as_ref(), &shard, labels)?;
        groups.push(RowGroup::new(group.num_rows() as usize, pictures));
    }
    let note = note.map(|note| format!("{}: {note}", shard.path.display()));
    Ok((Box::new(ParquetFile::new(shard, groups)), note))
}

/// Whether it begins and ends as it should.
fn check_ends(file: &File, shard: &Shard) -> Result<()> {
    let (mut first, mut last) = ([0; 4], [0; 4]);
    let read = |bytes: &mut [u8], at| read_exact_at(file, bytes, at);
    let found = read(&mut first, 0).and_then(|()| read(&mut last, shard.length.saturating_sub(4)));
    match found {
        Err(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            Err(Error::Read { path: shard.path.clone(), source })
        }
        Ok(()) if &first == ENCRYPTED || &last == ENCRYPTED => {
            Err(shard.error("it is encrypted, which is not read: write it without encryption"))
        }
        Ok(()) if &first == MAGIC && &last == MAGIC => Ok(()),
        Ok(()) if &first == MAGIC => {
            Err(shard
                .error("expected PAR1 at its end, found something else: it is cut short, fetch it again"))
        }
        _ => Err(shard.error("expected a Parquet file, which begins with PAR1")),
    }
}

/// What the library says, its panics on damaged files among it.
fn guarded<T>(read: impl FnOnce() -> parquet::errors::Result<T>) -> Said<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|error| format!("it is damaged: {error}")),
        Err(_) => Err("it is damaged: its reader failed".to_owned()),
    }
}

fn features(metadata: &ParquetMetaData) -> Said<Features> {
    let pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let json = pairs.filter(|pair| pair.key == KEY).find_map(|pair| pair.value.as_deref());
    json.map_or_else(|| Ok(Features::default()), Features::parse)
}

/// What is said of a column of a row group, where it can be true.
fn checked(group: &RowGroupMetaData, leaf: usize, length: u64) -> Said<ColumnChunkMetaData> {
    let chunk = group.columns().get(leaf).ok_or("a row group lacks a column")?;
    let name = chunk.column_path().string();
    let start =
        chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset()).min(chunk.data_page_offset());
    let [rows, values, start, bytes] = [group.num_rows(), chunk.num_values(), start, chunk.compressed_size()]
        .map(|number| u64::try_from(number).map_err(|_| format!("column {name} claims {number}")));
    let (rows, values, start, bytes) = (rows?, values?, start?, bytes?);
    if start.checked_add(bytes).is_none_or(|end| end > length) {
        return Err(format!(
            "column {name} claims bytes {start} to {} of {length}: it is cut short or damaged, fetch it again",
            start.saturating_add(bytes)
        ));
    }
    if values != rows || chunk.column_descr().max_rep_level() > 0 {
        return Err(format!("expected one value a row in column {name}, found {values} for {rows} rows"));
    }
    if rows > bytes.saturating_mul(MAX_ROWS_PER_BYTE) || chunk.uncompressed_size() < 0 {
        return Err(format!(
            "column {name} claims {rows} rows and {} bytes in {bytes} bytes",
            chunk.uncompressed_size()
        ));
    }
    match chunk.compression() {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) | Compression::ZSTD(_) => {
            Ok(chunk.clone())
        }
        other => {
            let codec = other.to_string();
            let codec = codec.split('(').next().unwrap_or_default().to_lowercase();
            Err(format!(
                "column {name} is compressed with {codec}, which is not read: write it with snappy, zstd or gzip"
            ))
        }
    }
}

/// Reads rows of a column of a row group: what is left out, and what is told `row` one after the other.
fn read_column(
    file: &File,
    chunk: &ColumnChunkMetaData,
    rows: usize,
    range: Range<usize>,
    mut row: impl FnMut(Value<'_>) -> bool,
) -> Said<()> {
    let pages = guarded(|| SerializedPageReader::new(Arc::new(file.try_clone()?), chunk, rows, None))?;
    let mut reader = guarded(|| Ok(get_column_reader(chunk.column_descr_ptr(), Box::new(pages))))?;
    let greatest = chunk.column_descr().max_def_level();
    guarded(|| match &mut reader {
        ColumnReader::ByteArrayColumnReader(reader) => reader.skip_records(range.start),
        ColumnReader::Int32ColumnReader(reader) => reader.skip_records(range.start),
        ColumnReader::Int64ColumnReader(reader) => reader.skip_records(range.start),
        _ => Ok(0),
    })?;
    let mut left = range.len();
    while left > 0 {
        let (mut levels, some) = (Vec::new(), left.min(ROWS_AT_ONCE));
        let (mut bytes, mut small, mut large): (Vec<ByteArray>, Vec<i32>, Vec<i64>) = Default::default();
        let (records, ..) = guarded(|| match &mut reader {
            ColumnReader::ByteArrayColumnReader(reader) => {
                reader.read_records(some, Some(&mut levels), None, &mut bytes)
            }
            ColumnReader::Int32ColumnReader(reader) => {
                reader.read_records(some, Some(&mut levels), None, &mut small)
            }
            ColumnReader::Int64ColumnReader(reader) => {
                reader.read_records(some, Some(&mut levels), None, &mut large)
            }
            _ => Ok((0, 0, 0)),
        })?;
        if records == 0 || records > some {
            return Err(format!(
                "it is damaged: expected {left} more rows in column {}, found none",
                chunk.column_path()
            ));
        }
        let values = bytes.iter().map(|bytes| Value::Bytes(bytes.data()));
        let values = values.chain(small.iter().map(|&n| Value::Number(i64::from(n))));
        let mut values = values.chain(large.iter().map(|&n| Value::Number(n)));
        for record in 0..records {
            let is_there = greatest == 0 || levels.get(record) == Some(&greatest);
            let value = if is_there {
                values.next().ok_or("it is damaged: a value is missing")?
            } else {
                Value::None
            };
            if !row(value) {
                return Ok(());
            }
        }
        left -= records;
    }
    Ok(())
}

/// What a row has in a column.
enum Value<'a> {
    None,
    Bytes(&'a [u8]),
    Number(i64),
}

/// Adds the labels of a row group.
fn gather(
    file: &File,
    group: &RowGroupMetaData,
    label: Option<&Label<usize>>,
    shard: &Shard,
    labels: &mut Gathered,
) -> Result<()> {
    let rows = group.num_rows() as usize;
    let Some(label) = label else {
        labels.none(rows);
        return Ok(());
    };
    let chunk = checked(group, label.at, shard.length).map_err(|problem| shard.error(problem))?;
    let mut told = 0;
    let read = read_column(file, &chunk, rows, 0..rows, |value| {
        told += 1;
        match value {
            Value::Bytes(text) if label.text => labels.text(Some(&String::from_utf8_lossy(text))),
            Value::Number(number) => labels.number(Some(number)),
            _ if label.text => labels.text(None),
            _ => labels.number(None),
        }
        true
    });
    read.map_err(|problem| shard.error(format!("column `{}`, row {told} of a group: {problem}", label.name)))
}

impl RowGroup {
    /// Blocks are of as many rows each, as far as that goes.
    fn new(rows: usize, pictures: ColumnChunkMetaData) -> Self {
        let bytes = pictures.uncompressed_size().max(0) as u64;
        let blocks = bytes.div_ceil(BLOCK_BYTES).clamp(1, rows.max(1) as u64) as usize;
        Self { rows, blocks, pictures }
    }

    /// The rows of block `block` of this group.
    fn rows_of(&self, block: usize) -> Range<usize> {
        block_rows(self.rows, self.blocks, block)
    }
}

/// The rows of a block where `blocks` share some rows evenly.
fn block_rows(rows: usize, blocks: usize, block: usize) -> Range<usize> {
    let start = |block: usize| (block as u128 * rows as u128 / blocks as u128) as usize;
    start(block)..start(block + 1)
}

/// The block that has a row.
fn block_of(rows: usize, blocks: usize, row: usize) -> usize {
    (((row as u128 + 1) * blocks as u128 - 1) / rows as u128) as usize
}

impl ParquetFile {
    fn new(shard: Shard, mut groups: Vec<RowGroup>) -> Self {
        groups.retain(|group| group.rows > 0);
        let (mut end, mut blocks) = (0, 0);
        let (mut ends, mut first_blocks) = (Vec::new(), Vec::new());
        for group in &groups {
            end += group.rows;
            ends.push(end);
            first_blocks.push(blocks);
            blocks += group.blocks;
        }
        Self { shard, groups, ends, first_blocks }
    }

    /// Adds the pictures of some rows of a row group to a block.
    fn read(&self, group: &RowGroup, rows: Range<usize>, block: &mut Block) -> Said<()> {
        let file = self.shard.open().map_err(|error| match error {
            Error::Read { source, .. } => source.to_string(),
            other => other.to_string(),
        })?;
        read_column(&file, &group.pictures, group.rows, rows, |value| {
            block.push(match value {
                Value::Bytes(bytes) => Some(bytes),
                _ => None,
            });
            block.size() <= MAX_BLOCK_BYTES
        })
    }
}

impl Part for ParquetFile {
    fn shard(&self) -> &Shard {
        &self.shard
    }

    fn groups(&self) -> Vec<Group> {
        let of = |group: &RowGroup| {
            let bytes = group.pictures.uncompressed_size().max(0) as u64 / group.blocks as u64;
            (0..group.blocks)
                .map(|block| Group { rows: group.rows_of(block).len(), bytes })
                .collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of).collect()
    }

    fn encoded(&self, number: usize, row: usize, kept: &Kept) -> Result<Vec<u8>> {
        let (place, inside) = super::place(&self.ends, row);
        let group = &self.groups[place];
        let block = block_of(group.rows, group.blocks, inside);
        let rows = group.rows_of(block);
        let picture = |block: &Block, at: usize| match block.get(at) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => Err(self.shard.bad_row(row, "it has no bytes: its image is null")),
        };
        if !kept.is_scattered() {
            let block = kept.get((number, self.first_blocks[place] + block), || {
                let mut block = Block::default();
                // What is wrong with the rows that are missing is found when each is read alone.
                let _ = self.read(group, rows.clone(), &mut block);
                block
            });
            if inside - rows.start < block.len() {
                return picture(&block, inside - rows.start);
            }
        }
        let mut alone = Block::default();
        self.read(group, inside..inside + 1, &mut alone).map_err(|reason| self.shard.bad_row(row, reason))?;
        picture(&alone, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_lies_in_one_block() {
        for (rows, blocks) in [(1, 1), (7, 3), (100, 7), (5, 5), (1000, 999)] {
            let all: Vec<usize> = (0..blocks).flat_map(|block| block_rows(rows, blocks, block)).collect();
            assert_eq!(all, (0..rows).collect::<Vec<_>>());
            for row in 0..rows {
                assert!(
                    block_rows(rows, blocks, block_of(rows, blocks, row)).contains(&row),
                    "{row} of {rows} in {blocks}"
                );
            }
        }
    }
}
