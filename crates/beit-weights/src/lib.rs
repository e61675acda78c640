#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod catalogue;
mod checkpoint;
mod config;
mod convert;
mod error;
mod file;
mod finetune;
mod folder;
mod foreign;
#[cfg(feature = "hub")]
mod hub;
mod json;
pub mod labels;
mod load;
mod names;
mod preprocessor;
mod report;
mod resize;
mod save;
mod segmenter;
mod tensors;
mod weights;

pub use catalogue::{Entry, catalogue};
pub use checkpoint::{
    Checkpoint, Loaded, OpenOptions, has_weights, load_classifier, load_encoder, load_kmeans, load_mim,
    load_pixel_mim, load_tokenizer,
};
pub use config::{CONFIG, Labelled, Model, Origin, Segmenter, Taps};
pub use convert::{Converted, Target};
pub use error::{Error, Problem, Result};
pub use file::{check_writable, write_file};
pub use finetune::load_for_finetuning;
pub use folder::{no_more_files, replace_folder};
pub use foreign::foreign_file;
#[cfg(feature = "hub")]
pub use hub::{Hub, HubConfig, HubId, HubProblem, NoProgress, Progress, Waits};
pub use labels::{Labels, imagenet_1k, imagenet_22k};
pub use load::{LoadOptions, load_params};
pub use names::{Kind, Layout, Parameters};
pub use preprocessor::{PREPROCESSOR, read_preprocessing, write_preprocessing};
pub use report::{Report, Resized, compact};
pub use resize::{PositionResize, Resizing, TableResize, resize_positions, resize_relative_table};
pub use save::{save_classifier, save_kmeans, save_mim, save_params, save_pixel_mim, save_tokenizer};
pub use segmenter::{WholeSegmenter, load_segmenter, save_segmenter};
pub use tensors::{TensorFile, TensorWriter};
pub use weights::Weights;
