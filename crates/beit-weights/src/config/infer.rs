//! What model the tensors of a file are, where no configuration says it.

use super::labelled::{Labelled, Segmenter, unnamed};
use super::measure::{extents, has, number, rows};
use super::model::Model;
use super::{codebook, kmeans};
use crate::error::{Error, Result};
use crate::names::{Kind, Layout};
use crate::weights::Weights;
use beit_heads::{ClassifierConfig, MimConfig, Pooling};
use beit_vit::{Config, RelativePositions};

/// Width of a head where no relative position table tells their number: that of all published models.
const HEAD: usize = 64;
/// Of the released code and of timm, the writers of files without a configuration.
const EPS: f64 = 1e-6;

/// The model whose parameters these are. Patches are taken to form a square; pictures are as large as the positions say.
pub(crate) fn infer(weights: &Weights) -> Result<Model> {
    Ok(match weights.kind() {
        Kind::Tokenizer if weights.layout() == Layout::KMeans => Model::KMeans(kmeans::infer(weights)?),
        Kind::Tokenizer => Model::Tokenizer(codebook::infer(weights)?),
        Kind::Mim => Model::Mim(MimConfig { vit: vit(weights)?, vocab: rows(weights, "lm_head.weight")? }),
        Kind::Classifier => Model::Classifier(classifier(weights)?),
        Kind::Segmenter => {
            let classes = rows(weights, "decode_head.conv_seg.bias")?;
            let vit = vit(weights)?;
            let taps = Segmenter::usual_taps(vit.depth);
            Model::Segmenter(Segmenter { vit, labels: unnamed(classes), taps })
        }
        Kind::Encoder => Model::Encoder(vit(weights)?),
    })
}

fn classifier(weights: &Weights) -> Result<Labelled> {
    let classes = rows(weights, "head.weight")?;
    let pooling = if has(weights, "fc_norm.weight") { Pooling::Mean } else { Pooling::Cls };
    Ok(Labelled::unnamed(ClassifierConfig { vit: vit(weights)?, classes, pooling }))
}

fn vit(weights: &Weights) -> Result<Config> {
    let [width, channels, height, breadth] = extents(weights, "patch_embed.proj.weight")?;
    let patch = [height, breadth];
    let table = ["rel_pos_bias.", "blocks.0.attn."].map(|of| format!("{of}relative_position_bias_table"));
    let table = table.iter().find(|name| has(weights, name));
    let heads = match table {
        Some(table) => extents::<2>(weights, table)?[1],
        None => width / HEAD,
    };
    let positions = has(weights, "pos_embed");
    let window = window(weights, table)?;
    let config = Config {
        image: [0, 1].map(|axis| window * patch[axis]),
        patch,
        channels,
        width,
        depth: number(weights, "blocks.")? + 1,
        heads,
        hidden: rows(weights, "blocks.0.mlp.fc1.weight")?,
        absolute_positions: positions,
        relative_positions: match table.map(|name| name.starts_with("rel_pos_bias.")) {
            None => RelativePositions::None,
            Some(true) => RelativePositions::Shared,
            Some(false) => RelativePositions::PerLayer,
        },
        // The value it started from is forgotten and does not matter.
        layer_scale: has(weights, "blocks.0.gamma_1").then_some(0.1),
        mask_token: has(weights, "mask_token"),
        final_norm: has(weights, "norm.weight"),
        layer_norm_eps: EPS,
        drop_path: 0.1,
    };
    config.validate().map_err(|error| Error::malformed(weights.path(), error))?;
    Ok(config)
}

/// The side of the square of patches, by the positions.
fn window(weights: &Weights, table: Option<&String>) -> Result<usize> {
    let (name, cells, side): (_, _, fn(usize) -> usize) = match table {
        // (2w - 1)² + 3 rows
        Some(table) => {
            (table.as_str(), extents::<2>(weights, table)?[0].checked_sub(3), |side| side.div_ceil(2))
        }
        None if has(weights, "pos_embed") => {
            ("pos_embed", extents::<3>(weights, "pos_embed")?[1].checked_sub(1), |side| side)
        }
        None => {
            let problem = "it has neither relative nor absolute positions, so that the size of its images is \
                           unknown; put it into a folder with the config.json of the model";
            return Err(Error::malformed(weights.path(), problem));
        }
    };
    let root = cells.map(usize::isqrt).filter(|root| Some(root * root) == cells);
    root.map(side).ok_or_else(|| {
        let shape = weights.shape(name).unwrap_or_default();
        let problem = format!(
            "`{name}` has shape {shape:?}, which is of no square of patches; put it into a folder with the config.json of the model"
        );
        Error::malformed(weights.path(), problem)
    })
}
