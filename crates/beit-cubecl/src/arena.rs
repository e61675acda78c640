//! Tensors next to each other in one buffer, so that one launch passes over all of them.

use crate::gpu::Gpu;
use crate::kernels::elementwise;
use crate::tensor::{Dtype, Ids, Tensor};
use cubecl::prelude::*;
use cubecl::server::Handle;
use std::cell::OnceCell;
use std::rc::Rc;

/// Elements that the tensors of an arena are padded to; the padding of an arena is zero and stays zero.
pub(crate) const BLOCK: usize = 1024;

/// One f32 buffer that holds several tensors, each beginning at a block.
#[derive(Debug)]
pub(crate) struct Arena {
    /// All of it.
    pub(crate) all: Tensor,
    /// The tensor that each block belongs to.
    pub(crate) owners: Ids,
    /// bf16 copies in the same order, for the parameters that matrix products read.
    half: OnceCell<Handle>,
    /// Elements of each tensor.
    lens: Vec<usize>,
}

/// A tensor's place in an arena.
#[derive(Debug)]
pub(crate) struct Place {
    arena: Rc<Arena>,
    number: usize,
}

impl Arena {
    /// The arena that holds exactly these tensors, in this order.
    pub(crate) fn of<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Option<Rc<Self>> {
        let mut found: Option<Rc<Self>> = None;
        let mut count = 0;
        for tensor in tensors {
            let Place { arena, number } = tensor.buffer.place.as_ref()?;
            let found = found.get_or_insert_with(|| Rc::clone(arena));
            if !Rc::ptr_eq(found, arena) || *number != count {
                return None;
            }
            count += 1;
        }
        found.filter(|arena| arena.lens.len() == count)
    }

    /// Whether both hold tensors of the same sizes in the same order.
    pub(crate) fn like(&self, other: &Self) -> bool {
        self.lens == other.lens
    }

    /// The bf16 copies, written or not.
    pub(crate) fn half<R: Runtime>(&self, gpu: &Gpu<R>) -> &Handle {
        self.half.get_or_init(|| gpu.buffer(self.all.len(), Dtype::Bf16))
    }

    /// Where each tensor begins.
    fn offsets(&self) -> impl Iterator<Item = usize> {
        self.lens.iter().scan(0, |offset, len| {
            let begin = *offset;
            *offset += padded(*len);
            Some(begin)
        })
    }

    /// Each tensor's part of a buffer with elements of this type.
    pub(crate) fn parts(&self, whole: &Handle, dtype: Dtype) -> Vec<Handle> {
        let part = |(begin, len): (usize, &usize)| {
            let bytes = |elements: usize| (elements * dtype.bytes()) as u64;
            let behind = self.all.len() - begin - len;
            whole.clone().offset_start(bytes(begin)).offset_end(bytes(behind))
        };
        self.offsets().zip(&self.lens).map(part).collect()
    }
}

fn padded(len: usize) -> usize {
    len.next_multiple_of(BLOCK)
}

/// Moves tensors into an arena, unless they are in one or the device has no buffer of that size.
pub(crate) fn gather<R: Runtime>(gpu: &Gpu<R>, tensors: Vec<&mut Tensor>) {
    let lens: Vec<usize> = tensors.iter().map(|tensor| tensor.len()).collect();
    let elements: usize = lens.iter().map(|&len| padded(len)).sum();
    let bytes = (elements * Dtype::F32.bytes()) as u64;
    let fits = bytes <= gpu.client.properties().memory.max_page_size && u32::try_from(elements).is_ok();
    let movable = fits && tensors.iter().all(|tensor| tensor.dtype == Dtype::F32);
    if elements == 0 || !movable || Arena::of(tensors.iter().map(|tensor| &**tensor)).is_some() {
        return;
    }
    let all = gpu.empty([elements], Dtype::F32);
    elementwise::set(gpu, &all, 0.0);
    let owners = lens.iter().enumerate();
    let owners: Vec<u32> =
        owners.flat_map(|(i, &len)| std::iter::repeat_n(i as u32, padded(len) / BLOCK)).collect();
    let arena = Rc::new(Arena { all, owners: gpu.upload_u32(&owners), half: OnceCell::new(), lens });
    let parts = arena.parts(arena.all.handle(), Dtype::F32);
    for (number, (tensor, part)) in tensors.into_iter().zip(parts).enumerate() {
        let place = Place { arena: Rc::clone(&arena), number };
        let moved = Tensor::placed(tensor.shape, part, place);
        elementwise::copy(gpu, tensor, &moved);
        *tensor = moved;
    }
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use super::*;
    use crate::Precision;
    use beit_ops::prelude::*;

    #[test]
    fn tensors_keep_their_elements_and_fill_the_arena() {
        let gpu = crate::wgpu(Precision::F32).expect("a Vulkan driver; Debian: mesa-vulkan-drivers");
        let data: Vec<Vec<f32>> = [3, 2050, 1].map(|n| (0..n).map(|i| i as f32 - 1.5).collect()).into();
        let mut tensors: Vec<_> = data.iter().map(|data| gpu.upload([data.len()], data)).collect();
        let clone = tensors[1].clone();
        gather(&gpu, tensors.iter_mut().collect());
        let arena = Arena::of(&tensors).expect("all of them, in order");
        assert_eq!(arena.all.len(), (1 + 3 + 1) * BLOCK);
        assert!(Arena::of(&tensors[..2]).is_none() && Arena::of(tensors.iter().rev()).is_none());
        for (tensor, data) in tensors.iter().zip(&data) {
            assert_eq!(gpu.read(tensor).as_ref(), Ok(data));
        }
        assert_eq!(gpu.read(&clone).as_ref(), Ok(&data[1]));
        // What is written to while it is shared leaves the arena, and the clone keeps its elements.
        let kept = tensors[0].clone();
        gpu.clear(&mut tensors[0]);
        assert!(Arena::of(&tensors).is_none());
        assert_eq!(gpu.read(&kept).as_ref(), Ok(&data[0]));
    }
}
