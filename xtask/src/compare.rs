//! `compare`: the same training steps on a device and on the CPU.

use crate::device;
use crate::output::Output;
use crate::usage::usage;
use beit::settings::Size;
use beit::{Device, DeviceSettings, Work};
use beit_heads::{Mim, MimConfig, masked_rows};
use beit_ops::init::Stream;
use beit_ops::prelude::*;
use beit_ops::{DeviceError, Host, Targets, Tree};
use beit_train::{Hyper, Optimiser, Schedule};
use beit_vit::{Config, Input, Keep};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::rc::Rc;

/// Steps of masked image modelling on a device and on the CPU, from the same weights on the same numbers: how far they are apart
///
/// The CPU computes in f32 and is the reference. Losses may differ by a thousandth in f32 and by two hundredths in bf16, norms of
/// the gradients by ten times as much.
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask compare --device cuda --preset base --steps 10")]
pub(crate) struct Args {
    /// Size of the model
    #[arg(long, value_enum, default_value_t)]
    preset: Size,
    /// Images of a batch
    #[arg(long, default_value_t = 8)]
    batch_size: usize,
    /// Optimiser steps
    #[arg(long, default_value_t = 10)]
    steps: u64,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

/// Visual tokens, which no tokenizer names here.
const VOCAB: usize = 8192;

/// What a step measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Measured {
    loss: f64,
    norm: f64,
}

#[derive(Serialize)]
struct Pair {
    step: u64,
    device: Measured,
    cpu: Measured,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.steps == 0 || args.batch_size == 0 {
        usage!("nothing to compare: --steps and --batch-size must be at least 1");
    }
    let device = device::open(&args.device, &args.output.watch())?;
    let (found, bf16) = (device.run(args)?, device.precision() == "bf16");
    let expected = steps(args, &Host::<f32>::new())?;
    let pairs = found.into_iter().zip(expected).zip(1..);
    let pairs: Vec<_> = pairs.map(|((device, cpu), step)| Pair { step, device, cpu }).collect();
    pairs.iter().try_for_each(|pair| args.output.answer(pair, &pair.line()))?;
    let allowed = if bf16 { 2e-2 } else { 1e-3 };
    match pairs.iter().find(|pair| pair.is_apart(allowed)) {
        Some(pair) => anyhow::bail!("step {} differs by more than {allowed} of the loss", pair.step),
        None => Ok(()),
    }
}

impl Work for &Args {
    type Output = Vec<Measured>;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, _: &Device) -> beit::Result<Self::Output> {
        Ok(steps(self, &**ops)?)
    }
}

impl Pair {
    fn line(&self) -> String {
        let Self { step, device, cpu } = self;
        format!(
            "step {step:2}  loss {:.5}, cpu {:.5}  norm {:.5}, cpu {:.5}",
            device.loss, cpu.loss, device.norm, cpu.norm
        )
    }

    /// Numbers that are none are apart.
    fn is_apart(&self, allowed: f64) -> bool {
        let near =
            |found: f64, expected: f64, allowed: f64| (found - expected).abs() <= allowed * expected.abs();
        let Self { device, cpu, .. } = self;
        !(near(device.loss, cpu.loss, allowed) && near(device.norm, cpu.norm, 10.0 * allowed))
    }
}

/// On one batch, which the model learns by heart.
fn steps<O: Ops>(args: &Args, ops: &O) -> Result<Vec<Measured>, DeviceError> {
    let vit = Config { drop_path: 0.0, ..Config::new(args.preset.into()) };
    let config = MimConfig { vit, vocab: VOCAB };
    let (batch, n, [height, width]) = (args.batch_size, config.vit.patches(), config.vit.image);
    let masks: Vec<bool> = (0..batch * n).map(|i| i * 7 % 5 < 2).collect();
    let rows = masked_rows(&masks, n);
    let codes = ops.upload_ids(&rows.iter().map(|row| row * 7919 % VOCAB as u32).collect::<Vec<_>>());
    let rows = ops.upload_ids(&rows);
    let mask = ops.upload([batch, n], &masks.iter().map(|&m| f32::from(m)).collect::<Vec<_>>());
    let pixels = Stream::new(0, 1).normals(batch * 3 * height * width, 1.0);
    let images = ops.upload([batch, 3, height, width], &pixels);
    let input = Input { images: &images, mask: Some(&mask), drop_path: None };
    let targets = Targets::Classes { ids: &codes, smoothing: 0.0 };

    let mut params = Mim::init(ops, &config, 0);
    let schedule = Schedule { peak: 5e-4, min: 0.0, warmup: 0, total: args.steps };
    let hyper = Hyper { clip_grad: Some(3.0), ..Hyper::new(schedule) };
    let mut optimiser = Optimiser::new(ops, &params, hyper, config.vit.depth);
    let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
    optimiser.gather(ops, &mut params, &mut grads);
    let mut all = Vec::new();
    for _ in 0..args.steps {
        let (logits, saved) = params.forward(ops, &input, &rows, Keep::All);
        let (metrics, lse) = ops.cross_entropy(&logits, &targets);
        let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, 1.0);
        params.backward(ops, &input, &d_logits, saved, &mut grads);
        let clip = optimiser.clip(ops, &grads);
        optimiser.step(ops, &mut params, &mut grads, &clip);
        let [loss, norm] = [ops.read(&metrics)?[0], ops.read(&clip)?[0]].map(f64::from);
        all.push(Measured { loss, norm });
    }
    Ok(all)
}
