//! How fast a device is, before a run is begun: a few images tell.

use crate::error::Result;
use crate::memory::Planned;
use beit_ops::Tree;
use beit_ops::prelude::*;
use std::time::Instant;

/// Images of the step that is measured, at most: enough to be as fast as with more.
const MEASURED: usize = 16;
/// Floating-point operations of it, about, at most: seconds on a few cores.
const MEASURED_FLOPS: u64 = 150_000_000_000;

/// Images that tell how fast a step of `batch` images is; `planned` is that step.
pub(super) fn images_to_measure(planned: Planned, batch: usize) -> usize {
    let an_image = (planned.flops / batch.max(1) as u64).max(1);
    let few = usize::try_from(MEASURED_FLOPS / an_image).unwrap_or(MEASURED);
    few.clamp(1, MEASURED).min(batch.max(1))
}

/// Images a second of a step of so many, which leaves something in `grads`. The first is taken to warm up.
pub(super) fn timed<O: Ops, G: Tree<O::Tensor>>(
    ops: &O,
    images: usize,
    grads: &mut G,
    mut step: impl FnMut(&mut G),
) -> Result<f64> {
    let mut timed = || -> Result<f64> {
        let begun = Instant::now();
        step(grads);
        // Reading waits for all that was asked of the device before.
        if let Some(first) = grads.leaves().first() {
            ops.read(first)?;
        }
        Ok(begun.elapsed().as_secs_f64())
    };
    timed()?;
    Ok(images as f64 / timed()?.max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_models_are_measured_with_few_images() {
        let of = |flops, batch| images_to_measure(Planned { flops, bytes: 0 }, batch);
        assert_eq!(of(128 * 50_000_000_000, 128), 3);
        assert_eq!(of(1_000_000_000_000, 1), 1);
        assert_eq!([of(1000, 128), of(1000, 8), of(0, 0)], [16, 8, 1]);
    }
}
