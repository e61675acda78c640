//! What model the tensors of a file are, where no configuration says it.

use super::beit::released_scales;
use super::labelled::{Labelled, Segmenter};
use super::measure::{extents, has, number, rows};
use super::model::Model;
use super::{codebook, kmeans};
use crate::error::{Error, Result};
use crate::names::{Kind, Layout};
use crate::weights::Weights;
use beit_heads::{Auxiliary, ClassifierConfig, HeadConfig, MimConfig, Pooling, SegmenterConfig};
use beit_ops::relative_position_rows;
use beit_vit::{Config, RelativePositions};
use std::fmt;

/// Width of a head where nothing tells their number: that of all released models.
const HEAD: usize = 64;
/// Of the released code and of timm, the writers of files without a configuration.
const EPS: f64 = 1e-6;
/// Of BEiT-3, whose blocks have norms inside.
const INNER_EPS: f64 = 1e-5;

/// No published model has as many patches in a row.
const MOST: usize = 1 << 10;

/// What is known of a transformer besides its tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Known {
    /// H
    pub(crate) heads: Option<usize>,
    /// C and H of the models that it is likely one of.
    pub(crate) usual: Option<[usize; 2]>,
    /// Height and width of its images. Where the positions say otherwise, they are right.
    pub(crate) image: Option<[usize; 2]>,
    /// Of all layer norms.
    pub(crate) eps: Option<f64>,
}

/// A model by its tensors.
pub(crate) struct Inferred {
    pub(crate) model: Model,
    /// What neither tensors nor anything known decided.
    pub(crate) guesses: Vec<Guess>,
}

/// Something that was guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guess {
    /// The number of heads, from the width.
    Heads { heads: usize, width: usize },
    /// Height and width of the images, from the number of positions.
    Image([usize; 2]),
    /// The sides that UPerNet pools to, from their number.
    Scales(usize),
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heads { heads, width } => {
                write!(f, "{heads} heads are guessed from the width of {width}; --heads says another number")
            }
            Self::Image([height, width]) => write!(
                f,
                "images of {height}x{width} pixels are guessed from the number of positions, as if the patches were a square; \
                 --image-size says another size"
            ),
            Self::Scales(modules) => write!(
                f,
                "the sides that the head pools to are guessed to be 1 to {modules}; `pool_scales` of a config.json says others"
            ),
        }
    }
}

/// The model whose parameters these are. Pictures are as large as the positions say.
pub(crate) fn infer(weights: &Weights, known: &Known) -> Result<Inferred> {
    let mut guesses = Vec::new();
    let mut vit = || vit(weights, known, &mut guesses);
    let model = match weights.kind() {
        Kind::Tokenizer if weights.layout() == Layout::KMeans => Model::KMeans(kmeans::infer(weights)?),
        Kind::Tokenizer => Model::Tokenizer(codebook::infer(weights)?),
        Kind::Mim => Model::Mim(MimConfig { vit: vit()?, vocab: rows(weights, "lm_head.weight")? }),
        Kind::Classifier => Model::Classifier(classifier(weights, vit()?)?),
        Kind::Segmenter => {
            let vit = vit()?;
            Model::Segmenter(segmenter(weights, vit, &mut guesses)?)
        }
        Kind::Encoder => Model::Encoder(vit()?),
    };
    Ok(Inferred { model, guesses })
}

fn classifier(weights: &Weights, vit: Config) -> Result<Labelled> {
    let classes = rows(weights, "head.weight")?;
    let pooling = if has(weights, "fc_norm.weight") { Pooling::Mean } else { Pooling::Cls };
    Ok(Labelled::unnamed(ClassifierConfig { vit, classes, pooling }))
}

/// The blocks that the head reads are those of the released configurations.
fn segmenter(weights: &Weights, vit: Config, guesses: &mut Vec<Guess>) -> Result<Segmenter> {
    let classes = rows(weights, "decode_head.conv_seg.bias")?;
    let taps = SegmenterConfig::usual_taps(vit.depth);
    let head = head(weights, guesses)?;
    let of_transformers = matches!(weights.layout(), Layout::Transformers | Layout::Transformers5);
    let segmenter = Segmenter::unnamed(SegmenterConfig { vit, classes, taps, head });
    Ok(Segmenter { out_indices: of_transformers.then_some(taps), ..segmenter })
}

fn head(weights: &Weights, guesses: &mut Vec<Guess>) -> Result<HeadConfig> {
    let [_, channels, ..] = extents::<4>(weights, "decode_head.conv_seg.weight")?;
    if has(weights, "decode_head.up_convs.0.0.conv.weight") {
        let auxiliary = has(weights, "auxiliary_head.0.conv_seg.weight");
        return Ok(HeadConfig::SetrPup { channels, auxiliary });
    }
    let modules = number(weights, "decode_head.psp_modules.")? + 1;
    let mut scales = released_scales();
    if scales.len() != modules {
        scales = (1..=modules).collect();
        guesses.push(Guess::Scales(modules));
    }
    let auxiliary = match has(weights, "auxiliary_head.conv_seg.weight") {
        true => {
            let [_, channels, ..] = extents::<4>(weights, "auxiliary_head.conv_seg.weight")?;
            Some(Auxiliary { channels, layers: number(weights, "auxiliary_head.convs.")? + 1 })
        }
        false => None,
    };
    Ok(HeadConfig::Upernet { channels, scales, auxiliary })
}

