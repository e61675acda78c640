//! Segmenters at the sizes of the paper: inference of UPerNet, and a training step of SETR-PUP.

use crate::case::{Case, Fill, Running};
use crate::models::optimiser;
use crate::peer::Program;
use crate::{BenchSettings, Kind as Rows};
use beit::settings::Size;
use beit_heads::{HeadConfig, PixelMean, Pixels, Segmenter, SegmenterConfig, pixel_loss};
use beit_ops::{Ops, Shape, Tree};
use beit_vit::{Config, Input, Keep, RelativePositions};
use serde_json::{Value, json};

/// Classes of ADE20K.
const CLASSES: usize = 150;
/// What is no class: rows of pixels at the top of an image.
const IGNORED: (u32, usize) = (255, 8);
/// The side of the patches of every size, since the peer's heads enlarge by it.
const PATCH: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A call of UPerNet, as the released segmenters have it.
    Upernet,
    /// A step of SETR-PUP, as the paper trains it.
    SetrPup,
}

/// A segmenter and a batch.
pub(super) struct Segmentation {
    name: String,
    kind: Kind,
    config: SegmenterConfig,
    batch: usize,
    keep: Keep,
}

/// Those that are asked for, of every size.
pub(super) fn rows(settings: &BenchSettings) -> anyhow::Result<Vec<Segmentation>> {
    if !settings.wants(Rows::Segmentation) {
        return Ok(Vec::new());
    }
    let presets = settings.presets();
    let kinds = presets.iter().flat_map(|&preset| [Kind::Upernet, Kind::SetrPup].map(|kind| (preset, kind)));
    kinds.map(|(preset, kind)| Segmentation::new(preset, kind, settings)).collect()
}

impl Segmentation {
    fn new(preset: Size, kind: Kind, settings: &BenchSettings) -> anyhow::Result<Self> {
        let usual = if kind == Kind::Upernet { 640 } else { 512 };
        let (side, batch) = (settings.image_size.unwrap_or(usual), settings.batch_size.unwrap_or(1));
        let vit = Config {
            image: [side; 2],
            patch: [PATCH; 2],
            relative_positions: RelativePositions::PerLayer,
            drop_path: 0.0,
            ..Config::new(preset.into())
        };
        let taps = SegmenterConfig::usual_taps(vit.depth);
        // Neither has auxiliary heads, and the peer's neither.
        let head = match kind {
            Kind::Upernet => {
                HeadConfig::Upernet { channels: vit.width, scales: vec![1, 2, 3, 6], auxiliary: None }
            }
            Kind::SetrPup => HeadConfig::setr_pup(vit.width),
        };
        let config = SegmenterConfig::on(vit, CLASSES, taps, head);
        if let Err(unfit) = config.validate() {
            anyhow::bail!(beit::Error::Setting(format!("--image-size {side}: {unfit}")));
        }
        let work = if kind == Kind::Upernet { "UPerNet inference" } else { "SETR-PUP step" };
        let name = format!("{} {work} of {side}, batch {batch}", format!("{preset:?}").to_lowercase());
        let keep = Keep { inputs_only: settings.recompute, ..Keep::ALL };
        Ok(Self { name, kind, config, batch, keep })
    }

    fn images<O: Ops>(&self, ops: &O, fill: Fill<O>) -> O::Tensor {
        fill(ops, Shape::from(self.config.vit.images(self.batch)))
    }

    /// A class for every pixel but the first rows.
    fn labels(&self) -> Vec<u32> {
        let [height, width] = self.config.vit.image;
        let (ignored, rows) = IGNORED;
        let label = |i: usize| {
            let is_ignored = i % (height * width) < rows * width;
            if is_ignored { ignored } else { (i * 7919 % CLASSES) as u32 }
        };
        (0..self.batch * height * width).map(label).collect()
    }

    fn inference<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        let params = Segmenter::shapes(&self.config).map(&mut |shape| fill(ops, *shape));
        // No fillings: a variance is not negative.
        let running = Segmenter::init_running(ops, &self.config);
        let images = self.images(ops, fill);
        Box::new(move || drop(params.infer(ops, &images, &running)))
    }

    fn step<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        let mut params = Segmenter::shapes(&self.config).map(&mut |shape| fill(ops, *shape));
        let mut running = Segmenter::init_running(ops, &self.config);
        let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
        let mut optimiser = optimiser(ops, &params, self.config.vit.depth);
        optimiser.gather(ops, &mut params, &mut grads);
        let (images, labels) = (self.images(ops, fill), self.labels());
        Box::new(move || {
            let input = Input { images: &images, mask: None, drop_path: None };
            let pixels = Pixels { labels: &labels, size: self.config.vit.image, classes: CLASSES };
            let (logits, saved) = params.forward(ops, &input, &mut running, &[], self.keep);
            let loss = pixel_loss(ops, &logits, &pixels, PixelMean::Labelled, 1.0);
            drop(logits);
            params.backward(ops, &input, &loss.d_logits, &[], saved, &mut grads);
            drop(loss);
            let clip = optimiser.clip(ops, &grads);
            optimiser.step(ops, &mut params, &mut grads, &clip);
        })
    }
}

impl Case for Segmentation {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn images(&self) -> Option<usize> {
        Some(self.batch)
    }

    fn prepare<'a, O: Ops>(&'a self, ops: &'a O, fill: Fill<O>) -> Running<'a> {
        match self.kind {
            Kind::Upernet => self.inference(ops, fill),
            Kind::SetrPup => self.step(ops, fill),
        }
    }

    fn question(&self) -> Option<Value> {
        let SegmenterConfig { vit, taps, head, .. } = &self.config;
        let (row, channels) = match head {
            HeadConfig::Upernet { channels, .. } => ("upernet", channels),
            HeadConfig::SetrPup { channels, .. } => ("setr", channels),
        };
        Some(json!({
            "row": row, "batch": self.batch, "image": vit.image[0], "patch": PATCH, "width": vit.width, "depth": vit.depth,
            "heads": vit.heads, "hidden": vit.hidden, "classes": CLASSES, "taps": taps, "channels": channels,
            "auxiliary": false,
        }))
    }

    fn program(&self) -> Program {
        Program::Segmenters
    }
}
