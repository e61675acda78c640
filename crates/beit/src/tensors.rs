//! Raw tensors through a model, for parity with other tools.

use crate::device::{Device, Work};
use crate::error::{Error, Result, unfit};
use crate::load::{Any, Opened};
use crate::on::On;
use crate::progress::Watch;
use crate::settings::{Batches, OpenSettings};
use beit_heads::patch_rows;
use beit_ops::Ops;
use beit_tokenizer::VisualTokens;
use beit_vit::Input;
use beit_weights::{TensorFile, TensorWriter};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A model of any kind that takes pixels as it sees them.
#[derive(Clone)]
pub struct TensorModel {
    engine: Rc<dyn Engine>,
    /// As it was opened by, for messages.
    name: Rc<str>,
}

/// What goes into a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    /// The file that it was read from, for messages.
    pub path: PathBuf,
    /// `pixel_values [B, channels, H, W]`, row-major.
    pub pixels: Vec<f32>,
    /// B, channels, H, W
    pub shape: [usize; 4],
    /// `bool_masked_pos [B, N]`
    pub mask: Option<Vec<bool>>,
}

/// What comes out, for all images together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// Of a classifier `[B, classes]`, of a model for masked image modelling `[B, N, V]`, of a tokenizer `[B, V, h, w]`, of a segmenter
    /// `[B, classes, h, w]`.
    pub logits: Vec<f32>,
    /// Whether these are no logits but the tokens of a transformer without a head, after its final norm where it has one.
    pub tokens: bool,
    /// The extents of the logits.
    pub shape: Vec<usize>,
    /// Of a tokenizer: `[B, h, w]`.
    pub codes: Option<Vec<u32>>,
}

impl Inputs {
    /// Reads `pixel_values` and, where it is there, `bool_masked_pos`.
    ///
    /// # Errors
    ///
    /// A file without pixels, or of another shape.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let file = TensorFile::open(path.as_ref())?;
        let pixels = file.floats("pixel_values")?;
        let shape = extents(&file, "pixel_values", "[B, channels, H, W]")?;
        let mask =
            file.shape("bool_masked_pos").is_some().then(|| file.mask("bool_masked_pos")).transpose()?;
        Ok(Self { path: path.as_ref().to_owned(), pixels, shape, mask })
    }

    /// `n` images from `start` on.
    fn part(&self, start: usize, n: usize) -> Part<'_> {
        let [b, c, h, w] = self.shape;
        let mask = self.mask.as_ref().map(|mask| {
            let patches = mask.len() / b;
            &mask[start * patches..][..n * patches]
        });
        Part { pixels: &self.pixels[start * c * h * w..][..n * c * h * w], shape: [n, c, h, w], mask }
    }
}

impl Outputs {
    /// What the file calls them.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        if self.tokens { "tokens" } else { "logits" }
    }

    /// Writes `logits` and, of a tokenizer, `codes` (int64); of a transformer without a head `tokens`.
    ///
    /// # Errors
    ///
    /// A file that cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut writer = TensorWriter::new();
        writer.floats(self.name(), &self.shape, &self.logits);
        if let (Some(codes), &[b, _, h, w]) = (&self.codes, &self.shape[..]) {
            writer.integers("codes", &[b, h, w], &wide(codes));
        }
        Ok(writer.write(path)?)
    }
}

/// Writes `codes [B, h, w]` (int64).
///
/// # Errors
///
/// A file that cannot be written.
pub fn write_codes(path: &Path, codes: &[u32], shape: [usize; 3]) -> Result<()> {
    Ok(TensorWriter::new().integers("codes", &shape, &wide(codes)).write(path)?)
}

/// Reads `codes [B, h, w]`.
///
/// # Errors
///
/// A file without them, or numbers that are no visual tokens.
pub fn read_codes(path: &Path) -> Result<(Vec<u32>, [usize; 3])> {
    let file = TensorFile::open(path)?;
    let codes = file.integers("codes")?;
    let shape = extents(&file, "codes", "[B, h, w]")?;
    let code = |code: i64| {
        u32::try_from(code).map_err(|_| Error::Unfit(format!("{}: visual token {code}", path.display())))
    };
    Ok((codes.into_iter().map(code).collect::<Result<_>>()?, shape))
}

