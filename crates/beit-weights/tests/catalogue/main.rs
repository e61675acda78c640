//! The catalogue of official checkpoints.

mod counts;
mod documentation;
mod names;
mod numbers;
