//! `weights inspect`: what is in a file.

use super::list::table;
use crate::output::{Output, note};
use beit::{Located, ReadSettings, Sides, locate};
use beit_weights::catalogue::Entry;
use beit_weights::{Checkpoint, Model, Origin, TensorFile, compact};
use clap::Args as ClapArgs;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a checkpoint or a file of tensors is: model, layout, sizes, and every tensor with its shape and type
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask weights inspect beit_base_patch16_224_pt22k.pth
  cargo xtask weights inspect runs/finetune-001 --json")]
pub(crate) struct Args {
    /// Run, checkpoint folder, file, official name or name on the hub
    #[arg(value_name = "MODEL")]
    model: String,
    /// Side in pixels, or HEIGHTxWIDTH, of the images of a bare file whose positions may be of several sizes
    #[arg(long)]
    image_size: Option<Sides>,
    #[command(flatten)]
    reading: ReadSettings,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Located { path, entry } = locate(&args.model, &args.output.watch())?;
    match Checkpoint::open_with(&path, args.reading.options(args.image_size, entry)) {
        Ok(checkpoint) => {
            checkpoint.notes().iter().for_each(|line| note(line));
            let summary = Summary::new(&checkpoint);
            let tensors = tensors(checkpoint.weights().file());
            let mut value = summary.value();
            value["tensors"] = tensors.iter().map(Tensor::value).collect();
            args.output.answer(&value, &format!("{}\n\n{}", summary.text(), listed(&tensors)))
        }
        // A file of tensors that is no model of ours is worth a look, too.
        Err(error) if path.is_file() => {
            let file = TensorFile::open(&path).map_err(|_| error)?;
            let tensors = tensors(&file);
            let value = json!({
                "path": path,
                "model": Value::Null,
                "tensors": tensors.iter().map(Tensor::value).collect::<Vec<_>>(),
            });
            let sentence =
                format!("{}: tensors of no model that is known here\n\n{}", path.display(), listed(&tensors));
            args.output.answer(&value, &sentence)
        }
        Err(error) => Err(error.into()),
    }
}

struct Tensor<'a> {
    name: &'a str,
    dtype: String,
    shape: &'a [usize],
}

impl Tensor<'_> {
    fn value(&self) -> Value {
        json!({ "name": self.name, "dtype": self.dtype, "shape": self.shape })
    }
}

fn tensors(file: &TensorFile) -> Vec<Tensor<'_>> {
    let tensor = |name| Tensor {
        name,
        dtype: file.dtype(name).map(|dtype| format!("{dtype:?}")).unwrap_or_default(),
        shape: file.shape(name).unwrap_or_default(),
    };
    file.names().iter().map(|name| tensor(name.as_str())).collect()
}

fn listed(tensors: &[Tensor<'_>]) -> String {
    let row =
        |tensor: &Tensor<'_>| [tensor.name.to_owned(), tensor.dtype.clone(), format!("{:?}", tensor.shape)];
    let rows: Vec<_> = tensors.iter().map(row).collect();
    table(&["tensor", "type", "shape"].map(str::to_owned), &rows)
}

/// What a checkpoint is.
struct Summary<'a> {
    checkpoint: &'a Checkpoint,
    parameters: usize,
    /// Parameters of each type.
    types: BTreeMap<String, usize>,
}

impl<'a> Summary<'a> {
    fn new(checkpoint: &'a Checkpoint) -> Self {
        let weights = checkpoint.weights();
        let mut types = BTreeMap::new();
        for name in weights.parameters() {
            let elements: usize = weights.shape(name).map_or(0, |shape| shape.iter().product());
            let dtype = weights.dtype(name).map_or("mixed".to_owned(), |dtype| format!("{dtype:?}"));
            *types.entry(dtype).or_default() += elements;
        }
        Self { checkpoint, parameters: types.values().sum(), types }
    }

