//! Moving tensors into one allocation, so that one launch passes over all of them: see [`Arena`].

use crate::buffer::{Arena, BLOCK, Place, padded};
use crate::dtype::Dtype;
use crate::gpu::Gpu;
use crate::kernels::elementwise;
use crate::tensor::Tensor;
use cubecl::prelude::*;
use std::cell::OnceCell;
use std::rc::Rc;

/// Moves tensors into an arena, unless they are in one or the device has no buffer of that size.
pub(crate) fn gather<R: Runtime>(gpu: &Gpu<R>, tensors: Vec<&mut Tensor>) {
    let lens: Vec<usize> = tensors.iter().map(|tensor| tensor.len()).collect();
    let elements: usize = lens.iter().map(|&len| padded(len)).sum();
    let bytes = (elements * Dtype::F32.bytes()) as u64;
    let fits = bytes <= gpu.client.properties().memory.max_page_size && u32::try_from(elements).is_ok();
    let movable = fits && tensors.iter().all(|tensor| tensor.dtype == Dtype::F32);
    if elements == 0 || !movable || filled_by(tensors.iter().map(|tensor| &**tensor)).is_some() {
        return;
    }
    let arena = Rc::new(allocate(gpu, lens, elements));
    let parts = arena.parts(&arena.elements, Dtype::F32);
    for (number, (tensor, part)) in tensors.into_iter().zip(parts).enumerate() {
        let place = Place { arena: Rc::clone(&arena), number };
        let moved = Tensor::in_arena(tensor.shape, part, place);
        elementwise::copy(gpu, tensor, &moved);
        *tensor = moved;
    }
}

/// An arena of zeros for tensors of these lengths.
fn allocate<R: Runtime>(gpu: &Gpu<R>, lens: Vec<usize>, elements: usize) -> Arena {
    let all = gpu.empty([elements], Dtype::F32);
    elementwise::set(gpu, &all, 0.0);
    let owners = lens.iter().enumerate();
    let owners: Vec<u32> =
        owners.flat_map(|(i, &len)| std::iter::repeat_n(i as u32, padded(len) / BLOCK)).collect();
    let owners = gpu.upload_u32(&owners).handle;
    Arena { elements: all.handle().clone(), len: elements, owners, half: OnceCell::new(), lens }
}

/// The arena that holds exactly these tensors, in this order.
pub(crate) fn filled_by<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Option<Rc<Arena>> {
    let mut found: Option<Rc<Arena>> = None;
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
        let arena = filled_by(&tensors).expect("all of them, in order");
        assert_eq!(arena.len, (1 + 3 + 1) * BLOCK);
        assert!(filled_by(&tensors[..2]).is_none() && filled_by(tensors.iter().rev()).is_none());
        for (tensor, data) in tensors.iter().zip(&data) {
            assert_eq!(gpu.read(tensor).as_ref(), Ok(data));
        }
        assert_eq!(gpu.read(&clone).as_ref(), Ok(&data[1]));
        gpu.overwrite(&mut tensors[0], &[7.0, 8.0, 9.0]);
        assert!(filled_by(&tensors).is_some(), "it is written to where it lies");
        assert_eq!(gpu.read(&tensors[0]), Ok(vec![7.0, 8.0, 9.0]));
        gpu.overwrite(&mut tensors[0], &data[0]);
        // A shared tensor leaves the arena when it is written to, and its clone has the old elements.
        let clone = tensors[0].clone();
        gpu.clear(&mut tensors[0]);
        assert!(filled_by(&tensors).is_none());
        assert_eq!(gpu.read(&clone).as_ref(), Ok(&data[0]));
    }
}