fn wide(codes: &[u32]) -> Vec<i64> {
    codes.iter().map(|&code| i64::from(code)).collect()
}

fn extents<const N: usize>(file: &TensorFile, name: &str, expected: &str) -> Result<[usize; N]> {
    let shape = file.shape(name).unwrap_or_default();
    let path = file.path().display();
    shape
        .try_into()
        .map_err(|_| Error::Unfit(format!("{path}: {name} has shape {shape:?}, expected {expected}")))
}

impl TensorModel {
    /// Opens a model of any kind by its name, as [`Classifier::open_with`](crate::Classifier::open_with) does.
    ///
    /// # Errors
    ///
    /// Nothing of this name, a model that cannot be run here, or a device that fails.
    pub fn open_with(name: &str, settings: &OpenSettings, device: &Device, watch: &Watch) -> Result<Self> {
        let opened = Opened::new(name, settings, watch)?;
        opened.refuse_beyond(device)?;
        device.run(Open(name, &opened))
    }

    /// All images, batch by batch.
    ///
    /// # Errors
    ///
    /// Tensors that are not the model's, logits that are not finite, or the device.
    pub fn run(&self, inputs: &Inputs, batches: Batches) -> Result<Outputs> {
        self.engine.check(inputs)?;
        let batch = batches.or(Batches::SMALL).max(1);
        let [b, _, h, w] = inputs.shape;
        let mut outputs = Outputs::default();
        for start in (0..b).step_by(batch) {
            self.engine.run(&inputs.part(start, batch.min(b - start)), &mut outputs)?;
        }
        outputs.shape = self.engine.shape(b, [h, w])?;
        let image = |row| format!("image {} of {}", row + 1, inputs.path.display());
        let width = outputs.logits.len() / b.max(1);
        outputs.tokens = self.engine.is_bare();
        Error::unless_finite(&self.name, outputs.name(), &outputs.logits, width, image)?;
        if let (Some(_), &[_, v, rows, cols]) = (&outputs.codes, &outputs.shape[..]) {
            outputs.logits = channels_first(&outputs.logits, v, rows * cols);
        }
        Ok(outputs)
    }
}

/// Some images.
struct Part<'a> {
    pixels: &'a [f32],
    shape: [usize; 4],
    mask: Option<&'a [bool]>,
}

trait Engine {
    /// Whether the model has no head.
    fn is_bare(&self) -> bool;
    /// Refuses what is not the model's.
    fn check(&self, inputs: &Inputs) -> Result<()>;
    fn run(&self, part: &Part<'_>, outputs: &mut Outputs) -> Result<()>;
    /// The extents of the logits of `b` images.
    fn shape(&self, b: usize, size: [usize; 2]) -> Result<Vec<usize>>;
}

impl<O: Ops> Engine for On<O, Any<O::Tensor>> {
    fn is_bare(&self) -> bool {
        matches!(&*self.params, Any::Bare(_))
    }

