//! Pictures of what the model makes of a few images, drawn while it is trained.

use super::goal::{Artist, Goal, Seen};
use super::{PretrainSettings, Pretraining};
use crate::device::Device;
use crate::error::Result;
use crate::files;
use crate::loaders::{decodable, spread};
use crate::masked::mask_of;
use crate::picture::{Grid, at_most};
use crate::run::Run;
use crate::show::AttentionMaps;
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
pub(super) struct Snapshots<'a, O: Ops, G> {
    job: &'a Pretraining,
    ops: &'a Rc<O>,
    device: &'a Device,
    goal: &'a G,
    /// With their masks; read when the first picture is drawn.
    images: Option<Vec<(Image, Vec<bool>)>>,
    due: Option<Instant>,
}

impl<'a, O: Ops + 'static, G: Goal<O>> Snapshots<'a, O, G> {
    /// Of a run that goes on after `step` steps: pictures of later ones go.
    pub(super) fn new(
        job: &'a Pretraining,
        (ops, device): (&'a Rc<O>, &'a Device),
        goal: &'a G,
        (run, step): (&Run, u64),
    ) -> Self {
        told(job, run.forget_pictures_after(step));
        Self { job, ops, device, goal, images: None, due: None }
    }

    /// Draws a picture: where `must` says so, and else where that is due. One that cannot be drawn is said once, and no reason to end a run.
    pub(super) fn draw<'t>(&mut self, run: &Run, trainer: &Trainer<'_, O, G::Task<'t>>, must: bool)
    where
        G: 't,
    {
        let begun = Instant::now();
        if !must && self.due.is_some_and(|due| begun < due) {
            return;
        }
        told(self.job, self.write(run, trainer));
        self.due = begun.checked_add(begun.elapsed().max(Duration::from_millis(10)) * COSTS);
    }

    fn write<'t>(&mut self, run: &Run, trainer: &Trainer<'_, O, G::Task<'t>>) -> Result<()>
    where
        G: 't,
    {
        // They share the memory of the parameters, which the next step needs for itself: they are gone before.
        let params = trainer.model().0.clone();
        let vit = G::vit(&params).clone();
        let maps = AttentionMaps::on(self.ops, vit, (self.job.preprocessing, self.device));
        let reconstruct = self.goal.artist(self.job, (self.ops, self.device), params);
        let mut rows: [Vec<Image>; 4] = Default::default();
        for (image, mask) in self.images()? {
            let seen = self.seen((&*reconstruct, &maps), &image, &mask)?;
            rows.iter_mut().zip(seen).for_each(|(row, image)| row.extend(image));
        }
        let words = ["original", "masked", "masked as\npredicted", "what the\nframed patch\nlooks at"];
        let drawn = rows.into_iter().zip(words).filter(|(row, _)| !row.is_empty());
        let (rows, words): (Vec<_>, Vec<_>) = drawn.unzip();
        files::make_folder(&run.pictures())?;
        Grid::new(rows).beside(words).write(&run.picture_after(trainer.optimiser.steps()))?;
        run.thin_pictures()
    }

    /// An image as the model sees it, masked, reconstructed where it can be drawn, and what the patch in its middle looks at.
    fn seen(
        &self,
        (reconstruct, maps): (&Artist, &AttentionMaps),
        image: &Image,
        mask: &[bool],
    ) -> Result<[Option<Image>; 4]> {
        let [rows, cols] = maps.grid();
        let attention = maps.map(image, rows / 2 * cols + cols / 2, SIDE)?;
        let Seen { original, masked, predicted } = reconstruct(image, mask)?;
        let small = |image: Image| at_most(&image, SIDE).into_owned();
        Ok([Some(small(original)), Some(small(masked)), predicted.map(small), Some(attention)])
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

/// Says once what is no reason to end a run.
fn told(job: &Pretraining, done: Result<()>) {
    if let Err(error) = done {
        job.watch.note_once(&format!("pictures on the way are not drawn, and the run goes on: {error}"));
    }
}
