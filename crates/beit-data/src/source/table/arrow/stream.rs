//! The messages of a file: a schema, then batches of rows.

use std::fs::File;

use arrow_ipc::{Message, MessageHeader, RecordBatch, root_as_message};

use super::layout::{At, Leaf, Place, Store};
use crate::files::read_exact_at;

/// What stands before the length of a message.
const CONTINUED: u32 = u32::MAX;
/// First bytes of a file with a footer, whose messages come as in a stream.
const WITH_FOOTER: &[u8; 6] = b"ARROW1";
/// Most bytes of a message without its body: it says how columns lie, in some dozen bytes each.
const MAX_MESSAGE: u32 = 1 << 24;

/// A message without its body.
pub(super) struct Framed {
    bytes: Vec<u8>,
    /// Where its body is in the file.
    pub(super) body: Span,
}

/// Some bytes of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Span {
    pub(super) at: u64,
    pub(super) bytes: u64,
}

/// Walks over the messages of a file.
pub(super) struct Messages<'a> {
    file: &'a File,
    length: u64,
    at: u64,
}

impl<'a> Messages<'a> {
    pub(super) fn new(file: &'a File, length: u64) -> Result<Self, String> {
        let mut first = [0; 6];
        let with_footer = length >= 8 && read(file, &mut first, 0).is_ok() && &first == WITH_FOOTER;
        Ok(Self { file, length, at: if with_footer { 8 } else { 0 } })
    }

    /// The next message; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Framed>, String> {
        if self.at == self.length {
            return Ok(None);
        }
        let Some(length) = self.length_of_next()? else { return Ok(None) };
        self.inside(self.at, u64::from(length))?;
        if length > MAX_MESSAGE {
            return Err(format!(
                "expected messages of at most {MAX_MESSAGE} bytes, found one that claims {length}"
            ));
        }
        let mut bytes = vec![0; length as usize];
        read(self.file, &mut bytes, self.at)?;
        self.at += u64::from(length);
        let claimed = parse(&bytes)?.bodyLength();
        let claimed =
            u64::try_from(claimed).map_err(|_| format!("a message claims a body of {claimed} bytes"))?;
        self.inside(self.at, claimed)?;
        let body = Span { at: self.at, bytes: claimed };
        self.at += claimed;
        Ok(Some(Framed { bytes, body }))
    }

    fn length_of_next(&mut self) -> Result<Option<u32>, String> {
        let mut word = || -> Result<u32, String> {
            self.inside(self.at, 4)?;
            let mut bytes = [0; 4];
            read(self.file, &mut bytes, self.at)?;
            self.at += 4;
            Ok(u32::from_le_bytes(bytes))
        };
        // Files of before 2019 have the length alone.
        let first = word()?;
        let length = if first == CONTINUED { word()? } else { first };
        Ok((length > 0).then_some(length))
    }

    fn inside(&self, at: u64, bytes: u64) -> Result<(), String> {
        match at.checked_add(bytes) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(format!(
                "it ends at byte {} within a message that claims {bytes} bytes from {at} on: it is cut short, or no Arrow file",
                self.length
            )),
        }
    }
}

impl Framed {
    pub(super) fn message(&self) -> Result<Message<'_>, String> {
        parse(&self.bytes)
    }

    /// The rows in it, where it has any.
    pub(super) fn batch(&self) -> Result<Option<RecordBatch<'_>>, String> {
        let message = self.message()?;
        Ok((message.header_type() == MessageHeader::RecordBatch)
            .then(|| message.header_as_record_batch())
            .flatten())
    }
}

fn parse(bytes: &[u8]) -> Result<Message<'_>, String> {
    root_as_message(bytes)
        .map_err(|_| "expected a message of an Arrow stream, found something else".to_owned())
}

fn read(file: &File, bytes: &mut [u8], at: u64) -> Result<(), String> {
    read_exact_at(file, bytes, at).map_err(|error| error.to_string())
}

/// The values of a column in a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values {
    /// Bits that say which are there; none where all are.
    present: Option<Span>,
    /// Where values of bytes begin and end, or the values themselves.
    first: Span,
    /// The bytes.
    second: Span,
    store: Store,
}

