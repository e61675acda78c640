#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bands;
mod batch;
mod census;
mod decode;
mod error;
mod files;
mod foreign;
mod image;
mod loader;
mod mask;
mod ordered;
mod pair;
mod rng;
mod source;
mod split;
mod subset;
mod transform;

pub use bands::{Bands, MAX_CHANNELS};
pub use batch::{
    LabelledBatch, LabelledSample, PretrainBatch, PretrainSample, Sample, SegmentationBatch,
    SegmentationSample,
};
pub use census::{MaskCensus, check_masks};
pub use decode::{MAX_DECODED_BYTES, MAX_PICTURE_BYTES};
pub use error::{BadFile, Error, Result};
pub use files::{open_regular, read_regular};
pub use foreign::told_by;
pub use image::{CropBox, Image, Samples, Stretch};
pub use loader::{Batch, Batches, Item, Loader, LoaderConfig, Shard, Shuffle};
pub use mask::{Mask, palette};
pub use rng::{Purpose, SampleRng, sample_rng, shuffled};
pub use source::{
    Cached, Folder, Groups, Idx, Indexing, Pairs, Part, SCHEMES, Source, Tar, Unread, file_version,
    normal_name, open, open_as, open_with, places,
};
pub use split::Split;
pub use subset::{Validation, labels, stratified_subset, training_labels, validation_split};
pub use transform::{
    Augment, AugmentKind, AugmentLevel, Channels, ClassShare, ColourJitter, Filter, FinetuneTransform, Fit,
    LOGIT_LAPLACE_EPS, Normalise, PerChannel, PhotometricDistortion, Planes, Preprocessing,
    PretrainTransform, RandAugment, RandomErasing, RandomResizedCrop, RandomScale, Scale,
    SegmentationTransform, SegmentationView, TokenizerTransform, is_small, logit_laplace,
};

#[cfg(any(feature = "parquet", feature = "arrow"))]
pub use source::Table;
#[cfg(feature = "fashion-mnist")]
pub use source::{Scenes, fashion_mnist};
