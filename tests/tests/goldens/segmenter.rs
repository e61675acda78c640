//! Semantic segmentation: `BeitForSemanticSegmentation` of transformers, and SETR-PUP after mmsegmentation on the transformer of timm.
//! Logits by running statistics and by those of the batch, losses, every named gradient, and the running statistics after three steps.

use beit_heads::segmenter::{AUXILIARY_WEIGHT, HeadRunning};
use beit_heads::{Auxiliary, HeadConfig, PixelMean, Pixels, Segmenter, SegmenterConfig, pixel_loss};
use beit_ops::prelude::*;
use beit_ops::{Corners, Host, Shape, Tree};
use beit_tests::{Comparison, Golden, tolerance, wgpu};
use beit_vit::{Config, Input, Keep, Preset, RelativePositions};
use beit_weights::{TensorFile, TensorWriter, Weights, load_params};
use serde_json::Value;

/// Biases that a batch norm takes away again: here as in PyTorch their gradients are rounding.
const NORMED: [&str; 3] = ["fpn1.0.bias", "fpn1.3.bias", "fpn2.0.bias"];

/// A golden with what says which model it is.
struct Model {
    golden: Golden,
    config: SegmenterConfig,
}

fn json(golden: &Golden, file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden.folder.join(file)).unwrap()).unwrap()
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn numbers<const N: usize>(value: &Value) -> [usize; N] {
    let all: Vec<usize> = value.as_array().unwrap().iter().map(number).collect();
    all.try_into().unwrap()
}

/// What both peers write.
fn relative_positions(of_each: bool, shared: bool) -> RelativePositions {
    match (of_each, shared) {
        (true, _) => RelativePositions::PerLayer,
        (_, true) => RelativePositions::Shared,
        _ => RelativePositions::None,
    }
}

fn positive(value: &Value) -> Option<f32> {
    value.as_f64().filter(|&value| value > 0.0).map(|value| value as f32)
}

/// Whether a name is that of a batch norm's statistic, which is no parameter.
fn is_statistic(name: &str) -> bool {
    name.contains(".running_") || name.ends_with("num_batches_tracked")
}

impl Model {
    /// What `config.json` of transformers describes.
    fn upernet(name: &str) -> Self {
        let golden = Golden::open(name);
        let keys = json(&golden, "config.json");
        let flag = |key: &str| keys[key].as_bool().unwrap();
        let vit = Config {
            image: numbers(&keys["image_size"]),
            patch: [number(&keys["patch_size"]); 2],
            width: number(&keys["hidden_size"]),
            depth: number(&keys["num_hidden_layers"]),
            heads: number(&keys["num_attention_heads"]),
            hidden: number(&keys["intermediate_size"]),
            absolute_positions: flag("use_absolute_position_embeddings"),
            relative_positions: relative_positions(
                flag("use_relative_position_bias"),
                flag("use_shared_relative_position_bias"),
            ),
            layer_scale: positive(&keys["layer_scale_init_value"]),
            layer_norm_eps: keys["layer_norm_eps"].as_f64().unwrap(),
            ..Config::new(Preset::Base)
        };
        let auxiliary = Auxiliary {
            channels: number(&keys["auxiliary_channels"]),
            layers: number(&keys["auxiliary_num_convs"]),
        };
        let head = HeadConfig::Upernet {
            channels: vit.width,
            scales: keys["pool_scales"].as_array().unwrap().iter().map(number).collect(),
            auxiliary: flag("use_auxiliary_head").then_some(auxiliary),
        };
        // Hidden state 0 is the embeddings, and the class reads the state before the one that is named.
        let taps = numbers(&keys["out_indices"]).map(|index| index - 2);
        Self { golden, config: SegmenterConfig::on(vit, 5, taps, head) }
    }

    /// What `model_args.json` of `golden_segmenter.py` describes.
    fn setr_pup(name: &str) -> Self {
        let golden = Golden::open(name);
        let args = json(&golden, "model_args.json");
        let backbone = &args["backbone"];
        let width = number(&backbone["embed_dim"]);
        let flag = |key: &str| backbone[key].as_bool().unwrap_or(false);
        let vit = Config {
            image: numbers(&backbone["img_size"]),
            patch: [number(&backbone["patch_size"]); 2],
            channels: number(&backbone["in_chans"]),
            width,
            depth: number(&backbone["depth"]),
            heads: number(&backbone["num_heads"]),
            hidden: number(&backbone["mlp_ratio"]) * width,
            absolute_positions: flag("use_abs_pos_emb"),
            relative_positions: relative_positions(flag("use_rel_pos_bias"), false),
            layer_scale: positive(&backbone["init_values"]),
            layer_norm_eps: 1e-6,
            ..Config::new(Preset::Base)
        };
        let auxiliary = args["auxiliary"].as_bool().unwrap();
        let head = HeadConfig::SetrPup { channels: number(&args["channels"]), auxiliary };
        let config = SegmenterConfig::on(vit, number(&args["classes"]), numbers(&args["taps"]), head);
        Self { golden, config }
    }

