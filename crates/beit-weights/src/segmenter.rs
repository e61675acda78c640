//! Segmenters from and into files: parameters, and running statistics beside them.

use crate::checkpoint::{Checkpoint, Loaded, WEIGHTS, resize};
use crate::config::{self, Model};
use crate::error::{Error, Result};
use crate::folder::replace_folder;
use crate::load::{Allowance, LoadOptions, Source, initial};
use crate::names::{COUNTER, Kind, Layout, VARIANCE};
use crate::save::save_params;
use crate::tensors::TensorWriter;
use beit_heads::segmenter::HeadRunning;
use beit_heads::{Segmenter, SegmenterConfig};
use beit_ops::{Device, Shape, Tree, tree};
use std::path::Path;

tree! {
    /// All that a segmenter has learned.
    pub struct WholeSegmenter {
        /// Its parameters.
        pub model: Segmenter<T> = tree "",
        /// The running statistics of its batch norms, which have no gradient.
        pub running: HeadRunning<T> = tree "",
    }
}

impl WholeSegmenter<Shape> {
    /// The definition of all of it.
    #[must_use]
    pub fn shapes(config: &SegmenterConfig) -> Self {
        Self { model: Segmenter::<Shape>::shapes(config), running: Segmenter::<Shape>::running(config) }
    }
}

/// What a file may have that no head reads: a head reads the outputs of blocks, which come before the final norm.
const UNREAD: Allowance = Allowance {
    new: |_| false,
    dropped: |name| name == "mask_token" || ["norm.", "fc_norm."].iter().any(|norm| name.starts_with(norm)),
};

impl Checkpoint {
    /// The segmenter. Which blocks its head reads, [`model`](Self::model) says, and [`OpenOptions::taps`](crate::OpenOptions::taps) decides
    /// where a file leaves it open.
    ///
    /// A mask token and a norm after the last block, which no head reads, stay in the file.
    ///
    /// # Errors
    ///
    /// When this is something else, or file and configuration do not fit.
    pub fn segmenter<O: Device>(
        &self,
        ops: &O,
        options: LoadOptions,
    ) -> Result<Loaded<WholeSegmenter<O::Tensor>>> {
        let Model::Segmenter(config::Segmenter { segmenter, .. }) = self.model().clone() else {
            return Err(self.wrong_kind("a model for semantic segmentation: fine-tune one from it"));
        };
        let SegmenterConfig { vit, classes, taps, head } = segmenter;
        let mut config = SegmenterConfig::on(vit, classes, taps, head);
        let windows = resize(self.path(), &mut config.vit, options)?;
        config.validate().map_err(|error| Error::config(self.path(), error))?;
        let mut source = Source::new(self.weights(), options, windows);
        let params = source.params(ops, &WholeSegmenter::<Shape>::shapes(&config), &UNREAD, &mut initial)?;
        Ok(Loaded { params, report: source.report() })
    }
}

/// Loads a segmenter; see [`Checkpoint::segmenter`].
///
/// # Errors
///
/// See there.
pub fn load_segmenter<O: Device>(
    ops: &O,
    path: impl AsRef<Path>,
) -> Result<Loaded<WholeSegmenter<O::Tensor>>> {
    Checkpoint::open(path)?.segmenter(ops, LoadOptions::default())
}

/// Saves a segmenter, whose classes have these names, in one step; see [`replace_folder`]. `more` may add files.
///
/// UPerNet as wide as its transformer is a `BeitForSemanticSegmentation`. transformers gives the same logits where no block that the head
/// reads is the last one, which it cannot read; see [`Taps`](crate::Taps). The file says the true blocks in a key of its own. Other
/// heads only this project reads.
///
/// # Errors
///
/// When the device or the disk fails, or a parameter or a statistic is NaN or infinite, and whatever `more` returns. What was there
/// before then stays.
pub fn save_segmenter<O: Device, E: From<Error>>(
    ops: &O,
    folder: impl AsRef<Path>,
    params: &Segmenter<O::Tensor>,
    running: &HeadRunning<O::Tensor>,
    labels: &[String],
    more: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    replace_folder(folder, |folder| {
        Model::Segmenter(config::Segmenter::new(params.config().clone(), labels.to_vec())).write(folder)?;
        let path = &folder.join(WEIGHTS[0]);
        write(ops, path, params, running).map_err(|error| error.of_file(path))?;
        more(folder)
    })
}

fn write<O: Device>(
    ops: &O,
    path: &Path,
    params: &Segmenter<O::Tensor>,
    running: &HeadRunning<O::Tensor>,
) -> Result<()> {
    let (layout, kind) = (Layout::Transformers, Kind::Segmenter);
    let mut writer = TensorWriter::new();
    save_params(ops, &mut writer, params, layout, kind)?;
    save_params(ops, &mut writer, running, layout, kind)?;
    for (name, _) in running.named() {
        let Some(norm) = name.strip_suffix(VARIANCE) else { continue };
        // PyTorch expects the count, and reads it only where statistics have no momentum.
        for stored in layout.stored(&format!("{norm}{COUNTER}"), kind) {
            writer.integers(stored, &[], &[0]);
        }
    }
    writer.write(path)
}
