//! From images to the tokens of a transformer, and from tokens to one vector an image.

use super::Device;
use crate::plan::{Plan, Planned, is};

/// Patches, embeddings and pooling, forward.
pub trait TokenOps: Device {
    /// `images [B, 3, height, width] -> patches [B·N, 3·h·w]`, patches row-major, elements in the order (channel, y, x).
    fn patchify(&self, images: &Self::Tensor, patch: [usize; 2]) -> Self::Tensor;

    /// `patches [B·N, C] -> tokens [B·T, C]`: masked patches become the mask token, \[CLS\] goes in front of each image,
    /// positions are added last. `mask [B, N]` is 1 where a patch is masked, else 0.
    fn embed(
        &self,
        patches: &Self::Tensor,
        p: &Embeddings<Self::Tensor>,
        mask: Option<&Self::Tensor>,
        tokens: usize,
    ) -> Self::Tensor;

    /// `x [B·T, C] -> y [B, C]`: the mean of each image's patch tokens, \[CLS\] left out.
    fn mean_pool(&self, x: &Self::Tensor, tokens: usize) -> Self::Tensor;
}

/// Their gradients. Nobody needs that of the images.
pub trait TokenTraining: TokenOps {
    /// The mirror of [`embed`](TokenOps::embed); returns `d_patches [B·N, C]`.
    fn embed_backward(
        &self,
        d_tokens: &Self::Tensor,
        mask: Option<&Self::Tensor>,
        tokens: usize,
        dp: &mut Embeddings<Self::Tensor>,
    ) -> Self::Tensor;

    /// The mirror of [`mean_pool`](TokenOps::mean_pool); returns `dx [B·T, C]`.
    fn mean_pool_backward(&self, dy: &Self::Tensor, tokens: usize) -> Self::Tensor;
}

crate::tree! {
    /// What turns patch embeddings into tokens.
    pub struct Embeddings {
        /// `[1, 1, C]`
        pub cls_token: T = leaf "cls_token" as ClassToken,
        /// `[1, 1, C]`
        pub mask_token: Option<T> = maybe_leaf "mask_token" as MaskToken,
        /// Absolute positions `[1, T, C]`, the \[CLS\] slot first.
        pub pos_embed: Option<T> = maybe_leaf "pos_embed" as Positions,
    }
}

impl TokenOps for Plan {
    fn patchify(&self, images: &Planned, patch: [usize; 2]) -> Planned {
        let [batch, channels, height, width] = images.map();
        let [ph, pw] = patch;
        assert!(
            height.is_multiple_of(ph) && width.is_multiple_of(pw),
            "patches {patch:?} in {}",
            images.shape
        );
        self.activation([batch * (height / ph) * (width / pw), channels * ph * pw])
    }
    fn embed(
        &self,
        patches: &Planned,
        p: &Embeddings<Planned>,
        mask: Option<&Planned>,
        tokens: usize,
    ) -> Planned {
        let (n, c) = (tokens - 1, patches.last());
        let batch = patches.rows() / n;
        assert_eq!(batch * n, patches.rows(), "{n} patches an image in {}", patches.shape);
        is(&p.cls_token, [1, 1, c]);
        p.mask_token.iter().for_each(|token| is(token, [1, 1, c]));
        p.pos_embed.iter().for_each(|pos| is(pos, [1, tokens, c]));
        mask.into_iter().for_each(|mask| is(mask, [batch, n]));
        self.tensor([batch * tokens, c])
    }
    fn mean_pool(&self, x: &Planned, tokens: usize) -> Planned {
        assert!(x.rows().is_multiple_of(tokens), "{tokens} tokens an image in {}", x.shape);
        self.tensor([x.rows() / tokens, x.last()])
    }
}

impl TokenTraining for Plan {
    fn embed_backward(
        &self,
        d_tokens: &Planned,
        mask: Option<&Planned>,
        tokens: usize,
        dp: &mut Embeddings<Planned>,
    ) -> Planned {
        let (batch, c) = (d_tokens.rows() / tokens, d_tokens.last());
        is(&dp.cls_token, [1, 1, c]);
        mask.into_iter().for_each(|mask| is(mask, [batch, tokens - 1]));
        self.activation([batch * (tokens - 1), c])
    }
    fn mean_pool_backward(&self, dy: &Planned, tokens: usize) -> Planned {
        self.tensor([dy.rows() * tokens, dy.last()])
    }
}
