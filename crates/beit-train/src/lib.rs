#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod checkpoint;
mod drop_path;
mod error;
mod evaluation;
mod finetune;
mod guard;
mod meter;
mod metrics;
mod optimiser;
mod pretrain;
mod progress;
mod schedule;
mod steps;
mod token_accuracy;
mod tokenizer;

pub use checkpoint::{Position, TRAINING, load_training, save_training};
pub use drop_path::drop_path;
pub use error::{Error, Result};
pub use evaluation::{Accuracy, ClassCounts, Evaluation, evaluate};
pub use finetune::{FinetuneRecipe, Finetuning};
pub use metrics::{Metrics, read_metrics};
pub use optimiser::{Hyper, Optimiser, layer_scale};
pub use pretrain::{PretrainRecipe, Pretraining};
pub use progress::{Progress, Silent, StepReport};
pub use schedule::Schedule;
pub use steps::Listeners;
pub use token_accuracy::{TokenAccuracy, evaluate_tokens};
pub use tokenizer::{TokenizerQuality, TokenizerTraining, tokenizer_quality};