    fn run(&self, part: &Part<'_>, outputs: &mut Outputs) -> Result<()> {
        let (ops, n) = (&*self.ops, part.shape[0]);
        let images = ops.upload(part.shape, part.pixels);
        match &*self.params {
            Any::Mim(model) => {
                let patches = model.params.vit.config().patches();
                let mask = part.mask.map(|mask| {
                    let mask: Vec<f32> = mask.iter().map(|&m| f32::from(m)).collect();
                    ops.upload([n, patches], &mask)
                });
                let input = Input { images: &images, mask: mask.as_ref(), drop_path: None };
                let rows = ops.upload_ids(&patch_rows(n, patches));
                outputs.logits.extend(ops.read(&model.params.infer(ops, &input, &rows))?);
            }
            Any::Classifier(model) => {
                outputs.logits.extend(ops.read(&model.params.infer(ops, &images))?);
            }
            Any::Segmenter(model) => {
                let logits = ops.read(&model.params.infer(ops, &images, &model.running))?;
                let [height, width] = model.params.config().output();
                outputs.logits.extend(channels_first(&logits, model.class_names.len(), height * width));
            }
            Any::Bare(model) => {
                let input = Input { images: &images, mask: None, drop_path: None };
                let (vit, eps) = (&model.params, model.params.config().layer_norm_eps);
                let tokens = vit.infer(ops, &input, &mut |_, _| {});
                let normed = vit.norm.as_ref().map(|norm| ops.layer_norm(&tokens, norm, eps));
                outputs.logits.extend(ops.read(normed.as_ref().unwrap_or(&tokens))?);
            }
            Any::Tokenizer(tokenizer) => {
                let logits = tokenizer.logits(ops, &images);
                let codes = ops.read_ids(&ops.argmax_rows(&logits))?;
                outputs.codes.get_or_insert_default().extend(codes);
                outputs.logits.extend(ops.read(&logits)?);
            }
        }
        Ok(())
    }

    fn shape(&self, b: usize, size: [usize; 2]) -> Result<Vec<usize>> {
        Ok(match &*self.params {
            Any::Mim(model) => {
                let config = model.params.config();
                vec![b, config.vit.patches(), config.vocab]
            }
            Any::Classifier(model) => vec![b, model.params.config().classes],
            Any::Segmenter(model) => {
                let [height, width] = model.params.config().output();
                vec![b, model.class_names.len(), height, width]
            }
            Any::Bare(model) => vec![b, model.params.config().tokens(), model.params.config().width],
            Any::Tokenizer(tokenizer) => {
                let codebook = VisualTokens::<O>::codebook(tokenizer);
                let [rows, cols] = codebook.grid(size)?;
                vec![b, codebook.vocab, rows, cols]
            }
        })
    }

    fn check(&self, inputs: &Inputs) -> Result<()> {
        let [b, c, h, w] = inputs.shape;
        let file = inputs.path.display();
        let channels = |expected: usize| {
            if c != expected {
                unfit!(
                    "{file}: pixel_values has {c} channels, expected {expected}, the num_channels of the model"
                );
            }
            Ok(())
        };
        let vit = match &*self.params {
            Any::Mim(model) => model.params.vit.config(),
            Any::Classifier(model) => model.params.vit.config(),
            Any::Segmenter(model) => model.params.vit.config(),
            Any::Bare(model) => model.params.config(),
            Any::Tokenizer(tokenizer) => {
                let codebook = VisualTokens::<O>::codebook(tokenizer);
                return match codebook.grid([h, w]) {
                    Ok(_) => channels(codebook.channels),
                    Err(error) => unfit!("{file}: pixel_values is {h}x{w}: {error}"),
                };
            }
        };
        channels(vit.channels)?;
        if [h, w] != vit.image {
            unfit!("{file}: pixel_values is {h}x{w}, the model takes {}x{}", vit.image[0], vit.image[1]);
        }
        if let Some(mask) = inputs.mask.as_ref().filter(|mask| mask.len() != b * vit.patches()) {
            unfit!("{file}: bool_masked_pos has {} elements, expected [{b}, {}]", mask.len(), vit.patches());
        }
        if inputs.mask.is_some() && !vit.mask_token {
            unfit!("{file}: bool_masked_pos is given, but this model has no mask token");
        }
        Ok(())
    }
}

/// `[B·P, V] -> [B, V, P]`
fn channels_first(rows: &[f32], v: usize, positions: usize) -> Vec<f32> {
    let image = |image: &[f32]| -> Vec<f32> {
        (0..v * positions).map(|i| image[i % positions * v + i / positions]).collect()
    };
    rows.chunks_exact(v * positions).flat_map(image).collect()
}

struct Open<'a>(&'a str, &'a Opened<'a>);

impl Work for Open<'_> {
    type Output = TensorModel;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, _: &Device) -> Result<TensorModel> {
        let Self(name, opened) = self;
        Ok(TensorModel { engine: Rc::new(On::new(ops, opened.any(&**ops)?)), name: name.into() })
    }
}
