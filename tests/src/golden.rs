//! The files in `goldens/`.

use beit_ops::{Ops, Tree};
use beit_weights::{Kind, Layout, TensorFile, TensorWriter, Weights, save_params};
use std::path::{Path, PathBuf};

/// One folder of goldens.
pub struct Golden {
    /// Where it is.
    pub folder: PathBuf,
    /// Inputs and expected outputs.
    pub io: TensorFile,
}

impl Golden {
    /// Opens a folder.
    ///
    /// # Panics
    ///
    /// If it is not there.
    #[must_use]
    pub fn open(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens").join(name);
        let io = TensorFile::open(folder.join("io.safetensors")).expect("goldens are part of the repository");
        Self { folder, io }
    }

    /// The weights beside the expected outputs.
    ///
    /// # Panics
    ///
    /// If there are none.
    #[must_use]
    pub fn weights(&self) -> Weights {
        Weights::open(self.folder.join("model.safetensors")).expect("this golden has weights")
    }

    /// A tensor of real numbers.
    ///
    /// # Panics
    ///
    /// If there is none of this name.
    #[must_use]
    pub fn floats(&self, name: &str) -> Vec<f32> {
        self.io.floats(name).expect("the golden has this tensor")
    }

    /// A tensor of classes or visual tokens.
    ///
    /// # Panics
    ///
    /// If there is none of this name.
    #[must_use]
    pub fn ids(&self, name: &str) -> Vec<u32> {
        let integers = self.io.integers(name).expect("the golden has this tensor");
        integers.into_iter().map(|id| u32::try_from(id).expect("ids are not negative")).collect()
    }

    /// A tensor of real numbers, on a device.
    ///
    /// # Panics
    ///
    /// If there is none of this name.
    pub fn upload<O: Ops>(&self, ops: &O, name: &str) -> O::Tensor {
        let shape = self.io.shape(name).expect("the golden has this tensor");
        let shape = beit_ops::Shape::from_slice(shape).expect("at most four extents");
        ops.upload(shape, &self.floats(name))
    }

    /// The names that begin with `prefix`, without it.
    #[must_use]
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.io.names().iter().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect()
    }
}

/// A tree as it is in a file of transformers: how gradients come under the names of the goldens.
///
/// # Panics
///
/// If there is no room for a temporary file.
pub fn stored<O: Ops>(ops: &O, tree: &impl Tree<O::Tensor>, kind: Kind) -> TensorFile {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tree.safetensors");
    let mut writer = TensorWriter::new();
    save_params(ops, &mut writer, tree, Layout::Transformers, kind).expect("the device works");
    writer.write(&path).expect("room for a temporary file");
    TensorFile::open(path).expect("the file that was just written")
}
