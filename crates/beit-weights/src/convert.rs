//! From one layout to another: names are changed and matrices split or joined, numbers stay as they are to the bit.

use crate::checkpoint::{Checkpoint, DECODERS, WEIGHTS};
use crate::config::{CONFIG, CONFIG_REMARK, Model, PREPROCESSOR_REMARK, describing_timm};
use crate::error::{Error, Problem, Result};
use crate::folder::replace_folder;
use crate::json::write_json;
use crate::load::SHARED_TABLE;
use crate::names::{INDEX, Layout, is_head, joined};
use crate::preprocessor::{describing, write_preprocessing};
use crate::tensors::{TensorWriter, checked_floats, write_torch};
use crate::weights::Weights;
use beit_data::Preprocessing;
use beit_ops::relative_position_index;
use beit_vit::RelativePositions;
use safetensors::Dtype;
use std::path::Path;

/// Who shall read the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// transformers: a folder for `from_pretrained`.
    Transformers,
    /// timm: a folder for `create_model("local-dir:…")`, its weights for `load_state_dict`.
    Timm,
    /// The released code: a file whose name ends in `.pth`, for `torch.load`, or `.safetensors`.
    Unilm,
}

/// What became of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// Tensors that were written.
    pub written: usize,
    /// Tensors that were left out, by the names of the source.
    pub left_out: Vec<String>,
    /// What whoever uses the result should know.
    pub notes: Vec<String>,
}

/// One tensor to be written: its name and shape there, and the part of a parameter that it is.
struct Tensor<'a> {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Data<'a>,
}

