//! The memory that a step keeps on a GPU is what `Plan` says before it runs. A program of its own: other tests would be counted.

use beit_heads::{Mim, MimConfig};
use beit_ops::prelude::*;
use beit_ops::{Footprint, Plan, Targets, Tree};
use beit_tests::wgpu;
use beit_vit::{Config, Input, Keep, Preset};

const BATCH: usize = 8;
const MASKED: usize = 20 * BATCH;

/// Bytes alive with parameters, gradients and moments; after the forward pass as well; after the backward pass; and after all
/// of the step's tensors are gone.
fn live<O: Ops>(ops: &O, keep: Keep, bytes: impl Fn() -> u64) -> [u64; 4] {
    let config = MimConfig { vit: Config::new(Preset::Tiny), vocab: 512 };
    let params = Mim::shapes(&config).map(&mut |shape| ops.upload(*shape, &vec![0.01; shape.elements()]));
    let [mut grads, _first, _second] = [(); 3].map(|()| params.map(&mut |param| ops.zeros(ops.shape(param))));
    let vit = &config.vit;
    let images = ops.zeros([BATCH, 3, vit.image[0], vit.image[1]]);
    let mask = ops.zeros([BATCH, vit.patches()]);
    let rows = ops.upload_ids(&(0..MASKED as u32).collect::<Vec<_>>());
    let ids = ops.upload_ids(&vec![0; MASKED]);
    let input = Input { images: &images, mask: Some(&mask), drop_path: None };
    let before = bytes();
    let (logits, saved) = params.forward(ops, &input, &rows, keep);
    let forward = bytes();
    let targets = Targets::Classes { ids: &ids, smoothing: 0.0 };
    let (_, lse) = ops.cross_entropy(&logits, &targets);
    let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, 1.0);
    params.backward(ops, &input, &d_logits, saved, &mut grads);
    let backward = bytes();
    drop((logits, lse, d_logits));
    [before, forward, backward, bytes()]
}

#[test]
fn a_step_keeps_what_is_planned() {
    let Some(gpu) = wgpu() else { return };
    let in_use = || {
        gpu.sync().expect("the device works");
        gpu.memory().expect("the device works")[0]
    };
    for keep in [Keep::ALL, Keep::INPUTS] {
        let base = in_use();
        let plan = Plan::new(Footprint::gpu(4));
        let want = live(&plan, keep, || plan.live_bytes() as u64);
        let got = live(&gpu, keep, || in_use() - base);
        for (moment, (want, got)) in want.into_iter().zip(got).enumerate() {
            let off = (got as f64 - want as f64).abs() / want as f64;
            assert!(off < 0.1, "{keep:?}, moment {moment}: planned {want} bytes, {got} in use");
        }
    }
}
