//! Where the model runs. Nothing outside this file knows which devices there are.

use crate::output::note;
use crate::usage::usage;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use anyhow::Context;
use beit_ops::{DeviceError, Footprint, Host, Ops};
use clap::{Args, ValueEnum};
use serde::Serialize;

/// Flags about the machine.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct DeviceArgs {
    /// Device: auto, cpu, cuda, cuda:N (the GPU with this number) or wgpu; auto is cuda where this build and this machine have it,
    /// else cpu
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
    /// Precision of activations and matrix products; auto is bf16 on cuda, else f32. On the CPU bf16 is what
    /// products multiply. Weights, moments and sums are f32
    #[arg(long, value_enum, default_value_t)]
    pub(crate) precision: PrecisionArg,
    /// Threads; 0 takes all cores. The results do not depend on it
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
}

/// No more steps than this are trained on before their losses are looked at.
const MOST_UNREAD: u64 = 100;

/// `--precision`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PrecisionArg {
    /// What the device is good at.
    #[default]
    Auto,
    /// Single precision.
    F32,
    /// Eight bits of precision, accumulated in f32.
    Bf16,
}

/// `--device`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Auto,
    Cpu,
    Cuda(usize),
    Wgpu,
}

/// What a verb does once its device is there. The device's type is known to the compiler in all of it, so what does not touch the
/// device is better kept outside.
pub(crate) trait Work {
    /// What it comes to.
    type Output;
    /// Does it.
    fn run<O: Metered>(self, ops: &O, device: &Device) -> anyhow::Result<Self::Output>;
}

/// A device that may know how much memory it uses.
pub(crate) trait Metered: Ops {
    /// Bytes in use and bytes taken from the system.
    fn memory(&self) -> Option<[u64; 2]>;
}

impl Metered for Host<f32> {
    fn memory(&self) -> Option<[u64; 2]> {
        None
    }
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
impl<R: beit_cubecl::Runtime> Metered for beit_cubecl::Gpu<R> {
    fn memory(&self) -> Option<[u64; 2]> {
        beit_cubecl::Gpu::memory(self).ok()
    }
}

/// The device that was chosen, for a person.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Device {
    /// As `--device` takes it.
    pub(crate) flag: String,
    /// The maker's name, or the number of threads.
    pub(crate) name: String,
    /// `f32` or `bf16`.
    pub(crate) precision: &'static str,
    /// Whether it works on while the CPU goes ahead, so that reading from it costs a wait.
    pub(crate) queued: bool,
}

impl Device {
    /// Steps between two looks at the numbers of a run that reports every `report_every` steps.
    pub(crate) fn read_every(&self, report_every: u64) -> u64 {
        if self.queued { report_every.clamp(1, MOST_UNREAD) } else { 1 }
    }

    /// What tensors take there.
    pub(crate) fn footprint(&self) -> Footprint {
        // The CPU rounds to bf16 as it multiplies; GPUs store it.
        match (self.queued, self.precision) {
            (false, _) => Footprint::default(),
            (true, "bf16") => Footprint::of(2),
            (true, _) => Footprint::of(4),
        }
    }

    fn cpu(precision: &'static str) -> Self {
        let threads = rayon::current_num_threads();
        let name = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
        Self { flag: "cpu".into(), name, precision, queued: false }
    }
}

impl DeviceArgs {
    /// Refuses what no machine could do, before anything is opened.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let name = self.name()?;
        let built_in = |feature: &str, there: bool| match there {
            true => Ok(()),
            false => usage!(
                "--device {}: this build has no {} support; take cargo xtask-{feature} (--features {feature}), or --device cpu",
                self.device,
                if feature == "cuda" { "CUDA" } else { "wgpu" }
            ),
        };
        match name {
            Name::Auto => {}
            Name::Cuda(_) => built_in("cuda", cfg!(feature = "cuda"))?,
            Name::Wgpu => built_in("wgpu", cfg!(feature = "wgpu"))?,
            Name::Cpu => {}
        }
        match (self.precision, name) {
            (PrecisionArg::Bf16, Name::Wgpu) => {
                usage!(
                    "--precision bf16: --device wgpu computes in f32 only; take --device cuda or --device cpu"
                )
            }
            _ => Ok(()),
        }
    }

    /// What tensors would take on the device that is named, without opening it; `auto` is taken for the CPU.
    pub(crate) fn footprint(&self) -> anyhow::Result<Footprint> {
        let precision = match (self.name()?, self.precision) {
            (Name::Auto | Name::Cpu, _) => return Ok(Footprint::default()),
            (Name::Wgpu, _) | (Name::Cuda(_), PrecisionArg::F32) => "f32",
            (Name::Cuda(_), _) => "bf16",
        };
        Ok(Device { flag: self.device.clone(), name: String::new(), precision, queued: true }.footprint())
    }

    /// The one place where the device is chosen: opens it, says so, and does the work there.
    pub(crate) fn run<W: Work>(&self, work: W) -> anyhow::Result<W::Output> {
        self.check()?;
        if self.threads > 0 {
            // A second pool in one process is refused; then the first one's size holds.
            let _ = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build_global();
        }
        match self.name()? {
            Name::Auto => self.on_the_best(work),
            Name::Cpu => self.on_cpu(work),
            #[cfg(feature = "cuda")]
            Name::Cuda(index) => {
                let gpu = self.opened(beit_cubecl::cuda(index, self.on_cuda()))?;
                self.on_gpu(format!("cuda:{index}"), &gpu, work)
            }
            #[cfg(feature = "wgpu")]
            Name::Wgpu => {
                let gpu = self.opened(beit_cubecl::wgpu(beit_cubecl::Precision::F32))?;
                self.on_gpu("wgpu".into(), &gpu, work)
            }
            #[cfg(not(all(feature = "cuda", feature = "wgpu")))]
            _ => usage!("--device {}: this build has no such device", self.device),
        }
    }

    /// CUDA if there is one, else the CPU. wgpu may be a renderer in software, so it is taken only where it is asked for.
    fn on_the_best<W: Work>(&self, work: W) -> anyhow::Result<W::Output> {
        #[cfg(feature = "cuda")]
        if let Ok(gpu) = beit_cubecl::cuda(0, self.on_cuda()) {
            return self.on_gpu("cuda:0".into(), &gpu, work);
        }
        self.on_cpu(work)
    }

    fn on_cpu<W: Work>(&self, work: W) -> anyhow::Result<W::Output> {
        if self.precision != PrecisionArg::Bf16 {
            return self.on(&Host::<f32>::new(), Device::cpu("f32"), work);
        }
        if !Host::has_bf16() {
            note(
                "warning: this processor has no instructions for bf16 (avx512_bf16): it is no faster here than f32",
            );
        }
        self.on(&Host::bf16(), Device::cpu("bf16"), work)
    }

    fn on<O: Metered, W: Work>(&self, ops: &O, device: Device, work: W) -> anyhow::Result<W::Output> {
        note(&format!("device: {}", device.sentence()));
        work.run(ops, &device).map_err(|error| blamed(error, &device))
    }

    fn name(&self) -> anyhow::Result<Name> {
        Ok(match self.device.as_str() {
            "auto" => Name::Auto,
            "cpu" => Name::Cpu,
            "cuda" => Name::Cuda(0),
            "wgpu" => Name::Wgpu,
            other => match other.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(index)) => Name::Cuda(index),
                Some(Err(_)) => usage!("--device {other}: expected the number of a GPU, as in cuda:0"),
                None => usage!("--device {other}: expected auto, cpu, cuda, cuda:N or wgpu"),
            },
        })
    }

    /// Worker threads of the data loader.
    pub(crate) fn workers(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if self.threads > 0 { self.threads.min(cores) } else { cores }
    }
}

