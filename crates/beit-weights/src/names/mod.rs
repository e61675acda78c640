//! The names of parameters in files. Ours are those of the official checkpoints, which timm shares.

pub(crate) mod joined;
mod kind;
mod landmark;
mod layout;
mod naming;
mod pattern;
mod table;
mod within;
mod wrapper;

pub use kind::Kind;
pub use layout::Layout;
pub(crate) use layout::{COUNTER, INDEX, VARIANCE, is_counter, is_index, is_statistic, is_variance};
pub(crate) use naming::{Naming, is_head, is_of_segmentation};
pub use wrapper::Parameters;
