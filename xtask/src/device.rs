//! Where the model runs.

use crate::usage::usage;
use clap::Args;
use serde::Serialize;

/// Flags about the machine.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct DeviceArgs {
    /// Device: cpu
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,
    /// Threads; 0 takes all cores. The results do not depend on it
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
}

/// The CPU in single precision.
pub(crate) type Cpu = beit_ops::Host<f32>;

impl DeviceArgs {
    /// The one place where the device is chosen.
    pub(crate) fn open(&self) -> anyhow::Result<Cpu> {
        if self.threads > 0 {
            // A second pool in one process is refused; then the first one's size holds.
            let _ = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build_global();
        }
        match self.device.as_str() {
            "cpu" => Ok(Cpu::new()),
            other => usage!("--device {other}: this build runs on cpu only"),
        }
    }

    /// Worker threads of the data loader.
    pub(crate) fn workers(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if self.threads > 0 { self.threads.min(cores) } else { cores }
    }
}
