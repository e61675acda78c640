//! Pictures of what the model makes of a few images, drawn while it is trained.

use super::job::PretrainTask;
use super::{PretrainSettings, Pretraining};
use crate::any_tokenizer::AnyTokenizer;
use crate::device::Device;
use crate::error::Result;
use crate::files;
use crate::load::MimModel;
use crate::loaders::{decodable, spread};
use crate::masked::{MaskedModel, mask_of};
use crate::picture::{Grid, at_most, greyed};
use crate::run::Run;
use crate::show::AttentionMaps;
use crate::tokenizer::Tokenizer;
use beit_data::Image;
use beit_ops::Ops;
use beit_train::Trainer;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The images.
const FEW: usize = 4;
/// Pixels of the longer side of an image in a picture, at most.
const SIDE: usize = 96;
/// They are drawn again when at least so many times as long as drawing took have passed: that costs below 1 % of the run.
const COSTS: u32 = 100;

/// Draws the same images, under the same masks, as the model sees them: masked, reconstructed, and what a patch looks at.
pub(super) struct Snapshots<'a, O: Ops> {
    job: &'a Pretraining,
    ops: &'a Rc<O>,
    device: &'a Device,
    tokenizer: Tokenizer,
    /// With their masks; read when the first picture is drawn.
    images: Option<Vec<(Image, Vec<bool>)>>,
    due: Option<Instant>,
}

impl<'a, O: Ops + 'static> Snapshots<'a, O> {
    pub(super) fn new(
        job: &'a Pretraining,
        (ops, device): (&'a Rc<O>, &'a Device),
        tokenizer: &Rc<AnyTokenizer<O::Tensor>>,
    ) -> Self {
        let tokenizer = Tokenizer::on(ops, tokenizer, device);
        Self { job, ops, device, tokenizer, images: None, due: None }
    }

    /// Draws a picture: where `must` says so, and else where that is due. One that cannot be drawn is said once, and no reason to end a run.
    pub(super) fn draw(&mut self, run: &Run, trainer: &Trainer<'_, O, PretrainTask<'_, O>>, must: bool) {
        let begun = Instant::now();
        if !must && self.due.is_some_and(|due| begun < due) {
            return;
        }
        if let Err(error) = self.write(run, trainer) {
            self.job
                .watch
                .note_once(&format!("pictures on the way are not drawn, and the run goes on: {error}"));
        }
        self.due = begun.checked_add(begun.elapsed().max(Duration::from_millis(10)) * COSTS);
    }

    fn write(&mut self, run: &Run, trainer: &Trainer<'_, O, PretrainTask<'_, O>>) -> Result<()> {
        // They share the memory of the parameters, which the next step needs for itself: they are gone before.
        let params = trainer.model().0.clone();
        let preprocessing = self.job.preprocessing;
        let maps = AttentionMaps::on(self.ops, params.vit.clone(), (preprocessing, self.device));
        let model = MaskedModel::on(self.ops, MimModel { params, preprocessing });
        let mut rows: [Vec<Image>; 4] = Default::default();
        for (image, mask) in self.images()? {
            let seen = self.seen((&model, &maps), &image, &mask)?;
            rows.iter_mut().zip(seen).for_each(|(row, image)| row.extend(image));
        }
        let words = ["original", "masked", "masked as\npredicted", "what the\nframed patch\nlooks at"];
        let drawn = rows.into_iter().zip(words).filter(|(row, _)| !row.is_empty());
        let (rows, words): (Vec<_>, Vec<_>) = drawn.unzip();
        files::make_folder(&run.pictures())?;
        Grid::new(rows).beside(words).write(&run.picture_after(trainer.optimiser.steps()))?;
        run.thin_pictures()
    }

    /// An image as the model sees it, masked, reconstructed where the tokenizer can draw, and what the patch in its middle looks at.
    fn seen(
        &self,
        (model, maps): (&MaskedModel, &AttentionMaps),
        image: &Image,
        mask: &[bool],
    ) -> Result<[Option<Image>; 4]> {
        let [rows, cols] = maps.grid();
        let attention = maps.map(image, rows / 2 * cols + cols / 2, SIDE)?;
        let [original, masked, predicted] = if self.tokenizer.draws() {
            let seen = model.reconstruct(image, mask, &self.tokenizer)?;
            [Some(seen.original), Some(seen.masked), Some(seen.predicted)]
        } else {
            let view = self.job.preprocessing.view(image);
            let masked = greyed(&view, mask, [rows, cols]);
            [Some(view.shown().into_owned()), Some(masked), None]
        };
        let small = |image: Option<Image>| image.map(|image| at_most(&image, SIDE).into_owned());
        Ok([small(original), small(masked), small(predicted), Some(attention)])
    }

    /// The images, spread over those that were held out, and their masks.
    fn images(&mut self) -> Result<Vec<(Image, Vec<bool>)>> {
        if let Some(images) = &self.images {
            return Ok(images.clone());
        }
        let PretrainSettings { measure, data, training, .. } = &self.job.settings;
        let (held_out, _) = measure.held_out(data)?;
        let masker = &self.job.masker;
        let masked = |(index, image)| (image, mask_of(masker, training.seed, index as u64));
        let indices = spread(held_out.len(), FEW, training.seed);
        let images: Vec<_> = decodable(&held_out, indices, &self.job.watch).map(masked).collect();
        self.images = Some(images.clone());
        Ok(images)
    }
}