enum Data<'a> {
    /// Part `part` of `of` equal parts of a parameter.
    Part { weights: &'a Weights, parameter: String, part: usize, of: usize },
    /// Whole parameters, one below the other.
    Joined { weights: &'a Weights, parameters: [String; 3] },
    /// The index of relative positions in a window of patches.
    Index([usize; 2]),
}

impl Checkpoint {
    /// Writes the checkpoint in another layout: a folder, or for [`Target::Unilm`] a file. What is at `out` is replaced.
    ///
    /// # Errors
    ///
    /// When the target has no such model, or a file cannot be read or written.
    pub fn convert(&self, target: Target, out: impl AsRef<Path>) -> Result<Converted> {
        let out = out.as_ref();
        let tokenizer = matches!(self.model(), Model::Tokenizer(_));
        let within = self.model().vit().is_some_and(|vit| vit.inner_norms || vit.key_bias);
        match target {
            _ if matches!(self.model(), Model::KMeans(_)) => {
                return Err(self.wrong_kind("a model that other tools have, too"));
            }
            Target::Transformers => self.to_transformers(out)?,
            _ if tokenizer => return Err(self.wrong_kind("a transformer, as this layout has no tokenizers")),
            Target::Unilm if within => {
                return Err(self.wrong_kind("one without norms inside its blocks and without a key bias, which the released code lacks"));
            }
            Target::Timm => self.to_timm(out)?,
            Target::Unilm => self.to_unilm(out)?,
        }
        let mut left_out = self.weights().outside().to_vec();
        if target != Target::Unilm {
            left_out.extend_from_slice(self.weights().buffers());
        }
        let written = self.tensors(target)?.len();
        Ok(Converted { written, left_out, notes: self.remarks(target) })
    }

    fn to_transformers(&self, out: &Path) -> Result<()> {
        replace_folder(out, |folder| {
            self.describe(folder)?;
            write(&self.tensors(Target::Transformers)?, &[], &folder.join(WEIGHTS[0]))?;
            match self.decoder() {
                Some(decoder) => write(&tensors(decoder, Layout::Flava)?, &[], &folder.join(DECODERS[0])),
                None => Ok(()),
            }
        })
    }

    fn to_timm(&self, out: &Path) -> Result<()> {
        replace_folder(out, |folder| {
            self.describe_for_timm(folder)?;
            write(&self.tensors(Target::Timm)?, &[], &folder.join(WEIGHTS[0]))
        })
    }

    /// timm has no words for a segmentation head: those of transformers stand beside its names.
    fn describe_for_timm(&self, folder: &Path) -> Result<()> {
        if matches!(self.model(), Model::Segmenter(_)) {
            return self.describe(folder);
        }
        match describing_timm(self.model(), &self.said_preprocessing()) {
            Some(timm) => write_json(&folder.join(CONFIG), &timm),
            None => Ok(()),
        }
    }

    /// Model and preprocessing in transformers' words.
    fn describe(&self, folder: &Path) -> Result<()> {
        self.model().write(folder)?;
        self.preprocessing().map_or(Ok(()), |preprocessing| write_preprocessing(folder, preprocessing))
    }

    /// How pictures become the model's pixels, for a target that must be told.
    fn said_preprocessing(&self) -> Preprocessing {
        let image = self.model().vit().map_or([0; 2], |vit| vit.image);
        self.preprocessing().copied().unwrap_or_else(|| Preprocessing::hugging_face(image))
    }

    /// In a `.pth` the parameters are a dictionary in a dictionary, as the released code looks for them.
    fn to_unilm(&self, out: &Path) -> Result<()> {
        let tensors = self.tensors(Target::Unilm)?;
        match out.extension().and_then(|extension| extension.to_str()) {
            Some("pth") => {
                let key = if matches!(self.model(), Model::Segmenter(_)) { "state_dict" } else { "model" };
                write_pth(&tensors, key, &self.said_in_file(), out)
            }
            Some("safetensors") => write(&tensors, &self.said_in_file(), out),
            _ => {
                let problem = "the name must end in .pth or .safetensors";
                let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, problem);
                Err(Error::write(out)(source))
            }
        }
    }

    /// What a file without a folder must say of itself, so that it is read back as it was: heads, sizes, names of the classes.
    fn said_in_file(&self) -> Vec<(&'static str, String)> {
        let config = self.model().text().map(|text| (CONFIG_REMARK, text));
        let preprocessing =
            self.preprocessing().map(|said| (PREPROCESSOR_REMARK, describing(said).to_string()));
        config.into_iter().chain(preprocessing).collect()
    }

    fn tensors(&self, target: Target) -> Result<Vec<Tensor<'_>>> {
        let layout = match (target, self.model()) {
            (Target::Transformers, Model::Tokenizer(_)) => Layout::Flava,
            (Target::Transformers, _) => Layout::Transformers,
            (Target::Timm, _) => Layout::Timm,
            (Target::Unilm, _) => Layout::Unilm,
        };
        let mut tensors = tensors(self.weights(), layout)?;
        if target == Target::Unilm {
            tensors.extend(self.indices());
            if matches!(self.model(), Model::Segmenter(_)) {
                tensors.iter_mut().for_each(Tensor::move_to_backbone);
            }
        }
        Ok(tensors)
    }

    /// The released code has an index beside each table.
    fn indices(&self) -> Vec<Tensor<'_>> {
        let Some(vit) = self.model().vit() else { return Vec::new() };
        let index = |of: &str| Tensor {
            name: format!("{of}{INDEX}"),
            dtype: Dtype::I64,
            shape: vec![vit.tokens(); 2],
            data: Data::Index(vit.grid()),
        };
        match vit.relative_positions {
            RelativePositions::None => Vec::new(),
            RelativePositions::Shared => {
                vec![index(SHARED_TABLE.trim_end_matches("relative_position_bias_table"))]
            }
            RelativePositions::PerLayer => {
                (0..vit.depth).map(|i| index(&format!("blocks.{i}.attn."))).collect()
            }
        }
    }

    fn remarks(&self, target: Target) -> Vec<String> {
        /// The only one that timm and the released code have.
        const EPS: f64 = 1e-6;
        let mut notes = Vec::new();
        let within = self.model().vit().is_some_and(|vit| vit.inner_norms || vit.key_bias);
        if target == Target::Transformers {
            if within || self.model().is_ours() {
                notes.push("transformers has no such model: only this project reads the folder".into());
            } else if let Model::Segmenter(segmenter) = self.model() {
                notes.extend(segmenter.difference());
            }
            return notes;
        }
        if let Some(eps) = self.model().vit().map(|vit| vit.layer_norm_eps).filter(|&eps| eps != EPS) {
            notes.push(format!(
                "the epsilon of the layer norms is {eps:e} here and {EPS:e} there, which moves logits a little"
            ));
        }
        if target == Target::Timm && !matches!(self.model(), Model::Classifier(_) | Model::Encoder(_)) {
            notes.push(
                "timm has only classifiers: the names are timm's, but no architecture of it fits".into(),
            );
        }
        notes
    }
}

