//! From the magnitude of RandAugment to the numbers of an operation.

use super::Augment;

/// One of the fifteen operations, without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AugmentKind {
    /// [`Augment::AutoContrast`], whatever the magnitude.
    AutoContrast,
    /// [`Augment::Equalize`], whatever the magnitude.
    Equalize,
    /// [`Augment::Invert`], whatever the magnitude.
    Invert,
    /// Up to 30 degrees either way.
    Rotate,
    /// 4 bits down to none.
    Posterize,
    /// From 256 down to 0.
    Solarize,
    /// Up to 110.
    SolarizeAdd,
    /// Up to 0.9 from 1, either way.
    Color,
    /// Up to 0.9 from 1, either way.
    Contrast,
    /// Up to 0.9 from 1, either way.
    Brightness,
    /// Up to 0.9 from 1, either way.
    Sharpness,
    /// Up to 0.3 either way.
    ShearX,
    /// Up to 0.3 either way.
    ShearY,
    /// Up to 0.45 of the width either way.
    TranslateX,
    /// Up to 0.45 of the height either way.
    TranslateY,
}

/// How strongly an operation changes a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AugmentLevel {
    /// Of 0 to [`MOST`](Self::MOST).
    pub magnitude: f64,
    /// The other way, of those that have two.
    pub negative: bool,
    /// Whether the magnitude is how much is changed (timm's `inc1`). Otherwise `Posterize` keeps more bits and `Solarize` begins higher with
    /// it, and the factors of `Color`, `Contrast`, `Brightness` and `Sharpness` go from 0.1 to 1.9.
    pub increasing: bool,
}

impl AugmentLevel {
    /// The greatest magnitude.
    pub const MOST: f64 = 10.0;

    fn share(self) -> f64 {
        self.magnitude / Self::MOST
    }

    fn signed(self, most: f64) -> f64 {
        let size = self.share() * most;
        if self.negative { -size } else { size }
    }

    /// The factor of a blend.
    fn factor(self) -> f64 {
        if self.increasing { 1.0 + self.signed(0.9) } else { self.share() * 1.8 + 0.1 }
    }

    /// A whole number down from `most` where the magnitude increases the change, else up to it.
    fn kept(self, most: u32) -> u32 {
        let part = (self.share() * f64::from(most)) as u32;
        if self.increasing { most.saturating_sub(part) } else { part }
    }
}

impl AugmentKind {
    /// All of them, in timm's order.
    pub const ALL: [Self; 15] = [
        Self::AutoContrast,
        Self::Equalize,
        Self::Invert,
        Self::Rotate,
        Self::Posterize,
        Self::Solarize,
        Self::SolarizeAdd,
        Self::Color,
        Self::Contrast,
        Self::Brightness,
        Self::Sharpness,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
    ];

    /// The operation at this level. With `t` the magnitude as a share of the greatest, numbers are what the kind says at most, times `t`;
    /// whole ones are cut off.
    #[must_use]
    pub fn at(self, level: AugmentLevel) -> Augment {
        match self {
            Self::AutoContrast => Augment::AutoContrast,
            Self::Equalize => Augment::Equalize,
            Self::Invert => Augment::Invert,
            Self::Rotate => Augment::Rotate { degrees: level.signed(30.0) },
            Self::Posterize => Augment::Posterize { bits: level.kept(4) },
            Self::Solarize => Augment::Solarize { threshold: level.kept(256) },
            Self::SolarizeAdd => Augment::SolarizeAdd { amount: (level.share() * 110.0) as u8 },
            Self::Color => Augment::Color { factor: level.factor() },
            Self::Contrast => Augment::Contrast { factor: level.factor() },
            Self::Brightness => Augment::Brightness { factor: level.factor() },
            Self::Sharpness => Augment::Sharpness { factor: level.factor() },
            Self::ShearX => Augment::ShearX { factor: level.signed(0.3) },
            Self::ShearY => Augment::ShearY { factor: level.signed(0.3) },
            Self::TranslateX => Augment::TranslateX { share: level.signed(0.45) },
            Self::TranslateY => Augment::TranslateY { share: level.signed(0.45) },
        }
    }

    /// Whether an operation is of this kind.
    #[cfg(test)]
    pub(super) fn makes(self, operation: Augment) -> bool {
        let level = AugmentLevel { magnitude: 0.0, negative: false, increasing: true };
        std::mem::discriminant(&self.at(level)) == std::mem::discriminant(&operation)
    }
}
