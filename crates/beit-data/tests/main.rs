//! Everything that this crate is tested for, in one program: each one more would be linked and optimised again.

mod archives;
mod census;
mod channel_sources;
mod channels;
mod decode;
mod folder_index;
mod folders;
mod formats;
mod limits;
mod loader;
mod mask_files;
mod masks;
mod photos;
mod pictures;
mod pillow;
mod rand_augment;
mod reduced;
mod scenes;
mod segmentation;
mod shards;
mod sources;
#[cfg(all(feature = "arrow", feature = "parquet"))]
mod tables;
mod tar;
mod tar_faults;
mod transforms;
