//! Checksums of parameters.

use crate::error::Result;
use beit_ops::{Device, Tree};
use flate2::Crc;

/// Of the numbers of a model, wherever they come from.
pub(crate) fn parameters<O: Device>(ops: &O, params: &impl Tree<O::Tensor>) -> Result<String> {
    let mut crc = Crc::new();
    for leaf in params.leaves() {
        let bytes: Vec<u8> = ops.read(leaf)?.into_iter().flat_map(f32::to_le_bytes).collect();
        crc.update(&bytes);
    }
    Ok(format!("{:08x}", crc.sum()))
}
