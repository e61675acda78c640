#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod case;
mod compare;
mod data;
mod layers;
mod measure;
mod models;
mod peer;
mod products;

pub use compare::{CompareSettings, Measured, Pair, compare};
pub use peer::PeerKind;

use beit::settings::Size;
use beit::{Device, DeviceSettings, Watch, Work};
use beit_ops::{Ops, Plan};
use case::Case;
use measure::Stopwatch;
use models::Model;
use peer::Peer;
use std::path::PathBuf;
use std::rc::Rc;

/// What is measured, and how.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct BenchSettings {
    /// What to measure
    #[cfg_attr(feature = "clap", arg(value_enum, default_value = "gpu"))]
    pub what: What,
    /// Models; base and large where not given, on the CPU base
    #[cfg_attr(feature = "clap", arg(long, value_enum, value_delimiter = ','))]
    pub preset: Vec<Size>,
    /// Kinds of rows; all where not given
    #[cfg_attr(feature = "clap", arg(long, value_enum, value_delimiter = ','))]
    pub only: Vec<Kind>,
    /// Images of a batch; where not given, 128 on CUDA (64 for large), 8 on the CPU, else 2
    #[cfg_attr(feature = "clap", arg(long))]
    pub batch_size: Option<usize>,
    /// Side of the square matrix product; where not given, 8192 on CUDA, else 1024
    #[cfg_attr(feature = "clap", arg(long))]
    pub side: Option<usize>,
    /// Runs of which the median is taken
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..)))]
    pub runs: u16,
    /// Length of a run in seconds, where one call is shorter
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0.2))]
    pub seconds: f64,
    /// Keep the inputs of the blocks only in training steps
    #[cfg_attr(feature = "clap", arg(long))]
    pub recompute: bool,
    /// Measure another program in alternation
    #[cfg_attr(feature = "clap", arg(long, value_enum))]
    pub peer: Option<PeerKind>,
    /// A photograph for the row of the data pipeline; a picture is made where none is given
    #[cfg_attr(feature = "clap", arg(long, value_name = "FILE"))]
    pub image: Option<PathBuf>,
    /// Python with what --peer asks for
    #[cfg_attr(feature = "clap", arg(long, default_value = "python3", value_name = "PROGRAM"))]
    pub python: String,
}

/// Whose speed is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum What {
    /// Products, layers, steps, and what feeds them, on the CPU.
    Cpu,
    /// Products, layers and steps on the device of --device.
    Gpu,
}

/// A kind of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Kind {
    /// Matrix products: square, and those of the model, forward and backward.
    Products,
    /// Every other operation of a block, the loss and the optimiser.
    Layers,
    /// Inference, fine-tuning and pre-training, in images per second.
    Steps,
    /// Masks and the data pipeline, on the CPU.
    Data,
}

/// What one case came to.
#[derive(Clone, Debug)]
pub struct Row {
    /// The case.
    pub name: String,
    /// Of one call.
    pub seconds: f64,
    /// Floating-point operations of one call.
    pub flops: u64,
    /// Images of one call, where it has any.
    pub images: Option<usize>,
    /// The most bytes that tensors take at once.
    pub planned_bytes: u64,
    /// Bytes that the device has taken from its memory so far.
    pub taken_bytes: Option<u64>,
    /// Of one call of the peer.
    pub peer_seconds: Option<f64>,
}

impl Row {
    /// Operations per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.flops as f64 / self.seconds
    }

    /// Images per second.
    #[must_use]
    pub fn images_per_second(&self) -> Option<f64> {
        self.images.map(|images| images as f64 / self.seconds)
    }

    /// How many times as fast as the peer we are.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        self.peer_seconds.map(|theirs| theirs / self.seconds)
    }
}

/// How often ours and the peer's are timed in turns.
const TURNS: usize = 3;

impl BenchSettings {
    /// The device that is measured: `bench cpu` is about the CPU, whatever else there is.
    ///
    /// # Errors
    ///
    /// Another device than the CPU for `bench cpu`, or a length of runs that cannot be.
    pub fn device(&self, asked: &DeviceSettings) -> anyhow::Result<DeviceSettings> {
        anyhow::ensure!(
            self.seconds > 0.0 && self.seconds <= 60.0,
            beit::Error::Setting(format!("--seconds {}: expected more than 0 and at most 60", self.seconds))
        );
        if self.what == What::Gpu {
            return Ok(asked.clone());
        }
        anyhow::ensure!(
            matches!(asked.device.as_str(), "auto" | "cpu"),
            beit::Error::Setting(format!(
                "--device {}: bench cpu measures the CPU; leave the flag out or take bench gpu",
                asked.device
            ))
        );
        Ok(DeviceSettings { device: "cpu".into(), ..asked.clone() })
    }

    /// Measures every case. The first row is a square product: what the others are compared with.
    ///
    /// # Errors
    ///
    /// The device, the peer, a picture that cannot be read, or what `each` returns.
    pub fn run(
        &self,
        device: &Device,
        watch: &Watch,
        each: &mut dyn FnMut(Row) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        device.run(Run { settings: self, watch, each })?
    }

