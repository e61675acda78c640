//! Where models compute. Nothing outside this file knows which devices there are.

use crate::error::{Error, Result, chain};
use crate::progress::Watch;
use crate::ranks::Team;
#[cfg(feature = "nccl")]
use crate::ranks::nccl;
use crate::ranks::sums::{self, Means};
use crate::settings::device::{Name, footprint};
use crate::settings::{DeviceSettings, Precision, SumSettings};
use beit_ops::{Footprint, Host, Ops};
use std::fmt;
use std::rc::Rc;

/// A device: the CPU, or a GPU. Cheap to clone.
///
/// ```
/// let device = beit::Device::auto()?;
/// println!("{device}");
/// # Ok::<(), beit::Error>(())
/// ```
///
/// A GPU is driven by one thread, so a device and the models on it stay in the thread that opened it.
#[derive(Clone)]
pub struct Device {
    engine: Engine,
    flag: String,
    name: String,
    precision: &'static str,
    workers: usize,
    team: Team,
}

#[derive(Clone)]
enum Engine {
    Cpu(Rc<Host<f32>>),
    #[cfg(feature = "cuda")]
    Cuda(Rc<beit_cubecl::Gpu<beit_cubecl::cubecl::cuda::CudaRuntime>>),
    #[cfg(feature = "wgpu")]
    Wgpu(Rc<beit_cubecl::Gpu<beit_cubecl::cubecl::wgpu::WgpuRuntime>>),
}

/// Something to be done on a device whose type the compiler knows: for who writes against [`Ops`].
pub trait Work {
    /// What it comes to.
    type Output;
    /// Does it.
    ///
    /// # Errors
    ///
    /// Whatever goes wrong.
    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<Self::Output>;
}

/// Starts the threads that the CPU computes with. A second pool in one process is refused; then the first one's size holds.
fn start_threads(threads: Option<usize>) -> Result<()> {
    let pool = rayon::ThreadPoolBuilder::new();
    let started = match threads {
        Some(threads) => pool.num_threads(threads).build_global(),
        None => pool.build_global(),
    };
    match started {
        Err(error) if std::error::Error::source(&error).is_some() => Err(Error::OnDevice {
            device: "cpu".to_owned(),
            problem: format!("the system gives no more threads ({error}); lower --threads"),
        }),
        _ => Ok(()),
    }
}

/// No more steps than this are trained on before their losses are looked at.
const MOST_UNREAD: u64 = 100;

impl Device {
    /// CUDA where this build and this machine have it, else the CPU.
    ///
    /// # Errors
    ///
    /// None in practice: there is always a CPU.
    pub fn auto() -> Result<Self> {
        Self::open(&DeviceSettings::default())
    }

    /// The CPU, in f32, with all cores.
    #[must_use]
    pub fn cpu() -> Self {
        Self::from(Host::<f32>::new())
    }

    /// A device by its name: `auto`, `cpu`, `cuda`, `cuda:N` or `wgpu`.
    ///
    /// # Errors
    ///
    /// A name of none, or of one that this build or this machine does not have.
    pub fn named(name: &str) -> Result<Self> {
        Self::open(&DeviceSettings::named(name))
    }

    /// The device that the settings ask for.
    ///
    /// # Errors
    ///
    /// Settings of no device, or of one that this build or this machine does not have.
    pub fn open(settings: &DeviceSettings) -> Result<Self> {
        settings.check()?;
        start_threads(settings.threads)?;
        let opened = match settings.name()? {
            Name::Auto => Self::best(settings),
            Name::Cpu => Self::host(settings),
            #[cfg(feature = "cuda")]
            Name::Cuda(index) => Self::cuda(index, settings)?,
            #[cfg(feature = "wgpu")]
            Name::Wgpu => Self::wgpu(settings)?,
            #[cfg(not(all(feature = "cuda", feature = "wgpu")))]
            _ => crate::error::setting!("--device {}: this build has no such device", settings.device),
        };
        Ok(Self { workers: settings.workers(), ..opened })
    }

    /// CUDA if there is one, else the CPU. wgpu may be a renderer in software, so it is taken only where it is asked for.
    fn best(settings: &DeviceSettings) -> Self {
        #[cfg(feature = "cuda")]
        if let Ok(device) = Self::cuda(settings.gpu, settings) {
            return device;
        }
        Self::host(settings)
    }

