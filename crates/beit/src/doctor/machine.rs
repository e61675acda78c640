//! The machine, and the devices in it.

use super::Finding;
use crate::device::Device;
use crate::memory::{self, readable};
use crate::settings::DeviceSettings;
use beit_ops::Host;

const PART: &str = "machine";
const DEVICE: &str = "device";
/// With less than this free, even small models have no room.
const LITTLE: u64 = 1 << 30;
/// Where NVIDIA's driver says which it is, on Linux.
const DRIVER: &str = "/proc/driver/nvidia/version";

/// What a machine has.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// Cores that this process may use.
    pub(super) cores: usize,
    /// Instructions of the processor that matter here.
    pub(super) instructions: Vec<&'static str>,
    /// What multiplies in f32, and in bf16.
    pub(super) kernels: [&'static str; 2],
    /// Bytes that can be had; none where the system does not tell.
    pub(super) free: Option<u64>,
    /// Bytes of the machine.
    pub(super) memory: u64,
    /// Bytes that the container may use.
    pub(super) container: Option<u64>,
}

impl Machine {
    pub(super) fn here() -> Self {
        let memory::Memory { free, machine, container } = memory::Memory::here();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            instructions: instructions(),
            kernels: [Host::<f32>::new().kernel(), Host::bf16().kernel()],
            free,
            memory: machine,
            container,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<&'static str> {
    use std::is_x86_feature_detected as has;
    [
        ("AVX2", has!("avx2")),
        ("AVX-512", has!("avx512f")),
        ("AVX-512 BF16", has!("avx512bf16")),
        // Whether tiles can be used, the kernel for bf16 tells: the system must permit them too.
        ("AMX BF16", Host::bf16().kernel() == "Amx"),
    ]
    .into_iter()
    .filter_map(|(name, has)| has.then_some(name))
    .collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Vec<&'static str> {
    Vec::new()
}

pub(super) fn findings(machine: &Machine) -> Vec<Finding> {
    vec![cores(machine), kernels(machine), free(machine)]
}

fn cores(machine: &Machine) -> Finding {
    match machine.cores {
        1 => Finding::note(
            PART,
            "one core, which the data and the model share",
            "take a machine with more, or a smaller --preset",
        ),
        cores => Finding::ok(PART, format!("{cores} cores")),
    }
}

fn kernels(Machine { instructions, kernels: [exact, bf16], .. }: &Machine) -> Finding {
    let has =
        if instructions.is_empty() { "none that are known here".to_owned() } else { instructions.join(", ") };
    let found = format!("instructions: {has}; kernels: {exact} in f32, {bf16} in bf16");
    if !instructions.contains(&"AVX2") {
        return Finding::note(
            PART,
            found,
            "the CPU is slow here; take a processor with AVX2 or a GPU for more than small models",
        );
    }
    match instructions.contains(&"AVX-512 BF16") {
        true => Finding::ok(PART, format!("{found}; --precision bf16 is faster here")),
        false => Finding::ok(PART, found),
    }
}

fn free(Machine { free, memory, container, .. }: &Machine) -> Finding {
    let Some(free) = *free else {
        return Finding::note(
            PART,
            "the system does not tell how much memory is free",
            "watch it in the first steps",
        );
    };
    let of = match container {
        Some(limit) if limit < memory => {
            format!(
                "{} that the container may use (the machine has {})",
                readable((*limit).into()),
                readable((*memory).into())
            )
        }
        _ => readable((*memory).into()),
    };
    let found = format!("{} of memory are free, of {of}", readable(free.into()));
    match free < LITTLE {
        true => Finding::problem(PART, found, "end other programs, or raise the limit of the container"),
        false => Finding::ok(PART, found),
    }
}

/// Bytes that a run on this device can have, where that is known.
pub(super) fn available(device: &Device) -> Option<u64> {
    memory::Memory::here().free.filter(|_| device.is_cpu())
}

/// Opens the device that is asked for, and says which there are.
pub(super) fn device(settings: &DeviceSettings, findings: &mut Vec<Finding>) -> Option<Device> {
    let driver = std::fs::read_to_string(DRIVER).ok().and_then(|text| text.lines().next().map(str::to_owned));
    findings.push(built(cfg!(feature = "cuda"), cfg!(feature = "wgpu"), driver.as_deref()));
    for (name, built) in [("cuda", cfg!(feature = "cuda")), ("wgpu", cfg!(feature = "wgpu"))] {
        if built {
            findings.push(match Device::named(name) {
                Ok(device) => Finding::ok(DEVICE, format!("found {device}")),
                Err(error) => {
                    Finding::note(DEVICE, error.to_string(), "mend its driver, or take --device cpu")
                }
            });
        }
    }
    match Device::open(settings) {
        Ok(device) => {
            findings.push(Finding::ok(DEVICE, format!("a run computes on {device}")));
            Some(device)
        }
        Err(error) => {
            findings.push(Finding::problem(
                DEVICE,
                error.to_string(),
                "take another --device, or leave it out",
            ));
            None
        }
    }
}

/// Which devices this build has, beside the driver that there is.
pub(super) fn built(cuda: bool, wgpu: bool, driver: Option<&str>) -> Finding {
    let names: Vec<_> = [("cpu", true), ("cuda", cuda), ("wgpu", wgpu)]
        .iter()
        .filter(|(_, built)| *built)
        .map(|(name, _)| *name)
        .collect();
    let found = format!("this build has {}", names.join(", "));
    match driver {
        Some(driver) if !cuda => Finding::note(
            DEVICE,
            format!("{found}, and there is a driver of NVIDIA ({})", driver.trim()),
            "take cargo xtask-cuda to use the GPU",
        ),
        Some(driver) => Finding::ok(DEVICE, format!("{found}; {}", driver.trim())),
        None => Finding::ok(DEVICE, found),
    }
}