/// The parameters under the names of a layout.
fn tensors(weights: &Weights, layout: Layout) -> Result<Vec<Tensor<'_>>> {
    let mut all = Vec::new();
    for parameter in weights.names() {
        // With a key bias, timm's plain transformers have one bias of queries, keys and values.
        if let Some((whole, part)) = joined::whole(parameter).filter(|_| layout == Layout::Timm)
            && let Some(joined) = joined_biases(weights, whole)
        {
            all.extend((part == 0).then_some(joined));
            continue;
        }
        let missing =
            || Error::malformed(weights.path(), format_args!("`{parameter}` is there only in part"));
        let (shape, dtype) = weights.shape(parameter).zip(weights.dtype(parameter)).ok_or_else(missing)?;
        let names = layout.stored(parameter, weights.kind());
        let of = names.len();
        for (part, name) in names.into_iter().enumerate() {
            let mut shape = shape.clone();
            if of > 1 {
                shape[0] /= of;
            }
            let data = Data::Part { weights, parameter: parameter.to_owned(), part, of };
            all.push(Tensor { name, dtype, shape, data });
        }
    }
    Ok(all)
}

/// The bias of queries, keys and values as one tensor; none of a model without a key bias.
fn joined_biases(weights: &Weights, name: String) -> Option<Tensor<'_>> {
    let parameters = joined::parts(&name)?;
    let [width] = weights.shape(&parameters[1])?.try_into().ok()?;
    let dtype = weights.dtype(&parameters[1])?;
    Some(Tensor {
        name,
        dtype,
        shape: vec![parameters.len() * width],
        data: Data::Joined { weights, parameters },
    })
}

impl Tensor<'_> {
    fn read(&self) -> Result<Vec<u8>> {
        match &self.data {
            Data::Part { weights, parameter, part, of } => {
                let mut bytes = weights.bytes(parameter)?;
                let length = bytes.len() / of;
                bytes.drain(..part * length);
                bytes.truncate(length);
                self.finite(weights.path(), &bytes)?;
                Ok(bytes)
            }
            Data::Joined { weights, parameters } => {
                let bytes = parameters.iter().map(|parameter| weights.bytes(parameter));
                let bytes = bytes.collect::<Result<Vec<_>>>()?.concat();
                self.finite(weights.path(), &bytes)?;
                Ok(bytes)
            }
            Data::Index(window) => {
                let tokens = self.shape[0];
                let entry = |i: usize| relative_position_index(*window, i / tokens, i % tokens) as i64;
                Ok((0..tokens * tokens).flat_map(|i| entry(i).to_le_bytes()).collect())
            }
        }
    }

    /// Refuses to write what is no number.
    fn finite(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        match checked_floats(self.dtype, bytes) {
            Some((values, false)) => {
                let problems = vec![Problem::not_finite(&self.name, &values)];
                Err(Error::Unsound { path: path.to_owned(), problems })
            }
            _ => Ok(()),
        }
    }

    /// mmsegmentation keeps the transformer apart from the heads.
    fn move_to_backbone(&mut self) {
        if !is_head(&self.name) {
            self.name.insert_str(0, "backbone.");
        }
    }
}

fn write(tensors: &[Tensor<'_>], remarks: &[(&str, String)], path: &Path) -> Result<()> {
    let mut writer = TensorWriter::new();
    for (key, remark) in remarks {
        writer.metadata(*key, remark);
    }
    for tensor in tensors {
        writer.later(&tensor.name, tensor.dtype, tensor.shape.clone(), || tensor.read());
    }
    writer.write(path)
}

fn write_pth(tensors: &[Tensor<'_>], key: &str, texts: &[(&str, String)], path: &Path) -> Result<()> {
    let named =
        tensors.iter().map(|tensor| (&tensor.name, tensor.dtype, tensor.shape.clone(), tensor.read()));
    write_torch(path, Some(key), texts, named)
}
