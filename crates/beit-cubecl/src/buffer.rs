//! Memory on the device: the buffer of one tensor, and arenas that hold the buffers of several.
//!
//! A model has hundreds of parameters, and an optimiser step reads four tensors for each. In an arena all tensors of one kind
//! lie in one allocation, so that one launch passes over all of them. Every tensor begins at a multiple of [`BLOCK`] elements:
//!
//! ```text
//!              tensor 0     tensor 1                  tensor 2
//! elements   |aaaaaa000000|bbbbbbbbbbbb|bbbbb0000000|cccc00000000|
//! block            0            1            2            3         BLOCK elements each
//! owner            0            1            1            2         the tensor that a block belongs to
//! ```

use crate::dtype::Dtype;
use cubecl::server::Handle;
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

/// Elements that the tensors of an arena are padded to. The padding is zero and stays zero.
///
/// One block of 256 threads with vectors of 4 passes over it at a time, so each such pass has one owner.
pub(crate) const BLOCK: usize = 1024;

/// Memory on the device, and its bf16 copy where one was made.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) handle: Handle,
    /// The copy of an f32 buffer that matrix products read. It is dropped when the buffer is written to.
    pub(crate) half: RefCell<Option<Handle>>,
    /// Where an f32 buffer lies in an arena.
    pub(crate) place: Option<Place>,
}

impl Buffer {
    pub(crate) fn new(handle: Handle, place: Option<Place>) -> Self {
        Self { handle, half: RefCell::new(None), place }
    }
}

/// One f32 allocation that holds several tensors.
#[derive(Debug)]
pub(crate) struct Arena {
    /// The whole allocation, padding included.
    pub(crate) elements: Handle,
    /// Elements of the allocation.
    pub(crate) len: usize,
    /// The number of the tensor that each block belongs to, `u32`.
    pub(crate) owners: Handle,
    /// bf16 copies in the same order, for the parameters that matrix products read.
    pub(crate) half: OnceCell<Handle>,
    /// Elements of each tensor, without padding.
    pub(crate) lens: Vec<usize>,
}

/// A tensor's place in an arena.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) arena: Rc<Arena>,
    pub(crate) number: usize,
}

impl Arena {
    /// Blocks of all tensors.
    pub(crate) fn blocks(&self) -> usize {
        self.len / BLOCK
    }

    /// Whether both hold tensors of the same sizes in the same order.
    pub(crate) fn same_layout(&self, other: &Self) -> bool {
        self.lens == other.lens
    }

    /// Where each tensor begins.
    fn offsets(&self) -> impl Iterator<Item = usize> {
        self.lens.iter().scan(0, |offset, len| {
            let begin = *offset;
            *offset += padded(*len);
            Some(begin)
        })
    }

    /// Each tensor's part of `whole`, a buffer with this layout and elements of type `dtype`.
    pub(crate) fn parts(&self, whole: &Handle, dtype: Dtype) -> Vec<Handle> {
        let part = |(begin, len): (usize, &usize)| {
            let bytes = |elements: usize| (elements * dtype.bytes()) as u64;
            let behind = self.len - begin - len;
            whole.clone().offset_start(bytes(begin)).offset_end(bytes(behind))
        };
        self.offsets().zip(&self.lens).map(part).collect()
    }
}

/// Elements that a tensor of `len` elements takes in an arena.
pub(crate) fn padded(len: usize) -> usize {
    len.next_multiple_of(BLOCK)
}
