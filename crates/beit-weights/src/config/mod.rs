//! `config.json`: what kind of model a folder holds, and its sizes.

mod beit;
mod codebook;
mod described;
mod family;
mod infer;
mod keys;
mod kmeans;
mod labelled;
mod limit;
mod measure;
mod model;
mod taps;
mod timm;

pub(crate) use codebook::decoder_init;
pub use described::Origin;
pub(crate) use described::{CONFIG_REMARK, Described, PREPROCESSOR_REMARK};
pub(crate) use infer::Inferred;
pub(crate) use keys::Keys;
pub(crate) use labelled::unnamed;
pub use labelled::{Labelled, Segmenter};
pub(crate) use limit::limit_statistics;
pub use model::{CONFIG, Model};
pub use taps::Taps;
pub(crate) use timm::describing as describing_timm;
