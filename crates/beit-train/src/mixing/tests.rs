use super::*;
use beit_data::{Purpose, sample_rng};
use beit_ops::{CrossEntropyOps, Device, Host, Targets};

fn rng(number: u64) -> SampleRng {
    sample_rng(3, 0, number, Purpose::Mix)
}

fn draws(mixing: &Mixing, count: u64) -> Vec<Mix> {
    (0..count).map(|number| mixing.draw([224, 224], &mut rng(number)).expect("numbers fit")).collect()
}

/// By timm 0.3.2, `cutmix_bbox_and_lam`, where numpy draws these centres.
#[test]
fn patches_are_timms() {
    let rows = [
        ([224, 224], 0.0, [60, 151], [0..172, 39..224], 0.36583227040816324),
        ([224, 224], 0.1, [139, 33], [33..224, 0..139], 0.47088249362244894),
        ([224, 224], 0.37, [94, 154], [6..182, 66..224], 0.4457908163265306),
        ([224, 224], 0.999, [155, 3], [152..158, 0..6], 0.9992825255102041),
        ([8, 8], 0.0, [7, 4], [3..8, 0..8], 0.375),
        ([8, 8], 0.9, [3, 2], [2..4, 1..3], 0.9375),
        ([8, 8], 0.999, [6, 0], [6..6, 0..0], 1.0),
        ([5, 9], 0.0, [2, 7], [0..4, 3..9], 0.4666666666666667),
        ([5, 9], 0.37, [3, 6], [2..4, 3..9], 0.7333333333333334),
    ];
    for (size, share, centre, patch, corrected) in rows {
        let expected = Mix { share: corrected, patch: Some(patch) };
        assert_eq!(Mix::cut(size, share, centre), expected, "{size:?} {share}");
    }
}

#[test]
fn kinds_and_shares_have_their_distribution() {
    let mixes = draws(&Mixing { probability: 0.75, switch_probability: 0.25, ..Mixing::STANDARD }, 40_000);
    let whole = mixes.iter().filter(|mix| mix.share == 1.0 && mix.patch.is_none()).count();
    let cut = mixes.iter().filter(|mix| mix.patch.is_some()).count();
    // Five standard errors of 40,000 coins of 1/4 and 3/16.
    assert!(whole.abs_diff(10_000) < 434 && cut.abs_diff(7500) < 391, "{whole} {cut}");

    let shares = |mixes: &[Mix]| {
        let shares: Vec<f64> = mixes.iter().map(|mix| mix.share).collect();
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / shares.len() as f64;
        (mean, variance)
    };
    // The variance of Beta(α, α) is 1 / (4 (2 α + 1)); its error is below 0.1 / sqrt(20,000).
    for alpha in [0.2, 0.8, 1.0, 4.0] {
        let mixing = Mixing { mixup: alpha, cutmix: 0.0, ..Mixing::STANDARD };
        let (mean, variance) = shares(&draws(&mixing, 20_000));
        let expected = 0.25 / (2.0 * alpha + 1.0);
        assert!(
            (mean - 0.5).abs() < 0.018 && (variance - expected).abs() < 0.0036,
            "{alpha}: {mean} {variance}"
        );
    }
    let cut = draws(&Mixing { mixup: 0.0, ..Mixing::STANDARD }, 5000);
    assert!(cut.iter().all(|mix| mix.patch.is_some()), "there is CutMix alone");
}

