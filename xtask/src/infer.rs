//! `infer`: raw tensors through a model, for parity with other tools.

use crate::device::{Device, DeviceArgs, Work};
use crate::model::{self, Any, Pixels};
use crate::model_source::ModelSource;
use crate::output::answer;
use anyhow::bail;
use beit_heads::patch_rows;
use beit_ops::Ops;
use beit_vit::Input;
use clap::Args as ClapArgs;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Raw tensors through a model: `pixel_values [B, 3, H, W]` as the model sees them, optionally `bool_masked_pos [B, N]`, to
/// `logits`; for a tokenizer to `codes` and `logits`
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask infer --model runs/finetune-001 --pixels in.safetensors --out out.safetensors")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelSource,
    /// Input tensors
    #[arg(long, value_name = "FILE")]
    pixels: PathBuf,
    /// Output tensors
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Images of a batch
    #[arg(long, default_value_t = 16)]
    batch_size: usize,
    #[command(flatten)]
    device: DeviceArgs,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

/// What a model answers for all images together.
#[derive(Default)]
struct Outputs {
    logits: Vec<f32>,
    codes: Vec<u32>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    args.device.run(args)
}

impl Work for &Args {
    type Output = ();

    fn run<O: Ops>(self, ops: &O, _: &Device) -> anyhow::Result<()> {
        let model = self.model.raw(ops)?;
        let pixels = model::read_pixels(&self.pixels)?;
        check_pixels(&self.pixels, &model, &pixels)?;
        let [b, c, h, w] = pixels.shape;
        let mut outputs = Outputs::default();
        let batch = self.batch_size.max(1);
        for start in (0..b).step_by(batch) {
            let n = batch.min(b - start);
            let images = ops.upload([n, c, h, w], &pixels.values[start * c * h * w..][..n * c * h * w]);
            let patches = pixels.mask.as_ref().map_or(0, |mask| mask.len() / b);
            let mask = pixels.mask.as_ref().map(|mask| &mask[start * patches..][..n * patches]);
            one_batch(ops, &model, &images, mask, &mut outputs)?;
        }
        let shape = match &model {
            Any::Mim(model) => vec![b, model.params.vit.config().patches(), model.params.config().vocab],
            Any::Classifier(model) => vec![b, model.params.config().classes],
            Any::Tokenizer(model) => {
                let [rows, cols] = model.params.config().grid([h, w])?;
                outputs.logits = channels_first(&outputs.logits, model.params.config().vocab, rows * cols);
                vec![b, model.params.config().vocab, rows, cols]
            }
        };
        let codes =
            matches!(model, Any::Tokenizer(_)).then(|| (outputs.codes.as_slice(), [b, shape[2], shape[3]]));
        model::write_outputs(&self.out, &outputs.logits, &shape, codes)?;
        let sentence = format!("logits {shape:?}: {}", self.out.display());
        answer(self.json, &json!({ "out": self.out, "logits": shape }), &sentence)
    }
}

fn one_batch<O: Ops>(
    ops: &O,
    model: &Any<O::Tensor>,
    images: &O::Tensor,
    mask: Option<&[bool]>,
    outputs: &mut Outputs,
) -> anyhow::Result<()> {
    let n = ops.shape(images)[0];
    match model {
        Any::Mim(model) => {
            let patches = model.params.vit.config().patches();
            let mask = mask.map(|mask| {
                let mask: Vec<f32> = mask.iter().map(|&m| f32::from(m)).collect();
                ops.upload([n, patches], &mask)
            });
            let input = Input { images, mask: mask.as_ref(), drop_path: None };
            let rows = ops.upload_ids(&patch_rows(n, patches));
            outputs.logits.extend(ops.read(&model.params.infer(ops, &input, &rows))?);
        }
        Any::Classifier(model) => {
            outputs.logits.extend(ops.read(&model.params.infer(ops, images))?);
        }
        Any::Tokenizer(model) => {
            let logits = model.params.logits(ops, images);
            outputs.codes.extend(ops.read_ids(&ops.argmax_rows(&logits))?);
            outputs.logits.extend(ops.read(&logits)?);
        }
    }
    Ok(())
}

/// `[B·P, V] -> [B, V, P]`
fn channels_first(rows: &[f32], v: usize, positions: usize) -> Vec<f32> {
    let image = |image: &[f32]| -> Vec<f32> {
        (0..v * positions).map(|i| image[i % positions * v + i / positions]).collect()
    };
    rows.chunks_exact(v * positions).flat_map(image).collect()
}

fn check_pixels<T>(path: &Path, model: &Any<T>, pixels: &Pixels) -> anyhow::Result<()> {
    let [b, c, h, w] = pixels.shape;
    let file = path.display();
    if c != 3 {
        bail!("{file}: pixel_values has {c} channels, expected 3");
    }
    let vit = match model {
        Any::Mim(model) => Some(model.params.vit.config()),
        Any::Classifier(model) => Some(model.params.vit.config()),
        Any::Tokenizer(model) => {
            if let Err(error) = model.params.config().grid([h, w]) {
                bail!("{file}: pixel_values is {h}x{w}: {error}");
            }
            None
        }
    };
    if let Some(vit) = vit {
        if [h, w] != vit.image {
            bail!("{file}: pixel_values is {h}x{w}, the model takes {}x{}", vit.image[0], vit.image[1]);
        }
        if let Some(mask) = pixels.mask.as_ref().filter(|mask| mask.len() != b * vit.patches()) {
            bail!("{file}: bool_masked_pos has {} elements, expected [{b}, {}]", mask.len(), vit.patches());
        }
        if pixels.mask.is_some() && !vit.mask_token {
            bail!("{file}: bool_masked_pos is given, but this model has no mask token");
        }
    }
    Ok(())
}
