//! A batch of masked image modelling on the device.

use beit_data::PretrainBatch;
use beit_heads::{masked_rows, patch_rows};
use beit_ops::Ops;
use beit_tokenizer::{Codebook, VisualTokens};
use beit_vit::{Config, DropPath, Input};
use serde::{Deserialize, Serialize};

/// Which patches are predicted, and from which image: the ablations of masked image modelling (paper §3.3, Table 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recover {
    /// The masked patches, from what is left of the image: BEiT.
    #[default]
    Masked,
    /// All patches, from what is left of the image.
    All,
    /// All patches, from the whole image: nothing is masked.
    Unmasked,
}

impl Recover {
    /// Patches that are predicted of an image of so many, of which so many are masked.
    #[must_use]
    pub const fn predicted(self, patches: usize, masked: usize) -> usize {
        match self {
            Self::Masked => masked,
            Self::All | Self::Unmasked => patches,
        }
    }

    /// Whether it is what the paper does.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// A batch on the device.
pub(crate) struct Masked<O: Ops> {
    /// `[B, C, H, W]`
    pub(crate) images: O::Tensor,
    /// `[B, N]`; none where nothing is masked.
    mask: Option<O::Tensor>,
    /// Rows of the patches that are predicted in `[B·T, C]`.
    pub(crate) rows: O::Ids,
    /// The same patches in `[B·N]`.
    pub(crate) positions: Vec<usize>,
}

impl<O: Ops> Masked<O> {
    pub(crate) fn new(ops: &O, vit: &Config, data: &PretrainBatch, batch: usize, recover: Recover) -> Self {
        let masks = || data.masks.iter().map(|&m| f32::from(m)).collect::<Vec<_>>();
        let masked = recover != Recover::Unmasked;
        let (rows, positions) = match recover {
            Recover::Masked => (
                masked_rows(&data.masks, vit.patches()),
                (0..data.masks.len()).filter(|&i| data.masks[i]).collect(),
            ),
            Recover::All | Recover::Unmasked => {
                (patch_rows(batch, vit.patches()), (0..data.masks.len()).collect())
            }
        };
        Self {
            images: ops.upload(vit.images(batch), &data.pixels),
            mask: masked.then(|| ops.upload([batch, vit.patches()], &masks())),
            rows: ops.upload_ids(&rows),
            positions,
        }
    }

    /// What the transformer sees.
    pub(crate) fn input<'a>(&'a self, drop_path: Option<&'a DropPath<O::Tensor>>) -> Input<'a, O::Tensor> {
        Input { images: &self.images, mask: self.mask.as_ref(), drop_path }
    }

    /// The visual tokens of the patches that are predicted (paper §2.1), in the order of `rows`. They stay on the device.
    pub(crate) fn codes(
        &self,
        ops: &O,
        tokenizer: &impl VisualTokens<O>,
        token_pixels: &O::Tensor,
    ) -> O::Ids {
        tokenizer.codes_at(ops, token_pixels, &self.positions(ops))
    }

    /// The pixels of the patches that are predicted, as the transformer would see them, in the order of `rows`:
    /// `[rows, channels·h·w]`.
    pub(crate) fn patches(&self, ops: &O, vit: &Config) -> O::Tensor {
        ops.gather_rows(&ops.patchify(&self.images, vit.patch), &self.positions(ops))
    }

    fn positions(&self, ops: &O) -> O::Ids {
        let positions: Vec<u32> = self.positions.iter().map(|&i| i as u32).collect();
        ops.upload_ids(&positions)
    }
}

/// The view of a batch that its visual tokens are of, `[B, C, h, w]`.
pub(crate) fn token_view<O: Ops>(
    ops: &O,
    vit: &Config,
    codebook: Codebook,
    data: &PretrainBatch,
    batch: usize,
) -> O::Tensor {
    let [height, width] = codebook.image(vit.grid());
    ops.upload([batch, codebook.channels, height, width], &data.token_pixels)
}
