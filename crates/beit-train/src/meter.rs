//! Means between two reports.

use crate::guard::Measured;
use crate::hooks::Sums;
use crate::progress::StepReport;
use crate::token_accuracy::share_of_gap;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The term that says what accuracy needs no model.
pub(crate) const BASELINE: &str = "baseline";

/// Collects what the steps measured and how long they took.
pub(crate) struct Meter {
    phase: &'static str,
    total: u64,
    every: u64,
    since: Instant,
    waited: Duration,
    /// Batches that were ready, over all times that one was asked for.
    ready: u64,
    asked: u64,
    /// Waiting for sums over processes.
    exchanged: Option<Duration>,
    /// Sums over processes, while something else was done or not.
    summed: Option<Duration>,
    steps: u64,
    images: u64,
    rows: u64,
    loss: f64,
    right: Option<f64>,
    grad_norm: f64,
    extra: BTreeMap<&'static str, f64>,
}

impl Meter {
    /// Reports every `every` steps of `total`.
    pub(crate) fn new(phase: &'static str, total: u64, every: u64) -> Self {
        Self {
            phase,
            total,
            every: every.max(1),
            since: Instant::now(),
            waited: Duration::ZERO,
            ready: 0,
            asked: 0,
            exchanged: None,
            summed: None,
            steps: 0,
            images: 0,
            rows: 0,
            loss: 0.0,
            right: None,
            grad_norm: 0.0,
            extra: BTreeMap::new(),
        }
    }

    /// Runs `next`, counting its time as waiting for data; so many batches are `ready` before.
    pub(crate) fn wait<R>(&mut self, ready: usize, next: impl FnOnce() -> R) -> R {
        self.ready += ready as u64;
        self.asked += 1;
        let start = Instant::now();
        let result = next();
        self.waited += start.elapsed();
        result
    }

    /// Runs `sum`, counting its time as that of exchanging gradients.
    pub(crate) fn exchange<R>(&mut self, sum: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = sum();
        *self.exchanged.get_or_insert_default() += start.elapsed();
        result
    }

    /// Counts what sums over processes took, waited for or not.
    pub(crate) fn exchanged(&mut self, took: Option<Duration>) {
        if let Some(took) = took {
            *self.summed.get_or_insert_default() += took;
        }
    }

    /// Counts the images of a step, and the rows that its predictions are about.
    pub(crate) fn count<T>(&mut self, sums: &Sums<T>) {
        self.images += sums.images() as u64;
        self.rows += sums.rows() as u64;
    }

    /// Counts a step; returns the report when one is due after `step` steps.
    pub(crate) fn step(&mut self, step: u64, epoch: u64, lr: f64, measured: Measured) -> Option<StepReport> {
        self.steps += 1;
        self.loss += measured.loss;
        if let Some(right) = measured.right {
            *self.right.get_or_insert(0.0) += right;
        }
        self.grad_norm += measured.grad_norm;
        measured.terms.into_iter().for_each(|(name, value)| *self.extra.entry(name).or_default() += value);
        let due = step.is_multiple_of(self.every) || step == self.total;
        due.then(|| self.report(step, epoch, lr))
    }

    fn report(&mut self, step: u64, epoch: u64, lr: f64) -> StepReport {
        let (n, seconds) = (self.steps as f64, self.since.elapsed().as_secs_f64());
        let mut extra = std::mem::take(&mut self.extra);
        extra.values_mut().for_each(|v| *v /= n);
        let accuracy = self.right.map(|right| right / self.rows as f64);
        if let (Some(accuracy), Some(&baseline)) = (accuracy, extra.get(BASELINE)) {
            extra.insert("gap", share_of_gap(accuracy, baseline));
        }
        let report = StepReport {
            phase: self.phase,
            step,
            total: self.total,
            epoch,
            loss: self.loss / n,
            accuracy,
            lr,
            grad_norm: Some(self.grad_norm / n),
            images_per_second: self.images as f64 / seconds,
            data_wait: self.waited.as_secs_f64() / seconds,
            batches_ready: (self.asked > 0).then(|| self.ready as f64 / self.asked as f64),
            exchange: self.exchanged.map(|time| time.as_secs_f64() / seconds),
            exchange_hidden: self.summed.zip(self.exchanged).map(|(summed, waited)| hidden(summed, waited)),
            extra,
        };
        *self = Self::new(self.phase, self.total, self.every);
        report
    }
}

/// The share of the time of sums in which nobody waited for them.
fn hidden(summed: Duration, waited: Duration) -> f64 {
    let [summed, waited] = [summed, waited].map(|time| time.as_secs_f64());
    if summed > 0.0 { (1.0 - waited / summed).max(0.0) } else { 0.0 }
}
