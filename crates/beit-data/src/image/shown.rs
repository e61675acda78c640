//! Pictures of any channels as people see them.

use std::borrow::Cow;

use super::{Image, Samples};

/// Which shares of the greatest value are shown black and white.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// What is black.
    pub low: f32,
    /// What is white; more than `low`.
    pub high: f32,
}

impl Stretch {
    /// From 0 to the greatest value.
    pub const NONE: Self = Self { low: 0.0, high: 1.0 };

    /// From the least to the greatest value of the channels that are shown, for pictures of 16 bits, of which many have a small part of
    /// the range. Those of 8 bits are not stretched.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        let Samples::Words(words) = image.samples() else { return Self::NONE };
        let shown = Image::shown_channels(image.channels());
        let seen = words.chunks_exact(image.channels()).flat_map(|pixel| &pixel[..shown]);
        let (least, most) =
            seen.fold((u16::MAX, 0), |(least, most), &word| (least.min(word), most.max(word)));
        if least >= most {
            return Self::NONE;
        }
        let share = |word: u16| f32::from(word) / f32::from(u16::MAX);
        Self { low: share(least), high: share(most) }
    }

    /// A share of the greatest value as a byte.
    fn byte(self, share: f32) -> u8 {
        // The conversion of a float to an integer saturates.
        ((share - self.low) / (self.high - self.low) * 255.0).round() as u8
    }
}

impl Image {
    /// The picture in RGB of 8 bits, as people see it: the first three channels are red, green and blue; where there are fewer, the first
    /// is grey. Of 16 bits the values that occur are [stretched](Stretch::of).
    #[must_use]
    pub fn shown(&self) -> Cow<'_, Self> {
        self.shown_with(Stretch::of(self))
    }

    /// The same, stretched like another picture.
    #[must_use]
    pub fn shown_with(&self, stretch: Stretch) -> Cow<'_, Self> {
        if self.is_colour() && stretch == Stretch::NONE {
            return Cow::Borrowed(self);
        }
        let channels = self.channels();
        let byte = |index| stretch.byte(self.samples().share(index));
        let pixel = |first: usize| match Self::shown_channels(channels) {
            3 => [first, first + 1, first + 2].map(byte),
            _ => [byte(first); 3],
        };
        let pixels = (0..self.samples().len()).step_by(channels).flat_map(pixel).collect();
        Cow::Owned(Self::new(self.height(), self.width(), pixels))
    }

    /// How many of so many channels are shown.
    #[must_use]
    pub const fn shown_channels(channels: usize) -> usize {
        if channels < 3 { 1 } else { 3 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_picture_is_shown_as_it_is() {
        let image = Image::new(1, 2, vec![1, 2, 3, 200, 5, 6]);
        assert!(matches!(image.shown(), Cow::Borrowed(_)));
    }

    #[test]
    fn the_first_channels_of_many_are_stretched() {
        let words = vec![1000, 2010, 3000, 60_000, 1500, 2500, 3000, 0];
        let image = Image::of_channels(1, 2, 4, Samples::Words(words));
        assert_eq!(image.shown().pixels(), [0, 129, 255, 64, 191, 255]);
        let twin = Image::of_channels(1, 1, 2, Samples::Bytes(vec![9, 200]));
        assert_eq!(twin.shown().pixels(), [9; 3]);
        let flat = Image::of_channels(1, 1, 1, Samples::Words(vec![257]));
        assert_eq!(flat.shown().pixels(), [1; 3]);
    }
}
