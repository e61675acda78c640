//! Whether attention finds objects that nobody named: how much of what a patch looks at lies in the object that the patch is of.
//!
//! The paper shows it in pictures (§3.3, "analysis of self-attention map"); here it is a number, beside what needs no learning.

mod objects;
mod places;
mod priors;

use crate::device::{Device, Work};
use crate::embedder::Transformer;
use crate::error::{Error, Result, setting, unfit};
use crate::load::Opened;
use crate::loaders::spread;
use crate::progress::{Task, Watch};
use crate::settings::{DataSettings, OpenSettings};
use beit_data::{Filter, Mask, Normalise, Source};
use beit_ops::Ops;
use beit_vit::{Init, Input, Vit};
use objects::{Object, objects};
use places::Places;
use priors::Priors;
use serde::Serialize;
use std::rc::Rc;
use std::sync::Arc;

/// Which pictures show whether attention finds objects.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct AttentionProbeSettings {
    /// The pictures, with masks.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub data: DataSettings,
    /// Classes of masks that are objects; all but the one that most pixels have where not given
    #[cfg_attr(feature = "clap", arg(long, value_delimiter = ',', value_name = "CLASS,…"))]
    pub objects: Vec<String>,
    /// Pictures, at even distances
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().images))]
    pub images: usize,
    /// Seed of the choice of pictures, and of the random model
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0, value_parser = crate::settings::seeds()))]
    pub seed: u64,
}

impl Default for AttentionProbeSettings {
    fn default() -> Self {
        Self { data: DataSettings::default(), objects: Vec::new(), images: 200, seed: 0 }
    }
}

/// Shares of the attention between different patches that stay within the object of the query. All are means over the patches of an
/// object, then over objects.
#[derive(Clone, Debug, Serialize)]
pub struct AttentionProbed {
    /// The model's name.
    pub model: String,
    /// The source.
    pub data: String,
    /// Which pictures of it.
    pub split: String,
    /// How many.
    pub images: usize,
    /// Objects: all pixels of a class in a picture.
    pub objects: usize,
    /// Of attention that is the same everywhere: how large the objects are.
    pub uniform: f64,
    /// Of attention that falls off from the middle of the picture, of that width which does best here.
    pub centre: f64,
    /// Of attention that falls off from the query, of that width which does best here.
    pub near: f64,
    /// Block by block.
    pub blocks: Vec<AttentionMass>,
}

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AttentionMass {
    /// From 1.
    pub block: usize,
    /// Of the model, by the mean over its heads.
    pub model: f64,
    /// Of the model, by the place of the query alone: by the mean of what it looks at from there in the other half of the pictures. None of a
    /// single picture.
    pub place: Option<f64>,
    /// Of the same model with random values.
    pub random: f64,
}

impl AttentionProbed {
    /// Looks at a model, by its name.
    ///
    /// # Errors
    ///
    /// Data without masks, classes that there are not, pictures without an object, or a device that fails.
    pub fn of(
        name: &str,
        open: &OpenSettings,
        settings: &AttentionProbeSettings,
        device: &Device,
        watch: &Watch,
    ) -> Result<Self> {
        if settings.images == 0 {
            setting!("--images 0: expected at least 1");
        }
        let opened = Opened::new(name, open, watch)?;
        opened.refuse_beyond(device)?;
        let data = settings.data.seen_by(name, opened.channels()?)?;
        let (source, split) = data.held_out()?;
        watch.notes_of(source.as_ref());
        let wanted = wanted(&data.data, source.as_ref(), &settings.objects)?;
        let look = Look { name, opened: &opened, settings, source: &source, wanted: &wanted, watch };
        let seen = device.run(look)?;
        seen.probed(name, &data.data, &split.to_string())
    }

