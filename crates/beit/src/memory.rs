//! What a model needs, against what the machine has: said before anything is allocated.

use crate::device::Device;
use crate::error::{Result, unfit};
use beit_ops::prelude::*;
use beit_ops::{Footprint, Plan, Tree};
use beit_tokenizer::Codebook;
use beit_vit::{Input, Vit};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Work and memory of a step, without numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) flops: u64,
    pub(crate) bytes: u128,
}

/// Up to so many images a step is planned as it is. Beyond that what an image adds is taken from two smaller steps, since the numbers of
/// patches in a step are lists as long as it is large.
const PLANNED_IMAGES: usize = 64;

/// Plans a step of so many images.
pub(crate) fn plan(footprint: Footprint, images: usize, step: impl Fn(&Plan, usize)) -> Planned {
    let planned = |images: usize| {
        let plan = Plan::new(footprint);
        step(&plan, images);
        [u128::from(plan.flops()), plan.peak_bytes() as u128]
    };
    let [flops, bytes] = if images <= PLANNED_IMAGES {
        planned(images)
    } else {
        let [half, whole] = [planned(PLANNED_IMAGES / 2), planned(PLANNED_IMAGES)];
        let more = (images - PLANNED_IMAGES) as u128;
        core::array::from_fn(|i| whole[i] + (whole[i] - half[i]).div_ceil(PLANNED_IMAGES as u128 / 2) * more)
    };
    Planned { flops: u64::try_from(flops).unwrap_or(u64::MAX), bytes }
}

/// Bytes of the tokens of a batch alone and of its pixels: less than any use of a transformer needs. Counted before a [`plan`], which
/// makes lists of patches.
pub(crate) fn least_of_vit(config: &beit_vit::Config, images: usize) -> u128 {
    let [rows, cols] = config.grid().map(|side| side as u128);
    let [height, width] = config.image.map(|side| side as u128);
    let an_image = rows * cols * config.width as u128 + config.channels as u128 * height * width;
    4 * images as u128 * an_image
}

/// Bytes of the logits of a batch of visual tokens, of its pixels, and of what the first layer of a discrete VAE of this width makes.
fn least_of_tokens(codebook: Codebook, hidden: usize, [height, width]: [usize; 2], images: usize) -> u128 {
    let pixels = height as u128 * width as u128;
    let tokens = pixels / codebook.sides.map(|side| side.max(1) as u128).iter().product::<u128>();
    4 * images as u128 * (tokens * codebook.vocab as u128 + pixels * (codebook.channels + hidden) as u128)
}

/// Refuses images that a transformer cannot see in one batch here. `config` is the transformer's.
pub(crate) fn refuse_images(device: &Device, config: &beit_vit::Config, images: usize) -> Result<()> {
    let [height, width] = config.image;
    let what = format!("a batch of {images} images of {height}x{width}");
    let lower = "--batch-size or --image-size";
    refuse_beyond(device, &what, least_of_vit(config, images), lower)?;
    let planned = plan(device.footprint(), images, |ops, images| {
        let params = Vit::shapes(config).map(&mut |shape| ops.zeros(*shape));
        let images = ops.zeros(config.images(images));
        params.infer(ops, &Input { images: &images, mask: None, drop_path: None }, &mut |_, _| {});
    });
    refuse_beyond(device, &what, planned.bytes, lower)
}

/// Refuses images that a tokenizer cannot see in one batch here. `hidden` is the width of its first layer.
pub(crate) fn refuse_views(
    device: &Device,
    codebook: Codebook,
    hidden: usize,
    size: [usize; 2],
    images: usize,
) -> Result<()> {
    let what = format!("a batch of {images} images of {}x{}", size[0], size[1]);
    refuse_beyond(
        device,
        &what,
        least_of_tokens(codebook, hidden, size, images),
        "--image-size, --vocab or --batch-size",
    )
}

/// Refuses what does not fit into the machine, or the container. Memory of GPUs is not known here.
pub(crate) fn refuse_beyond(device: &Device, what: &str, bytes: u128, lower: &str) -> Result<()> {
    let Some(there) = available().filter(|_| device.is_cpu()) else { return Ok(()) };
    let (here, there) = (device.team().here(), u128::from(there));
    if bytes.saturating_mul(here as u128) > there {
        let each = if here > 1 { format!(" for each of {here} processes") } else { String::new() };
        let (needed, free) = (readable(bytes), readable(there));
        unfit!("{what} needs at least {needed} of memory{each}, and {free} are free here: lower {lower}");
    }
    Ok(())
}

/// Bytes that can be had without swapping; none where the system does not tell.
fn available() -> Option<u64> {
    Memory::here().free
}

/// The memory of this machine, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// What can be had without swapping; none where the system does not tell.
    pub(crate) free: Option<u64>,
    /// All of the machine.
    pub(crate) machine: u64,
    /// What the container may use, where there is a limit.
    pub(crate) container: Option<u64>,
}

impl Memory {
    pub(crate) fn here() -> Self {
        let kinds = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let Ok(system) = System::new_with_specifics(kinds) else {
            return Self { free: None, machine: 0, container: None };
        };
        let limits = system.cgroup_limits();
        let free = limits.as_ref().map_or(u64::MAX, |limits| limits.free_memory);
        let free = Some(system.available_memory().min(free)).filter(|&bytes| bytes > 0);
        Self { free, machine: system.total_memory(), container: limits.map(|limits| limits.total_memory) }
    }
}

/// So many bytes, for a person.
pub(crate) fn readable(bytes: u128) -> String {
    const UNITS: [&str; 7] = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_steps_are_planned_from_small_ones() {
        let step = |plan: &Plan, images: usize| {
            let x = plan.zeros([images, 100]);
            let p = beit_ops::Linear { weight: plan.zeros([10, 100]), bias: None };
            plan.linear(&x, &p);
        };
        let whole = Plan::default();
        step(&whole, 1000);
        let planned = plan(Footprint::default(), 1000, step);
        assert_eq!((planned.flops, planned.bytes), (whole.flops(), whole.peak_bytes() as u128));
        // Nothing is made that is as large as what is planned.
        assert!(plan(Footprint::default(), usize::MAX, step).bytes > 1 << 70);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let cpu = Device::cpu();
        refuse_beyond(&cpu, "a step", 1 << 10, "--batch-size").expect("a kilobyte is there");
        let error = refuse_beyond(&cpu, "a step of 9 images", 15 << 40, "--batch-size").expect_err("15 TiB");
        let said = error.to_string();
        assert!(
            said.contains("a step of 9 images needs at least 15.0 TiB") && said.contains("--batch-size"),
            "{said}"
        );
    }
}
