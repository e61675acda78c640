#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod average;
mod checkpoint;
mod drop_path;
mod error;
mod evaluation;
mod events;
mod features;
mod guard;
mod halves;
mod hooks;
mod kmeans;
mod listeners;
mod masked;
mod meter;
mod metrics;
mod mixing;
mod optimiser;
mod peak;
mod pixel_error;
mod position_usage;
mod progress;
mod ranks;
mod recipe;
mod record;
mod replay;
mod run;
mod scalars;
mod schedule;
mod segmentation;
mod sink;
mod spikes;
mod task;
mod tasks;
mod token_accuracy;
mod tokenizer_quality;
mod trainer;

pub use checkpoint::{TRAINING, checkpoint_step};
pub use drop_path::drop_path;
pub use error::{Error, Result};
pub use evaluation::{Accuracy, ClassCounts, Evaluation, evaluate, mean_of_views};
pub use events::{Events, is_event_file};
pub use features::FeatureReport;
pub use guard::broken_row;
pub use hooks::{Hooks, NoHooks, Sums};
pub use kmeans::{Clustering, Course as KMeansCourse, KMeansRecipe, Rounds as KMeansRounds, cluster_patches};
pub use listeners::Listeners;
pub use masked::Recover;
pub use metrics::{Measured, Metrics, read_metrics};
pub use mixing::Mixing;
pub use optimiser::{Hyper, Optimiser, layer_scale};
pub use peak::Peak;
pub use pixel_error::{PixelError, evaluate_pixel_errors};
pub use progress::{Progress, Silent, StepReport};
#[cfg(feature = "mpi")]
pub use ranks::Mpi;
pub use ranks::{
    Alone, Background, BackgroundSums, Communicator, Failure, Meeting, Ranks, Tcp, TensorSums, Threads,
    all_gather, gather_numbers, share_batches, sum_over_ranks,
};
pub use recipe::Recipe;
pub use record::Record;
pub use replay::Replayed;
pub use scalars::Scalars;
pub use schedule::{Decay, Schedule};
pub use segmentation::{PixelAccuracy, PixelClass, PixelCounts, View, Windows, numbers_held, segment};
pub use sink::Sink;
pub use spikes::{Spike, SpikeGuard};
pub use task::{Changes, Finished, Moment, Outcome, Task};
pub use tasks::{
    Classification, ClassificationSettings, MaskedImages, MaskedImagesSettings, MaskedPixels, Segmentation,
    SegmentationSettings, Tokenization, TokenizationSettings, tokenizer_divergence,
};
pub use token_accuracy::{TokenAccuracy, evaluate_tokens, nearest_visible, share_of_gap, token_baselines};
pub use tokenizer_quality::{PixelQuality, TokenizerQuality, tokenizer_quality};
pub use trainer::Trainer;
