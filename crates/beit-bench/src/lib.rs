#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod alone;
mod bench;
mod case;
mod compare;
mod convolutions;
mod data;
mod layers;
mod measure;
mod models;
mod peer;
mod products;
mod segmentation;

pub use compare::{CompareSettings, Measured, Pair, compare};
pub use peer::PeerKind;

use alone::Alone;
use beit::settings::Size;
use beit::{Device, DeviceSettings, Watch};
use bench::Run;
use std::path::PathBuf;

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
    /// Kinds of rows; all but segmentation where not given
    #[cfg_attr(feature = "clap", arg(long, value_enum, value_delimiter = ','))]
    pub only: Vec<Kind>,
    /// Only rows whose names contain this, as a run without it prints them. Where the square product is not among them, no shares of it
    /// are given
    #[cfg_attr(feature = "clap", arg(long, value_name = "TEXT"))]
    pub matching: Option<String>,
    /// Images of a batch; where not given, 128 on CUDA (64 for large), 8 on the CPU, else 2; 1 for segmentation
    #[cfg_attr(feature = "clap", arg(long))]
    pub batch_size: Option<usize>,
    /// Side of the images of segmentation; where not given, 640 for UPerNet and 512 for SETR-PUP
    #[cfg_attr(feature = "clap", arg(long))]
    pub image_size: Option<usize>,
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
    /// Measure nothing: let the program of --peer compile what it would be asked, into the caches that it has on the disk
    /// (TORCHINDUCTOR_CACHE_DIR), from which a later run takes it. Other work may go on beside it
    #[cfg_attr(feature = "clap", arg(long, requires = "peer"))]
    pub prepare_peer: bool,
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
    /// The convolutions of the model's tokenizer, forward.
    Convolutions,
    /// Every other operation of a block, the loss and the optimiser.
    Layers,
    /// Inference, fine-tuning and pre-training, in images per second.
    Steps,
    /// Masks and the data pipeline, on the CPU.
    Data,
    /// Inference of UPerNet and a training step of SETR-PUP, with the memory of a process on the CPU.
    Segmentation,
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
    /// Whether it is the product that others are compared with.
    pub square: bool,
    /// Whether memory is to be compared too: by a process that does this row [alone](BenchSettings::alone).
    pub alone: bool,
    /// The most bytes that such a process held. Who starts one fills this in.
    pub peak_bytes: Option<u64>,
    /// The most bytes that a process of the peer held, which did nothing else either.
    pub peer_peak_bytes: Option<u64>,
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

    /// Measures every case. The first row is a square product, what the others are compared with, unless only some are wanted.
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

    /// Does the row of this name and nothing else. Returns the most bytes that this process has held so far, where the system tells.
    ///
    /// # Errors
    ///
    /// The device, or a name that is of no [row that is measured alone](Row::alone).
    pub fn alone(&self, name: &str, device: &Device) -> anyhow::Result<Option<u64>> {
        device.run(Alone { settings: self, name })?
    }

    /// Whether a row of this name is wanted.
    fn matches(&self, name: &str) -> bool {
        self.matching.as_deref().is_none_or(|text| name.contains(text))
    }

    fn presets(&self) -> Vec<Size> {
        match self.preset.as_slice() {
            [] if self.what == What::Cpu => vec![Size::Base],
            [] => vec![Size::Base, Size::Large],
            asked => asked.to_vec(),
        }
    }

    /// Segmenters are asked for by name: a call of theirs takes many seconds.
    fn wants(&self, kind: Kind) -> bool {
        let usual = self.only.is_empty() && kind != Kind::Segmentation;
        usual || self.only.contains(&kind)
    }
}
