//! `bench`: what a device does in a second, and what share that is of its best matrix product.

mod data;
mod layers;
mod measure;
mod models;
mod peer;
mod products;
mod report;

use crate::device;
use crate::output::Output;
use crate::usage::usage;
use beit::settings::Size;
use beit::{Device, DeviceSettings, Work};
use beit_ops::prelude::*;
use beit_ops::{Plan, Shape};
use clap::{Args as ClapArgs, ValueEnum};
use measure::Stopwatch;
use models::Model;
use peer::Peer;
use report::{Report, Row};
use std::path::PathBuf;
use std::rc::Rc;

/// Time matrix products, layers and whole steps of the model on a device
///
/// Every time is the median of several runs after warm-up. Operations are counted on the device without numbers, and their rate is
/// put beside the best square product of the same run. Bytes planned are those of tensors on this device; bytes taken are
/// what its pool holds after the row, which never shrinks.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask bench cpu
  cargo xtask bench cpu --precision bf16 --only steps --peer torch
  cargo xtask bench cpu --only steps --peer onnxruntime
  cargo xtask bench gpu
  cargo xtask bench gpu --preset base --only steps --peer torch
  cargo xtask bench gpu --device wgpu --preset tiny --json")]
pub(crate) struct Args {
    /// What to measure
    #[arg(value_enum, default_value = "gpu")]
    what: What,
    /// Models; base and large where not given, on the CPU base
    #[arg(long, value_enum, value_delimiter = ',')]
    preset: Vec<Size>,
    /// Kinds of rows; all where not given
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Images of a batch; 128 on CUDA (64 for large), 8 on the CPU, else 2
    #[arg(long)]
    batch_size: Option<usize>,
    /// Side of the square matrix product; 8192 on CUDA, else 1024
    #[arg(long)]
    side: Option<usize>,
    /// Runs of which the median is taken
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Length of a run in seconds, where one call is shorter
    #[arg(long, default_value_t = 0.2)]
    seconds: f64,
    /// Keep the inputs of the blocks only in training steps
    #[arg(long)]
    recompute: bool,
    /// Measure another program in alternation
    #[arg(long, value_enum)]
    peer: Option<PeerArg>,
    /// A photograph for the row of the data pipeline; a picture is made where none is given
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Python with what --peer asks for
    #[arg(long, default_value = "python3", value_name = "PROGRAM")]
    python: String,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Products, layers, steps, and what feeds them, on the CPU.
    Cpu,
    /// Products, layers and steps on the device of --device.
    Gpu,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Matrix products: square, and those of the model, forward and backward.
    Products,
    /// Every other operation of a block, the loss and the optimiser.
    Layers,
    /// Inference, fine-tuning and pre-training, in images per second.
    Steps,
    /// Masks and the data pipeline, on the CPU.
    Data,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PeerArg {
    /// The same model in PyTorch, compiled if that works.
    Torch,
    /// The same model in ONNX Runtime: inference in f32.
    Onnxruntime,
}

/// How often ours and the peer's are timed in turns.
const TURNS: usize = 3;

impl Args {
    /// Whether the peer can answer.
    fn knows(&self, question: &serde_json::Value) -> bool {
        self.peer != Some(PeerArg::Onnxruntime) || question["row"] == "inference"
    }
}

/// Something that can be run again and again.
type Running<'a> = Box<dyn FnMut() + 'a>;
/// Makes the tensors that a case works on.
type Fill<O> = fn(&O, Shape) -> <O as beit_ops::Device>::Tensor;

/// Something to measure, on any device.
trait Case {
    /// The kind, for a person.
    fn name(&self) -> String;
    /// Allocates everything, and returns what is to be timed.
    fn prepare<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a>;
    /// Images of a call, where it has any.
    fn images(&self) -> Option<usize> {
        None
    }
    /// What the peer is asked, where it knows the case.
    fn question(&self) -> Option<serde_json::Value> {
        None
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if !(args.seconds > 0.0 && args.seconds <= 60.0) {
        usage!("--seconds {}: expected more than 0 and at most 60", args.seconds);
    }
    if args.what == What::Gpu {
        return bench(args, &args.device);
    }
    if !matches!(args.device.device.as_str(), "auto" | "cpu") {
        usage!(
            "--device {}: bench cpu measures the CPU; leave the flag out or take bench gpu",
            args.device.device
        );
    }
    bench(args, &DeviceSettings { device: "cpu".into(), ..args.device.clone() })
}

fn bench(args: &Args, settings: &DeviceSettings) -> anyhow::Result<()> {
    device::open(settings, &args.output.watch())?.run(args)?
}

impl Work for &Args {
    /// Errors of the bench itself.
    type Output = anyhow::Result<()>;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> beit::Result<Self::Output> {
        Ok(self.measure(&**ops, device))
    }
}

impl Args {
    fn measure<O: Ops>(&self, ops: &O, device: &Device) -> anyhow::Result<()> {
        let peer = self.peer.map(|peer| Peer::start(peer, &self.python, device)).transpose()?;
        let stopwatch = Stopwatch { runs: self.runs.into(), seconds: self.seconds };
        let report = Report::new(self.output, device);
        Bench { args: self, ops, device, stopwatch, report, peer }.run()
    }
}

/// A run of the verb.
struct Bench<'a, O> {
    args: &'a Args,
    ops: &'a O,
    device: &'a Device,
    stopwatch: Stopwatch,
    report: Report,
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
                products::of(&model).iter().try_for_each(|case| self.row(case))?;
            }
            if self.wants(Kind::Layers) {
                layers::of(&model).iter().try_for_each(|case| self.row(case))?;
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
        self.report.end()
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
        let mut planned = case.prepare(&plan, |ops, shape| ops.zeros(shape));
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
        self.report.row(Row {
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
