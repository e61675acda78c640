//! What patches have in common: the principal components of their features, as colours.

use super::components::Components;
use super::shown;
use crate::device::Device;
use crate::embedder::{Embedder, FeatureSettings, Pool};
use crate::error::{Result, unfit};
use crate::picture::{Cell, Grid, coloured, mosaic};
use crate::probe::Rows;
use crate::progress::Watch;
use crate::settings::{OpenSettings, ShownSettings};
use serde::Serialize;
use std::path::Path;

/// Images that are shown where nothing is said.
const FEW: usize = 8;

/// Which features, and which patches of them.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct PcaSettings {
    /// Block whose output is taken, counted from 1; the last if left out
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub layer: Option<usize>,
    /// Fit and colour all patches instead of the foreground alone
    #[cfg_attr(feature = "clap", arg(long))]
    pub all_patches: bool,
}

/// What a picture of components shows.
#[derive(Clone, Debug, Serialize)]
pub struct ShownPca {
    /// The variance along the first component of all patches, as a share of all.
    pub first: f64,
    /// The same of the three that are colours, of the patches that they were fitted on.
    pub components: Vec<f64>,
    /// The images, in the order of the columns.
    pub images: Vec<ShownComponents>,
}

/// An image of the picture.
#[derive(Clone, Debug, Serialize)]
pub struct ShownComponents {
    /// As the picture calls it.
    pub image: String,
    /// The share of its patches that is foreground; 1 where all patches are coloured.
    pub foreground: f64,
}

/// The patches of some images in colours.
pub struct PatchColours {
    /// `[patches]`, from 0 to 1: the first component of all patches, greater in the foreground.
    pub first: Vec<f32>,
    /// `[patches]`: RGB, none in the background.
    pub colours: Vec<Option<[u8; 3]>>,
    /// Shares of variance: of the first component of all patches, and of the three that are colours.
    pub shares: (f64, Vec<f64>),
}

/// Colours of the patches of images, `rows [images · N, C]` of a `[rows, cols]` grid each, all fitted together: the foreground first, as in
/// the figures of DINOv2 (arXiv 2304.07193, §7.7).
///
/// 1. The first principal component of all patches parts them at their mean, 0. Its foreground is the side of which the smaller share of
///    patches lies at the borders of the images; of equal shares the positive one.
/// 2. The three first components of the patches of the foreground are red, green and blue, each stretched from its least to its greatest
///    value there. The background has no colour. With `all` nothing is background.
///
/// # Errors
///
/// Patches that are all equal.
pub fn patch_colours(rows: Rows<'_>, grid: [usize; 2], all: bool) -> Result<PatchColours> {
    let patches = || rows.values().chunks_exact(rows.width());
    let fitted = Components::of(rows, 1);
    let mut along: Vec<f64> = patches().map(|row| fitted.project(row)[0]).collect();
    if fitted.shares()[0] == 0.0 {
        unfit!("the features of all patches are equal: there is nothing to tell apart");
    }
    if borders(&along, grid, |x| x < 0.0) < borders(&along, grid, |x| x > 0.0) {
        along.iter_mut().for_each(|x| *x = -*x);
    }
    let foreground: Vec<bool> = along.iter().map(|&x| all || x > 0.0).collect();
    let kept = patches().zip(&foreground).filter(|(_, kept)| **kept);
    let kept: Vec<f32> = kept.flat_map(|(row, _)| row.iter().copied()).collect();
    let second = Components::of(Rows::new(&kept, rows.width())?, 3);
    let places: Vec<Vec<f64>> = kept.chunks_exact(rows.width()).map(|row| second.project(row)).collect();
    let of =
        |c: usize| stretched(&places.iter().map(|at| at.get(c).copied().unwrap_or(0.0)).collect::<Vec<_>>());
    let rgb = [of(0), of(1), of(2)];
    let mut next = 0..places.len();
    let colour = |&kept: &bool| {
        let at = if kept { next.next() } else { None };
        at.map(|at| rgb.each_ref().map(|shares| (255.0 * shares[at]).round() as u8))
    };
    let colours = foreground.iter().map(colour).collect();
    Ok(PatchColours { first: stretched(&along), colours, shares: (fitted.shares()[0], second.shares()) })
}

/// The share of the patches of a side that lie at the borders; 1 where there are none.
fn borders(along: &[f64], [rows, cols]: [usize; 2], is_in: impl Fn(f64) -> bool) -> f64 {
    let at_border = |patch: usize| {
        let (row, col) = (patch / cols % rows, patch % cols);
        row == 0 || col == 0 || row + 1 == rows || col + 1 == cols
    };
    let side = || (0..along.len()).filter(|&patch| is_in(along[patch]));
    match side().count() {
        0 => 1.0,
        count => side().filter(|&patch| at_border(patch)).count() as f64 / count as f64,
    }
}

