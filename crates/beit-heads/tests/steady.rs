//! A training step that has been taken before asks the system for no buffer, and stays within what was planned.
#![allow(unsafe_code)]

use beit_heads::{Classifier, ClassifierConfig, Mim, MimConfig, Pooling, masked_rows};
use beit_ops::prelude::*;
use beit_ops::{AdamW, Host, Plan, Targets, Tree};
use beit_vit::{Config, Input, Keep, Preset};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is smaller is a list of tasks or of views, not a buffer of numbers.
const BUFFER: usize = 32 * 1024;

static ASKED: AtomicUsize = AtomicUsize::new(0);
/// What was asked for last.
static SIZES: [AtomicUsize; 32] = [const { AtomicUsize::new(0) }; 32];
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting.
struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= BUFFER {
            let n = ASKED.fetch_add(1, Ordering::Relaxed);
            SIZES[n % SIZES.len()].store(layout.size(), Ordering::Relaxed);
        }
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A model, its gradients and moments, and a batch.
struct Training<O: Ops> {
    params: Mim<O::Tensor>,
    grads: Mim<O::Tensor>,
    moments: [Mim<O::Tensor>; 2],
    images: O::Tensor,
    mask: O::Tensor,
    rows: O::Ids,
    codes: O::Ids,
}

impl<O: Ops> Training<O> {
    fn new(ops: &O, preset: Preset, batch: usize) -> Self {
        let vit = Config { drop_path: 0.0, ..Config::new(preset) };
        let config = MimConfig { vit, vocab: if preset == Preset::Tiny { 512 } else { 8192 } };
        let (n, [height, width]) = (config.vit.patches(), config.vit.image);
        let params = Mim::shapes(&config).map(&mut |shape| ops.upload(*shape, &vec![0.01; shape.elements()]));
        let grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
        let moments = [(); 2].map(|()| params.map(&mut |p| ops.zeros(ops.shape(p))));
        let masks: Vec<bool> = (0..batch * n).map(|i| i % 5 < 2).collect();
        let rows = masked_rows(&masks, n);
        let numbers: Vec<f32> = masks.iter().map(|&m| f32::from(m)).collect();
        Self {
            params,
            grads,
            moments,
            images: ops.upload([batch, 3, height, width], &vec![0.5; batch * 3 * height * width]),
            mask: ops.upload([batch, n], &numbers),
            codes: ops.upload_ids(&vec![7; rows.len()]),
            rows: ops.upload_ids(&rows),
        }
    }

    fn step(&mut self, ops: &O) {
        let input = Input { images: &self.images, mask: Some(&self.mask), drop_path: None };
        let (logits, saved) = self.params.forward(ops, &input, &self.rows, Keep::ALL);
        let targets = Targets::Classes { ids: &self.codes, smoothing: 0.0 };
        let (_, lse) = ops.cross_entropy(&logits, &targets);
        let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, 1.0);
        self.params.backward(ops, &input, &d_logits, saved, &mut self.grads);
        drop((logits, d_logits));
        let clip = ops.clip_factor(&self.grads.leaves(), Some(3.0), 1.0);
        let hyper = AdamW { lr: 1e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.05, step: 1 };
        let [first, second] = &mut self.moments;
        let moments = first.leaves_mut().into_iter().zip(second.leaves_mut()).map(|(m, v)| [m, v]);
        let moments: Vec<_> = moments.collect();
        let hyper = vec![hyper; moments.len()];
        ops.adamw_all(self.params.leaves_mut(), self.grads.leaves_mut(), moments, &clip, &hyper);
    }
}

/// What is counted is counted for the whole process: one test at a time.
static COUNTED: Mutex<()> = Mutex::new(());

/// Asserts that three steps after the first three ask for no buffer, and that all of them keep to the plan.
fn trains_as_planned(preset: Preset, batch: usize) {
    let _alone = COUNTED.lock();
    let plan = Plan::default();
    Training::new(&plan, preset, batch).step(&plan);

    let before = begin();
    let ops = Host::<f32>::new();
    let mut training = Training::new(&ops, preset, batch);
    (0..3).for_each(|_| training.step(&ops));
    let asked = ASKED.load(Ordering::Relaxed);
    (0..3).for_each(|_| training.step(&ops));
    let sizes =
        (asked..ASKED.load(Ordering::Relaxed)).map(|n| SIZES[n % SIZES.len()].load(Ordering::Relaxed));
    let sizes: Vec<_> = sizes.collect();
    assert!(sizes.is_empty(), "three steady steps asked for buffers of {sizes:?} bytes");
    keeps_to(&plan, before);
}

/// Bytes that live now; the peak begins here.
fn begin() -> usize {
    let live = LIVE.load(Ordering::Relaxed);
    PEAK.store(live, Ordering::Relaxed);
    live
}

fn keeps_to(plan: &Plan, before: usize) {
    let (peak, planned) = (PEAK.load(Ordering::Relaxed) - before, plan.peak_bytes());
    let ratio = peak as f64 / planned as f64;
    assert!(ratio > 0.9 && ratio < 1.1, "{peak} bytes at most, {planned} planned: {ratio:.3}");
}

#[test]
fn a_steady_step_allocates_nothing_and_keeps_to_the_plan() {
    trains_as_planned(Preset::Tiny, 16);
}

#[test]
#[ignore = "a minute, and alone in its process: scripts/slow"]
fn a_step_of_base_keeps_to_the_plan() {
    trains_as_planned(Preset::Base, 8);
}

/// Three times, so that the weights keep their copies.
fn infers_as_planned(preset: Preset, batch: usize) {
    fn three_times<O: Ops>(ops: &O, preset: Preset, batch: usize) {
        let vit = Config { drop_path: 0.0, ..Config::new(preset) };
        let config = ClassifierConfig::on(vit, 1000, Pooling::Mean);
        let params =
            Classifier::shapes(&config).map(&mut |shape| ops.upload(*shape, &vec![0.01; shape.elements()]));
        let [height, width] = config.vit.image;
        let images = ops.upload([batch, 3, height, width], &vec![0.5; batch * 3 * height * width]);
        for _ in 0..3 {
            params.infer(ops, &images);
        }
    }
    let _alone = COUNTED.lock();
    let plan = Plan::default();
    three_times(&plan, preset, batch);
    let before = begin();
    three_times(&Host::<f32>::new(), preset, batch);
    keeps_to(&plan, before);
}

#[test]
#[ignore = "a minute, and alone in its process: scripts/slow"]
fn inference_of_base_keeps_to_the_plan() {
    infers_as_planned(Preset::Base, 8);
}
