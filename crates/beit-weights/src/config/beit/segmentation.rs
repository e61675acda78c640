//! What `config.json` says of a segmentation head: the keys of transformers, and our own for what it does not have.

use super::Config;
use super::read::fill;
use crate::config::family::Family;
use crate::config::keys::Keys;
use crate::config::labelled::Segmenter;
use crate::config::limit::limit;
use crate::config::taps::{Taps, fits};
use crate::error::Result;
use crate::weights::Weights;
use beit_heads::{Auxiliary, HeadConfig, SegmenterConfig};
use serde::Serialize;

/// Of a segmenter that transformers does not have, which it must not take for one that it has.
pub(in crate::config) const OURS: Family = Family { model_type: "beit_segmenter", class: "BeitSegmenter" };

/// What the shapes of the tensors tell as well.
const BY_TENSORS: [&str; 5] = [
    "segmentation_head",
    "segmentation_channels",
    "use_auxiliary_head",
    "auxiliary_channels",
    "auxiliary_num_convs",
];

const TAPS: &str = "segmentation_taps";
const OUT_INDICES: &str = "out_indices";

/// Names of heads in the key `segmentation_head`.
const SETR_PUP: &str = "setr-pup";
const UPERNET: &str = "upernet";

/// No map is as large as one that is pooled to more.
const LARGEST_SCALE: usize = 256;

/// The keys, of which those that begin with `segmentation_` are ours.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Segmentation {
    out_indices: [usize; 4],
    /// The blocks that the head reads, from 0, where `out_indices` are only what transformers shall take for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    segmentation_taps: Option<[usize; 4]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segmentation_head: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segmentation_channels: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool_scales: Option<Vec<usize>>,
    use_auxiliary_head: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    auxiliary_channels: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auxiliary_num_convs: Option<usize>,
    auxiliary_concat_input: bool,
    auxiliary_loss_weight: f64,
    semantic_loss_ignore_index: i64,
}

impl Segmentation {
    /// The description of a head.
    pub(super) fn describing(model: &Segmenter) -> Self {
        let SegmenterConfig { taps, head, .. } = &model.segmenter;
        let mut described = Self {
            out_indices: model.said_indices(),
            segmentation_taps: model.out_indices.is_none().then_some(*taps),
            segmentation_head: None,
            segmentation_channels: None,
            pool_scales: None,
            use_auxiliary_head: false,
            auxiliary_channels: None,
            auxiliary_num_convs: None,
            auxiliary_concat_input: false,
            auxiliary_loss_weight: model.auxiliary_loss_weight,
            semantic_loss_ignore_index: model.semantic_loss_ignore_index,
        };
        match head {
            HeadConfig::SetrPup { channels, auxiliary } => {
                described.segmentation_head = Some(SETR_PUP);
                described.segmentation_channels = Some(*channels);
                described.use_auxiliary_head = *auxiliary;
            }
            HeadConfig::Upernet { channels, scales, auxiliary } => {
                let ours = !model.is_of_transformers();
                described.segmentation_head = ours.then_some(UPERNET);
                described.segmentation_channels = ours.then_some(*channels);
                described.pool_scales = Some(scales.clone());
                described.use_auxiliary_head = auxiliary.is_some();
                described.auxiliary_channels = auxiliary.map(|own| own.channels);
                described.auxiliary_num_convs = auxiliary.map(|own| own.layers);
            }
        }
        described
    }
}