    fn host(settings: &DeviceSettings) -> Self {
        match settings.precision {
            Precision::Bf16 => Self { precision: "bf16", ..Self::from(Host::bf16()) },
            Precision::Auto | Precision::F32 => Self::cpu(),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(index: usize, settings: &DeviceSettings) -> Result<Self> {
        let precision = match settings.precision {
            Precision::F32 => beit_cubecl::Precision::F32,
            Precision::Auto | Precision::Bf16 => beit_cubecl::Precision::Bf16,
        };
        let gpu = beit_cubecl::cuda(index, precision).map_err(|error| unopened(settings, &error))?;
        let (name, precision) = described(&gpu, &format!("cuda:{index}"));
        let engine = Engine::Cuda(Rc::new(gpu));
        let (flag, workers, team) = (format!("cuda:{index}"), settings.workers(), Team::alone());
        Ok(Self { engine, flag, name, precision, workers, team })
    }

    #[cfg(feature = "wgpu")]
    fn wgpu(settings: &DeviceSettings) -> Result<Self> {
        let gpu =
            beit_cubecl::wgpu(beit_cubecl::Precision::F32).map_err(|error| unopened(settings, &error))?;
        let (name, precision) = described(&gpu, "wgpu");
        let engine = Engine::Wgpu(Rc::new(gpu));
        let (flag, workers, team) = ("wgpu".into(), settings.workers(), Team::alone());
        Ok(Self { engine, flag, name, precision, workers, team })
    }

    /// The same, of one of several processes that train together.
    #[must_use]
    pub fn in_team(self, team: &Team) -> Self {
        Self { team: team.clone(), ..self }
    }

    /// The same, whose gradients are added up over the team where the settings ask for it. All processes of the team call this before they
    /// train.
    ///
    /// # Errors
    ///
    /// Settings that this device or this build cannot follow, or that are not those of the others; NCCL, where it is asked for and missing, or
    /// fails.
    pub fn adding_up(self, settings: &SumSettings, watch: &Watch) -> Result<Self> {
        settings.check()?;
        if !sums::decided(&self.team, settings.gpu_sums, || self.means(), watch)? {
            return Ok(self);
        }
        let joined = self.joined().map_err(|error| self.blamed(error))?;
        watch.note(&format!("gradients are added up on the GPUs by NCCL, {} of them", self.team.shard().of));
        Ok(joined)
    }

    /// What this device can add up by.
    fn means(&self) -> Means {
        match &self.engine {
            Engine::Cpu(_) => Means::Host,
            #[cfg(feature = "nccl")]
            Engine::Cuda(gpu) => nccl::means(gpu),
            #[cfg(all(feature = "cuda", not(feature = "nccl")))]
            Engine::Cuda(_) => {
                Means::Nothing("this build has no NCCL; take cargo xtask-nccl (--features nccl)".to_owned())
            }
            #[cfg(feature = "wgpu")]
            Engine::Wgpu(_) => Means::Nothing("NCCL adds up on --device cuda only".to_owned()),
        }
    }

    /// The same, once the devices of the team have met.
    fn joined(&self) -> Result<Self> {
        match &self.engine {
            #[cfg(feature = "nccl")]
            Engine::Cuda(gpu) => {
                let team = self.team.clone().with_device_sums(nccl::join(gpu, &self.team)?);
                Ok(Self { team, ..self.clone() })
            }
            _ => Ok(self.clone()),
        }
    }

    /// The processes that train together, of which this device computes a part.
    #[must_use]
    pub const fn team(&self) -> &Team {
        &self.team
    }

    /// The one place where the device is chosen: does the work there.
    ///
    /// # Errors
    ///
    /// Those of the work. One of the device says which device it was, and what may help.
    pub fn run<W: Work>(&self, work: W) -> Result<W::Output> {
        let done = match &self.engine {
            Engine::Cpu(host) => work.run(host, self),
            #[cfg(feature = "cuda")]
            Engine::Cuda(gpu) => work.run(gpu, self),
            #[cfg(feature = "wgpu")]
            Engine::Wgpu(gpu) => work.run(gpu, self),
        };
        done.map_err(|error| self.blamed(error))
    }

    /// As [`DeviceSettings::device`] takes it.
    #[must_use]
    pub fn flag(&self) -> &str {
        &self.flag
    }

    /// On a CPU, what multiplies, by the name of its instructions.
    #[must_use]
    pub fn kernel(&self) -> Option<&'static str> {
        match &self.engine {
            Engine::Cpu(host) => Some(host.kernel()),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            _ => None,
        }
    }

    /// Whether its memory is the machine's.
    pub(crate) fn is_cpu(&self) -> bool {
        matches!(self.engine, Engine::Cpu(_))
    }

    /// The maker's name, or the number of threads.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of activations and matrix products: `f32` or `bf16`.
    #[must_use]
    pub fn precision(&self) -> &'static str {
        self.precision
    }

