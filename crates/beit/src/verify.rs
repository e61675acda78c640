//! Whether a checkpoint is what the catalogue says.

use crate::device::{Device, Work};
use crate::error::{Error, Result, unfit};
use crate::load::{Any, Opened};
use crate::locate::official;
use crate::progress::Watch;
use crate::settings::{OpenSettings, PreprocessingRule, ReadSettings};
use beit_data::Image;
use beit_heads::patch_rows;
use beit_ops::Ops;
use beit_vit::Input;
use beit_weights::catalogue::{Entry, Fixture, Library};
use beit_weights::{Checkpoint, Model};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What.
    pub what: &'static str,
    /// None where it could not be looked at.
    pub passed: Option<bool>,
    /// For a person.
    pub found: String,
}

/// Everything that was looked at in an official checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verified {
    /// The official name.
    pub name: String,
    /// The file or folder.
    pub path: PathBuf,
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// Checks an official checkpoint: its model, the number of its parameters, every number finite, and the published logits of one
/// picture where that is given. It is fetched unless `path` says where it is.
///
/// # Errors
///
/// No official checkpoint of this name, one that cannot be read, or a device that fails. A check that does not pass is no error.
pub fn verify(
    name: &str,
    path: Option<&Path>,
    picture: Option<&Path>,
    device: &Device,
    watch: &Watch,
) -> Result<Verified> {
    let unknown =
        || Error::Unfit(format!("{name}: no official checkpoint; `cargo xtask weights list` names them"));
    let entry = Entry::find(name).ok_or_else(unknown)?;
    let path = official(entry, name, path, watch)?;
    let options = ReadSettings::default().options(None, Some(entry));
    let checkpoint = Checkpoint::open_with(&path, options)?;
    let mut checks = vec![kind(entry, &checkpoint), parameters(entry, &checkpoint), finite(&checkpoint)?];
    if let Some(fixture) = &entry.fixture {
        checks.push(match picture {
            Some(picture) => fixture_check(checkpoint, fixture, picture, device, watch)?,
            None => {
                let found = format!("give {} with --picture", fixture.picture);
                Check { what: LOGITS, passed: None, found }
            }
        });
    }
    Ok(Verified { name: entry.name.clone(), path, checks })
}

const LOGITS: &str = "logits";

fn kind(entry: &Entry, checkpoint: &Checkpoint) -> Check {
    let found = checkpoint.model();
    let passed = match entry.model() {
        Some(expected) => sizes(&expected) == sizes(found),
        None => false,
    };
    let (grid, width) = found.vit().map_or(([0; 2], 0), |vit| (vit.grid(), vit.width));
    let found = match found {
        Model::Tokenizer(_) | Model::KMeans(_) => {
            let vocab = found.codebook().map_or(0, |codebook| codebook.vocab);
            format!("{} of {vocab} visual tokens", found.name())
        }
        _ => format!("{}, width {width}, {}x{} patches", found.name(), grid[0], grid[1]),
    };
    Check { what: "model", passed: Some(passed), found }
}

/// What must agree: not the epsilon, the drop path and the names of classes, which tools write as they like.
fn sizes(model: &Model) -> String {
    let heads = match model {
        Model::Mim(config) => config.vocab.to_string(),
        Model::Classifier(config) => config.classifier.classes.to_string(),
        Model::Segmenter(config) => format!("{} {:?}", config.segmenter.classes, config.segmenter.head),
        _ => model.codebook().map_or(0, |codebook| codebook.vocab).to_string(),
    };
    let vit = model.vit().map(|vit| {
        (
            vit.image,
            vit.patch,
            vit.width,
            vit.depth,
            vit.heads,
            vit.hidden,
            vit.absolute_positions,
            vit.relative_positions,
        )
    });
    format!("{} {heads} {vit:?}", model.name())
}

