//! Settings: what can be chosen, with its defaults. Under the feature `clap` they are the flags of a command line.

mod augment;
mod average;
mod batches;
mod best;
mod cluster;
mod crop;
mod crops;
mod data;
pub(crate) mod device;
mod guard;
mod mask;
mod mixing;
mod model;
pub(crate) mod number;
mod objective;
mod open;
mod optimisation;
mod points;
mod ranks;
mod resume;
mod run;
mod shown;
mod sides;
mod tokenizer;
mod usual;

pub use augment::{AugmentSettings, AutoAugment};
pub use average::AverageSettings;
pub use best::{BestMetric, BestSettings};
pub use cluster::ClusterSettings;
pub use crop::CropSettings;
pub use crops::Crops;
pub use data::{Batches, DataSettings, HeldOutSettings, MeasureSettings, Shuffle};
pub use device::{DeviceSettings, Precision};
pub use guard::GuardSettings;
pub use mask::{MaskKind, MaskSettings};
pub use mixing::MixingSettings;
pub use model::{ModelSettings, Size};
pub use objective::{ObjectiveSettings, RecoverRule, TargetKind};
pub use open::{
    LoadSettings, OpenSettings, ParametersRule, PreprocessingRule, ReadSettings, ResizingRule, TapsRule,
};
pub use optimisation::OptimisationSettings;
pub use points::{PointSettings, Points};
pub use ranks::{GpuSums, RankSettings, SumSettings};
pub use resume::Resume;
pub use run::{FolderSettings, RunSettings};
pub use shown::ShownSettings;
pub use sides::Sides;
pub use tokenizer::TokenizerKind;
pub use usual::UsualPretraining;

/// The parser of seeds: `run.toml` holds signed numbers.
#[cfg(feature = "clap")]
pub(crate) fn seeds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(..=i64::MAX as u64)
}
