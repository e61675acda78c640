#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod ablate;
mod any_tokenizer;
mod checksum;
mod classifier;
mod device;
pub mod doctor;
mod embedder;
mod error;
mod evaluate;
mod files;
mod fine_tuned;
#[cfg(feature = "hub")]
mod hub;
mod labelled;
mod load;
mod loaders;
mod locate;
mod masked;
mod masked_pixels;
mod memory;
mod npy;
mod on;
mod out_file;
pub mod picture;
pub mod probe;
mod progress;
mod ranks;
pub mod recipe;
pub mod report;
mod run;
mod segmenter;
pub mod settings;
pub mod show;
mod survey;
pub mod tensors;
mod tokenizer;
mod train;
mod verify;

pub use classifier::{Classification, Classifier, Prediction};
pub use device::{Device, Work};
pub use doctor::{DoctorSettings, Finding};
pub use embedder::{Embedder, FeatureSettings, Features, Pool, names_beside};
pub use error::{Error, Result};
pub use evaluate::{Evaluated, EvaluationSettings, SegmentationEvaluated};
pub use files::Files;
pub use fine_tuned::FineTuned;
pub use locate::{Located, locate};
pub use masked::{MaskedModel, Reconstruction, write_masks};
pub use masked_pixels::DrawingModel;
pub use out_file::{Contents, OutFile};
pub use probe::{Judge, Probe, ProbeSettings, Probed};
pub use progress::{Progress, Task, Watch};
pub use ranks::{Launch, Launcher, LocalRanks, Predicted, Team};
pub use recipe::Recipe;
pub use run::{FolderLock, merged as settings_of_run, tokenizer_of};
pub use segmenter::{Segmentation, Segmenter, Share, ViewSettings};
pub use settings::{
    AugmentSettings, AutoAugment, AverageSettings, Batches, BestMetric, BestSettings, ClusterSettings,
    CropSettings, Crops, DataSettings, DeviceSettings, FolderSettings, GpuSums, GuardSettings,
    HeldOutSettings, LoadSettings, MaskKind, MaskSettings, MeasureSettings, MixingSettings, ModelSettings,
    ObjectiveSettings, OpenSettings, OptimisationSettings, ParametersRule, PointSettings, Points, Precision,
    PreprocessingRule, RankSettings, ReadSettings, RecoverRule, ResizingRule, Resume, RunSettings,
    ShownSettings, Shuffle, Sides, Size, SumSettings, TapsRule, TargetKind, TokenizerKind,
};
pub use survey::Survey;
pub use tokenizer::{Tokenizer, Tokens};
pub use train::{
    BestCheckpoint, FinetuneSettings, FinetuneTask, Finetuned, Finetuning, HeadKind, HeadSettings, Judged,
    PlannedRun, PretrainSettings, Pretrained, Pretraining, Recovered, Replay, ReplayedImage, ReplayedTensor,
    Replaying, TokenizerSettings, TokenizerTraining, TrainedTokenizer, kmeans_for, quality_sentence,
    tokenizer_for,
};
pub use verify::{Check, Verified, verify};

pub use beit_data::{Bands, Image, Mask, Preprocessing, Source, Split};
pub use beit_train::StepReport;

/// The example in the README of the project compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct ProjectReadme;