fn parameters(entry: &Entry, checkpoint: &Checkpoint) -> Check {
    let weights = checkpoint.weights();
    // Running statistics of batch norms are no parameters.
    let counted = |name: &&str| {
        !["running_mean", "running_var", "num_batches_tracked"].iter().any(|end| name.ends_with(end))
    };
    let elements = |name: &str| weights.shape(name).map_or(0, |shape| shape.iter().product::<usize>());
    let found: usize = weights.names().filter(counted).map(elements).sum();
    let passed = Some(found == entry.parameters);
    Check { what: "parameters", passed, found: format!("{found}, published {}", entry.parameters) }
}

fn finite(checkpoint: &Checkpoint) -> Result<Check> {
    let weights = checkpoint.weights();
    for name in weights.names().filter(|name| !name.ends_with("num_batches_tracked")) {
        if let Some(value) = weights.floats(name)?.into_iter().find(|value| !value.is_finite()) {
            let found = format!("`{name}` has {value}");
            return Ok(Check { what: "numbers", passed: Some(false), found });
        }
    }
    Ok(Check { what: "numbers", passed: Some(true), found: "all finite".into() })
}

fn fixture_check(
    checkpoint: Checkpoint,
    fixture: &Fixture,
    picture: &Path,
    device: &Device,
    watch: &Watch,
) -> Result<Check> {
    let image = Image::open(picture)?;
    let hf = (fixture.library == Library::Transformers).then_some(PreprocessingRule::Hf);
    let settings = OpenSettings { preprocess: hf, ..OpenSettings::default() };
    let opened = Opened::as_it_is(checkpoint, &settings, watch);
    let found = device.run(Question { opened: &opened, fixture, image: &image })?;
    let class = fixture.class.is_none_or(|class| found.class == Some(class));
    let pairs = found.first.iter().flatten().zip(fixture.logits.iter().flatten());
    let worst = pairs.fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
    let passed = Some(class && worst <= fixture.tolerance);
    let found = format!("at most {worst:.1e} from the published ones, allowed {:.0e}", fixture.tolerance);
    Ok(Check { what: LOGITS, passed, found })
}

/// The first logits of a picture, and its class.
struct Logits {
    first: Vec<[f32; 3]>,
    class: Option<usize>,
}

/// What a checkpoint says to a picture.
struct Question<'a> {
    opened: &'a Opened<'a>,
    fixture: &'a Fixture,
    image: &'a Image,
}

impl Question<'_> {
    /// The first three logits of as many rows as are published.
    fn first(&self, rows: &[f32], width: usize) -> Vec<[f32; 3]> {
        let rows = rows.chunks_exact(width).take(self.fixture.logits.len());
        rows.map(|row| std::array::from_fn(|i| row[i])).collect()
    }
}

impl Work for Question<'_> {
    type Output = Logits;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, _: &Device) -> Result<Logits> {
        let (ops, eps) = (&**ops, self.fixture.layer_norm_eps);
        let pixels = |preprocessing: beit_data::Preprocessing| {
            let [height, width] = preprocessing.size;
            let channels = preprocessing.normalise.channels.count();
            ops.upload([1, channels, height, width], &preprocessing.apply(self.image))
        };
        match self.opened.any(ops)? {
            Any::Classifier(mut model) => {
                model.params.vit.set_layer_norm_eps(eps);
                let logits = ops.read(&model.params.infer(ops, &pixels(model.preprocessing)))?;
                let class = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
                Ok(Logits { first: self.first(&logits, model.params.config().classes), class })
            }
            Any::Mim(mut model) => {
                model.params.vit.set_layer_norm_eps(eps);
                let n = model.params.vit.config().patches();
                let mask = ops.upload([1, n], &vec![1.0; n]);
                let images = pixels(model.preprocessing);
                let input = Input { images: &images, mask: Some(&mask), drop_path: None };
                let rows = ops.upload_ids(&patch_rows(1, n));
                let logits = ops.read(&model.params.infer(ops, &input, &rows))?;
                Ok(Logits { first: self.first(&logits, model.params.config().vocab), class: None })
            }
            Any::Tokenizer(_) | Any::Bare(_) | Any::Segmenter(_) => {
                unfit!("no logits of such a model are published")
            }
        }
    }
}