fn vit(weights: &Weights, known: &Known, guesses: &mut Vec<Guess>) -> Result<Config> {
    let [width, channels, height, breadth] = extents(weights, "patch_embed.proj.weight")?;
    let patch = [height, breadth];
    let table = ["rel_pos_bias.", "blocks.0.attn."].map(|of| format!("{of}relative_position_bias_table"));
    let table = table.iter().find(|name| has(weights, name)).map(String::as_str);
    let grid = grid(weights, table, known, patch, guesses)?;
    let inner_norms = has(weights, "blocks.0.attn.norm.weight");
    let config = Config {
        image: [0, 1].map(|axis| grid[axis] * patch[axis]),
        patch,
        channels,
        width,
        depth: number(weights, "blocks.")? + 1,
        heads: heads(weights, table, known, width, guesses)?,
        hidden: rows(weights, "blocks.0.mlp.fc1.weight")?,
        absolute_positions: has(weights, "pos_embed"),
        relative_positions: match table.map(|name| name.starts_with("rel_pos_bias.")) {
            None => RelativePositions::None,
            Some(true) => RelativePositions::Shared,
            Some(false) => RelativePositions::PerLayer,
        },
        // The value it started from is forgotten and does not matter.
        layer_scale: has(weights, "blocks.0.gamma_1").then_some(0.1),
        mask_token: has(weights, "mask_token"),
        final_norm: has(weights, "norm.weight"),
        inner_norms,
        key_bias: has(weights, "blocks.0.attn.k_bias"),
        layer_norm_eps: known.eps.unwrap_or(if inner_norms { INNER_EPS } else { EPS }),
        drop_path: 0.1,
    };
    config.validate().map_err(|error| Error::malformed(weights.path(), error))?;
    Ok(config)
}

/// The number of heads: a column of the table each.
fn heads(
    weights: &Weights,
    table: Option<&str>,
    known: &Known,
    width: usize,
    guesses: &mut Vec<Guess>,
) -> Result<usize> {
    if let Some(table) = table {
        let [_, heads] = extents::<2>(weights, table)?;
        return match known.heads {
            Some(said) if said != heads => {
                let problem =
                    format!("`{table}` is of {heads} heads, but {said} are said; leave the number out");
                Err(Error::malformed(weights.path(), problem))
            }
            _ => Ok(heads),
        };
    }
    let usual = known.usual.and_then(|[of, heads]| (of == width).then_some(heads));
    if let Some(heads) = known.heads.or(usual) {
        return Ok(heads);
    }
    let heads = width / HEAD;
    if heads == 0 || !width.is_multiple_of(HEAD) {
        let problem = format!("its width of {width} does not tell the number of heads; say it with --heads");
        return Err(Error::malformed(weights.path(), problem));
    }
    guesses.push(Guess::Heads { heads, width });
    Ok(heads)
}

/// Rows and columns of patches.
fn grid(
    weights: &Weights,
    table: Option<&str>,
    known: &Known,
    patch: [usize; 2],
    guesses: &mut Vec<Guess>,
) -> Result<[usize; 2]> {
    let said = known.image.map(|image| [0, 1].map(|axis| image[axis] / patch[axis].max(1)));
    let (name, found, cells): (_, _, fn([usize; 2]) -> usize) = match table {
        Some(table) => (table, extents::<2>(weights, table)?[0], relative_position_rows),
        None if has(weights, "pos_embed") => {
            ("pos_embed", extents::<3>(weights, "pos_embed")?[1], |[rows, cols]| {
                (rows * cols).saturating_add(1)
            })
        }
        None => {
            return said.filter(|grid| !grid.contains(&0)).ok_or_else(|| {
                let problem = "it has neither relative nor absolute positions, so that the size of its images is \
                               unknown; say it with --image-size, or put the file into a folder with its config.json";
                Error::malformed(weights.path(), problem)
            });
        }
    };
    let fits = |grid: &[usize; 2]| grid.iter().all(|side| (1..=MOST).contains(side)) && cells(*grid) == found;
    if let Some(said) = said.filter(fits) {
        return Ok(said);
    }
    let square = (1..=MOST).map(|side| [side; 2]).find(fits).ok_or_else(|| {
        let shape = weights.shape(name).unwrap_or_default();
        let problem = format!(
            "`{name}` has shape {shape:?}, which is of no square of patches; say the size of its images with \
             --image-size HEIGHTxWIDTH, or put the file into a folder with its config.json"
        );
        Error::malformed(weights.path(), problem)
    })?;
    if known.image.is_none() {
        guesses.push(Guess::Image([0, 1].map(|axis| square[axis] * patch[axis])));
    }
    Ok(square)
}
