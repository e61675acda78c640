//! `compare`: the same training steps on a device and on the CPU.

use beit::settings::Size;
use beit::{Device, Work};
use beit_heads::{Mim, MimConfig, masked_rows};
use beit_ops::init::Stream;
use beit_ops::prelude::*;
use beit_ops::{DeviceError, Host, Targets, Tree};
use beit_train::{Decay, Hyper, Optimiser, Schedule};
use beit_vit::{Config, Input, Keep};
use serde::Serialize;
use std::rc::Rc;

/// What is compared.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct CompareSettings {
    /// Size of the model
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub preset: Size,
    /// Images of a batch
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 8))]
    pub batch_size: usize,
    /// Optimiser steps
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 10))]
    pub steps: u64,
}

/// Visual tokens, which no tokenizer names here.
const VOCAB: usize = 8192;

/// What a step measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// L2 norm of all gradients.
    pub norm: f64,
}

/// The same step twice.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pair {
    /// Counted from 1.
    pub step: u64,
    /// On the device.
    pub device: Measured,
    /// On the CPU.
    pub cpu: Measured,
}

/// Steps of masked image modelling on a device and on the CPU, from the same weights on the same numbers.
///
/// # Errors
///
/// Nothing to compare, or a device that fails.
pub fn compare(settings: &CompareSettings, device: &Device) -> beit::Result<Vec<Pair>> {
    if settings.steps == 0 || settings.batch_size == 0 {
        let text = "nothing to compare: --steps and --batch-size must be at least 1";
        return Err(beit::Error::Setting(text.to_owned()));
    }
    let found = device.run(settings)?;
    let expected = steps(settings, &Host::<f32>::new())?;
    let pairs = found.into_iter().zip(expected).zip(1..);
    Ok(pairs.map(|((device, cpu), step)| Pair { step, device, cpu }).collect())
}

impl Work for &CompareSettings {
    type Output = Vec<Measured>;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, _: &Device) -> beit::Result<Self::Output> {
        Ok(steps(self, &**ops)?)
    }
}

impl Pair {
    /// Whether the two differ by more than this share of the loss, or ten times this of the norm. NaN is apart from everything.
    #[must_use]
    pub fn is_apart(&self, allowed: f64) -> bool {
        let near =
            |found: f64, expected: f64, allowed: f64| (found - expected).abs() <= allowed * expected.abs();
        let Self { device, cpu, .. } = self;
        !(near(device.loss, cpu.loss, allowed) && near(device.norm, cpu.norm, 10.0 * allowed))
    }
}

/// On one batch, which the model learns by heart.
fn steps<O: Ops>(args: &CompareSettings, ops: &O) -> Result<Vec<Measured>, DeviceError> {
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
    let schedule = Schedule { peak: 5e-4, min: 0.0, warmup: 0, total: args.steps, decay: Decay::Cosine };
    let hyper = Hyper { clip_grad: Some(3.0), ..Hyper::new(schedule) };
    let mut optimiser = Optimiser::new(ops, &params, hyper, config.vit.depth);
    let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
    optimiser.gather(ops, &mut params, &mut grads);
    let mut all = Vec::new();
    for _ in 0..args.steps {
        let (logits, saved) = params.forward(ops, &input, &rows, Keep::ALL);
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
