#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod checkpoint;
mod config;
mod error;
mod finetune;
mod folder;
mod names;
mod params;
mod preprocessor;
mod tensors;

pub use checkpoint::{
    Loaded, load_classifier, load_encoder, load_mim, load_tokenizer, save_classifier, save_mim,
    save_tokenizer,
};
pub use config::{CONFIG, Labelled, Model};
pub use error::{Error, Problem, Result};
pub use finetune::{Report, Start, load_for_finetuning};
pub use folder::{no_more_files, replace_folder};
pub use names::{Layout, Stored};
pub use params::{load_params, save_params};
pub use preprocessor::{PREPROCESSOR, Preprocessor, Resample};
pub use tensors::{TensorFile, TensorWriter};
