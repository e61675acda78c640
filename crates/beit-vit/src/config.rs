//! What a transformer looks like.

use core::fmt;

/// Which relative position bias the attention reads (spec of the released code, `beit/modeling_pretrain.py`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelativePositions {
    /// None: the paper's model.
    None,
    /// One table for all layers: the released pre-training model.
    Shared,
    /// One table a layer: the released fine-tuning model.
    PerLayer,
}

/// The sizes of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// 28x28 images in 7x7 patches, width 96, 4 layers of 4 heads: trains in minutes on a CPU. Ours.
    Tiny,
    /// 64x64 images in 8x8 patches, width 192, 6 layers of 6 heads: 2.7 million parameters. Ours.
    Mini,
    /// 112x112 images in 14x14 patches of 8x8, width 256, 8 layers of 8 heads: 6.4 million parameters. Ours.
    Midi,
    /// ViT-S: width 384, 12 layers of 6 heads. Ours.
    Small,
    /// BEiT-B (paper §3.1): width 768, 12 layers of 12 heads.
    Base,
    /// BEiT-L (paper §3.1): width 1024, 24 layers of 16 heads.
    Large,
}

/// The shape of a vision transformer. The fields are free; [`Config::validate`] says whether they fit together.
///
/// ```
/// use beit_vit::{Config, Preset};
/// let config = Config::new(Preset::Base);
/// assert_eq!((config.patches(), config.tokens()), (196, 197));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Height and width of an image in pixels.
    pub image: [usize; 2],
    /// Height and width of a patch in pixels.
    pub patch: [usize; 2],
    /// Colour channels.
    pub channels: usize,
    /// C
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// H
    pub heads: usize,
    /// Width of the hidden layer of the MLP, 4C in all published models.
    pub hidden: usize,
    /// Learned absolute positions `[1, T, C]`.
    pub absolute_positions: bool,
    /// Relative position bias.
    pub relative_positions: RelativePositions,
    /// Initial value of LayerScale's gammas; none means no LayerScale.
    pub layer_scale: Option<f32>,
    /// Whether each block has two more norms: of what attention made, before its projection, and of what GELU made, before the
    /// second layer of the MLP. BEiT-3, `subln` in its released code; timm's `scale_attn_norm` and `scale_mlp_norm`.
    pub inner_norms: bool,
    /// Whether keys have a bias, as in BEiT-3: a parameter that no output depends on, see [`Attention`](crate::Attention).
    pub key_bias: bool,
    /// Whether there is a mask token: for masked image modelling.
    pub mask_token: bool,
    /// Whether a layer norm follows the last block.
    pub final_norm: bool,
    /// Of all layer norms: 1e-6 in the released code, 1e-12 in the transformers library's configuration.
    pub layer_norm_eps: f64,
    /// Stochastic depth rate of the last block; block i of L has `rate · i / (L - 1)`.
    pub drop_path: f32,
}

impl Config {
    /// The released pre-training model: shared relative position bias, LayerScale, no absolute positions.
    pub fn new(preset: Preset) -> Self {
        let (image, patch, width, depth, heads) = match preset {
            Preset::Tiny => (28, 4, 96, 4, 4),
            Preset::Mini => (64, 8, 192, 6, 6),
            Preset::Midi => (112, 8, 256, 8, 8),
            Preset::Small => (224, 16, 384, 12, 6),
            Preset::Base => (224, 16, 768, 12, 12),
            Preset::Large => (224, 16, 1024, 24, 16),
        };
        Self {
            image: [image; 2],
            patch: [patch; 2],
            channels: 3,
            width,
            depth,
            heads,
            hidden: 4 * width,
            absolute_positions: false,
            relative_positions: RelativePositions::Shared,
            layer_scale: Some(if preset == Preset::Large { 1e-5 } else { 0.1 }),
            inner_norms: false,
            key_bias: false,
            mask_token: true,
            final_norm: true,
            layer_norm_eps: 1e-6,
            drop_path: 0.1,
        }
    }

    /// The paper's model (tables 1 to 4): absolute positions, no relative bias, no LayerScale.
    pub fn paper(preset: Preset) -> Self {
        Self {
            absolute_positions: true,
            relative_positions: RelativePositions::None,
            layer_scale: None,
            ..Self::new(preset)
        }
    }

