//! Models for masked image modelling: what they make of masked images.

use crate::device::{Device, Work};
use crate::error::{Result, unfit};
use crate::load::{MimModel, Opened};
use crate::loaders::{decodable, spread};
use crate::on::On;
use crate::picture::{Grid, greyed, write_grid};
use crate::progress::Watch;
use crate::settings::{DataSettings, MaskSettings, OpenSettings};
use crate::tokenizer::{Tokenizer, Tokens};
use beit_data::{Filter, Image, Preprocessing, Purpose, Source, Stretch, sample_rng};
use beit_heads::{Mim, MimConfig, masked_rows};
use beit_mask::Masker;
use beit_ops::Ops;
use beit_train::{broken_row, nearest_visible};
use beit_vit::Input;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// A model that names the visual tokens of masked patches.
///
/// ```no_run
/// let device = beit::Device::auto()?;
/// let model = beit::MaskedModel::open("runs/pretrain-001", &device)?;
/// let tokenizer = beit::Tokenizer::open("runs/pretrain-001", &device)?;
/// let mask = model.draw_mask(&beit::MaskSettings::default(), 0)?;
/// let seen = model.reconstruct(&beit::Image::open("photo.jpg")?, &mask, &tokenizer)?;
/// beit::picture::write_grid("reconstruction.png".as_ref(), &[vec![seen.original, seen.masked, seen.predicted]])?;
/// # Ok::<(), beit::Error>(())
/// ```
#[derive(Clone)]
pub struct MaskedModel {
    engine: Rc<dyn Engine>,
    config: MimConfig,
    preprocessing: Preprocessing,
}

/// What stands beside the rows of a picture of [`Reconstruction`]s.
const RECONSTRUCTION: [&str; 5] =
    ["original", "masked", "drawn from\nits tokens", "masked from\nneighbours", "masked as\npredicted"];

/// What a model makes of one masked image.
#[derive(Clone, Debug)]
pub struct Reconstruction {
    /// What the model would see without a mask, as it is [shown](Image::shown); so are all others.
    pub original: Image,
    /// The same with its masked patches grey.
    pub masked: Image,
    /// Decoded from the true visual tokens.
    pub tokenized: Image,
    /// The same with each masked patch's token that of the nearest visible patch: what needs no model.
    pub nearest: Image,
    /// Decoded from the true tokens of the visible patches and the predicted ones of the masked patches.
    pub predicted: Image,
}

trait Engine {
    /// The visual tokens named for the masked patches of one image.
    fn name_tokens(&self, pixels: &[f32], mask: &[bool]) -> Result<Vec<u32>>;
}

impl<O: Ops> Engine for On<O, Mim<O::Tensor>> {
    fn name_tokens(&self, pixels: &[f32], mask: &[bool]) -> Result<Vec<u32>> {
        let (ops, vit) = (&*self.ops, self.params.vit.config());
        let images = ops.upload(vit.images(1), pixels);
        let masks: Vec<f32> = mask.iter().map(|&m| f32::from(m)).collect();
        let masks = ops.upload([1, vit.patches()], &masks);
        let input = Input { images: &images, mask: Some(&masks), drop_path: None };
        let rows = ops.upload_ids(&masked_rows(mask, vit.patches()));
        let logits = self.params.infer(ops, &input, &rows);
        if broken_row(ops, &logits)?.is_some() {
            unfit!(
                "the model's logits of the image are not finite: it is damaged, or was trained until its numbers overflowed"
            );
        }
        Ok(ops.read_ids(&ops.argmax_rows(&logits))?)
    }
}

impl MaskedModel {
    /// Opens a model by its name, as [`Classifier::open`](crate::Classifier::open) does.
    ///
    /// # Errors
    ///
    /// Nothing of this name, something else than a pre-trained model, or a device that fails.
    pub fn open(name: impl AsRef<Path>, device: impl Into<Device>) -> Result<Self> {
        let name = name.as_ref().to_string_lossy();
        Self::open_with(&name, &OpenSettings::default(), &device.into(), &Watch::silent())
    }

    /// [`open`](Self::open) in another way than the usual one, watched.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), or settings that do not fit.
    pub fn open_with(name: &str, settings: &OpenSettings, device: &Device, watch: &Watch) -> Result<Self> {
        let opened = Opened::new(name, settings, watch)?;
        opened.refuse_beyond(device)?;
        let model = device.run(Open(&opened))?;
        watch.note(&format!("preprocessing: {}", model.preprocessing));
        Ok(model)
    }

