//! The right operand of a product, packed as a whole.

use super::aligned::AlignedBuffer;
use super::layout::{PanelLayout, blocks, steps};
use super::matrix::matrix_panel;
use crate::host::cached::Cacheable;
use crate::host::par;
use crate::host::product::micro::{Microkernel, Packed};
use core::ops::Range;
use core::slice::ChunksExact;
use ndarray::ArrayView2;

/// The most panels that one task packs.
const PANELS_PER_TASK: usize = 4;

/// A right operand, packed once and read by every task: block of the depth after block, and in each block panel after panel.
pub(crate) struct Right<M: Microkernel> {
    panels: AlignedBuffer<M::Packed>,
    /// Numbers along the depth.
    depth: usize,
    columns: usize,
}

/// Packs chunks of one size, each given its index: `for_chunks(out, size, pack)`.
type ForChunks<'a, P> = &'a dyn Fn(&mut [P], usize, &(dyn Fn(usize, &mut [P]) + Send + Sync));

impl<M: Microkernel> Right<M> {
    /// Packs `right [K, N]`, given as its transpose `[N, K]`, over all threads.
    pub(crate) fn pack(kernel: M, lanes: ArrayView2<'_, f32>) -> Self {
        Self::pack_with(kernel, lanes, &|out, size, pack| par::chunks(out, size, pack))
    }

    /// [`pack`](Right::pack) in the calling thread.
    pub(crate) fn pack_serial(kernel: M, lanes: ArrayView2<'_, f32>) -> Self {
        Self::pack_with(kernel, lanes, &|out, size, pack| {
            out.chunks_mut(size).enumerate().for_each(|(i, out)| pack(i, out))
        })
    }

    fn pack_with(kernel: M, lanes: ArrayView2<'_, f32>, for_chunks: ForChunks<'_, M::Packed>) -> Self {
        let (columns, depth) = lanes.dim();
        let panels = columns.div_ceil(M::COLUMNS);
        let per_task = panels.div_ceil(par::threads()).clamp(1, PANELS_PER_TASK);
        let mut packed = AlignedBuffer::take(steps::<M>(depth) * panels * M::COLUMNS);
        for block in blocks::<M>(depth) {
            let panel_len = steps::<M>(block.len()) * M::COLUMNS;
            let begin = block_begin::<M>(&block, panels);
            let out = &mut packed[begin..begin + panels * panel_len];
            for_chunks(out, panel_len * per_task, &|task, out| {
                kernel.simd(
                    #[inline(always)]
                    || {
                        for (i, out) in out.chunks_exact_mut(panel_len).enumerate() {
                            let first = (task * per_task + i) * M::COLUMNS;
                            let which = first..columns.min(first + M::COLUMNS);
                            matrix_panel(kernel, lanes, which, block.clone(), PanelLayout::right::<M>(), out);
                        }
                    },
                );
            });
        }
        Self { panels: packed, depth, columns }
    }

    /// The panels of one block of the depth, from panel `first` on.
    #[inline(always)]
    pub(in crate::host::product) fn panels(
        &self,
        block: &Range<usize>,
        first: usize,
    ) -> ChunksExact<'_, M::Packed> {
        let panels = self.columns.div_ceil(M::COLUMNS);
        let begin = block_begin::<M>(block, panels);
        let panel_len = steps::<M>(block.len()) * M::COLUMNS;
        self.panels[begin + first * panel_len..begin + panels * panel_len].chunks_exact(panel_len)
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }
}

/// Where a block of the depth begins. The blocks before it are whole numbers of steps.
#[inline(always)]
fn block_begin<M: Microkernel>(block: &Range<usize>, panels: usize) -> usize {
    block.start / M::Packed::NUMBERS * panels * M::COLUMNS
}

impl<M: Microkernel> Cacheable for Right<M> {
    fn shrink(self) -> Self {
        Self { panels: self.panels.shrunk(), ..self }
    }
}
