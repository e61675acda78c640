//! RandAugment as timm writes it: `rand-m9-n2-mstd0.5-inc1`.

use super::{AugmentLevel, RandAugment};
use std::fmt;
use std::str::FromStr;

/// The most operations of a picture: as many as there are kinds.
const MOST_LAYERS: usize = 15;
/// The greatest deviation, beyond which magnitudes are the least or the greatest.
const MOST_DEVIATION: f64 = 10.0;

/// Where nothing is said, timm's usual: magnitude 10, two operations, no deviation.
impl FromStr for RandAugment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut sections = text.split('-');
        if sections.next() != Some("rand") {
            return Err(format!(
                "expected what begins with rand, as rand-m9-mstd0.5-inc1 does, found '{text}'"
            ));
        }
        let usual = Self { magnitude: AugmentLevel::MOST, deviation: 0.0, layers: 2, increasing: false };
        sections.try_fold(usual, Self::with)
    }
}

impl RandAugment {
    /// With what one section says: letters, then a number.
    fn with(mut self, section: &str) -> Result<Self, String> {
        let digits = section.find(|c: char| c.is_ascii_digit()).unwrap_or(section.len());
        let (key, number) = section.split_at(digits);
        match key {
            "m" => self.magnitude = f64::from(whole::<u8>(section, number, 0..=AugmentLevel::MOST as u8)?),
            "n" => self.layers = whole(section, number, 1..=MOST_LAYERS)?,
            "mstd" => self.deviation = deviation(section, number)?,
            // timm takes every number for a yes, 0 too.
            "inc" => self.increasing = whole(section, number, 1..=1).map(|_: u8| true)?,
            "w" => {
                return Err(format!(
                    "'{section}': operations of unequal weight are not there; leave it out, and all are drawn alike"
                ));
            }
            _ => {
                return Err(format!(
                    "'{section}': expected m (magnitude), n (operations), mstd (deviation) or inc1, each with its number, as in \
                     rand-m9-n2-mstd0.5-inc1"
                ));
            }
        }
        Ok(self)
    }
}

/// A whole number within a range.
fn whole<T: FromStr + PartialOrd + fmt::Display>(
    section: &str,
    number: &str,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, String> {
    let found = number.parse().ok().filter(|found| range.contains(found));
    let expected = || {
        let (least, most) = (range.start(), range.end());
        if least == most { format!("{least}") } else { format!("a whole number of {least} to {most}") }
    };
    found.ok_or_else(|| format!("'{section}': expected {}, found '{number}'", expected()))
}

fn deviation(section: &str, number: &str) -> Result<f64, String> {
    let found = number.parse().ok().filter(|found| (0.0..=MOST_DEVIATION).contains(found));
    found.ok_or_else(|| format!("'{section}': expected a number of 0 to {MOST_DEVIATION}, found '{number}'"))
}

/// In timm's words, so that it is read back as it was.
impl fmt::Display for RandAugment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { magnitude, deviation, layers, increasing } = *self;
        write!(f, "rand-m{magnitude}")?;
        if layers != 2 {
            write!(f, "-n{layers}")?;
        }
        if deviation != 0.0 {
            write!(f, "-mstd{deviation}")?;
        }
        f.write_str(if increasing { "-inc1" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let usual = RandAugment { magnitude: 10.0, deviation: 0.0, layers: 2, increasing: false };
        for (text, expected) in [
            ("rand-m9-mstd0.5-inc1", RandAugment::STANDARD),
            ("rand-m10", usual),
            ("rand-m7-n3", RandAugment { magnitude: 7.0, layers: 3, ..usual }),
            ("rand-m0-mstd1-inc1", RandAugment { magnitude: 0.0, deviation: 1.0, increasing: true, ..usual }),
        ] {
            assert_eq!(text.parse(), Ok(expected));
            assert_eq!(expected.to_string(), text);
        }
        assert_eq!("rand".parse(), Ok(usual));
        assert_eq!("rand-inc1-mstd0.5-m9".parse(), Ok(RandAugment::STANDARD));
    }

    #[test]
    fn what_it_cannot_be_is_named() {
        for (text, says) in [
            ("", "expected what begins with rand"),
            ("augmix-m3", "found 'augmix-m3'"),
            ("rand-m11", "'m11': expected a whole number of 0 to 10, found '11'"),
            ("rand-m9.5", "'m9.5': expected a whole number of 0 to 10, found '9.5'"),
            ("rand-m", "'m': expected a whole number of 0 to 10, found ''"),
            ("rand-n0", "'n0': expected a whole number of 1 to 15"),
            ("rand-mstd-1", "'mstd': expected a number of 0 to 10, found ''"),
            ("rand-mstd1e9", "'mstd1e9': expected a number of 0 to 10"),
            ("rand-inc0", "'inc0': expected 1, found '0'"),
            ("rand-m9-w0", "'w0': operations of unequal weight are not there; leave it out"),
            ("rand-p0.5", "'p0.5': expected m (magnitude)"),
            ("rand-", "'': expected m (magnitude)"),
            ("rand-é9", "'é9': expected m (magnitude)"),
        ] {
            let error = text.parse::<RandAugment>().expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