/// A column of pictures or labels in a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cells {
    pub(super) rows: usize,
    outer: Option<Span>,
    pub(super) values: Values,
    pub(super) path: Option<Values>,
}

/// The parts of a batch, by their numbers.
struct Body<'a> {
    batch: RecordBatch<'a>,
    body: Span,
    rows: u64,
}

/// Finds a column in a batch. All that the batch claims of it lies in the file.
pub(super) fn cells(batch: RecordBatch<'_>, body: Span, at: &At) -> Result<Cells, String> {
    if batch.compression().is_some() {
        return Err("its batches are compressed, which is not read: write it without compression".to_owned());
    }
    let rows =
        u64::try_from(batch.length()).map_err(|_| format!("a batch claims {} rows", batch.length()))?;
    let inside = Body { batch, body, rows };
    Ok(Cells {
        values: inside.values(&at.leaf)?,
        path: at.path.as_ref().map(|leaf| inside.values(leaf)).transpose()?,
        outer: at.outer.map(|place| inside.present(place)).transpose()?.flatten(),
        rows: rows as usize,
    })
}

impl Body<'_> {
    fn values(&self, leaf: &Leaf) -> Result<Values, String> {
        let present = self.present(leaf.place)?;
        let needed = match leaf.store {
            Store::Bytes { .. } if self.rows == 0 => 0,
            Store::Bytes { offset } => self.rows.saturating_add(1).saturating_mul(offset as u64),
            Store::Integers { bytes, .. } => self.rows.saturating_mul(bytes as u64),
        };
        let first = self.buffer(leaf.place, 1, needed)?;
        let second = match leaf.store {
            Store::Bytes { .. } => self.buffer(leaf.place, 2, 0)?,
            Store::Integers { .. } => Span::default(),
        };
        Ok(Values { present, first, second, store: leaf.store })
    }

    /// The bits of a field that say which values are there.
    fn present(&self, place: Place) -> Result<Option<Span>, String> {
        let nodes = self.batch.nodes().ok_or("a batch has no nodes")?;
        if place.node >= nodes.len() {
            return Err(format!("a batch has {} nodes, its schema more", nodes.len()));
        }
        let node = nodes.get(place.node);
        if u64::try_from(node.length()) != Ok(self.rows) {
            return Err(format!("a column claims {} values in a batch of {} rows", node.length(), self.rows));
        }
        if node.null_count() == 0 {
            return Ok(None);
        }
        self.buffer(place, 0, self.rows.div_ceil(8)).map(Some)
    }

    /// A buffer of a field, which must have so many bytes.
    fn buffer(&self, place: Place, number: usize, needed: u64) -> Result<Span, String> {
        let buffers = self.batch.buffers().ok_or("a batch has no buffers")?;
        let counts = self.batch.variadicBufferCounts().into_iter().flatten().take(place.views);
        let before = counts
            .fold(0_usize, |sum, count| sum.saturating_add(usize::try_from(count).unwrap_or(usize::MAX)));
        let number = (place.buffer + number).saturating_add(before);
        if number >= buffers.len() {
            return Err(format!("a batch has {} buffers, its schema more", buffers.len()));
        }
        let buffer = buffers.get(number);
        let (offset, bytes) = (u64::try_from(buffer.offset()), u64::try_from(buffer.length()));
        let end = |offset: u64, bytes: u64| offset.checked_add(bytes).filter(|&end| end <= self.body.bytes);
        match (offset, bytes) {
            (Ok(offset), Ok(bytes)) if end(offset, bytes).is_some() && bytes >= needed => {
                Ok(Span { at: self.body.at + offset, bytes })
            }
            _ => Err(format!(
                "a batch claims {} bytes at {} for a buffer of at least {needed}, in a body of {}",
                buffer.length(),
                buffer.offset(),
                self.body.bytes
            )),
        }
    }
}

impl Cells {
    /// The bytes of a row, and where they are null the path.
    pub(super) fn picture(&self, file: &File, row: usize, most: u64) -> Result<Picture, String> {
        if !is_set(file, self.outer, row)? {
            return Ok(Picture::Null);
        }
        if let Some(bytes) = self.values.bytes(file, row, most)? {
            return Ok(Picture::Bytes(bytes));
        }
        let path = self.path.as_ref().map(|path| path.bytes(file, row, MAX_PATH)).transpose()?.flatten();
        Ok(path.map_or(Picture::Null, |path| Picture::File(String::from_utf8_lossy(&path).into_owned())))
    }

