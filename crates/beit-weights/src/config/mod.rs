//! `config.json`: what kind of model a folder holds, and its sizes.

mod beit;
mod codebook;
mod infer;
mod kmeans;
mod labelled;
mod limit;
mod measure;
mod model;
mod timm;

pub(crate) use codebook::decoder_init;
pub(crate) use infer::infer;
pub use labelled::{Labelled, Segmenter};
pub(crate) use labelled::{unnamed, usual_names};
pub(crate) use limit::limit_statistics;
pub use model::{CONFIG, Model};
pub(crate) use timm::{Labels as TimmLabels, Timm};