#[test]
fn extremes_can_be_drawn_and_others_are_refused() {
    for alpha in [Mixing::LEAST, Mixing::MOST] {
        let mixing = Mixing { mixup: alpha, cutmix: alpha, ..Mixing::STANDARD };
        assert!(draws(&mixing, 2000).iter().all(|mix| (0.0..=1.0).contains(&mix.share)), "{alpha}");
    }
    for (mixing, says) in [
        (Mixing { mixup: -0.5, ..Mixing::STANDARD }, "mixup -0.5: expected 0 for none, or 0.001 to 1000"),
        (Mixing { cutmix: f64::NAN, ..Mixing::STANDARD }, "cutmix NaN: expected 0 for none"),
        (Mixing { mixup: 1e-9, ..Mixing::STANDARD }, "mixup 0.000000001: "),
        (Mixing { probability: 1.5, ..Mixing::STANDARD }, "mixup-prob 1.5: expected a probability"),
        (Mixing { switch_probability: f64::NAN, ..Mixing::STANDARD }, "mixup-switch-prob NaN: "),
    ] {
        let error = mixing.draw([8, 8], &mut rng(0)).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn images_are_averaged_or_cut() {
    // Three images of one channel, 2 x 3; of an odd number the middle one stays.
    let images: Vec<f32> = (0..18).map(|i| i as f32).collect();
    let averaged = Mix { share: 0.75, patch: None }.images(&images, 3, [2, 3]);
    let expected: Vec<f32> = (0..18).map(|i| [i as f32 + 3.0, i as f32, i as f32 - 3.0][i / 6]).collect();
    assert_eq!(averaged, expected);
    let cut = Mix { share: 2.0 / 3.0, patch: Some([0..2, 1..2]) }.images(&images, 3, [2, 3]);
    let (first, last) = ([0.0, 13.0, 2.0, 3.0, 16.0, 5.0], [12.0, 1.0, 14.0, 15.0, 4.0, 17.0]);
    assert_eq!([&cut[..6], &cut[6..12], &cut[12..]], [&first[..], &images[6..12], &last[..]]);
    assert_eq!(Mix { share: 1.0, patch: None }.images(&images, 3, [2, 3]), images);
}

/// The loss is linear in the target, so that of mixed labels is the mean of those of both.
#[test]
fn the_loss_is_the_mean_of_both_labels_losses() {
    let ops = Host::<f64>::new();
    let (rows, classes, smoothing, share) = (6, 7, 0.1, 0.3);
    let values: Vec<f32> = (0..rows * classes).map(|i| ((i * i * 29) % 101) as f32 / 25.0 - 2.0).collect();
    let logits = ops.upload([rows, classes], &values);
    let labels = [3, 0, 5, 5, 0, 1];
    let loss = |labels: &[u32]| {
        let ids = ops.upload_ids(labels);
        let (metrics, lse) = ops.cross_entropy(&logits, &Targets::Classes { ids: &ids, smoothing });
        let d = ops.cross_entropy_backward(&logits, &Targets::Classes { ids: &ids, smoothing }, &lse, 1.0);
        (metrics[0], d)
    };
    let reversed: Vec<u32> = labels.iter().rev().copied().collect();
    let ((own, d_own), (other, d_other)) = (loss(&labels), loss(&reversed));

    let mixed = Mix { share, patch: None }.targets(&labels, classes, smoothing);
    for row in mixed.chunks(classes) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{row:?}");
    }
    let mixed = ops.upload([rows, classes], &mixed);
    let (metrics, lse) = ops.cross_entropy(&logits, &Targets::Probabilities(&mixed));
    // The targets are rounded to single precision.
    assert!((metrics[0] - (share * own + (1.0 - share) * other)).abs() < 1e-6);
    let d = ops.cross_entropy_backward(&logits, &Targets::Probabilities(&mixed), &lse, 1.0);
    for ((d, own), other) in d.iter().zip(&d_own).zip(&d_other) {
        assert!((d - (share * own + (1.0 - share) * other)).abs() < 1e-7);
    }
}

#[test]
fn the_label_of_the_larger_share_is_the_right_one() {
    let ops = Host::<f64>::new();
    let (labels, classes) = ([3, 0, 5, 1], 7);
    let others = [1, 5, 0, 3];
    let right = |share: f64, named: [u32; 4]| {
        let targets = Mix { share, patch: None }.targets(&labels, classes, 0.1);
        let (mut logits, targets) = (vec![0.0; 4 * classes], ops.upload([4, classes], &targets));
        named.iter().enumerate().for_each(|(row, &class)| logits[row * classes + class as usize] = 1.0);
        ops.cross_entropy(&ops.upload([4, classes], &logits), &Targets::Probabilities(&targets)).0[1]
    };
    assert_eq!([right(0.7, labels), right(0.7, others)], [4.0, 0.0]);
    assert_eq!([right(0.3, labels), right(0.3, others)], [0.0, 4.0]);
}
