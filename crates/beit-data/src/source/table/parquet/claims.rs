//! What a Parquet file claims, held against its length before anything is made of it.

use std::fs::File;
use std::io;

use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use super::super::Said;
use super::super::shard::Shard;
use super::BLOCK_BYTES;
use crate::error::{Error, Result};
use crate::files::read_exact_at;

/// Most rows for each byte of a column, and of a file: what is above this is no data but a claim.
const MAX_ROWS_PER_BYTE: [u64; 2] = [1024, 8];
/// How much longer a column may be than it is compressed, beyond [`BLOCK_BYTES`]: what the codecs make of pictures is far below.
const MAX_RATIO: u64 = 1 << 12;
/// First and last bytes of a file.
const MAGIC: &[u8; 4] = b"PAR1";
/// First and last bytes of an encrypted one.
const ENCRYPTED: &[u8; 4] = b"PARE";

/// Whether it begins and ends as it should.
pub(super) fn check_ends(file: &File, shard: &Shard) -> Result<()> {
    let (mut first, mut last) = ([0; 4], [0; 4]);
    let read = |bytes: &mut [u8], at| read_exact_at(file, bytes, at);
    let found = read(&mut first, 0).and_then(|()| read(&mut last, shard.length().saturating_sub(4)));
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

/// Refuses more rows than a file of some bytes can have: several row groups may lie in the same bytes.
pub(super) fn check_rows(metadata: &ParquetMetaData, length: u64) -> Said<()> {
    let rows = metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(u64::MAX));
    let rows = rows.fold(0, u64::saturating_add);
    let most = length.saturating_mul(MAX_ROWS_PER_BYTE[1]);
    match rows > most {
        true => {
            Err(format!("it claims {rows} rows in {length} bytes, expected at most {most}: it is damaged"))
        }
        false => Ok(()),
    }
}

/// What is said of a column of a row group, where it can be true.
pub(super) fn checked(group: &RowGroupMetaData, leaf: usize, length: u64) -> Said<ColumnChunkMetaData> {
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
    let longest = bytes.saturating_mul(MAX_RATIO).saturating_add(BLOCK_BYTES);
    let too_long = u64::try_from(chunk.uncompressed_size()).is_ok_and(|size| size > longest);
    if rows > bytes.saturating_mul(MAX_ROWS_PER_BYTE[0]) || chunk.uncompressed_size() < 0 || too_long {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The metadata of a file that claims groups of one column, each of so many rows and bytes at the same place.
    fn claimed(groups: usize, rows: i64, uncompressed: i64) -> ParquetMetaData {
        use parquet::file::metadata::{FileMetaData, ParquetMetaDataBuilder};
        use parquet::schema::types::SchemaDescriptor;
        let schema = parquet::schema::parser::parse_message_type("message m { optional binary b; }").unwrap();
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
        let chunk = ColumnChunkMetaData::builder(schema.column(0))
            .set_num_values(rows)
            .set_data_page_offset(4)
            .set_total_compressed_size(1000)
            .set_total_uncompressed_size(uncompressed)
            .build()
            .unwrap();
        let group = RowGroupMetaData::builder(Arc::clone(&schema))
            .set_num_rows(rows)
            .set_column_metadata(vec![chunk])
            .build()
            .unwrap();
        let file = FileMetaData::new(1, rows, None, None, schema, None);
        let mut metadata = ParquetMetaDataBuilder::new(file);
        for _ in 0..groups {
            metadata = metadata.add_row_group(group.clone());
        }
        metadata.build()
    }

    #[test]
    fn claims_out_of_proportion_are_refused() {
        assert!(check_rows(&claimed(8, 1000, 0), 1000).is_ok());
        for (groups, rows) in [(9, 1000), (1, 8001), (1, -1), (2, i64::MAX)] {
            let error = check_rows(&claimed(groups, rows, 0), 1000).unwrap_err();
            assert!(error.contains("expected at most 8000"), "{error}");
        }
        let bytes = |size| checked(claimed(1, 10, size).row_group(0), 0, 1004);
        let most = (1000 * MAX_RATIO + BLOCK_BYTES) as i64;
        assert!(bytes(most).is_ok());
        for size in [most + 1, i64::MAX, -1] {
            assert!(bytes(size).unwrap_err().contains(&format!("10 rows and {size} bytes in 1000 bytes")));
        }
    }
}