    /// Official checkpoints of the same kind with as many parameters.
    fn official(&self) -> Vec<&'static str> {
        let same = |entry: &&Entry| {
            entry.parameters == self.parameters
                && entry.model().is_some_and(|model| {
                    std::mem::discriminant(&model) == std::mem::discriminant(self.checkpoint.model())
                })
        };
        beit_weights::catalogue().iter().filter(same).map(|entry| entry.name.as_str()).collect()
    }

    fn sizes(&self) -> Vec<(&'static str, String)> {
        let model = self.checkpoint.model();
        let mut rows = Vec::new();
        if let Some(vit) = model.vit() {
            let [[h, w], [ph, pw], [rows_, cols]] = [vit.image, vit.patch, vit.grid()];
            rows.push(("images", format!("{h}x{w} in {rows_}x{cols} patches of {ph}x{pw} pixels")));
            rows.push((
                "transformer",
                format!(
                    "width {}, {} blocks of {} heads, MLP {}",
                    vit.width, vit.depth, vit.heads, vit.hidden
                ),
            ));
            rows.push((
                "positions",
                format!(
                    "relative {:?}, absolute {}",
                    vit.relative_positions,
                    if vit.absolute_positions { "learned" } else { "none" }
                ),
            ));
            rows.push(("LayerScale", vit.layer_scale.map_or("no", |_| "yes").to_owned()));
            rows.push(("layer norm epsilon", format!("{:e}", vit.layer_norm_eps)));
        }
        if let Some(codebook) = model.codebook() {
            let [height, width] = codebook.sides;
            rows.push(("visual tokens", codebook.vocab.to_string()));
            rows.push(("pixels of a token", format!("{height}x{width}")));
        }
        match model {
            Model::Mim(config) => rows.push(("visual tokens", config.vocab.to_string())),
            Model::Classifier(config) => {
                let first = config.labels.first().map_or("", String::as_str);
                rows.push(("classes", format!("{} ({first}, …)", config.labels.len())));
                rows.push(("pooling", format!("{:?}", config.classifier.pooling)));
            }
            Model::Segmenter(config) => {
                rows.push(("classes", config.labels.len().to_string()));
                rows.push(("head", format!("{:?}", config.segmenter.head)));
                rows.push(("blocks that it reads", format!("{:?}", config.segmenter.taps)));
            }
            Model::Tokenizer(_) => {
                let decoder = if self.checkpoint.decoder().is_some() { "yes" } else { "no" };
                rows.push(("decoder", decoder.to_owned()));
            }
            Model::KMeans(config) => rows.push(("weight of the mean", config.mean_weight.to_string())),
            _ => {}
        }
        rows
    }

    fn text(&self) -> String {
        let (checkpoint, weights) = (self.checkpoint, self.checkpoint.weights());
        let types: Vec<_> = self.types.iter().map(|(dtype, n)| format!("{n} {dtype}")).collect();
        let mut rows = vec![
            ("model", checkpoint.model().name().to_owned()),
            ("file", weights.path().display().to_string()),
            ("layout", weights.layout().to_string()),
            ("configuration", origin(checkpoint.origin())),
            ("parameters", types.join(", ")),
        ];
        rows.extend(self.sizes());
        if let Some(preprocessing) = checkpoint.preprocessing() {
            rows.push(("preprocessing", preprocessing.to_string()));
        }
        for (what, names) in [("indices", weights.buffers()), ("not of the model", weights.outside())] {
            if !names.is_empty() {
                rows.push((what, compact(names.iter().map(String::as_str))));
            }
        }
        let official = self.official();
        if !official.is_empty() {
            rows.push(("sizes of", official.join(", ")));
        }
        rows.iter().map(|(key, value)| format!("{key:18}  {value}")).collect::<Vec<_>>().join("\n")
    }

    fn value(&self) -> Value {
        let (checkpoint, weights) = (self.checkpoint, self.checkpoint.weights());
        json!({
            "path": checkpoint.path(),
            "model": checkpoint.model().name(),
            "file": weights.path(),
            "layout": weights.layout().to_string(),
            "configuration": origin(checkpoint.origin()),
            "parameters": self.parameters,
            "types": self.types,
            "sizes": self.sizes().into_iter().collect::<BTreeMap<_, _>>(),
            "indices": weights.buffers(),
            "outside": weights.outside(),
            "sizes_of": self.official(),
        })
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Transformers => "config.json of transformers".into(),
        Origin::Timm(architecture) => format!("config.json of timm ({architecture})"),
        Origin::Ours => "config.json of this project".into(),
        Origin::File => "the file itself".into(),
        _ => "from the shapes of the tensors".into(),
    }
}