    /// Lines for a person.
    #[must_use]
    pub fn table(&self) -> String {
        let Self { split, images, objects, uniform, centre, near, .. } = self;
        let mut text = format!(
            "attention that stays within the object of the query, {objects} objects in {images} {split} pictures\n\
             everywhere alike {uniform:.4}, towards the middle {centre:.4}, towards the query {near:.4}\n\
             block     model  by place alone  random weights"
        );
        for AttentionMass { block, model, place, random } in &self.blocks {
            let place = place.map_or_else(|| "-".to_owned(), |place| format!("{place:.4}"));
            text += &format!("\n{block:5}    {model:.4}          {place:>6}          {random:.4}");
        }
        text
    }
}

/// Which classes of masks are objects.
enum Wanted {
    These(Vec<u8>),
    /// All but the one that most pixels have.
    AllBut(u8),
}

impl Wanted {
    fn has(&self, class: u8) -> bool {
        match self {
            _ if class == Mask::IGNORED => false,
            Self::These(classes) => classes.contains(&class),
            Self::AllBut(ground) => class != *ground,
        }
    }
}

fn wanted(data: &str, source: &dyn Source, names: &[String]) -> Result<Wanted> {
    let classes = source.mask_classes();
    if classes.is_empty() {
        unfit!("{data}: no masks of objects are there; take --data scenes, masks:… or ade:…");
    }
    let number = |name: &String| match classes.iter().position(|class| class == name) {
        Some(number) => Ok(u8::try_from(number).unwrap_or(Mask::IGNORED)),
        None => Err(Error::Setting(format!("--objects {name}: expected some of {}", classes.join(", ")))),
    };
    match names {
        [] => Ok(Wanted::AllBut(commonest(source)?)),
        names => names.iter().map(number).collect::<Result<_>>().map(Wanted::These),
    }
}

/// Masks that tell which class most pixels have.
const LOOKED_AT: usize = 100;

fn commonest(source: &dyn Source) -> Result<u8> {
    let mut pixels = [0_u64; Mask::IGNORED as usize];
    for index in spread(source.len(), LOOKED_AT, 0) {
        let Some(mask) = source.mask(index)? else { continue };
        pixels.iter_mut().zip(mask.histogram()).for_each(|(sum, more)| *sum += more);
    }
    let most = (0..pixels.len()).rev().max_by_key(|&class| pixels[class]).unwrap_or(0);
    Ok(u8::try_from(most).unwrap_or(0))
}

/// What is known of all pictures: sums over objects.
struct Seen {
    images: usize,
    objects: usize,
    uniform: f64,
    priors: Priors,
    places: Places,
    /// `[blocks]`, of the model and of the random one.
    blocks: Vec<[f64; 2]>,
}

impl Seen {
    fn probed(self, model: &str, data: &str, split: &str) -> Result<AttentionProbed> {
        if self.objects == 0 {
            unfit!(
                "{data}: no object of these pictures covers two patches and leaves one; look at more with --images"
            );
        }
        let mean = |sum: f64| sum / self.objects as f64;
        let places = self.places.masses();
        let block = |(i, [model, random]): (usize, &[f64; 2])| AttentionMass {
            block: i + 1,
            model: mean(*model),
            place: places.as_ref().map(|places| mean(places[i])),
            random: mean(*random),
        };
        Ok(AttentionProbed {
            model: model.to_owned(),
            data: data.to_owned(),
            split: split.to_owned(),
            images: self.images,
            objects: self.objects,
            uniform: mean(self.uniform),
            centre: mean(self.priors.best_centre()),
            near: mean(self.priors.best_near()),
            blocks: self.blocks.iter().enumerate().map(block).collect(),
        })
    }
}

/// Looks at the pictures.
struct Look<'a> {
    name: &'a str,
    opened: &'a Opened<'a>,
    settings: &'a AttentionProbeSettings,
    source: &'a Arc<dyn Source>,
    wanted: &'a Wanted,
    watch: &'a Watch,
}

