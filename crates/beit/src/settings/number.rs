//! The numbers of flags: finite, and of a size that leads somewhere.

use crate::error::{Result, setting};
use std::fmt::{Display, LowerExp};
use std::ops::{Bound, RangeBounds};

/// Refuses a number that is NaN, infinite or outside a range; `what` it is meant as is named with the flag.
pub(crate) fn within<V: Copy + Display + LowerExp + Into<f64>>(
    flag: &str,
    what: &str,
    value: V,
    range: impl RangeBounds<f64>,
) -> Result<()> {
    let number = value.into();
    if number.is_finite() && range.contains(&number) {
        return Ok(());
    }
    let found = shown(value);
    setting!("{flag} {found}: expected {what} {}, found {found}", words(&range))
}

/// A number as somebody would write it, not with three hundred digits.
fn shown<V: Copy + Display + LowerExp + Into<f64>>(value: V) -> String {
    let size = value.into().abs();
    let usual = size == 0.0 || !size.is_finite() || (1e-5..1e7).contains(&size);
    if usual { value.to_string() } else { format!("{value:e}") }
}

/// A range in words.
fn words(range: &impl RangeBounds<f64>) -> String {
    let least = match range.start_bound() {
        Bound::Included(least) => format!("of at least {least}"),
        Bound::Excluded(least) => format!("of more than {least}"),
        Bound::Unbounded => "that is finite".to_owned(),
    };
    match range.end_bound() {
        Bound::Included(most) => format!("{least} and at most {most}"),
        Bound::Excluded(most) => format!("{least} and less than {most}"),
        Bound::Unbounded => least,
    }
}

/// More than 0 and at most 1.
pub(crate) const SHARE: (Bound<f64>, Bound<f64>) = (Bound::Excluded(0.0), Bound::Included(1.0));
/// More than 0 and less than 1.
pub(crate) const PART: (Bound<f64>, Bound<f64>) = (Bound::Excluded(0.0), Bound::Excluded(1.0));
/// AdamW moves every weight by about the learning rate in each step, and weights are far below 1: from here on a run only
/// destroys.
pub(crate) const RATE: std::ops::RangeInclusive<f64> = 0.0..=1.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_outside_every_range() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for result in [
                within("--x", "a number", bad, ..),
                within("--x", "a number", bad, 0.0..),
                within("--x", "a share", bad, SHARE),
                within("--x", "a rate", bad, RATE),
                within("--x", "a number", bad as f32, ..),
            ] {
                let text = result.expect_err("no number").to_string();
                assert!(text.starts_with(&format!("--x {bad}: expected a ")), "{text}");
                assert!(text.ends_with(&format!("found {bad}")), "{text}");
            }
        }
    }

    #[test]
    fn the_range_is_said() {
        let text = |result: Result<()>| result.expect_err("outside").to_string();
        assert_eq!(
            text(within("--lr", "a learning rate", 1e3, RATE)),
            "--lr 1000: expected a learning rate of at least 0 and at most 1, found 1000"
        );
        assert_eq!(
            text(within("--p", "a share", 0.0, PART)),
            "--p 0: expected a share of more than 0 and less than 1, found 0"
        );
        assert!(text(within("--lr", "a rate", 1e300, RATE)).ends_with("found 1e300"));
        assert!(text(within("--clip", "a norm", -1e-20f32, 0.0..)).starts_with("--clip -1e-20: "));
        for value in [0.0, 0.5, 1.0] {
            assert!(within("--lr", "a learning rate", value, RATE).is_ok());
        }
        assert!(within("--p", "a share", 1.0, PART).is_err() && within("--p", "a share", 1.0, SHARE).is_ok());
    }
}