    /// Whether the peer can answer.
    fn knows(&self, question: &serde_json::Value) -> bool {
        self.peer != Some(PeerKind::Onnxruntime) || question["row"] == "inference"
    }
}

/// A run, on its way to a device.
struct Run<'a> {
    settings: &'a BenchSettings,
    watch: &'a Watch,
    each: &'a mut dyn FnMut(Row) -> anyhow::Result<()>,
}

impl Work for Run<'_> {
    /// Errors of the bench itself.
    type Output = anyhow::Result<()>;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> beit::Result<Self::Output> {
        let Self { settings, watch, each } = self;
        let stopwatch = Stopwatch { runs: settings.runs.into(), seconds: settings.seconds };
        let peer = settings.peer.map(|peer| Peer::start(peer, &settings.python, device, watch)).transpose();
        Ok(peer.and_then(|peer| Bench { args: settings, ops: &**ops, device, stopwatch, each, peer }.run()))
    }
}

struct Bench<'a, O> {
    args: &'a BenchSettings,
    ops: &'a O,
    device: &'a Device,
    stopwatch: Stopwatch,
    each: &'a mut dyn FnMut(Row) -> anyhow::Result<()>,
    peer: Option<Peer>,
}

impl<O: Ops> Bench<'_, O> {
    fn run(mut self) -> anyhow::Result<()> {
        let feeds = self.args.what == What::Cpu && self.wants(Kind::Data);
        // A picture that cannot be read is said before anything is measured.
        let pipeline = feeds.then(|| data::Pipeline::new(self.args.image.as_deref())).transpose()?;
        let side = self.or(self.args.side, [8192, 2048, 1024]);
        self.row(&products::Product::square(side))?;
        for preset in self.presets() {
            let whole = if preset == Size::Large { 64 } else { 128 };
            let batch = self.or(self.args.batch_size, [whole, 8, 2]);
            let model = Model::new(preset, batch, self.args.recompute)?;
            if self.wants(Kind::Products) {
                products::of_model(&model).iter().try_for_each(|case| self.row(case))?;
            }
            if self.wants(Kind::Layers) {
                layers::of_model(&model).iter().try_for_each(|case| self.row(case))?;
            }
            if self.wants(Kind::Steps) {
                if self.args.what == What::Cpu {
                    let one = Model::new(preset, 1, false)?;
                    self.row(&models::inference(&one))?;
                }
                models::steps(&model).iter().try_for_each(|case| self.row(case))?;
            }
        }
        if let Some(pipeline) = pipeline {
            self.row(&data::Masks::new()?)?;
            self.row(&pipeline)?;
        }
        Ok(())
    }

    /// What was asked for, or a default: on CUDA, for `bench cpu`, elsewhere.
    fn or(&self, asked: Option<usize>, [cuda, cpu, other]: [usize; 3]) -> usize {
        match asked {
            Some(asked) => asked,
            None if self.device.flag().starts_with("cuda") => cuda,
            None if self.args.what == What::Cpu => cpu,
            None => other,
        }
    }

    fn presets(&self) -> Vec<Size> {
        match self.args.preset.as_slice() {
            [] if self.args.what == What::Cpu => vec![Size::Base],
            [] => vec![Size::Base, Size::Large],
            asked => asked.to_vec(),
        }
    }

    fn wants(&self, kind: Kind) -> bool {
        self.args.only.is_empty() || self.args.only.contains(&kind)
    }

    /// Measures a case, in turns with the peer where there is one.
    fn row(&mut self, case: &impl Case) -> anyhow::Result<()> {
        let plan = Plan::new(self.device.footprint());
        let mut planned = case.prepare(&plan, beit_ops::Device::zeros);
        planned();
        let before = plan.flops();
        planned();
        let flops = plan.flops() - before;
        drop(planned);

        let mut running = case.prepare(self.ops, measure::filled);
        let mut seconds = self.stopwatch.time(self.ops, &mut running)?;
        let mut theirs = None;
        if let (Some(peer), Some(question)) = (&mut self.peer, case.question().filter(|q| self.args.knows(q)))
        {
            // In turns, so that both meet the same machine.
            let (mut ours, mut others) = (vec![seconds], Vec::new());
            for _ in 0..TURNS {
                others.push(peer.ask(&question, &self.stopwatch)?);
                ours.push(self.stopwatch.time(self.ops, &mut running)?);
            }
            seconds = measure::median(&mut ours);
            theirs = Some(measure::median(&mut others));
        }
        let taken = self.device.memory().map(|[_, taken]| taken);
        (self.each)(Row {
            name: case.name(),
            seconds,
            flops,
            images: case.images(),
            planned_bytes: plan.peak_bytes() as u64,
            taken_bytes: taken,
            peer_seconds: theirs,
        })
    }
}
