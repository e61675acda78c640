use super::number::{PART, within};
use crate::error::{Place, Result};
use beit_mask::{BlockShape, Grid, Masker, Strategy};
use serde::{Deserialize, Serialize};

/// Which patches are masked.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct MaskSettings {
    /// How patches are chosen
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub mask: MaskKind,
    /// Share of the patches to mask; the paper's 0.4 is 75 of 196
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().mask_ratio))]
    pub mask_ratio: f64,
    /// Number of patches to mask, instead of a share
    #[cfg_attr(feature = "clap", arg(long))]
    pub num_mask_patches: Option<usize>,
    /// Fewest patches of a block; scaled to the grid where not given (16 of 196)
    #[cfg_attr(feature = "clap", arg(long))]
    pub min_mask_patches_per_block: Option<usize>,
    /// Most patches of a block
    #[cfg_attr(feature = "clap", arg(long))]
    pub max_mask_patches_per_block: Option<usize>,
}

/// How patches are chosen to be masked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum MaskKind {
    /// The released generator: blocks, at most the number asked for
    #[default]
    Block,
    /// BEiT v2: blocks, exactly the number asked for
    Exact,
    /// Algorithm 1 as printed in the paper: blocks, more than the number asked for
    Paper,
    /// Single patches, exactly the number asked for
    Random,
}

impl Default for MaskSettings {
    fn default() -> Self {
        Self {
            mask: MaskKind::Block,
            mask_ratio: beit_mask::OFFICIAL_RATIO,
            num_mask_patches: None,
            min_mask_patches_per_block: None,
            max_mask_patches_per_block: None,
        }
    }
}

impl MaskSettings {
    /// The generator of masks for a grid of so many rows and columns of patches.
    ///
    /// # Errors
    ///
    /// Settings that no mask can follow.
    pub fn masker(&self, [rows, cols]: [usize; 2]) -> Result<Masker> {
        within("--mask-ratio", "a share", self.mask_ratio, PART)?;
        let scaled = beit_mask::Config::scaled(Grid { rows, cols }, self.mask_ratio);
        let target = self.num_mask_patches.unwrap_or(scaled.target);
        let strategy = match self.mask {
            MaskKind::Block => Strategy::BlockWise,
            MaskKind::Exact => Strategy::BlockWiseExact,
            MaskKind::Paper => Strategy::PaperBlockWise,
            MaskKind::Random => Strategy::Random,
        };
        let min_cells = self.min_mask_patches_per_block.unwrap_or(scaled.block.min_cells.min(target.max(1)));
        let block = BlockShape { min_cells, max_cells: self.max_mask_patches_per_block, ..scaled.block };
        Masker::new(beit_mask::Config { target, strategy, block, ..scaled }).at(|| {
            format!(
                "masks of {rows}x{cols} patches by --mask-ratio, --num-mask-patches and the limits of a block"
            )
        })
    }
}