/// What GPUs have in common.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
impl DeviceArgs {
    fn on_gpu<R: beit_cubecl::Runtime, W: Work>(
        &self,
        flag: String,
        gpu: &beit_cubecl::Gpu<R>,
        work: W,
    ) -> anyhow::Result<W::Output> {
        let name = gpu.name().trim_start_matches(flag.as_str()).trim().to_owned();
        let precision = match gpu.precision() {
            beit_cubecl::Precision::F32 => "f32",
            beit_cubecl::Precision::Bf16 => "bf16",
        };
        self.on(gpu, Device { flag, name, precision, queued: true }, work)
    }

    fn opened<T>(&self, opened: Result<T, beit_cubecl::OpenError>) -> anyhow::Result<T> {
        opened.with_context(|| format!("--device {}", self.device))
    }
}

#[cfg(feature = "cuda")]
impl DeviceArgs {
    /// The precision on CUDA.
    fn on_cuda(&self) -> beit_cubecl::Precision {
        use beit_cubecl::Precision::{Bf16, F32};
        if self.precision == PrecisionArg::F32 { F32 } else { Bf16 }
    }
}

impl Device {
    fn sentence(&self) -> String {
        match self.flag.as_str() {
            "cpu" => format!("cpu, {}, {}", self.name, self.precision),
            flag => format!("{flag} {}, {}", self.name, self.precision),
        }
    }
}

/// An error of the device says which, and what may help.
fn blamed(error: anyhow::Error, device: &Device) -> anyhow::Error {
    if !error.chain().any(is_of_device) {
        return error;
    }
    let text = format!("{error:#}");
    let help = match text.to_lowercase() {
        text if text.contains("memory") || text.contains("alloc") => {
            "; a smaller --batch-size takes less memory, and in training --recompute"
        }
        _ => "",
    };
    anyhow::anyhow!("--device {}: {text}{help}", device.flag)
}

fn is_of_device(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<DeviceError>()
        || matches!(
            cause.downcast_ref(),
            Some(beit_train::Error::Device(_) | beit_train::Error::Weights(beit_weights::Error::Device(_)))
        )
        || matches!(cause.downcast_ref(), Some(beit_weights::Error::Device(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(device: &str, precision: PrecisionArg) -> DeviceArgs {
        DeviceArgs { device: device.into(), precision, threads: 0 }
    }

    #[test]
    fn names() {
        let name = |text: &str| args(text, PrecisionArg::Auto).name().map_err(|error| error.to_string());
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
        assert!(args("cpu", PrecisionArg::Bf16).check().is_ok());
        if cfg!(feature = "wgpu") {
            let error = args("wgpu", PrecisionArg::Bf16).check().expect_err("f32 only").to_string();
            assert!(error.contains("--precision bf16"), "{error}");
        }
        for (device, there) in [("cuda:1", cfg!(feature = "cuda")), ("wgpu", cfg!(feature = "wgpu"))] {
            let checked = args(device, PrecisionArg::Auto).check();
            assert_eq!(checked.is_ok(), there);
            if let Err(error) = checked {
                let feature = device.split(':').next().expect("a name");
                assert!(error.to_string().contains(&format!("--features {feature}")), "{error}");
            }
        }
    }

    #[test]
    fn errors_of_the_device_name_the_flag() {
        let error = anyhow::Error::new(DeviceError("out of memory".into())).context("step 3");
        let text = blamed(error, &Device::cpu("f32")).to_string();
        assert!(text.contains("--device cpu") && text.contains("--batch-size"), "{text}");
        let other = blamed(anyhow::anyhow!("no such file"), &Device::cpu("f32"));
        assert_eq!(other.to_string(), "no such file");
    }
}