/// From the least, 0, to the greatest, 1; a half where all are equal.
fn stretched(values: &[f64]) -> Vec<f32> {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let range = values.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least;
    values.iter().map(|x| if range > 0.0 { ((x - least) / range) as f32 } else { 0.5 }).collect()
}

/// Writes a picture, a column for each image: as the model sees it, under the first component of all patches, and its [`patch_colours`].
///
/// # Errors
///
/// Nothing of this name, a model without a transformer or without such a block, images that are not there, patches that are all equal, the
/// device, or a file that cannot be written.
pub fn write_pca(
    path: &Path,
    (model, open): (&str, &OpenSettings),
    settings: &PcaSettings,
    images: &ShownSettings,
    device: &Device,
    watch: &Watch,
) -> Result<ShownPca> {
    let features = FeatureSettings { layer: settings.layer, pool: Pool::None };
    let embedder = Embedder::open_with(model, open, &features, device, watch)?;
    let (source, indices) = images.open(model, embedder.channels(), FEW)?;
    watch.notes_of(source.as_ref());
    let (mut views, mut captions, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (image, caption) in shown(&source, indices, watch) {
        all.extend(embedder.embed(&image)?);
        views.push(embedder.view(&image));
        captions.push(caption);
    }
    let grid = embedder.grid();
    let (n, whole) = (grid[0] * grid[1], settings.all_patches);
    let found = patch_colours(Rows::new(&all, embedder.width())?, grid, whole)?;
    let columns = || views.iter().zip(found.first.chunks_exact(n)).zip(found.colours.chunks_exact(n));
    let first = columns().map(|((view, first), _)| coloured(view, first, grid).into()).collect();
    let colours = columns().map(|((view, _), colours)| mosaic(view.size(), colours, grid).into()).collect();
    let originals =
        views.iter().cloned().zip(&captions).map(|(view, caption)| Cell::new(view, caption)).collect();
    let beside = [
        "image",
        "first of\nall patches",
        if whole { "three of\nall patches" } else { "three of the\nforeground" },
    ];
    Grid::new::<Cell>([originals, first, colours]).beside(beside).write(path)?;
    let share = |colours: &[Option<[u8; 3]>]| colours.iter().flatten().count() as f64 / n as f64;
    let images = captions.into_iter().zip(found.colours.chunks_exact(n));
    let images =
        images.map(|(image, colours)| ShownComponents { image, foreground: share(colours) }).collect();
    let (first, components) = found.shares;
    Ok(ShownPca { first, components, images })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images of 4x4 patches, whose middle is far from the rest along one direction and differs in others.
    fn scene() -> Vec<f32> {
        let inside = |patch: usize| (1..3).contains(&(patch / 4 % 4)) && (1..3).contains(&(patch % 4));
        let row = |patch: usize| match (inside(patch), patch % 2) {
            (false, odd) => [-10.0, 0.1 * odd as f32, 0.0, 0.0, 0.0],
            (true, odd) => [10.0, 3.0 * odd as f32, (patch / 16) as f32, (patch / 4 % 2) as f32 * 0.5, 0.0],
        };
        (0..32).flat_map(row).collect()
    }

    #[test]
    fn the_foreground_lies_inside_whatever_the_sign_is() {
        for sign in [1.0, -1.0] {
            let values: Vec<f32> = scene().iter().map(|x| sign * x).collect();
            let found = patch_colours(Rows::new(&values, 5).unwrap(), [4, 4], false).unwrap();
            for (patch, colour) in found.colours.iter().enumerate() {
                let inside = [5, 6, 9, 10].contains(&(patch % 16));
                assert_eq!(colour.is_some(), inside, "patch {patch}");
                assert_eq!(found.first[patch] > 0.5, inside, "patch {patch}");
            }
            // Their three directions have variances 9/4, 1/4 and 1/16: all that the foreground has.
            let shares: f64 = found.shares.1.iter().sum();
            assert!((shares - 1.0).abs() < 1e-6, "{shares}");
            let [a, b] = [found.colours[5].unwrap(), found.colours[6].unwrap()];
            assert_eq!(a[0].abs_diff(b[0]), 255, "odd and even columns are the first component's ends");
            assert_eq!(
                found.colours[5].unwrap()[1].abs_diff(found.colours[21].unwrap()[1]),
                255,
                "images the second's"
            );
        }
    }

    #[test]
    fn all_patches_may_be_coloured() {
        let values = scene();
        let rows = Rows::new(&values, 5).unwrap();
        let found = patch_colours(rows, [4, 4], true).unwrap();
        assert!(found.colours.iter().all(Option::is_some));
        let (first, three) = found.shares;
        assert!((first - three[0]).abs() < 1e-9, "both were fitted on the same: {first} {three:?}");
        let message =
            patch_colours(Rows::new(&[2.0; 16], 4).unwrap(), [2, 2], false).err().unwrap().to_string();
        assert!(message.starts_with("the features of all patches are equal"), "{message}");
    }
}