    /// The extents of a batch of images, `[B, channels, height, width]`.
    pub fn images(&self, batch: usize) -> [usize; 4] {
        let [height, width] = self.image;
        [batch, self.channels, height, width]
    }

    /// Numbers that an image has.
    pub fn numbers(&self) -> usize {
        self.images(1).iter().product()
    }

    /// Rows and columns of the patch grid.
    pub fn grid(&self) -> [usize; 2] {
        [self.image[0] / self.patch[0], self.image[1] / self.patch[1]]
    }

    /// N
    pub fn patches(&self) -> usize {
        let [rows, cols] = self.grid();
        rows * cols
    }

    /// T = N + 1
    pub fn tokens(&self) -> usize {
        self.patches() + 1
    }

    /// Drop path rate of block `i` (spec: `linspace(0, rate, depth)`).
    pub fn drop_path_rate(&self, i: usize) -> f32 {
        if self.depth < 2 { 0.0 } else { self.drop_path * i as f32 / (self.depth - 1) as f32 }
    }

    /// Checks that the fields fit together.
    pub fn validate(&self) -> Result<(), Error> {
        let positive = [
            ("image height", self.image[0]),
            ("image width", self.image[1]),
            ("patch height", self.patch[0]),
            ("patch width", self.patch[1]),
            ("channels", self.channels),
            ("width", self.width),
            ("depth", self.depth),
            ("heads", self.heads),
            ("hidden", self.hidden),
        ];
        if let Some(&(field, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Error::Zero { field });
        }
        if let Some(&(field, value)) = positive.iter().find(|(_, value)| *value > MOST) {
            return Err(Error::TooLarge { field, value, most: MOST });
        }
        for axis in 0..2 {
            if !self.image[axis].is_multiple_of(self.patch[axis]) {
                return Err(Error::PatchesDoNotTile { image: self.image, patch: self.patch });
            }
        }
        if !self.width.is_multiple_of(self.heads) {
            return Err(Error::HeadsDoNotDivide { width: self.width, heads: self.heads });
        }
        if !(0.0..1.0).contains(&self.drop_path) {
            return Err(Error::DropPath(self.drop_path));
        }
        if self.layer_norm_eps.is_nan() || self.layer_norm_eps <= 0.0 {
            return Err(Error::LayerNormEps(self.layer_norm_eps));
        }
        Ok(())
    }
}

/// No published model has an extent near this one, and what is computed from two of them can be counted.
const MOST: usize = 1 << 16;

/// Why a configuration describes no model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// An extent is zero.
    Zero {
        /// Which.
        field: &'static str,
    },
    /// An extent is absurd.
    TooLarge {
        /// Which.
        field: &'static str,
        /// What it is.
        value: usize,
        /// What it may be.
        most: usize,
    },
    /// The image is not a whole number of patches.
    PatchesDoNotTile {
        /// Height and width in pixels.
        image: [usize; 2],
        /// Height and width in pixels.
        patch: [usize; 2],
    },
    /// The width is not a whole number of heads.
    HeadsDoNotDivide {
        /// C
        width: usize,
        /// H
        heads: usize,
    },
    /// A drop path rate outside `0 <= rate < 1`.
    DropPath(f32),
    /// A layer norm epsilon that is not positive.
    LayerNormEps(f64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero { field } => write!(f, "{field} is 0, expected at least 1"),
            Self::TooLarge { field, value, most } => {
                write!(f, "{field} is {value}, expected at most {most}")
            }
            Self::PatchesDoNotTile { image: [h, w], patch: [ph, pw] } => {
                write!(f, "the image size {h}x{w} is not divisible by the patch size {ph}x{pw}")
            }
            Self::HeadsDoNotDivide { width, heads } => {
                write!(f, "the width {width} is not divisible by the number of heads, {heads}")
            }
            Self::DropPath(rate) => write!(f, "the drop path rate is {rate}, expected 0 <= rate < 1"),
            Self::LayerNormEps(eps) => write!(f, "the layer norm epsilon is {eps}, expected more than 0"),
        }
    }
}

impl core::error::Error for Error {}
