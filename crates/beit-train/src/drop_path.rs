//! Stochastic depth: which images skip which branch.

use beit_data::{Purpose, sample_rng};
use beit_ops::Ops;
use beit_vit::{Config, DropPath};
use rand::RngExt;

/// Draws the factors of every branch for the images of one batch: 0 with the block's rate, else `1 / (1 - rate)`; the branches of
/// a block draw independently. `None` where the rate is 0 everywhere.
///
/// The draws of an image depend on (seed, epoch, its index) only.
pub fn drop_path<O: Ops>(
    ops: &O,
    config: &Config,
    seed: u64,
    epoch: u64,
    images: &[usize],
) -> Option<DropPath<O::Tensor>> {
    if config.drop_path == 0.0 {
        return None;
    }
    let batch = images.len();
    let mut keep = vec![[vec![0.0; batch], vec![0.0; batch]]; config.depth];
    for (b, &image) in images.iter().enumerate() {
        let mut rng = sample_rng(seed, epoch, image as u64, Purpose::DropPath);
        for (i, branches) in keep.iter_mut().enumerate() {
            let rate = config.drop_path_rate(i);
            for branch in branches {
                let kept = rng.random::<f32>() >= rate;
                branch[b] = if kept { 1.0 / (1.0 - rate) } else { 0.0 };
            }
        }
    }
    let upload = |branch: Vec<f32>| ops.upload([batch], &branch);
    Some(DropPath(keep.into_iter().map(|branches| branches.map(upload)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use beit_ops::Host;
    use beit_vit::Preset;

    #[test]
    fn rates_and_independence() {
        let ops = Host::<f32>::new();
        let config = Config { drop_path: 0.4, ..Config::new(Preset::Tiny) };
        let images: Vec<usize> = (0..4000).collect();
        let DropPath(keep) = drop_path(&ops, &config, 1, 0, &images).expect("the rate is not 0");
        assert!(keep[0].iter().flatten().all(|&k| k == 1.0), "block 0 drops nothing");
        for branch in &keep[3] {
            let dropped = branch.iter().filter(|&&k| k == 0.0).count() as f64 / 4000.0;
            // The deviation of the share is sqrt(0.4 · 0.6 / 4000) = 0.008.
            assert!((dropped - 0.4).abs() < 0.04, "{dropped}");
        }
        assert_ne!(keep[3][0], keep[3][1]);

        // An image's draws do not depend on the batch it is in.
        let DropPath(alone) = drop_path(&ops, &config, 1, 0, &[17]).expect("the rate is not 0");
        assert_eq!(alone[2][1][0], keep[2][1][17]);
        assert!(drop_path(&ops, &Config { drop_path: 0.0, ..config }, 1, 0, &[17]).is_none());
    }
}
