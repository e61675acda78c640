//! Features as rows, and what makes their dimensions alike.

use crate::error::{Result, unfit};

/// Features of images, `[images, width]`, row-major: a row each.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    width: usize,
}

impl<'a> Rows<'a> {
    /// `values [images, width]`.
    ///
    /// # Errors
    ///
    /// A width of 0, or values that are no whole rows.
    pub fn new(values: &'a [f32], width: usize) -> Result<Self> {
        if width == 0 || !values.len().is_multiple_of(width) {
            unfit!("expected rows of {width} features, at least 1, found {} values", values.len());
        }
        Ok(Self { values, width })
    }

    /// The extent of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many images there are.
    #[must_use]
    pub fn images(&self) -> usize {
        self.values.len() / self.width
    }

    /// `[images, width]`
    #[must_use]
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// The mean row, `[width]`; zeros where there is none.
    pub(crate) fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.width];
        for row in self.values.chunks_exact(self.width) {
            mean.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x) / self.images() as f64);
        }
        mean
    }

    /// Refuses labels that are not one for each row, and other rows of another width.
    pub(super) fn check(&self, labels: &[u32], others: Option<Rows<'_>>) -> Result<()> {
        if labels.len() != self.images() {
            unfit!("expected a label for each of {} rows of features, found {}", self.images(), labels.len());
        }
        match others {
            Some(others) if others.width != self.width => {
                unfit!("expected rows of {} features, found rows of {}", self.width, others.width)
            }
            _ => Ok(()),
        }
    }
}

/// Takes the mean of the training rows off every dimension of both, and divides by their deviation where it is not 0:
/// `x = (x - mean) / deviation`, `train [images, width]`, `others [images, width]`.
///
/// # Errors
///
/// A width of 0, or values that are no whole rows.
pub fn standardise(train: &mut [f32], others: &mut [f32], width: usize) -> Result<()> {
    let (rows, _) = (Rows::new(train, width)?, Rows::new(others, width)?);
    let (n, mean) = (rows.images() as f64, rows.mean());
    let mut variance = vec![0.0; width];
    for row in train.chunks_exact(width) {
        for ((sum, &x), mean) in variance.iter_mut().zip(row).zip(&mean) {
            *sum += (f64::from(x) - mean).powi(2) / n;
        }
    }
    // A dimension that differs by rounding only is constant: blown up it would be noise.
    let scale = |(variance, mean): (&f64, &f64)| {
        let constant = *variance <= (f64::from(f32::EPSILON) * mean).powi(2);
        if constant { 1.0 } else { variance.sqrt().recip() }
    };
    let scale: Vec<f64> = variance.iter().zip(&mean).map(scale).collect();
    for row in train.chunks_exact_mut(width).chain(others.chunks_exact_mut(width)) {
        for (x, (mean, scale)) in row.iter_mut().zip(mean.iter().zip(&scale)) {
            *x = ((f64::from(*x) - mean) * scale) as f32;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_standardised_by_the_training_rows() {
        let mut train = [1.0, 0.1, 3.0, 0.1];
        let mut others = [5.0, 1.1];
        standardise(&mut train, &mut others, 2).unwrap();
        assert_eq!((train, others), ([-1.0, 0.0, 1.0, 0.0], [3.0, 1.0]));
    }

    #[test]
    fn rows_must_be_whole() {
        assert!(Rows::new(&[0.0; 5], 2).is_err());
        assert!(Rows::new(&[], 0).is_err());
        let rows = Rows::new(&[0.0; 6], 2).unwrap();
        assert!(rows.check(&[0, 1], None).is_err());
        assert!(rows.check(&[0, 1, 0], Some(Rows::new(&[0.0; 3], 3).unwrap())).is_err());
    }
}
