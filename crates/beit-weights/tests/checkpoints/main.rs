//! Checkpoints on a disk.

mod errors;
mod finetuning;
mod folders;
mod models;
mod round_trip;