    /// Bytes in use and bytes taken from the device, where it tells.
    #[must_use]
    pub fn memory(&self) -> Option<[u64; 2]> {
        match &self.engine {
            Engine::Cpu(_) => None,
            #[cfg(feature = "cuda")]
            Engine::Cuda(gpu) => gpu.memory().ok(),
            #[cfg(feature = "wgpu")]
            Engine::Wgpu(gpu) => gpu.memory().ok(),
        }
    }

    /// What tensors take there.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        footprint(self.is_queued(), self.precision)
    }

    /// What a person should know before they wait, if anything.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        let slow = !self.is_queued() && self.precision == "bf16" && !Host::has_bf16();
        slow.then_some(
            "warning: this processor has no instructions for bf16 (avx512_bf16): it is no faster here than f32",
        )
    }

    /// Tells a watcher which device this is.
    pub fn announce(&self, watch: &Watch) {
        if let Some(warning) = self.warning() {
            watch.note(warning);
        }
        watch.note(&format!("device: {self}"));
    }

    /// Whether it works on while the CPU goes ahead, so that reading from it costs a wait.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        !matches!(self.engine, Engine::Cpu(_))
    }

    /// Steps between two looks at the numbers of a run that reports every `report_every` steps.
    pub(crate) fn read_every(&self, report_every: u64) -> u64 {
        if self.is_queued() { report_every.clamp(1, MOST_UNREAD) } else { 1 }
    }

    /// Worker threads of data loaders.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// An error of the device says which, and what may help.
    fn blamed(&self, error: Error) -> Error {
        if error.device_error().is_none() || matches!(error, Error::OnDevice { .. }) {
            return error;
        }
        let text = chain(&error);
        let help = match text.to_lowercase() {
            text if text.contains("memory") || text.contains("alloc") => {
                "; a smaller --batch-size takes less memory, and in training --recompute"
            }
            _ => "",
        };
        Error::OnDevice { device: self.flag.clone(), problem: text + help }
    }
}

/// The CPU in the precision that it was made with, for who has one already.
impl From<Host<f32>> for Device {
    fn from(host: Host<f32>) -> Self {
        let threads = rayon::current_num_threads();
        let name = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
        let precision = if host == Host::bf16() { "bf16" } else { "f32" };
        let workers = DeviceSettings::default().workers();
        let (engine, flag) = (Engine::Cpu(Rc::new(host)), "cpu".into());
        Self { engine, flag, name, precision, workers, team: Team::alone() }
    }
}

impl From<&Self> for Device {
    fn from(device: &Self) -> Self {
        device.clone()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.flag.as_str() {
            "cpu" => write!(f, "cpu, {}, {}", self.name, self.precision),
            flag => write!(f, "{flag} {}, {}", self.name, self.precision),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({self})")
    }
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn unopened(settings: &DeviceSettings, error: &beit_cubecl::OpenError) -> Error {
    Error::OnDevice { device: settings.device.clone(), problem: error.to_string() }
}

/// Name and precision of a GPU.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn described<R: beit_cubecl::Runtime>(gpu: &beit_cubecl::Gpu<R>, flag: &str) -> (String, &'static str) {
    let name = gpu.name().trim_start_matches(flag).trim().to_owned();
    let precision = match gpu.precision() {
        beit_cubecl::Precision::F32 => "f32",
        beit_cubecl::Precision::Bf16 => "bf16",
    };
    (name, precision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use beit_ops::DeviceError;

    #[test]
    fn errors_of_the_device_name_the_flag() {
        let cause = Error::from(DeviceError("out of memory".into()));
        let error = Error::At { place: "step 3".into(), source: Box::new(cause) };
        let text = Device::cpu().blamed(error).to_string();
        assert!(text.contains("--device cpu: step 3: ") && text.contains("--batch-size"), "{text}");
        let other = Device::cpu().blamed(Error::Unfit("no such file".into()));
        assert_eq!(other.to_string(), "no such file");
    }

    #[test]
    fn the_precision_is_the_hosts() {
        assert_eq!(Device::cpu().precision(), "f32");
        assert_eq!(Device::from(Host::bf16()).precision(), "bf16");
    }
}
