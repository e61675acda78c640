//! What the attention of a block looks at, over the image.

use super::shown;
use crate::device::{Device, Work};
use crate::embedder::Transformer;
use crate::error::{Error, Result, setting};
use crate::load::Opened;
use crate::memory;
use crate::on::On;
use crate::picture::{Cell, Grid, at_most, coloured, framed};
use crate::progress::Watch;
use crate::settings::{OpenSettings, PointSettings, ShownSettings};
use beit_data::{Image, Preprocessing};
use beit_ops::Ops;
use beit_vit::{Config, Input, Vit};
use serde::Serialize;
use std::path::Path;
use std::rc::Rc;

/// Images that are shown where nothing is said.
const FEW: usize = 2;

/// A model whose attention can be looked at, in one of its blocks.
///
/// ```no_run
/// let maps = beit::show::AttentionMaps::open("runs/pretrain-001", beit::Device::auto()?)?;
/// let image = beit::Image::open("photo.jpg")?;
/// for head in &maps.attend(&image, &[0])?[0].heads {
///     println!("{:.3} of it looks at the top left patch, {:.3} at [CLS]", head[1], head[0]);
/// }
/// # Ok::<(), beit::Error>(())
/// ```
#[derive(Clone)]
pub struct AttentionMaps {
    engine: Rc<dyn Engine>,
    /// As it was opened by, for messages.
    name: Rc<str>,
    config: Config,
    /// From 1.
    block: usize,
    preprocessing: Preprocessing,
    device: Device,
}

/// What one patch of an image looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct Attended {
    /// The query.
    pub patch: usize,
    /// For each head the probabilities of all tokens, `[T]`: \[CLS\] first. They add up to one.
    pub heads: Vec<Vec<f32>>,
}

impl Attended {
    /// The mean over the heads, `[T]`.
    #[must_use]
    pub fn mean(&self) -> Vec<f32> {
        let tokens = self.heads.first().map_or(0, Vec::len);
        let of = |token: usize| self.heads.iter().map(|head| head[token]).sum::<f32>();
        (0..tokens).map(|token| of(token) / self.heads.len() as f32).collect()
    }
}

/// What a picture of attention shows.
#[derive(Clone, Debug, Serialize)]
pub struct ShownAttention {
    /// The block, from 1.
    pub block: usize,
    /// Its heads.
    pub heads: usize,
    /// The rows of the picture.
    pub queries: Vec<ShownQuery>,
}

/// A row of the picture, by the mean over the heads.
#[derive(Clone, Debug, Serialize)]
pub struct ShownQuery {
    /// The image, as the picture calls it.
    pub image: String,
    /// `[y, x]`
    pub point: [f64; 2],
    /// Row and column of the patch.
    pub patch: [usize; 2],
    /// The probability of the class token.
    pub cls: f32,
    /// Row and column of the patch that is looked at most.
    pub most: [usize; 2],
    /// Its probability.
    pub most_probability: f32,
}

trait Engine {
    /// `pixels [C, H, W]` of one image to `[H, queries, T]`.
    fn attention(&self, pixels: &[f32], queries: &[usize]) -> Result<Vec<f32>>;
}

/// Of a transformer that ends with the block.
impl<O: Ops> Engine for On<O, Vit<O::Tensor>> {
    fn attention(&self, pixels: &[f32], queries: &[usize]) -> Result<Vec<f32>> {
        let (ops, vit) = (&*self.ops, &*self.params);
        let images = ops.upload(vit.config().images(1), pixels);
        let input = Input { images: &images, mask: None, drop_path: None };
        Ok(vit.attention(ops, &input, vit.blocks.len() - 1, queries)?)
    }
}

impl AttentionMaps {
    /// Opens a model by its name, as [`Classifier::open`](crate::Classifier::open) does, to look at its last block.
    ///
    /// # Errors
    ///
    /// As [`open_with`](Self::open_with).
    pub fn open(name: impl AsRef<Path>, device: impl Into<Device>) -> Result<Self> {
        let name = name.as_ref().to_string_lossy();
        Self::open_with(&name, &OpenSettings::default(), None, &device.into(), &Watch::silent())
    }

    /// [`open`](Self::open) for another block, counted from 1, watched.
    ///
    /// # Errors
    ///
    /// Nothing of this name, a model without a transformer or without such a block, or a device that fails.
    pub fn open_with(
        name: &str,
        open: &OpenSettings,
        block: Option<usize>,
        device: &Device,
        watch: &Watch,
    ) -> Result<Self> {
        let opened = Opened::new(name, open, watch)?;
        opened.refuse_beyond(device)?;
        let maps = device.run(Open { name, opened: &opened, block })?;
        watch.note(&format!("preprocessing: {}", maps.preprocessing));
        Ok(maps)
    }

