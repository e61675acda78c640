//! Checkpoints on a disk.

mod convert;
mod errors;
mod finetuning;
mod folders;
mod kmeans;
mod layouts;
mod models;
mod numbers;
mod pretraining;
mod resizing;
mod round_trip;
mod segmentation_keys;
mod segmenters;
mod segmenting;
