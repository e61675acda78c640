use std::fmt;
use std::ops::Deref;

use crate::bands::MAX_CHANNELS;

/// A number for each of at most [`MAX_CHANNELS`] channels.
#[derive(Clone, Copy, PartialEq)]
pub struct PerChannel {
    /// Behind the last channel 0.
    values: [f32; MAX_CHANNELS],
    count: usize,
}

impl PerChannel {
    /// Of red, green and blue.
    #[must_use]
    pub const fn rgb([red, green, blue]: [f32; 3]) -> Self {
        let mut values = [0.0; MAX_CHANNELS];
        (values[0], values[1], values[2]) = (red, green, blue);
        Self { values, count: 3 }
    }

    /// These, at least one; `None` where there are none or too many.
    #[must_use]
    pub fn new(numbers: &[f32]) -> Option<Self> {
        let mut values = [0.0; MAX_CHANNELS];
        values.get_mut(..numbers.len()).filter(|values| !values.is_empty())?.copy_from_slice(numbers);
        Some(Self { values, count: numbers.len() })
    }

    /// The same number for so many channels, at least three and at most [`MAX_CHANNELS`]: a model of one channel has those of grey, three
    /// of the same.
    #[must_use]
    pub fn repeated(number: f32, channels: usize) -> Self {
        let count = channels.clamp(3, MAX_CHANNELS);
        Self { values: std::array::from_fn(|c| if c < count { number } else { 0.0 }), count }
    }

    /// Each changed by itself.
    #[must_use]
    pub fn map(self, change: impl Fn(f32) -> f32) -> Self {
        let values = std::array::from_fn(|c| if c < self.count { change(self.values[c]) } else { 0.0 });
        Self { values, ..self }
    }
}

impl Deref for PerChannel {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.count]
    }
}

impl From<[f32; 3]> for PerChannel {
    fn from(rgb: [f32; 3]) -> Self {
        Self::rgb(rgb)
    }
}

impl fmt::Debug for PerChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deref().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_numbers_as_channels() {
        let five = PerChannel::new(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap().map(|x| x + 1.0);
        assert_eq!(
            (&five[..], format!("{five:?}")),
            (&[2.0, 3.0, 4.0, 5.0, 6.0][..], "[2.0, 3.0, 4.0, 5.0, 6.0]".into())
        );
        assert_eq!(PerChannel::new(&[0.5; 3]), Some([0.5; 3].into()));
        assert!(PerChannel::new(&[]).is_none() && PerChannel::new(&[0.0; 17]).is_none());
    }
}
