//! A step of so many images, in micro-batches.

use super::Batches;
use crate::error::{Result, setting};

/// So many numbers are named to who asked for one that does not divide.
const NAMED: usize = 8;

/// Images of a micro-batch, and micro-batches over all processes, of steps of so many images.
pub(super) fn divide(
    images: u64,
    ranks: u64,
    batch_size: Option<usize>,
    update_freq: Option<u64>,
) -> Result<(usize, u64)> {
    if images == 0 || !images.is_multiple_of(ranks) {
        setting!(
            "--global-batch {images}: {ranks} processes share the images of a step evenly; expected a multiple of {ranks}, such as {}, or a \
             number of processes that divides {images}: {}",
            images.div_ceil(ranks).max(1).saturating_mul(ranks),
            listed(images, u64::MAX)
        );
    }
    let each = images / ranks;
    let batch = match (batch_size, update_freq) {
        (Some(batch), Some(parts)) if batch as u64 * parts == images => batch as u64,
        (Some(batch), Some(parts)) => setting!(
            "--batch-size {batch} and --update-freq {parts} make steps of {} images, and --global-batch is {images}: leave one of the three out",
            batch as u64 * parts
        ),
        (Some(batch), None) => batch as u64,
        (None, Some(parts)) => images.checked_div(parts).unwrap_or(0),
        (None, None) => divisors(each).filter(|&batch| batch <= Batches::LARGE as u64).max().unwrap_or(1),
    };
    if batch == 0 || !each.is_multiple_of(batch) || update_freq.is_some_and(|parts| batch * parts != images) {
        setting!(
            "--global-batch {images} over {ranks} processes is {each} images for each: expected a --batch-size that divides these, found \
             {}; {} do",
            batch_size.map_or_else(
                || format!("--update-freq {}", update_freq.unwrap_or(0)),
                |batch| batch.to_string()
            ),
            listed(each, batch)
        );
    }
    Ok((usize::try_from(batch).unwrap_or(usize::MAX), images / batch))
}

/// The divisors of a number that are nearest to another.
fn listed(number: u64, near: u64) -> String {
    let mut all: Vec<u64> = divisors(number).collect();
    all.sort_unstable_by_key(|divisor| divisor.abs_diff(near));
    all.truncate(NAMED);
    all.sort_unstable();
    all.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// Of numbers that no step reaches, the small ones.
fn divisors(number: u64) -> impl Iterator<Item = u64> {
    const MOST: u64 = 1 << 20;
    (1..=number.min(MOST)).filter(move |divisor| number.is_multiple_of(*divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_as_many_images_however_it_is_shared() {
        for (ranks, batch_size, update_freq, expected) in [
            (1, Some(128), None, (128, 16)),
            (16, Some(128), None, (128, 16)),
            (1, Some(8), None, (8, 256)),
            (4, None, Some(64), (32, 64)),
            (2, Some(128), Some(16), (128, 16)),
            (1, None, None, (64, 32)),
            (256, None, None, (8, 256)),
        ] {
            assert_eq!(divide(2048, ranks, batch_size, update_freq).expect("it divides"), expected);
        }
    }

    #[test]
    fn what_divides_is_named() {
        for (images, ranks, batch_size, update_freq, says) in [
            (
                2048,
                3,
                None,
                None,
                "--global-batch 2048: 3 processes share the images of a step evenly; expected a multiple of 3, such as 2049",
            ),
            (0, 1, None, None, "--global-batch 0: "),
            (96, 4, Some(10), None, "found 10; 1, 2, 3, 4, 6, 8, 12, 24 do"),
            (
                2048,
                32,
                Some(128),
                None,
                "is 64 images for each: expected a --batch-size that divides these, found 128; 1, 2, 4, 8, 16, 32, 64 do",
            ),
            (2048, 1, Some(128), Some(8), "make steps of 1024 images, and --global-batch is 2048"),
            (96, 1, None, Some(7), "found --update-freq 7; "),
            (96, 1, None, Some(0), "found --update-freq 0; "),
            (96, 1, Some(0), None, "found 0; "),
            // Micro-batches that processes cannot share.
            (96, 4, Some(48), None, "is 24 images for each"),
        ] {
            let error = divide(images, ranks, batch_size, update_freq).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
