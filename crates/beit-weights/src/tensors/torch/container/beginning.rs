//! How a file begins: its kind, and a pickle.

use super::super::fault::Found;
use super::super::pickle::MAX_PICKLE;
use std::io::Read;

/// Bytes that are enough to tell the kinds apart.
pub(in super::super) const PREFIX: usize = 512;

/// What a file is by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// torch 1.6 and later.
    Zip,
    /// torch 0.1.10 to 1.5.
    Legacy,
    /// Before.
    Tar,
    /// Without a container, so without tensors.
    Pickle,
}

/// `0x1950a86a20f9469cfc6c`, the number that the legacy format begins with.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The magic number lies behind the pickle's protocol and a frame.
const MAGIC_WITHIN: usize = 32;

impl Kind {
    /// The kind, or `None` if it is nothing of PyTorch.
    pub(in super::super) fn of_first_bytes(first_bytes: &[u8]) -> Option<Self> {
        let start = &first_bytes[..first_bytes.len().min(MAGIC_WITHIN)];
        // The length of a safetensors header may look like an opcode.
        let header = first_bytes.get(8) == Some(&b'{') && first_bytes.get(6..8) == Some(&[0, 0]);
        match first_bytes {
            [b'P', b'K', 3 | 5, 4 | 6, ..] => Some(Self::Zip),
            _ if first_bytes.get(257..262) == Some(b"ustar") => Some(Self::Tar),
            _ if start.windows(MAGIC.len()).any(|window| window == MAGIC) => Some(Self::Legacy),
            [0x80, 0..=5, ..] | [b'(' | b'c' | b'}' | b']', ..] if !header => Some(Self::Pickle),
            _ => None,
        }
    }
}

/// As much of a file as a pickle may take.
pub(super) fn beginning(file: &mut impl Read) -> Found<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_PICKLE).read_to_end(&mut bytes)?;
    Ok(bytes)
}
