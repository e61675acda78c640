//! Pictures of what a model has learnt, over the images that it is shown.

mod attention;
mod codebook;
mod components;
mod neighbours;
mod pca;

pub use attention::{Attended, AttentionMaps, ShownAttention, ShownQuery};
pub use codebook::{CodebookSettings, ShownCodebook, ShownToken};
pub use components::Components;
pub use neighbours::{
    NeighbourSettings, ShownNeighbour, ShownNeighbours, ShownQueriedImage, write_neighbours,
};
pub use pca::{PatchColours, PcaSettings, ShownComponents, ShownPca, patch_colours, write_pca};

use crate::loaders::decodable;
use crate::progress::Watch;
use beit_data::{Image, Source};
use std::path::Path;
use std::sync::Arc;

/// The images among `indices` that can be decoded, with what is written under each; the others are named.
fn shown<'a>(
    source: &'a Arc<dyn Source>,
    indices: Vec<usize>,
    watch: &'a Watch,
) -> impl Iterator<Item = (Image, String)> + 'a {
    decodable(source, indices.into_iter(), watch)
        .map(|(index, image)| (image, caption(source.as_ref(), index)))
}

/// The class of an image where it has one, else the end of its name.
fn caption(source: &dyn Source, index: usize) -> String {
    class(source, index).unwrap_or_else(|| {
        let name = source.name(index);
        let end = Path::new(&name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        end.unwrap_or(name)
    })
}

/// The name of an image's class.
fn class(source: &dyn Source, index: usize) -> Option<String> {
    source.class_names().get(source.label(index)? as usize).cloned()
}
