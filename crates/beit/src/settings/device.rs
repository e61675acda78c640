use serde::Serialize;

/// Where and how models compute.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
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
}

impl Default for DeviceSettings {
    fn default() -> Self {
        Self { device: "auto".to_owned(), precision: Precision::Auto, threads: None }
    }
}

/// Of activations and matrix products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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

impl DeviceSettings {
    /// A device by its name: `auto`, `cpu`, `cuda`, `cuda:N` or `wgpu`.
    #[must_use]
    pub fn named(device: impl Into<String>) -> Self {
        Self { device: device.into(), ..Self::default() }
    }
}
