//! What can go wrong.

use crate::spikes::Spike;
use std::path::PathBuf;

/// The result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why training stopped or did not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data.
    #[error(transparent)]
    Data(#[from] beit_data::Error),
    /// The masks.
    #[error("masks: {0}")]
    Mask(#[from] beit_mask::Error),
    /// The transformer's configuration.
    #[error("model: {0}")]
    Model(#[from] beit_vit::Error),
    /// The tokenizer's configuration.
    #[error("tokenizer: {0}")]
    Tokenizer(#[from] beit_tokenizer::Error),
    /// A tokenizer that is to draw and cannot.
    #[error("this tokenizer has no decoder: it names visual tokens and cannot draw them")]
    NoDecoder,
    /// A checkpoint.
    #[error(transparent)]
    Weights(#[from] beit_weights::Error),
    /// The device.
    #[error(transparent)]
    Device(#[from] beit_ops::DeviceError),
    /// A number that is not one.
    #[error(
        "{phase} stopped at step {step}: {tensor} is not finite; the last checkpoint is good, lower the learning rate or clip the gradients"
    )]
    NotFinite {
        /// Which loop.
        phase: &'static str,
        /// Counted from 0.
        step: u64,
        /// The first tensor found, by its name.
        tensor: String,
    },
    /// A step that the recipe's guard refuses. It is not taken, and everything is as it was before it.
    #[error("{0}; it is not taken")]
    Spike(Box<Spike>),
    /// One step more was to be left out than may be.
    #[error(
        "{phase} stopped at step {step}: {most} steps were left out as spikes, and no more may be (--max-spikes); lower the learning rate, or look at what these steps saw"
    )]
    TooManySpikes {
        /// Which loop.
        phase: &'static str,
        /// Counted from 0.
        step: u64,
        /// So many.
        most: u64,
    },
    /// What the optimiser keeps is not made of numbers.
    #[error("{}, step {step}: {problem}", .path.file_name().unwrap_or_default().display())]
    NotSaved {
        /// Which file was to be written.
        path: PathBuf,
        /// Steps taken.
        step: u64,
        /// Which tensor.
        problem: String,
    },
    /// What the optimiser keeps is spread over processes, and was not brought together.
    #[error(
        "rank {0} keeps moments that a checkpoint needs, and they were not collected before it was saved"
    )]
    Elsewhere(usize),
    /// A classifier whose answers are no numbers.
    #[error(
        "the logits of batch {batch} are not finite: the model is damaged, or was trained until its numbers overflowed"
    )]
    Logits {
        /// Counted from 0.
        batch: u64,
    },
    /// A segmenter whose answers are no numbers.
    #[error(
        "the logits of the pixels are not finite: the model is damaged, or was trained until its numbers overflowed"
    )]
    PixelLogits,
    /// A tokenizer whose logits are no numbers, so that its visual tokens mean nothing.
    #[error(
        "the tokenizer's logits of image {image} are not finite: it is damaged, or was trained until its numbers overflowed"
    )]
    VisualTokens {
        /// The number of the image.
        image: usize,
    },
    /// A batch without images.
    #[error("no image of batch {number} can be decoded; remove the broken files or take larger batches")]
    NoImages {
        /// Counted from the first batch of the first epoch.
        number: u64,
    },
    /// A rank of a run of several processes cannot go on because of another.
    #[error("rank {rank} of this run cannot go on: rank {other} {problem}")]
    Ranks {
        /// Who found it.
        rank: usize,
        /// Who is to blame.
        other: usize,
        /// What that one does.
        problem: String,
    },
    /// The ranks of a run of several processes do not find each other, or do not belong together.
    #[error("the ranks of this run cannot meet: {0}")]
    Meeting(String),
    /// MPI, by its own words.
    #[cfg(feature = "mpi")]
    #[error("MPI: {0}")]
    Mpi(String),
    /// Whoever watches an evaluation wanted it to stop.
    #[error("stopped")]
    Stopped,
    /// A recipe that cannot work.
    #[error("{0}")]
    Recipe(String),
    /// A file of the run.
    #[error("cannot write {}; make room, or choose a place that can be written", .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the run.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The state of training beside a checkpoint does not fit the run.
    #[error("{} does not fit this run: {problem}", .path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// Expected and found.
        problem: String,
    },
}
