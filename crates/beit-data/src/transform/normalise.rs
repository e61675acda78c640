use crate::image::Image;
use std::borrow::Cow;

/// Distance that [`logit_laplace`] keeps from 0 and 1. DALL-E (arXiv 2102.12092), §A.3: its logit-Laplace density lives on (0, 1).
pub const LOGIT_LAPLACE_EPS: f32 = 0.1;

/// What a model sees of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channels {
    /// Red, green and blue.
    #[default]
    Colour,
    /// One channel, the luma of [`Image::greyed`].
    Grey,
}

impl Channels {
    /// Those of a model that sees so many, 3 or 1.
    #[must_use]
    pub const fn of_model(count: usize) -> Option<Self> {
        match count {
            3 => Some(Self::Colour),
            1 => Some(Self::Grey),
            _ => None,
        }
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Colour => 3,
            Self::Grey => 1,
        }
    }
}

/// Per-channel mean and standard deviation of pixels in 0..=1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalise {
    /// Which channels there are. Of grey pictures the first mean and the first deviation count.
    pub channels: Channels,
    /// Red, green, blue.
    pub mean: [f32; 3],
    /// Red, green, blue; not zero.
    pub std: [f32; 3],
}

impl Normalise {
    /// Statistics of ImageNet: the ImageNet-1k commands of the released code (`--imagenet_default_mean_and_std`), BEiT v2.
    pub const IMAGENET: Self =
        Self { channels: Channels::Colour, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
    /// 0.5 and 0.5, to [-1, 1]: every released checkpoint that starts from ImageNet-22k.
    pub const HALF: Self = Self { channels: Channels::Colour, mean: [0.5; 3], std: [0.5; 3] };
    /// Statistics of OpenAI's CLIP (arXiv 2103.00020, its released code) in single precision: what comes from a CLIP model,
    /// as EVA does.
    pub const CLIP: Self = Self {
        channels: Channels::Colour,
        mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
        std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
    };
    /// The map of [`logit_laplace`] as a mean and a deviation, up to rounding: `0.8 x + 0.1 = (x + 0.125) / 1.25`.
    pub const LOGIT_LAPLACE: Self = Self { channels: Channels::Colour, mean: [-0.125; 3], std: [1.25; 3] };

    /// The same for a model of other channels.
    #[must_use]
    pub const fn seeing(self, channels: Channels) -> Self {
        Self { channels, ..self }
    }

    /// The picture whose channels are seen, before anything is resized: as it is, or grey.
    #[must_use]
    pub fn seen<'a>(&self, image: &'a Image) -> Cow<'a, Image> {
        match self.channels {
            Channels::Colour => Cow::Borrowed(image),
            Channels::Grey => Cow::Owned(image.greyed()),
        }
    }

    /// The colour that is nearest to zero after normalisation: `255 mean`, to the nearest, halves to the even number.
    #[must_use]
    pub fn fill(&self) -> [u8; 3] {
        let byte = |c: usize| (255.0 * f64::from(self.mean[c])).round_ties_even() as u8;
        match self.channels {
            Channels::Colour => [byte(0), byte(1), byte(2)],
            Channels::Grey => [byte(0); 3],
        }
    }

    /// `(x / 255 - mean) / std`, channel-first: `[height, width, 3] -> [3, height, width]`, or `[1, height, width]` of the first channel
    /// of a grey picture.
    #[must_use]
    pub fn planes(&self, image: &Image) -> Vec<f32> {
        let value = |c: usize, byte: usize| (byte as f32 / 255.0 - self.mean[c]) / self.std[c];
        let tables: [[f32; 256]; 3] = std::array::from_fn(|c| std::array::from_fn(|byte| value(c, byte)));
        image.planes(&tables[..self.channels.count()])
    }
}

/// `(1 - 2 eps) · x / 255 + eps` with [`LOGIT_LAPLACE_EPS`], channel-first: `[height, width, 3] -> [3, height, width]`, in
/// 0.1..=0.9. This is what the tokenizer takes (`map_pixels` of DALL-E's code).
#[must_use]
pub fn logit_laplace(image: &Image) -> Vec<f32> {
    let value = |byte: usize| (1.0 - 2.0 * LOGIT_LAPLACE_EPS) * (byte as f32 / 255.0) + LOGIT_LAPLACE_EPS;
    image.planes(&[std::array::from_fn(value); 3][..])
}
