use std::borrow::Cow;

use super::PerChannel;
use crate::bands::Bands;
use crate::error::{Error, Result};
use crate::image::Image;

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
    /// The channels of pictures that are read as they are.
    Own(Bands),
}

impl Channels {
    /// Those of a model that sees so many and says nothing of how pictures are read: of 3 and 1 colour and its luma, of others those of
    /// pictures as they are; `None` where no picture has so many.
    #[must_use]
    pub const fn of_model(count: usize) -> Option<Self> {
        match (count, Bands::new(count)) {
            (3, _) => Some(Self::Colour),
            (1, _) => Some(Self::Grey),
            (_, Some(bands)) => Some(Self::Own(bands)),
            (_, None) => None,
        }
    }

    /// Those of pictures that are read so: with so many channels as they are, or as RGB.
    #[must_use]
    pub const fn of_pictures(bands: Option<Bands>) -> Self {
        match bands {
            Some(bands) => Self::Own(bands),
            None => Self::Colour,
        }
    }

    /// How many channels pictures have that are read as they are; `None` where they are read as RGB.
    #[must_use]
    pub const fn bands(self) -> Option<Bands> {
        match self {
            Self::Own(bands) => Some(bands),
            Self::Colour | Self::Grey => None,
        }
    }

    /// Refuses a picture of other channels than these are taken from.
    ///
    /// # Errors
    ///
    /// [`Error::Channels`].
    pub fn check(self, image: &Image) -> Result<()> {
        let fits = match self {
            Self::Colour | Self::Grey => image.is_colour(),
            Self::Own(bands) => image.channels() == bands.count(),
        };
        let (channels, bits) = (image.channels(), image.samples().bits());
        if fits { Ok(()) } else { Err(Error::Channels { channels, bits, expected: self.bands() }) }
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Colour => 3,
            Self::Grey => 1,
            Self::Own(bands) => bands.count(),
        }
    }
}

/// Per-channel mean and standard deviation of pixels in 0..=1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalise {
    /// Which channels there are. Of grey pictures the first mean and the first deviation count.
    pub channels: Channels,
    /// Of each channel.
    pub mean: PerChannel,
    /// Of each channel; not zero.
    pub std: PerChannel,
}

impl Normalise {
    /// Statistics of ImageNet: the ImageNet-1k commands of the released code (`--imagenet_default_mean_and_std`), BEiT v2.
    pub const IMAGENET: Self = Self::rgb([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    /// 0.5 and 0.5, to [-1, 1]: every released checkpoint that starts from ImageNet-22k.
    pub const HALF: Self = Self::rgb([0.5; 3], [0.5; 3]);
    /// Statistics of OpenAI's CLIP (arXiv 2103.00020, its released code) in single precision: what comes from a CLIP model,
    /// as EVA does.
    pub const CLIP: Self =
        Self::rgb([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_6, 0.275_777_1]);
    /// The map of [`logit_laplace`] as a mean and a deviation, up to rounding: `0.8 x + 0.1 = (x + 0.125) / 1.25`.
    pub const LOGIT_LAPLACE: Self = Self::rgb([-0.125; 3], [1.25; 3]);

    const fn rgb(mean: [f32; 3], std: [f32; 3]) -> Self {
        Self { channels: Channels::Colour, mean: PerChannel::rgb(mean), std: PerChannel::rgb(std) }
    }

    /// The same for a model of other channels.
    #[must_use]
    pub const fn seeing(self, channels: Channels) -> Self {
        Self { channels, ..self }
    }

    /// The picture whose channels are seen, before anything is resized: as it is, or grey.
    #[must_use]
    pub fn seen<'a>(&self, image: &'a Image) -> Cow<'a, Image> {
        match self.channels {
            Channels::Colour | Channels::Own(_) => Cow::Borrowed(image),
            Channels::Grey => Cow::Owned(image.greyed()),
        }
    }

    /// The colour that is nearest to zero after normalisation: `255 mean`, to the nearest, halves to the even number.
    ///
    /// # Panics
    ///
    /// If pictures are not seen in colour or grey.
    #[must_use]
    pub fn fill(&self) -> [u8; 3] {
        let byte = |c: usize| (255.0 * f64::from(self.mean[c])).round_ties_even() as u8;
        match self.channels {
            Channels::Colour => [byte(0), byte(1), byte(2)],
            Channels::Grey => [byte(0); 3],
            Channels::Own(bands) => panic!("expected a colour, found {bands} channels"),
        }
    }

    /// `(x / greatest - mean) / std`, where `greatest` is 255, or 65535 of 16 bits; channel-first: `[height, width, C] -> [C, height, width]`,
    /// or `[1, height, width]` of the first channel of a grey picture.
    #[must_use]
    pub fn planes(&self, image: &Image) -> Vec<f32> {
        image.planes(self.channels.count(), |c, share| (share - self.mean[c]) / self.std[c])
    }
}

/// `(1 - 2 eps) · x / greatest + eps` with [`LOGIT_LAPLACE_EPS`], where `greatest` is 255, or 65535 of 16 bits; channel-first:
/// `[height, width, C] -> [C, height, width]`, in 0.1..=0.9. This is what the tokenizer takes (`map_pixels` of DALL-E's code).
#[must_use]
pub fn logit_laplace(image: &Image) -> Vec<f32> {
    image.planes(image.channels(), |_, share| (1.0 - 2.0 * LOGIT_LAPLACE_EPS) * share + LOGIT_LAPLACE_EPS)
}
