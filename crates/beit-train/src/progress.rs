//! What a training loop tells while it runs.

use serde::Serialize;

/// One line of `metrics.jsonl`, and what a progress bar shows. Means are over the steps since the last report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StepReport {
    /// `tokenizer`, `pretrain` or `finetune`.
    pub phase: &'static str,
    /// Optimiser steps done.
    pub step: u64,
    /// Optimiser steps of the run.
    pub total: u64,
    /// Epoch, counted from 0.
    pub epoch: u64,
    /// Mean loss.
    pub loss: f64,
    /// Mean share of rows (masked patches, images) whose prediction is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Mean norm of the gradients before clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Images per second.
    pub images_per_second: f64,
    /// Share of the time spent waiting for data.
    pub data_wait: f64,
    /// Mean number of batches that the loader had ready when one was asked for: near 0 where loading is what takes the time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batches_ready: Option<f64>,
    /// Share of the time spent on adding up gradients over several processes, in which nothing else is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<f64>,
    /// Share of the time of adding up that was hidden: gradients travelled while earlier layers were computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange_hidden: Option<f64>,
    /// Terms that only some phases have.
    #[serde(flatten)]
    pub extra: std::collections::BTreeMap<&'static str, f64>,
}

/// Who listens to a training loop.
pub trait Progress {
    /// A loop of `total` steps of `phase` begins, at `done` when it is resumed.
    fn begin(&mut self, phase: &'static str, done: u64, total: u64);
    /// Every optimiser step, cheap.
    fn step(&mut self, step: u64);
    /// Every few steps.
    fn report(&mut self, report: &StepReport);
    /// The loop ended.
    fn end(&mut self);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _: &'static str, _: u64, _: u64) {}
    fn step(&mut self, _: u64) {}
    fn report(&mut self, _: &StepReport) {}
    fn end(&mut self) {}
}
