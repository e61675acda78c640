//! Models that draw the pixels of masked patches: the paper's ablation of visual tokens (§3.3).

use crate::device::{Device, Work};
use crate::error::{Result, unfit};
use crate::load::{Opened, PixelModel};
use crate::loaders::{decodable, spread};
use crate::masked::mask_of;
use crate::on::On;
use crate::picture::{Grid, from_planes, greyed};
use crate::progress::Watch;
use crate::settings::{DataSettings, MaskSettings, OpenSettings};
use beit_data::{Image, Preprocessing, Source, Stretch};
use beit_heads::{PixelMim, masked_rows};
use beit_ops::Ops;
use beit_train::{broken_row, nearest_visible};
use beit_vit::{Config, Input};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// A model that draws the pixels of masked patches.
///
/// ```no_run
/// let device = beit::Device::auto()?;
/// let model = beit::DrawingModel::open("runs/pretrain-001", &device)?;
/// let mask = model.draw_mask(&beit::MaskSettings::default(), 0)?;
/// let [original, masked, _, predicted] = model.reconstruct(&beit::Image::open("photo.jpg")?, &mask)?;
/// beit::picture::write_grid("reconstruction.png".as_ref(), &[vec![original, masked, predicted]])?;
/// # Ok::<(), beit::Error>(())
/// ```
#[derive(Clone)]
pub struct DrawingModel {
    engine: Rc<dyn Engine>,
    config: Config,
    preprocessing: Preprocessing,
}

/// What stands beside the rows of a picture.
const RECONSTRUCTION: [&str; 4] = ["original", "masked", "masked from\nneighbours", "masked as\npredicted"];

trait Engine {
    /// The pixels of the masked patches of one image, `[masked, channels·h·w]`.
    fn draw_patches(&self, pixels: &[f32], mask: &[bool]) -> Result<Vec<f32>>;
}

impl<O: Ops> Engine for On<O, PixelMim<O::Tensor>> {
    fn draw_patches(&self, pixels: &[f32], mask: &[bool]) -> Result<Vec<f32>> {
        let (ops, vit) = (&*self.ops, self.params.vit.config());
        let images = ops.upload(vit.images(1), pixels);
        let masks: Vec<f32> = mask.iter().map(|&m| f32::from(m)).collect();
        let masks = ops.upload([1, vit.patches()], &masks);
        let input = Input { images: &images, mask: Some(&masks), drop_path: None };
        let rows = ops.upload_ids(&masked_rows(mask, vit.patches()));
        let patches = self.params.infer(ops, &input, &rows);
        if broken_row(ops, &patches)?.is_some() {
            unfit!(
                "the model's pixels of the image are not finite: it is damaged, or was trained until its numbers overflowed"
            );
        }
        Ok(ops.read(&patches)?)
    }
}

impl DrawingModel {
    /// Opens a model by its name, as [`Classifier::open`](crate::Classifier::open) does.
    ///
    /// # Errors
    ///
    /// Nothing of this name, something else than a model that was pre-trained to draw pixels, or a device that fails.
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

    /// Whether a model, by its name, is one that draws pixels.
    ///
    /// # Errors
    ///
    /// Nothing of this name, or a damaged file.
    pub fn is_one(name: &str, settings: &OpenSettings, watch: &Watch) -> Result<bool> {
        Ok(Opened::new(name, settings, watch)?.checkpoint.draws_pixels())
    }

    /// A model that is on a device already.
    pub(crate) fn on<O: Ops + 'static>(ops: &Rc<O>, model: PixelModel<O::Tensor>) -> Self {
        let PixelModel { params, preprocessing } = model;
        let config = params.vit.config().clone();
        Self { engine: Rc::new(On::new(ops, params)), config, preprocessing }
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
        Ok(mask_of(&settings.masker(self.config.grid())?, seed, 0))
    }

    /// Masks an image: what the model would see without a mask, the same with its masked patches grey, with each of them a copy of the
    /// nearest visible patch, and as the model draws them. All are [shown](Image::shown).
    ///
    /// # Errors
    ///
    /// A mask of another grid, a picture of other channels, or the device.
    pub fn reconstruct(&self, image: &Image, mask: &[bool]) -> Result<[Image; 4]> {
        let Self { config, preprocessing: Preprocessing { normalise, .. }, .. } = self;
        if mask.len() != config.patches() {
            unfit!("a mask of {} patches: the model has {}", mask.len(), config.patches());
        }
        normalise.channels.check(image)?;
        let original = self.preprocessing.view(image);
        let planes = normalise.planes(&original);
        let patches = self.engine.draw_patches(&planes, mask)?;
        let (mut nearest, mut predicted) = (planes.clone(), planes.clone());
        let masked = (0..mask.len()).filter(|&n| mask[n]);
        for (n, patch) in masked.zip(patches.chunks_exact(beit_heads::patch_values(config))) {
            self.elements(n).zip(patch).for_each(|(at, &value)| predicted[at] = value);
            if let Some(near) = nearest_visible(n, mask, config.grid()[1]) {
                self.elements(n).zip(self.elements(near)).for_each(|(at, from)| nearest[at] = planes[from]);
            }
        }
        let stretch = Stretch::of(&original);
        let [nearest, predicted] =
            [nearest, predicted].map(|planes| self.picture(planes).shown_with(stretch).into_owned());
        let masked = greyed(&original, mask, config.grid());
        Ok([original.shown().into_owned(), masked, nearest, predicted])
    }

    /// Where the numbers of a patch lie in the planes of an image, in the order in which they are drawn.
    fn elements(&self, patch: usize) -> impl Iterator<Item = usize> + use<> {
        let Config { channels, image: [height, width], patch: [h, w], .. } = self.config;
        let cols = width / w;
        let (top, left) = (patch / cols * h, patch % cols * w);
        (0..channels * h * w).map(move |i| {
            let (channel, y, x) = (i / (h * w), i / w % h, i % w);
            (channel * height + top + y) * width + left + x
        })
    }

    /// The picture of planes that a model sees.
    fn picture(&self, mut planes: Vec<f32>) -> Image {
        let (normalise, size) = (&self.preprocessing.normalise, self.config.image);
        for (channel, plane) in planes.chunks_exact_mut(size[0] * size[1]).enumerate() {
            let (mean, std) = (normalise.mean[channel], normalise.std[channel]);
            plane.iter_mut().for_each(|value| *value = *value * std + mean);
        }
        from_planes(&planes, size, |value| value)
    }

    /// Writes a picture of `count` [reconstructions](Self::reconstruct), spread over a source, a column each.
    ///
    /// # Errors
    ///
    /// As [`reconstruct`](Self::reconstruct), or a file that cannot be written.
    pub fn write_reconstructions(
        &self,
        path: &Path,
        source: &Arc<dyn Source>,
        mask: &MaskSettings,
        count: usize,
        seed: u64,
        watch: &Watch,
    ) -> Result<()> {
        let masker = mask.masker(self.config.grid())?;
        let mut rows: [Vec<Image>; 4] = Default::default();
        for (index, image) in decodable(source, spread(source.len(), count, seed), watch) {
            let seen = self.reconstruct(&image, &mask_of(&masker, seed, index as u64))?;
            rows.iter_mut().zip(seen).for_each(|(row, image)| row.push(image));
        }
        Grid::new(rows).beside(RECONSTRUCTION).write(path)
    }
}

struct Open<'a>(&'a Opened<'a>);

impl Work for Open<'_> {
    type Output = DrawingModel;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, _: &Device) -> Result<DrawingModel> {
        Ok(DrawingModel::on(ops, self.0.pixel_mim(&**ops)?))
    }
}
