//! The official masks have the distribution measured on 200,000 masks of an independent implementation.
//!
//! Both sides are Monte-Carlo estimates from 200,000 masks, so a share p may differ by five standard errors of the
//! difference of two of them, 5 · sqrt(2 p (1 - p) / 200,000), plus half a unit of the last printed digit.

use beit_mask::{Config, Masker};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const MASKS: usize = 200_000;
const CELLS: usize = 14 * 14;
const TARGET: usize = 75;

/// What 200,000 masks look like.
struct Observed {
    /// How many masks have this many masked cells.
    counts: [usize; TARGET + 1],
    /// How many masks are made of this many blocks.
    blocks: [usize; 32],
    /// How many masks cover this cell.
    cells: [usize; CELLS],
}

fn observe() -> Observed {
    let masker = Masker::new(Config::official()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(42);
    let mut mask = [false; CELLS];
    let mut seen = Observed { counts: [0; TARGET + 1], blocks: [0; 32], cells: [0; CELLS] };
    for _ in 0..MASKS {
        let mut blocks = 0;
        let count = masker.fill_with(&mut rng, &mut mask, |rect| {
            assert!(rect.height < 14 && rect.width < 14, "{rect:?} spans the grid");
            blocks += 1;
        });
        assert_eq!(count, mask.iter().filter(|&&cell| cell).count());
        seen.counts[count] += 1;
        seen.blocks[blocks] += 1;
        seen.cells.iter_mut().zip(mask).for_each(|(sum, cell)| *sum += usize::from(cell));
    }
    seen
}

fn assert_share(name: &str, found: usize, expected: f64, digit: f64) {
    let found = found as f64 / MASKS as f64;
    let allowed = 5.0 * (2.0 * expected * (1.0 - expected) / MASKS as f64).sqrt() + digit / 2.0;
    assert!(
        (found - expected).abs() <= allowed,
        "{name}: found {found:.4}, expected {expected} +- {allowed:.4}"
    );
}

/// Mean and standard deviation of the index of a histogram.
fn moments(histogram: &[usize]) -> (f64, f64) {
    let moment = |power: i32| {
        histogram.iter().enumerate().map(|(i, &n)| (i as f64).powi(power) * n as f64).sum::<f64>()
            / MASKS as f64
    };
    let mean = moment(1);
    (mean, (moment(2) - mean * mean).sqrt())
}

#[test]
fn official_masks_have_the_official_distribution() {
    let seen = observe();
    check_counts(&seen);
    check_blocks(&seen);
    for (name, cell, expected) in
        [("corner", 0, 0.041), ("middle of an edge", 7, 0.191), ("centre", 7 * 14 + 7, 0.714)]
    {
        assert_share(name, seen.cells[cell], expected, 0.001);
    }
}

fn check_counts(seen: &Observed) {
    let (mean, sd) = moments(&seen.counts);
    // Five standard errors of the difference of two means, 5 · 0.991 · sqrt(2 / 200,000) = 0.0157.
    assert!((mean - 74.471).abs() < 0.016, "mean {mean}");
    // The tail is heavy (kurtosis about 14), which makes the standard error of this deviation about 0.006.
    assert!((sd - 0.991).abs() < 0.03, "sd {sd}");
    for (count, expected) in [(75, 0.666), (74, 0.231), (73, 0.049), (72, 0.035)] {
        assert_share(&format!("{count} cells"), seen.counts[count], expected, 0.001);
    }
    assert_share("below 70 cells", seen.counts[..70].iter().sum(), 0.0039, 0.0001);
    let least = seen.counts.iter().position(|&n| n > 0).unwrap();
    assert!((60..=66).contains(&least), "least {least}");
}

fn check_blocks(seen: &Observed) {
    let (mean, _) = moments(&seen.blocks);
    // Deviation 1.4 blocks: five standard errors are 0.022, and the mean is known to 0.005.
    assert!((mean - 4.12).abs() < 0.03, "mean number of blocks {mean}");
    let expected = [0.012, 0.121, 0.226, 0.267, 0.206, 0.109, 0.042, 0.013];
    for (blocks, expected) in (1..).zip(expected) {
        assert_share(&format!("{blocks} blocks"), seen.blocks[blocks], expected, 0.001);
    }
}
