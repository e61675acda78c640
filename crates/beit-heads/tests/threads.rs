//! One thread and many give the same bits.

use beit_heads::{Mim, MimConfig, masked_rows};
use beit_ops::init::Stream;
use beit_ops::prelude::*;
use beit_ops::{Host, Targets, Tree};
use beit_vit::{Config, Input, Keep, Preset};

/// Loss, logits and every gradient of one step, as bits.
fn step() -> Vec<u32> {
    let ops = Host::<f32>::new();
    let config = MimConfig { vit: Config::new(Preset::Tiny), vocab: 64 };
    let params = Mim::init(&ops, &config, 3);
    let images = ops.upload([5, 3, 28, 28], &Stream::new(1, 1).normals(5 * 3 * 28 * 28, 1.0));
    let masks: Vec<bool> = (0..5 * 49).map(|i| i % 3 == 0).collect();
    let mask = ops.upload([5, 49], &masks.iter().map(|&m| f32::from(m)).collect::<Vec<_>>());
    let rows = masked_rows(&masks, 49);
    let codes = ops.upload_ids(&rows.iter().map(|row| row * 7 % 64).collect::<Vec<_>>());
    let rows = ops.upload_ids(&rows);
    let input = Input { images: &images, mask: Some(&mask), drop_path: None };
    let targets = Targets::Classes { ids: &codes, smoothing: 0.0 };

    let (logits, saved) = params.forward(&ops, &input, &rows, Keep::ALL);
    let (metrics, lse) = ops.cross_entropy(&logits, &targets);
    let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, 1.0);
    let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
    params.backward(&ops, &input, &d_logits, saved, &mut grads);
    let clip = ops.clip_factor(&grads.leaves(), Some(1.0), 1.0);
    [&metrics, &logits, &clip].into_iter().chain(grads.leaves()).flatten().map(|v| v.to_bits()).collect()
}

#[test]
fn one_thread_and_many() {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        pool.install(step)
    };
    let one = with(1);
    assert!(one.len() > 400_000);
    for threads in [2, 3, 7] {
        assert!(with(threads) == one, "{threads} threads and one differ");
    }
}