    /// The tensors of a file whose names begin with `prefix`, statistics aside.
    fn params<O: Ops>(&self, ops: &O, file: &TensorFile, prefix: &str) -> Segmenter<O::Tensor> {
        let mut writer = TensorWriter::new();
        for full in file.names().iter().filter(|full| !is_statistic(full)) {
            if let Some(name) = full.strip_prefix(prefix) {
                writer.floats(name, file.shape(full).unwrap(), &file.floats(full).unwrap());
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("params.safetensors");
        writer.write(&path).unwrap();
        self.config.validate().unwrap();
        load_params(ops, &Weights::open(path).unwrap(), &Segmenter::<Shape>::shapes(&self.config)).unwrap()
    }

    /// The running statistics of a file whose names begin with `prefix`: on a disk both peers call them as we do.
    fn running<O: Ops>(&self, ops: &O, file: &TensorFile, prefix: &str) -> HeadRunning<O::Tensor> {
        let shapes = Segmenter::<Shape>::running(&self.config);
        let named = |name: &&String| name.starts_with(prefix) && name.contains(".running_");
        assert_eq!(shapes.leaves().len(), file.names().iter().filter(named).count());
        shapes.map_described(&mut |leaf, shape| {
            let name = format!("{prefix}{}", leaf.name);
            ops.upload(*shape, &file.floats_of(&name, shape).unwrap())
        })
    }

    fn load<O: Ops>(&self, ops: &O) -> (Segmenter<O::Tensor>, HeadRunning<O::Tensor>) {
        let file = TensorFile::open(self.golden.folder.join("model.safetensors")).unwrap();
        (self.params(ops, &file, ""), self.running(ops, &file, ""))
    }

    /// Factors of channels, where the golden has some.
    fn keep<O: Ops>(&self, ops: &O) -> Vec<O::Tensor> {
        let heads = self.golden.names("keep.").len();
        assert!(heads == 0 || heads == self.config.scored().len());
        (0..heads).map(|i| self.golden.upload(ops, &format!("keep.{i}"))).collect()
    }
}

/// What a step computes.
struct Step<T> {
    logits: Vec<T>,
    loss: f32,
    gradients: Segmenter<T>,
}

/// Forward and backward, of the mean over the pixels that have a class or over all.
fn step<O: Ops>(
    ops: &O,
    model: &Segmenter<O::Tensor>,
    running: &mut HeadRunning<O::Tensor>,
    of: &Model,
    mean: PixelMean,
) -> Step<O::Tensor> {
    let images = of.golden.upload(ops, "pixel_values");
    let input = Input { images: &images, mask: None, drop_path: None };
    let keep = of.keep(ops);
    let (logits, saved) = model.forward(ops, &input, running, &keep, Keep::ALL);
    let labels = of.golden.ids("labels");
    let pixels = Pixels { labels: &labels, size: of.config.vit.image, classes: of.config.classes };
    assert!(pixels.labelled() < labels.len());
    let losses = pixel_loss(ops, &logits, &pixels, mean, 1.0);
    let mut gradients = model.map(&mut |param| ops.zeros(ops.shape(param)));
    model.backward(ops, &input, &losses.d_logits, &keep, saved, &mut gradients);
    let each: Vec<f32> = losses.metrics.iter().map(|metrics| ops.read(metrics).unwrap()[0]).collect();
    let loss = each[0] + AUXILIARY_WEIGHT * each[1..].iter().sum::<f32>();
    Step { logits, loss, gradients }
}

/// Logits by running statistics.
fn inference<O: Ops>(ops: &O, of: &Model, comparison: &mut Comparison) {
    let (model, running) = of.load(ops);
    let images = of.golden.upload(ops, "pixel_values");
    let logits = model.infer(ops, &images, &running);
    let mut compare = |name: &str, got: &O::Tensor| {
        comparison.tensor(name, &ops.read(got).unwrap(), &of.golden.floats(name), tolerance::LOGITS);
    };
    compare("logits", &logits);
    let upernet = matches!(of.config.head, HeadConfig::Upernet { auxiliary: Some(_), .. });
    let auxiliary = model.infer_auxiliary(ops, &images, &running);
    assert_eq!(auxiliary.is_some(), upernet);
    if let Some(logits) = auxiliary {
        compare("auxiliary_logits", &logits);
    }
    let large = ops.resize(&logits, of.config.vit.image, Corners::Edges);
    let (classes, labels) = (of.config.classes, of.golden.ids("labels"));
    let best = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    let large = ops.read(&large).unwrap();
    let right = large.chunks(classes).zip(&labels).filter(|(row, label)| best(row) == **label as usize);
    comparison.tensor("right", &[right.count() as f32], &of.golden.floats("right"), 0.0);
}

/// Logits by the statistics of the batch, the loss, every gradient.
fn training<O: Ops>(ops: &O, of: &Model, comparison: &mut Comparison) {
    let (model, running) = of.load(ops);
    let got = step(ops, &model, &mut running.clone(), of, PixelMean::Labelled);
    let logits = ops.read(&got.logits[0]).unwrap();
    comparison.tensor("train_logits", &logits, &of.golden.floats("train_logits"), tolerance::LOGITS);
    comparison.tensor("loss", &[got.loss], &of.golden.floats("loss"), tolerance::LOSS);
    let want = of.params(ops, &of.golden.io, "grad.");
    let greatest =
        |gradient: &O::Tensor| ops.read(gradient).unwrap().iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let of_all = want.leaves().into_iter().map(greatest).fold(0.0, f32::max);
    for ((name, got), want) in got.gradients.named().into_iter().zip(want.leaves()) {
        if greatest(want) == 0.0 && NORMED.contains(&name.as_str()) {
            let share = f64::from(greatest(got) / of_all);
            assert!(share < tolerance::NO_GRADIENT, "{name}: {share:e} of the greatest gradient");
            continue;
        }
        let (got, want) = (ops.read(got).unwrap(), ops.read(want).unwrap());
        comparison.tensor(&format!("grad.{name}"), &got, &want, tolerance::SEGMENTER_GRADIENTS);
    }
    if of.golden.io.shape("all.loss").is_some() {
        let got = step(ops, &model, &mut running.clone(), of, PixelMean::All);
        comparison.tensor("all.loss", &[got.loss], &of.golden.floats("all.loss"), tolerance::LOSS);
        let name = "decode_head.conv_seg.weight";
        let all = got.gradients.named();
        let gradient = &all.iter().find(|(leaf, _)| leaf == name).unwrap().1;
        let (got, want) = (ops.read(gradient).unwrap(), of.golden.floats(&format!("all.{name}")));
        comparison.tensor("all.grad", &got, &want, tolerance::SEGMENTER_GRADIENTS);
    }
}

/// Three steps of plain gradient descent: losses, and the running statistics after them.
fn steps<O: Ops>(ops: &O, of: &Model, comparison: &mut Comparison) {
    let (mut model, mut running) = of.load(ops);
    let rate = f64::from(of.golden.floats("rate")[0]);
    let want = of.golden.floats("losses");
    let losses: Vec<f32> = (0..want.len())
        .map(|_| {
            let Step { loss, gradients, .. } = step(ops, &model, &mut running, of, PixelMean::Labelled);
            for (param, gradient) in model.leaves_mut().into_iter().zip(gradients.leaves()) {
                *param = ops.add_scaled(param, gradient, -rate);
            }
            loss
        })
        .collect();
    comparison.tensor("losses", &losses, &want, tolerance::TRAINING);
    let want = of.running(ops, &of.golden.io, "running.");
    for ((name, got), want) in running.named().into_iter().zip(want.leaves()) {
        let (got, want) = (ops.read(got).unwrap(), ops.read(want).unwrap());
        comparison.tensor(&format!("running.{name}"), &got, &want, tolerance::RUNNING);
    }
}

fn check<O: Ops>(ops: &O, name: &str, device: &str) {
    let of = if name.starts_with("hf-") { Model::upernet(name) } else { Model::setr_pup(name) };
    let mut comparison = Comparison::new(format!("{name} on {device}"));
    inference(ops, &of, &mut comparison);
    training(ops, &of, &mut comparison);
    steps(ops, &of, &mut comparison);
    comparison.finish();
}

/// A model of its own each: twelve blocks with a table each and patches of 16; a shared table, a grid of 5 x 5 and no auxiliary head;
/// absolute positions, two auxiliary convolutions and other scales; a grid of 3 x 7; and SETR-PUP without and with auxiliary heads.
const ALL: [&str; 6] = [
    "hf-segment",
    "hf-segment-shared",
    "hf-segment-plain",
    "hf-segment-wide",
    "setr-pup",
    "setr-pup-auxiliary",
];

#[test]
fn segmenters_f32() {
    ALL.into_iter().for_each(|name| check(&Host::<f32>::new(), name, "f32"));
}

#[test]
fn segmenters_f64() {
    ALL.into_iter().for_each(|name| check(&Host::<f64>::new(), name, "f64"));
}

#[test]
fn segmenters_gpu() {
    if let Some(gpu) = wgpu() {
        ALL.into_iter().for_each(|name| check(&gpu, name, "gpu"));
    }
}
