//! Which images a model takes for alike.

use super::{caption, class};
use crate::device::Device;
use crate::embedder::{Embedder, FeatureSettings, Pool};
use crate::error::{Result, setting, unfit};
use crate::loaders::spread;
use crate::picture::{Cell, Grid};
use crate::probe::{Rows, neighbours};
use crate::progress::Watch;
use crate::settings::{Batches, DataSettings, OpenSettings, ShownSettings};
use beit_data::{Part, Source, Split};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// Images whose neighbours are shown where nothing is said.
const FEW: usize = 8;

/// Which neighbours, by which features.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct NeighbourSettings {
    /// Nearest images of each
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().k))]
    pub k: usize,
    /// Look among so many training images at most; of more, so many are taken at even distances
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().gallery, value_name = "N"))]
    pub gallery: usize,
    /// The features.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub features: FeatureSettings,
    /// Images of a batch.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub batches: Batches,
}

impl Default for NeighbourSettings {
    fn default() -> Self {
        Self { k: 8, gallery: 5000, features: FeatureSettings::default(), batches: Batches::default() }
    }
}

/// What a picture of neighbours shows.
#[derive(Clone, Debug, Serialize)]
pub struct ShownNeighbours {
    /// Training images that were looked among.
    pub gallery: usize,
    /// The share of the neighbours with the class of the image they belong to; none where images have no classes.
    pub same_class: Option<f64>,
    /// The rows of the picture.
    pub queries: Vec<ShownQueriedImage>,
}

/// A row of the picture.
#[derive(Clone, Debug, Serialize)]
pub struct ShownQueriedImage {
    /// The image's name.
    pub image: String,
    /// Its class.
    pub class: Option<String>,
    /// Nearest first.
    pub neighbours: Vec<ShownNeighbour>,
}

/// A neighbour.
#[derive(Clone, Debug, Serialize)]
pub struct ShownNeighbour {
    /// The image's name.
    pub image: String,
    /// Its class.
    pub class: Option<String>,
    /// The cosine of the features.
    pub cosine: f32,
}

/// Writes a picture, a row for each of some images: the image, and those training images whose features are nearest by the cosine, each
/// with it. Where there are no images but training images, none is looked for among those whose neighbours are shown.
///
/// # Errors
///
/// Nothing of this name, a model without a transformer, every patch as a feature, images that are not there, more neighbours than images, the
/// device, or a file that cannot be written.
pub fn write_neighbours(
    path: &Path,
    (model, open): (&str, &OpenSettings),
    settings: &NeighbourSettings,
    images: &ShownSettings,
    device: &Device,
    watch: &Watch,
) -> Result<ShownNeighbours> {
    if settings.features.pool == Pool::None {
        setting!("--pool none: expected one row of features of an image; take mean, cls or model");
    }
    let embedder = Embedder::open_with(model, open, &settings.features, device, watch)?;
    let data = images.data.seen_by(model, embedder.channels())?;
    let (source, chosen) = images.open(model, embedder.channels(), FEW)?;
    watch.notes_of(source.as_ref());
    let gallery = gallery(&data, settings.gallery, images.files.is_empty().then_some(&chosen[..]), watch)?;
    let queries: Arc<dyn Source> = Arc::new(Part::new(source, chosen));
    let embedded = |source| embedder.embed_source(source, &data, settings.batches, watch);
    let (asked, among) = (embedded(&queries)?, embedded(&gallery)?);
    let width = embedder.width();
    let (asked_rows, gallery_rows) = (Rows::new(&asked.values, width)?, Rows::new(&among.values, width)?);
    let found = neighbours(gallery_rows, asked_rows, settings.k, |near| near)?;
    let (mut drawn, mut shown) = (Vec::new(), Vec::new());
    for (&query, near) in asked.indices.iter().zip(found) {
        let near: Vec<_> = near.into_iter().map(|(row, cosine)| (among.indices[row], cosine)).collect();
        let cell = |source: &Arc<dyn Source>, index: usize, under: String| -> Result<Cell> {
            let words = format!("{}\n{under}", caption(source.as_ref(), index));
            Ok(Cell::new(embedder.view(&source.image(index)?), words))
        };
        let first = std::iter::once(cell(&queries, query, String::new()));
        let others = near.iter().map(|&(index, cosine)| cell(&gallery, index, format!("{cosine:.3}")));
        drawn.push(first.chain(others).collect::<Result<Vec<_>>>()?);
        shown.push(ShownQueriedImage::of(queries.as_ref(), query, gallery.as_ref(), &near));
    }
    Grid::new(drawn).above(["image", "nearest"]).write(path)?;
    Ok(ShownNeighbours { gallery: among.indices.len(), same_class: same_class(&shown), queries: shown })
}

/// At most `most` training images at even distances; of `shown`, where these are training images too, none.
fn gallery(
    data: &DataSettings,
    most: usize,
    shown: Option<&[usize]>,
    watch: &Watch,
) -> Result<Arc<dyn Source>> {
    if most == 0 {
        setting!("--gallery 0: expected at least 1 training image to look among");
    }
    let source = data.open_once(Split::Train)?;
    let shown = match shown {
        Some(shown) if data.held_out()?.1 == Split::Train => shown,
        _ => &[],
    };
    if !shown.is_empty() {
        watch.note(&format!(
            "{}: no test images; neighbours are those among the other training images",
            data.data
        ));
    }
    let others: Vec<usize> = (0..source.len()).filter(|index| !shown.contains(index)).collect();
    if others.is_empty() {
        unfit!("{}: no training images besides those whose neighbours are shown: lower --images", data.data);
    }
    let indices = spread(others.len(), most, 0).map(|place| others[place]).collect();
    Ok(Arc::new(Part::new(source, indices)))
}

impl ShownQueriedImage {
    fn of(source: &dyn Source, query: usize, gallery: &dyn Source, near: &[(usize, f32)]) -> Self {
        let neighbour = |&(index, cosine): &(usize, f32)| ShownNeighbour {
            image: gallery.name(index),
            class: class(gallery, index),
            cosine,
        };
        Self {
            image: source.name(query),
            class: class(source, query),
            neighbours: near.iter().map(neighbour).collect(),
        }
    }
}

/// Of the neighbours of images with a class.
fn same_class(shown: &[ShownQueriedImage]) -> Option<f64> {
    let with_class = shown.iter().filter(|query| query.class.is_some());
    let same: Vec<bool> =
        with_class.flat_map(|query| query.neighbours.iter().map(|near| near.class == query.class)).collect();
    let count = same.iter().filter(|same| **same).count();
    (!same.is_empty()).then(|| count as f64 / same.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_images_without_classes_are_not_counted() {
        let near = |class: Option<&str>| ShownNeighbour {
            image: "a".to_owned(),
            class: class.map(str::to_owned),
            cosine: 0.5,
        };
        let query = |class: Option<&str>, neighbours| ShownQueriedImage {
            image: "b".to_owned(),
            class: class.map(str::to_owned),
            neighbours,
        };
        let (cat, dog) = (Some("cat"), Some("dog"));
        let with = query(cat, vec![near(cat), near(dog), near(None), near(cat)]);
        let without = query(None, vec![near(None)]);
        assert_eq!(same_class(&[with, without.clone()]), Some(0.5));
        assert_eq!(same_class(&[without]), None);
    }
}
