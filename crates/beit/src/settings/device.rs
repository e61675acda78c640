use crate::error::{Result, setting};
use beit_ops::Footprint;
use serde::{Deserialize, Serialize};

/// Where and how models compute.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct DeviceSettings {
    /// Device: auto, cpu, cuda, cuda:N (the GPU with this number) or wgpu; auto is cuda where this build and this machine have it,
    /// else cpu
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().device))]
    pub device: String,
    /// Precision of activations and matrix products; auto is bf16 on cuda, else f32. On the CPU bf16 is what
    /// products multiply. Weights, moments and sums are f32
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub precision: Precision,
    /// Threads; all cores where not given. The results do not depend on it
    #[cfg_attr(feature = "clap", arg(long))]
    pub threads: Option<usize>,
    /// Which GPU auto and cuda are, by its number
    #[cfg_attr(feature = "clap", arg(skip))]
    #[serde(skip)]
    pub gpu: usize,
}

impl Default for DeviceSettings {
    fn default() -> Self {
        Self { device: "auto".to_owned(), precision: Precision::Auto, threads: None, gpu: 0 }
    }
}

/// Of activations and matrix products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// What the device is good at.
    #[default]
    Auto,
    /// Single precision.
    F32,
    /// Eight bits of precision, accumulated in f32.
    Bf16,
}

impl Precision {
    /// As [`Device::precision`](crate::Device::precision) names it.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "f32" => Self::F32,
            "bf16" => Self::Bf16,
            _ => Self::Auto,
        }
    }
}

/// More threads than any machine has cores for.
const MOST_THREADS: usize = 1024;

/// What a device is called in [`device`](DeviceSettings::device).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Auto,
    Cpu,
    Cuda(usize),
    Wgpu,
}

impl DeviceSettings {
    /// A device by its name: `auto`, `cpu`, `cuda`, `cuda:N` or `wgpu`.
    #[must_use]
    pub fn named(device: impl Into<String>) -> Self {
        Self { device: device.into(), ..Self::default() }
    }

    /// Refuses what no machine could do, before anything is opened.
    ///
    /// # Errors
    ///
    /// A name of no device, or of one that this build does not have, or a precision that it does not have.
    pub fn check(&self) -> Result<()> {
        let name = self.name()?;
        let built_in = |feature: &str, there: bool| match there {
            true => Ok(()),
            false => setting!(
                "--device {}: this build has no {} support; take cargo xtask-{feature} (--features {feature}), or --device cpu",
                self.device,
                if feature == "cuda" { "CUDA" } else { "wgpu" }
            ),
        };
        match name {
            Name::Cuda(_) => built_in("cuda", cfg!(feature = "cuda"))?,
            Name::Wgpu => built_in("wgpu", cfg!(feature = "wgpu"))?,
            Name::Auto | Name::Cpu => {}
        }
        if (self.precision, name) == (Precision::Bf16, Name::Wgpu) {
            setting!(
                "--precision bf16: --device wgpu computes in f32 only; take --device cuda or --device cpu"
            );
        }
        match self.threads {
            Some(0) => setting!("--threads 0: expected at least 1; leave the flag out to take all cores"),
            Some(threads) if threads > MOST_THREADS => setting!(
                "--threads {threads}: expected at most {MOST_THREADS}; leave the flag out to take all cores"
            ),
            _ => Ok(()),
        }
    }

    /// What tensors would take on the device that is named, without opening it; `auto` is taken for the CPU.
    ///
    /// # Errors
    ///
    /// A name of no device.
    pub fn footprint(&self) -> Result<Footprint> {
        Ok(match (self.name()?, self.precision) {
            (Name::Auto | Name::Cpu, _) => footprint(false, "f32"),
            (Name::Wgpu, _) | (Name::Cuda(_), Precision::F32) => footprint(true, "f32"),
            (Name::Cuda(_), _) => footprint(true, "bf16"),
        })
    }

    pub(crate) fn name(&self) -> Result<Name> {
        Ok(match self.device.as_str() {
            "auto" => Name::Auto,
            "cpu" => Name::Cpu,
            "cuda" => Name::Cuda(self.gpu),
            "wgpu" => Name::Wgpu,
            other => match other.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(index)) => Name::Cuda(index),
                Some(Err(_)) => setting!("--device {other}: expected the number of a GPU, as in cuda:0"),
                None => setting!("--device {other}: expected auto, cpu, cuda, cuda:N or wgpu"),
            },
        })
    }

    /// Worker threads of data loaders.
    pub(crate) fn workers(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or(cores, |threads| threads.min(cores))
    }
}

/// The CPU rounds to bf16 as it multiplies; GPUs store it.
pub(crate) fn footprint(queued: bool, precision: &str) -> Footprint {
    match (queued, precision) {
        (false, _) => Footprint::default(),
        (true, "bf16") => Footprint::gpu(2),
        (true, _) => Footprint::gpu(4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(device: &str, precision: Precision) -> DeviceSettings {
        DeviceSettings { precision, ..DeviceSettings::named(device) }
    }

    #[test]
    fn names() {
        let name = |text: &str| settings(text, Precision::Auto).name().map_err(|error| error.to_string());
        assert_eq!(name("auto"), Ok(Name::Auto));
        assert_eq!(name("cuda"), Ok(Name::Cuda(0)));
        assert_eq!(name("cuda:3"), Ok(Name::Cuda(3)));
        assert_eq!(name("wgpu"), Ok(Name::Wgpu));
        for wrong in ["tpu", "cuda:", "cuda:-1", "cuda:x", "CPU", ""] {
            let error = name(wrong).expect_err("no device");
            assert!(error.contains(&format!("--device {wrong}")), "{error}");
        }
    }

    #[test]
    fn what_this_build_cannot_do() {
        assert!(settings("cpu", Precision::Bf16).check().is_ok());
        if cfg!(feature = "wgpu") {
            let error = settings("wgpu", Precision::Bf16).check().expect_err("f32 only").to_string();
            assert!(error.contains("--precision bf16"), "{error}");
        }
        for (device, there) in [("cuda:1", cfg!(feature = "cuda")), ("wgpu", cfg!(feature = "wgpu"))] {
            let checked = settings(device, Precision::Auto).check();
            assert_eq!(checked.is_ok(), there);
            if let Err(error) = checked {
                let feature = device.split(':').next().expect("a name");
                assert!(error.to_string().contains(&format!("--features {feature}")), "{error}");
            }
        }
    }
}