    /// A model that is on a device already.
    pub(crate) fn on<O: Ops + 'static>(ops: &Rc<O>, model: MimModel<O::Tensor>) -> Self {
        let MimModel { params, preprocessing } = model;
        let config = params.config();
        Self { engine: Rc::new(On::new(ops, params)), config, preprocessing }
    }

    /// The model's sizes.
    #[must_use]
    pub fn config(&self) -> &MimConfig {
        &self.config
    }

    /// Data as it sees them; `model` is what it is called.
    ///
    /// # Errors
    ///
    /// Data of other channels.
    pub fn seen(&self, model: &str, data: &DataSettings) -> Result<DataSettings> {
        data.seen_by(model, self.preprocessing.normalise.channels)
    }

    /// Draws a mask `[N]` of the model's patches; it depends on the settings and the seed only.
    ///
    /// # Errors
    ///
    /// Settings that no mask can follow.
    pub fn draw_mask(&self, settings: &MaskSettings, seed: u64) -> Result<Vec<bool>> {
        Ok(mask_of(&settings.masker(self.config.vit.grid())?, seed, 0))
    }

    /// Masks an image and draws what the model makes of it.
    ///
    /// # Errors
    ///
    /// A mask of another grid, a tokenizer that does not belong to the model, or the device.
    pub fn reconstruct(&self, image: &Image, mask: &[bool], tokenizer: &Tokenizer) -> Result<Reconstruction> {
        let vit = &self.config.vit;
        if mask.len() != vit.patches() {
            unfit!("a mask of {} patches: the model has {}", mask.len(), vit.patches());
        }
        self.check(tokenizer)?;
        self.preprocessing.normalise.channels.check(image)?;
        let original = self.preprocessing.view(image);
        let stretch = Stretch::of(&original);
        let tokens = tokenizer.encode(&original, tokenizer.size(vit.grid()))?;
        let named = self.engine.name_tokens(&self.preprocessing.normalise.planes(&original), mask)?;
        let (mut predicted, mut nearest) = (tokens.clone(), tokens.clone());
        for n in (0..mask.len()).filter(|&n| mask[n]) {
            if let Some(visible) = nearest_visible(n, mask, vit.grid()[1]) {
                nearest.codes[n] = tokens.codes[visible];
            }
        }
        let masked = (0..mask.len()).filter(|&n| mask[n]);
        masked.zip(named).for_each(|(n, code)| predicted.codes[n] = code);
        let draw = |tokens: &Tokens| -> Result<Image> {
            let drawn = tokenizer.decode(tokens)?.resize(vit.image, Filter::Bicubic);
            Ok(drawn.shown_with(stretch).into_owned())
        };
        let masked = greyed(&original, mask, vit.grid());
        let (tokenized, nearest, predicted) = (draw(&tokens)?, draw(&nearest)?, draw(&predicted)?);
        let original = original.shown().into_owned();
        Ok(Reconstruction { original, masked, tokenized, nearest, predicted })
    }

    /// Writes a picture of `count` reconstructions, spread over a source: a row each of originals, masked, decoded from the true
    /// tokens, from those of the nearest visible patches, and from the predicted ones.
    ///
    /// # Errors
    ///
    /// As [`reconstruct`](Self::reconstruct), or a file that cannot be written.
    #[allow(clippy::too_many_arguments)]
    pub fn write_reconstructions(
        &self,
        path: &Path,
        source: &Arc<dyn Source>,
        tokenizer: &Tokenizer,
        mask: &MaskSettings,
        count: usize,
        seed: u64,
        watch: &Watch,
    ) -> Result<()> {
        self.check(tokenizer)?;
        let masker = mask.masker(self.config.vit.grid())?;
        let mut rows: [Vec<Image>; 5] = Default::default();
        for (index, image) in decodable(source, spread(source.len(), count, seed), watch) {
            let seen = self.reconstruct(&image, &mask_of(&masker, seed, index as u64), tokenizer)?;
            let columns = [seen.original, seen.masked, seen.tokenized, seen.nearest, seen.predicted];
            rows.iter_mut().zip(columns).for_each(|(row, image)| row.push(image));
        }
        Grid::new(rows).beside(RECONSTRUCTION).write(path)
    }

    fn check(&self, tokenizer: &Tokenizer) -> Result<()> {
        let (names, predicts) = (tokenizer.vocab(), self.config.vocab);
        if names != predicts {
            unfit!(
                "the tokenizer has {names} visual tokens, the model predicts {predicts}: they do not belong together"
            );
        }
        Ok(())
    }
}

/// Writes four rows of eight images of a source under one mask each.
///
/// # Errors
///
/// Settings that no mask can follow, or a file that cannot be written.
pub fn write_masks(
    path: &Path,
    source: &Arc<dyn Source>,
    preprocessing: &Preprocessing,
    mask: &MaskSettings,
    grid: [usize; 2],
    watch: &Watch,
) -> Result<()> {
    let masker = mask.masker(grid)?;
    let images = decodable(source, 0..source.len(), watch).take(32);
    let masked = images
        .map(|(index, image)| greyed(&preprocessing.view(&image), &mask_of(&masker, 0, index as u64), grid));
    let masked: Vec<Image> = masked.collect();
    write_grid(path, &masked.chunks(8).map(<[_]>::to_vec).collect::<Vec<_>>())
}

/// The mask of image `index` of a source.
pub(crate) fn mask_of(masker: &Masker, seed: u64, index: u64) -> Vec<bool> {
    let mut mask = vec![false; masker.cells()];
    masker.fill(&mut sample_rng(seed, 0, index, Purpose::Sample), &mut mask);
    mask
}

struct Open<'a>(&'a Opened<'a>);

impl Work for Open<'_> {
    type Output = MaskedModel;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, _: &Device) -> Result<MaskedModel> {
        Ok(MaskedModel::on(ops, self.0.mim(&**ops)?))
    }
}
