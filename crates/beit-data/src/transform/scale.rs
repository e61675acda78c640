use crate::rng::{SampleRng, between};

/// To what size a picture is resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Its own.
    Own,
    /// As large as it can be with its aspect kept, a longer side of at most `long` pixels and a shorter one of at most `short`. The
    /// sides are rounded, as mmcv's `imrescale` does.
    Within {
        /// Most pixels of the longer side.
        long: usize,
        /// Most pixels of the shorter side.
        short: usize,
    },
    /// `[H, W]`, whatever its aspect.
    Squash([usize; 2]),
}

impl Scale {
    /// `[H, W]` that a picture of `size [H, W]` is resized to, at least one pixel each.
    ///
    /// ```
    /// use beit_data::Scale;
    /// let scale = Scale::Within { long: 2048, short: 512 };
    /// assert_eq!(scale.size([480, 640], 1.0), [512, 683]);
    /// assert_eq!(scale.size([480, 640], 0.5), [256, 341]);
    /// assert_eq!(scale.size([100, 1000], 1.0), [205, 2048]);
    /// ```
    #[must_use]
    pub fn size(self, size: [usize; 2], ratio: f64) -> [usize; 2] {
        let scaled = |side: usize, factor: f64| ((side as f64 * factor + 0.5) as usize).max(1);
        match self {
            Self::Own => size.map(|side| scaled(side, ratio)),
            Self::Squash(to) => to.map(|side| scaled(side, ratio)),
            Self::Within { long, short } => {
                let share = |most: usize, side: usize| (most as f64 * ratio).floor() / side as f64;
                let [height, width] = size;
                let factor = share(long, height.max(width)).min(share(short, height.min(width)));
                size.map(|side| scaled(side, factor))
            }
        }
    }
}

/// A random multiple of a scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomScale {
    /// The scale.
    pub base: Scale,
    /// Least and greatest factor; drawn uniformly.
    pub ratio: [f64; 2],
}

impl RandomScale {
    /// Half to twice a base of (2048, 512): what the released code does for crops of 512 pixels.
    pub const STANDARD: Self = Self::standard(512);
    /// 0.75 to 1.5 times the picture's own size: for small pictures, of which a half shows little.
    pub const SMALL: Self = Self { base: Scale::Own, ratio: [0.75, 1.5] };
    /// The picture's own size.
    pub const NONE: Self = Self { base: Scale::Own, ratio: [1.0, 1.0] };

    /// Half to twice a base of (4 · `short`, `short`): (2048, 512) or (2560, 640) in the released code.
    #[must_use]
    pub const fn standard(short: usize) -> Self {
        Self { base: Scale::Within { long: 4 * short, short }, ratio: [0.5, 2.0] }
    }

    /// `[H, W]` that a picture of `size [H, W]` is resized to.
    pub fn sample(&self, size: [usize; 2], rng: &mut SampleRng) -> [usize; 2] {
        self.base.size(size, between(rng, self.ratio))
    }
}