    /// All integers, or nulls.
    pub(super) fn integers(&self, file: &File) -> Result<Vec<Option<i64>>, String> {
        let Store::Integers { bytes, signed } = self.values.store else { return Ok(vec![None; self.rows]) };
        let mut all = vec![0; self.rows * bytes];
        read(file, &mut all, self.values.first.at)?;
        let present = self.values.present_bits(file, self.rows)?;
        let value =
            |(row, bytes): (usize, &[u8])| bit(present.as_deref(), row).then(|| integer(bytes, signed));
        Ok(all.chunks_exact(bytes).enumerate().map(value).collect())
    }

    /// All texts, or nulls, each of at most `most` bytes.
    pub(super) fn texts(&self, file: &File, most: u64) -> Result<Vec<Option<String>>, String> {
        let text = |row| {
            let bytes = self.values.bytes(file, row, most)?;
            Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        (0..self.rows).map(text).collect()
    }
}

/// Longest path.
const MAX_PATH: u64 = 1 << 16;

/// What a row has.
#[derive(Debug, PartialEq)]
pub(super) enum Picture {
    Null,
    Bytes(Vec<u8>),
    File(String),
}

impl Values {
    /// The bytes of a row; none where it is null.
    fn bytes(&self, file: &File, row: usize, most: u64) -> Result<Option<Vec<u8>>, String> {
        let Store::Bytes { offset } = self.store else { return Ok(None) };
        if !is_set(file, self.present, row)? {
            return Ok(None);
        }
        let mut ends = [0; 16];
        let ends = &mut ends[..2 * offset];
        read(file, ends, self.first.at + (row * offset) as u64)?;
        let (start, end) = ends.split_at(offset);
        let [start, end] = [start, end].map(|bytes| u64::try_from(integer(bytes, true)));
        let (Ok(start), Ok(end)) = (start, end) else { return Err("its offsets are negative".to_owned()) };
        if start > end || end > self.second.bytes {
            return Err(format!("it claims bytes {start} to {end} of {}", self.second.bytes));
        }
        if end - start > most {
            return Err(format!("expected at most {most} bytes, found {}", end - start));
        }
        let mut bytes = vec![0; (end - start) as usize];
        read(file, &mut bytes, self.second.at + start)?;
        Ok(Some(bytes))
    }

    fn present_bits(&self, file: &File, rows: usize) -> Result<Option<Vec<u8>>, String> {
        let Some(span) = self.present else { return Ok(None) };
        let mut bits = vec![0; rows.div_ceil(8)];
        read(file, &mut bits, span.at)?;
        Ok(Some(bits))
    }
}

/// Whether a value is there.
fn is_set(file: &File, present: Option<Span>, row: usize) -> Result<bool, String> {
    let Some(span) = present else { return Ok(true) };
    let mut byte = [0];
    read(file, &mut byte, span.at + row as u64 / 8)?;
    Ok(bit(Some(&byte), row % 8))
}

fn bit(bits: Option<&[u8]>, row: usize) -> bool {
    bits.is_none_or(|bits| bits[row / 8] >> (row % 8) & 1 == 1)
}

/// A little-endian integer. One that is too large for the type is negative, and so no label.
fn integer(bytes: &[u8], signed: bool) -> i64 {
    let negative = signed && bytes.last().is_some_and(|&byte| byte >= 0x80);
    let mut all = if negative { [0xff; 8] } else { [0; 8] };
    all[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_keep_their_signs() {
        assert_eq!(integer(&[0xff], true), -1);
        assert_eq!(integer(&[0xff], false), 255);
        assert_eq!(integer(&[0x01, 0x80], true), -32_767);
        assert_eq!(integer(&[2, 0, 0, 0], false), 2);
        assert_eq!(integer(&i64::MIN.to_le_bytes(), true), i64::MIN);
    }

    #[test]
    fn bits_begin_at_the_lowest() {
        assert!(bit(None, 100) && bit(Some(&[1]), 0) && !bit(Some(&[1]), 1) && bit(Some(&[0, 2]), 9));
    }
}