impl Config {
    /// The model for semantic segmentation that a file describes, and the tensors beside it where those are open.
    pub(in crate::config) fn segmenter(mut keys: Keys, weights: Option<&Weights>) -> Result<Segmenter> {
        fill(&mut keys, weights, &BY_TENSORS)?;
        let path = keys.path().to_owned();
        let mut config = Self::read(keys.clone(), None)?;
        let vit = config.vit(&path, !config.use_mean_pooling)?;
        let labels = config.labels(&path)?;
        let (taps, out_indices) = blocks(&keys, vit.depth)?;
        let head = head(&keys, vit.width)?;
        let absent = Segmenter::new(SegmenterConfig { vit, classes: labels.len(), taps, head }, labels);
        Ok(Segmenter {
            out_indices,
            auxiliary_loss_weight: keys.or("auxiliary_loss_weight", absent.auxiliary_loss_weight)?,
            semantic_loss_ignore_index: keys
                .or("semantic_loss_ignore_index", absent.semantic_loss_ignore_index)?,
            ..absent
        })
    }
}

/// The blocks that the head reads, and the numbers for them where those leave it open.
fn blocks(keys: &Keys, depth: usize) -> Result<([usize; 4], Option<[usize; 4]>)> {
    let certain = keys.has(TAPS);
    // The second is an older name of the first.
    let key = [TAPS, OUT_INDICES, "segmentation_indices"].into_iter().find(|key| keys.has(key));
    let key = key.unwrap_or(OUT_INDICES);
    let numbers = keys.get(key)?.unwrap_or_else(|| SegmenterConfig::usual_taps(depth).to_vec());
    let wrong = |found: &[usize]| {
        let expected = format_args!("is {found:?}, expected four ascending numbers of blocks below {depth}");
        keys.wrong(key, expected)
    };
    let numbers: [usize; 4] = numbers.try_into().map_err(|found: Vec<usize>| wrong(&found))?;
    let whose = if certain { &[Taps::Official][..] } else { &[Taps::Official, Taps::Transformers] };
    let meant = whose.iter().find_map(|taps| taps.blocks(numbers).filter(|taps| fits(taps, depth)));
    let taps = meant.ok_or_else(|| wrong(&numbers))?;
    Ok((taps, (!certain).then_some(numbers)))
}

/// The head that is described. Absent keys are what transformers takes for them.
fn head(keys: &Keys, width: usize) -> Result<HeadConfig> {
    if keys.or("auxiliary_concat_input", false)? {
        return Err(keys.wrong("auxiliary_concat_input", "is true, but only false is supported"));
    }
    let name = keys.or("segmentation_head", UPERNET.to_owned())?;
    let channels = positive(keys, "segmentation_channels", width)?;
    let auxiliary = keys.or("use_auxiliary_head", true)?;
    match name.as_str() {
        SETR_PUP => Ok(HeadConfig::SetrPup { channels, auxiliary }),
        UPERNET => {
            let released = Auxiliary::default();
            let scales: Vec<usize> = keys.or("pool_scales", released_scales())?;
            if scales.is_empty() || scales.iter().any(|scale| !(1..=LARGEST_SCALE).contains(scale)) {
                let problem = format_args!("is {scales:?}, expected sides from 1 to {LARGEST_SCALE}");
                return Err(keys.wrong("pool_scales", problem));
            }
            let own = Auxiliary {
                channels: positive(keys, "auxiliary_channels", released.channels)?,
                layers: positive(keys, "auxiliary_num_convs", released.layers)?,
            };
            Ok(HeadConfig::Upernet { channels, scales, auxiliary: auxiliary.then_some(own) })
        }
        other => {
            let problem = format_args!("is \"{other}\", expected \"{SETR_PUP}\" or \"{UPERNET}\"");
            Err(keys.wrong("segmentation_head", problem))
        }
    }
}

/// The sides that the released heads pool to.
pub(in crate::config) fn released_scales() -> Vec<usize> {
    match HeadConfig::upernet(1) {
        HeadConfig::Upernet { scales, .. } => scales,
        HeadConfig::SetrPup { .. } => Vec::new(),
    }
}

/// A number of a key that cannot be 0.
fn positive(keys: &Keys, key: &str, absent: usize) -> Result<usize> {
    let value = keys.or(key, absent)?;
    limit(keys.path(), &[(key, value)])?;
    if value == 0 { Err(keys.wrong(key, "is 0, expected at least 1")) } else { Ok(value) }
}