impl Work for Look<'_> {
    type Output = Seen;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, _: &Device) -> Result<Seen> {
        let Self { name, opened, settings, source, wanted, watch } = self;
        let Transformer { vit, preprocessing, .. } = Transformer::load(&**ops, name, opened)?;
        let random = beit_vit::init(&**ops, vit.config(), Init::Pretraining, settings.seed);
        let (depth, grid) = (vit.blocks.len(), vit.config().grid());
        let mut seen = Seen {
            images: 0,
            objects: 0,
            uniform: 0.0,
            priors: Priors::new(grid),
            places: Places::default(),
            blocks: vec![[0.0; 2]; depth],
        };
        let indices: Vec<usize> = spread(source.len(), settings.images, settings.seed).collect();
        watch.begin(&Task::Images { total: indices.len() as u64 });
        for (number, index) in indices.into_iter().enumerate() {
            let Some(mask) = source.mask(index)? else { continue };
            let found = objects(&mask, grid, |class| wanted.has(class));
            seen.images += 1;
            seen.add_priors(&found);
            if !found.is_empty() {
                let pixels = pixels(source.as_ref(), index, vit.config().image, &preprocessing.normalise)?;
                let maps = |vit| -> Result<Vec<Vec<f32>>> {
                    let maps = attention(&**ops, vit, &pixels)?;
                    for map in &maps {
                        Error::unless_finite(name, "attention maps", map, map.len(), |_| source.name(index))?;
                    }
                    Ok(maps)
                };
                seen.add_maps(found, [&maps(&vit)?, &maps(&random)?]);
            }
            watch.done(number as u64 + 1);
        }
        watch.end();
        Ok(seen)
    }
}

impl Seen {
    fn add_priors(&mut self, found: &[Object]) {
        for object in found {
            self.objects += 1;
            self.uniform += object.mass(|_, _| 1.0);
            self.priors.add(object);
        }
    }

    /// What the model and the random one look at in a picture, `[blocks][N, N]`.
    fn add_maps(&mut self, found: Vec<Object>, maps: [&[Vec<f32>]; 2]) {
        for (of, maps) in maps.into_iter().enumerate() {
            for (sums, map) in self.blocks.iter_mut().zip(maps) {
                sums[of] += masses(&found, map);
            }
        }
        self.places.add(found, maps[0]);
    }
}

/// A picture as the model sees all of it, `[C, H, W]`: its sides are brought to the model's, as those of its mask are.
fn pixels(source: &dyn Source, index: usize, size: [usize; 2], normalise: &Normalise) -> Result<Vec<f32>> {
    let image = source.image(index)?;
    Ok(normalise.planes(&normalise.seen(&image).resize(size, Filter::Bicubic)))
}

/// The sum over objects of what stays in them, of what every patch looks at `[N, N]`.
fn masses(found: &[Object], attention: &[f32]) -> f64 {
    let weight = |of: usize| move |query: usize, key: usize| f64::from(attention[query * of + key]);
    found.iter().map(|object| object.mass(weight(object.of))).sum()
}

/// What every patch looks at in each block, by the mean over the heads: `[N, N]`, patches alone.
fn attention<O: Ops>(ops: &O, vit: &Vit<O::Tensor>, pixels: &[f32]) -> Result<Vec<Vec<f32>>> {
    let (config, images) = (vit.config(), ops.upload(vit.config().images(1), pixels));
    let (n, tokens, heads) = (config.patches(), config.tokens(), config.heads);
    let queries: Vec<usize> = (1..tokens).collect();
    let input = Input { images: &images, mask: None, drop_path: None };
    let mut blocks = Vec::new();
    vit.attention_of_each(ops, &input, &queries, &mut |all| {
        let mut mean = vec![0.0; n * n];
        for head in all.chunks_exact(n * tokens) {
            for (mean, row) in mean.chunks_exact_mut(n).zip(head.chunks_exact(tokens)) {
                mean.iter_mut().zip(&row[1..]).for_each(|(mean, p)| *mean += p / heads as f32);
            }
        }
        blocks.push(mean);
    })?;
    Ok(blocks)
}