    /// The last block of a transformer that is on a device already.
    pub(crate) fn on<O: Ops + 'static>(
        ops: &Rc<O>,
        vit: Vit<O::Tensor>,
        (preprocessing, device): (Preprocessing, &Device),
    ) -> Self {
        let (block, config) = (vit.blocks.len(), vit.config().clone());
        let engine = Rc::new(On::new(ops, vit));
        Self { engine, name: "the model".into(), config, block, preprocessing, device: device.clone() }
    }

    /// Rows and columns of patches.
    #[must_use]
    pub fn grid(&self) -> [usize; 2] {
        self.config.grid()
    }

    /// What the `patches` of an image look at.
    ///
    /// # Errors
    ///
    /// A patch that the model does not have, an image of other channels, the device, or numbers that are not finite.
    pub fn attend(&self, image: &Image, patches: &[usize]) -> Result<Vec<Attended>> {
        let (n, tokens, heads) = (self.config.patches(), self.config.tokens(), self.config.heads);
        if let Some(patch) = patches.iter().find(|&&patch| patch >= n) {
            setting!("patch {patch}: expected 0 to {}, the model has {n}", n - 1);
        }
        self.preprocessing.normalise.channels.check(image)?;
        let queries: Vec<usize> = patches.iter().map(|patch| patch + 1).collect();
        let all = self.engine.attention(&self.preprocessing.apply(image), &queries)?;
        Error::unless_finite(&self.name, "attention maps", &all, all.len(), |_| "the image".to_owned())?;
        let row =
            |head: usize, query: usize| all[(head * queries.len() + query) * tokens..][..tokens].to_vec();
        let of =
            |(query, &patch)| Attended { patch, heads: (0..heads).map(|head| row(head, query)).collect() };
        Ok(patches.iter().enumerate().map(of).collect())
    }

    /// What one patch, in a frame, looks at, by the mean over the heads, over the image in grey: of at most so many pixels a side.
    pub(crate) fn map(&self, image: &Image, patch: usize, side: usize) -> Result<Image> {
        let view = self.preprocessing.view(image);
        let attended = &self.attend(image, &[patch])?[0];
        let map = mapped(&at_most(&view, side), &attended.mean(), self.grid()).image;
        Ok(framed(&map, patch, self.grid()))
    }

    /// Writes a picture, a row for each query: the image with the patch of the query in a frame, and over the image in grey what it looks
    /// at, by the mean over the heads and head by head. Each map is stretched to its greatest probability of a patch, which is written
    /// under it; what \[CLS\] gets is not drawn.
    ///
    /// # Errors
    ///
    /// As [`attend`](Self::attend), images that are not there, or a file that cannot be written.
    pub fn write(
        &self,
        path: &Path,
        images: &ShownSettings,
        points: &PointSettings,
        watch: &Watch,
    ) -> Result<ShownAttention> {
        let (grid, heads) = (self.grid(), self.config.heads);
        let points = points.patches(grid)?;
        memory::refuse_images(&self.device, &self.config, 1)?;
        let (source, indices) = images.open(&self.name, self.preprocessing.normalise.channels, FEW)?;
        watch.notes_of(source.as_ref());
        let patches: Vec<usize> = points.iter().map(|(_, patch)| *patch).collect();
        let (mut rows, mut beside, mut queries) = (Vec::new(), Vec::new(), Vec::new());
        for (image, caption) in shown(&source, indices, watch) {
            let view = self.preprocessing.view(&image);
            for (attended, (point, patch)) in self.attend(&image, &patches)?.iter().zip(&points) {
                let query = ShownQuery::of(&caption, *point, attended, grid);
                beside.push(format!("y {:.2}\nx {:.2}", point[0], point[1]));
                rows.push(row(&view, framed(&view, *patch, grid), &caption, attended, grid));
                queries.push(query);
            }
        }
        let numbered = (1..=heads).map(|head| format!("head {head}"));
        let above = ["query", "mean"].map(str::to_owned).into_iter().chain(numbered);
        Grid::new(rows).above(above).beside(beside).write(path)?;
        Ok(ShownAttention { block: self.block, heads, queries })
    }
}

impl ShownQuery {
    fn of(image: &str, point: [f64; 2], attended: &Attended, [_, cols]: [usize; 2]) -> Self {
        let mean = attended.mean();
        // The last of equal ones is what `max_by` returns.
        let most =
            (0..mean.len() - 1).rev().max_by(|&a, &b| mean[a + 1].total_cmp(&mean[b + 1])).unwrap_or(0);
        let place = |patch: usize| [patch / cols, patch % cols];
        Self {
            image: image.to_owned(),
            point,
            patch: place(attended.patch),
            cls: mean[0],
            most: place(most),
            most_probability: mean[most + 1],
        }
    }
}

/// The framed image, the mean, every head.
fn row(view: &Image, query: Image, caption: &str, attended: &Attended, grid: [usize; 2]) -> Vec<Cell> {
    let heads = attended.heads.iter().map(|head| mapped(view, head, grid));
    [Cell::new(query, caption), mapped(view, &attended.mean(), grid)].into_iter().chain(heads).collect()
}

/// Probabilities `[T]` over an image, stretched to the greatest of a patch.
fn mapped(view: &Image, probabilities: &[f32], grid: [usize; 2]) -> Cell {
    let patches = &probabilities[1..];
    let most = patches.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let shares: Vec<f32> = patches.iter().map(|p| p / most).collect();
    Cell::new(coloured(view, &shares, grid), format!("to {most:.3}"))
}

struct Open<'a> {
    name: &'a str,
    opened: &'a Opened<'a>,
    block: Option<usize>,
}

impl Work for Open<'_> {
    type Output = AttentionMaps;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<AttentionMaps> {
        let Self { name, opened, block } = self;
        let Transformer { mut vit, preprocessing, .. } = Transformer::load(&**ops, name, opened)?;
        let depth = vit.blocks.len();
        let block = block.unwrap_or(depth);
        if !(1..=depth).contains(&block) {
            setting!("--block {block}: expected a block of the model, 1 to {depth}");
        }
        // What comes after it would be work for nothing.
        vit.blocks.truncate(block);
        Ok(AttentionMaps { name: name.into(), ..AttentionMaps::on(ops, vit, (preprocessing, device)) })
    }
}
