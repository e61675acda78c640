//! What a model makes of masked images, drawn.

use crate::data::decodable;
use crate::flags::MaskArgs;
use crate::model::{MimModel, TokenizerModel};
use crate::picture::{from_planes, greyed, write_grid};
use beit_data::{Filter, Image, Purpose, Source, logit_laplace, sample_rng};
use beit_heads::masked_rows;
use beit_ops::Ops;
use beit_vit::Input;
use std::path::Path;
use std::sync::Arc;

/// Which images, under which masks.
pub(crate) struct Request<'a> {
    pub(crate) source: &'a Arc<dyn Source>,
    pub(crate) images: usize,
    pub(crate) seed: u64,
    pub(crate) mask: &'a MaskArgs,
}

/// Writes four rows: original, masked, decoded from the true tokens, decoded from the true tokens of the visible patches and
/// the predicted ones of the masked patches.
pub(crate) fn write<O: Ops>(
    ops: &O,
    mim: &MimModel<O::Tensor>,
    tokenizer: &TokenizerModel<O::Tensor>,
    request: &Request<'_>,
    path: &Path,
) -> anyhow::Result<()> {
    if tokenizer.params.config().vocab != mim.params.config().vocab {
        anyhow::bail!(
            "the tokenizer has {} visual tokens, the model predicts {}: they do not belong together",
            tokenizer.params.config().vocab,
            mim.params.config().vocab
        );
    }
    let (vit, grid) = (mim.params.vit.config(), mim.params.vit.config().grid());
    let size = grid.map(|side| side * tokenizer.params.config().downsampling());
    let masker = request.mask.masker(grid)?;
    let count = request.images.clamp(1, request.source.len());
    let mut rows: [Vec<Image>; 4] = Default::default();
    let first = request.seed % request.source.len() as u64;
    // Spread over the source, so that a sorted one shows more than its first class.
    let spread = |i| (i * request.source.len() / count + first as usize) % request.source.len();
    for (index, image) in decodable(request.source, (0..count).map(spread)) {
        let view = mim.views.view(&image);
        let mut mask = vec![false; masker.cells()];
        masker.fill(&mut sample_rng(request.seed, 0, index as u64, Purpose::Sample), &mut mask);

        let token_view = logit_laplace(&view.resize(size, Filter::Lanczos));
        let token_pixels = ops.upload([1, 3, size[0], size[1]], &token_view);
        let codes = ops.read_ids(&tokenizer.params.encoder.encode(ops, &token_pixels))?;
        let images = ops.upload([1, 3, vit.image[0], vit.image[1]], &mim.views.normalise.planes(&view));
        let mask_tensor =
            ops.upload([1, vit.patches()], &mask.iter().map(|&m| f32::from(m)).collect::<Vec<_>>());
        let input = Input { images: &images, mask: Some(&mask_tensor), drop_path: None };
        let row_ids = ops.upload_ids(&masked_rows(&mask, vit.patches()));
        let logits = mim.params.infer(ops, &input, &row_ids);
        let named = ops.read_ids(&ops.argmax_rows(&logits))?;

        let mut predicted = codes.clone();
        let masked = (0..mask.len()).filter(|&n| mask[n]);
        masked.zip(named).for_each(|(n, code)| predicted[n] = code);
        for (row, codes) in [(2, &codes), (3, &predicted)] {
            let decoded = tokenizer.params.decoder.decode(ops, codes, grid)?;
            let picture = from_planes(&decoded, size, |_, v| 255.0 * v);
            rows[row].push(picture.resize(vit.image, Filter::Bicubic));
        }
        rows[1].push(greyed(&view, &mask, grid));
        rows[0].push(view);
    }
    write_grid(path, &rows)
}
