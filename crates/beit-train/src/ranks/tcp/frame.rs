//! What travels: a kind, a length in bytes, and so many bytes.

use std::io::{Error, ErrorKind, Read, Result, Write};

/// What comes. The numbers are what travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Numbers = 1,
    Record = 2,
    Failure = 3,
}

/// Bytes of a kind and a length.
const HEAD: usize = 9;
/// Bytes of a record or of what is told of a failure, at most: what a length may claim before anything is read.
const LONGEST_RECORD: usize = 1 << 28;

/// Writes what is announced and then sent.
pub(super) fn write(mut to: impl Write, kind: Kind, bytes: &[u8]) -> Result<()> {
    let mut head = [kind as u8; HEAD];
    head[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    // One packet where it is short.
    if bytes.len() < 1024 {
        return to.write_all(&[&head, bytes].concat());
    }
    to.write_all(&head)?;
    to.write_all(bytes)
}

/// Reads what comes next, and how long it is.
pub(super) fn head(mut from: impl Read) -> Result<(Kind, usize)> {
    let mut head = [0; HEAD];
    from.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let kind = [Kind::Numbers, Kind::Record, Kind::Failure].into_iter().find(|&known| known as u8 == kind);
    let kind = kind.ok_or_else(|| Error::new(ErrorKind::InvalidData, "sent what is no message"))?;
    Ok((kind, u64::from_le_bytes(length) as usize))
}

/// Reads a record or a failure of so many bytes.
pub(super) fn bytes(mut from: impl Read, length: usize) -> Result<Vec<u8>> {
    if length > LONGEST_RECORD {
        return Err(Error::new(ErrorKind::InvalidData, format!("announced {length} bytes")));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}
