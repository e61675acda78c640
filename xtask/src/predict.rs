//! `predict`: the classes of images.

use crate::data::{Loading, pixels_loader};
use crate::device::{Device, DeviceArgs, Work};
use crate::files::Files;
use crate::model::ClassifierModel;
use crate::model_source::ModelSource;
use crate::output::{answer, note};
use crate::usage::usage;
use beit_data::{Batch, Source};
use beit_ops::Ops;
use clap::Args as ClapArgs;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// The most likely classes of images, with their probabilities
///
/// Images come out in the order in which they are named, those of a folder in the order of their names. What cannot be decoded is
/// named and left out.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask predict photo.jpg --model runs/finetune-001
  cargo xtask predict photo.jpg --model microsoft/beit-base-patch16-224
  cargo xtask predict photos more/photo.png --model runs/finetune-001 --top-k 3 --json")]
pub(crate) struct Args {
    /// Images, or folders of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelSource,
    /// Classes of each image
    #[arg(long, default_value_t = 5, value_name = "K")]
    top_k: usize,
    /// Images of a batch
    #[arg(long, default_value_t = 16)]
    batch_size: usize,
    #[command(flatten)]
    device: DeviceArgs,
    /// JSON on stdout, a line an image
    #[arg(long)]
    json: bool,
}

/// What the verb answers for each image.
#[derive(Serialize)]
struct Answer {
    file: String,
    /// The most likely first.
    predictions: Vec<Prediction>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Prediction {
    class: usize,
    label: String,
    probability: f64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.top_k == 0 {
        usage!("--top-k 0: expected at least 1 class");
    }
    args.device.run(args)
}

impl Work for &Args {
    type Output = ();

    fn run<O: Ops>(self, ops: &O, _: &Device) -> anyhow::Result<()> {
        let classifier = self.model.classifier(ops)?;
        let source: Arc<dyn Source> = Arc::new(Files::find(&self.images)?);
        let workers = self.device.workers();
        let loading = Loading { batch_size: self.batch_size, seed: 0, workers, max_bad_share: 1.0 };
        let loader = pixels_loader(&source, loading.evaluation(), classifier.views)?;
        for batch in loader.epoch(0)? {
            for answered in one_batch(ops, &classifier, source.as_ref(), &batch?, self.top_k)? {
                answer(self.json, &answered, &table(&answered))?;
            }
        }
        let (bad, total) = (loader.bad_files().len(), source.len());
        if bad > 0 {
            note(&format!("{bad} of {total} files cannot be decoded"));
        }
        Ok(())
    }
}

fn one_batch<O: Ops>(
    ops: &O,
    classifier: &ClassifierModel<O::Tensor>,
    source: &dyn Source,
    batch: &Batch<Vec<f32>>,
    top_k: usize,
) -> anyhow::Result<Vec<Answer>> {
    let config = classifier.params.config();
    let [height, width] = config.vit.image;
    let pixels = ops.upload([batch.indices.len(), 3, height, width], &batch.data);
    let logits = ops.read(&classifier.params.infer(ops, &pixels))?;
    let rows = batch.indices.iter().zip(logits.chunks_exact(config.classes));
    let answer = |(&index, row): (&usize, &[f32])| Answer {
        file: source.name(index),
        predictions: most_likely(row, &classifier.class_names, top_k),
    };
    Ok(rows.map(answer).collect())
}

/// The `top_k` greatest of `softmax(logits)`; of equals, the first class comes first.
fn most_likely(logits: &[f32], names: &[String], top_k: usize) -> Vec<Prediction> {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&x| f64::from(x - greatest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut classes: Vec<usize> = (0..logits.len()).collect();
    classes.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    let prediction = |&class: &usize| Prediction {
        class,
        label: names[class].clone(),
        probability: weights[class] / total,
    };
    classes.iter().take(top_k).map(prediction).collect()
}

fn table(answer: &Answer) -> String {
    let mut text = answer.file.clone();
    for Prediction { label, probability, .. } in &answer.predictions {
        let _ = write!(text, "\n  {probability:.4}  {label}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_likely_come_first() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let found = most_likely(&[1000.0, 1000.0 + 3.0_f32.ln(), 1000.0], &names, 2);
        let labels: Vec<&str> = found.iter().map(|prediction| prediction.label.as_str()).collect();
        assert_eq!(labels, ["b", "a"]);
        // 3 / (3 + 1 + 1); numbers near 1000 are 6e-5 apart.
        assert!((found[0].probability - 0.6).abs() < 1e-4, "{found:?}");
        assert_eq!(most_likely(&[0.0; 3], &names, 9).len(), 3);
    }
}
