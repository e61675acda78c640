//! `predict`: the classes of images, or of their pixels.

use crate::device;
use crate::evaluate::VIEWS;
use crate::model::ModelArgs;
use crate::output::Output;
use crate::usage::{Given, usage};
use anyhow::Context;
use beit::{
    Batches, Classifier, Contents, DeviceSettings, Files, FineTuned, FinetuneTask, Image, OutFile,
    Prediction, Segmentation, Segmenter, Share, Source, ViewSettings, Watch,
};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::collections::HashSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most likely classes of images with their probabilities, or with a segmenter the class of every pixel
///
/// A segmenter writes NAME-mask.png, whose values are the numbers of the classes, and NAME-overlay.png, the image and the image under its
/// mask, and says which share of the image each class has.
///
/// Images come out in the order in which they are named, those of a folder in the order of their names. What cannot be decoded is
/// named and left out; the verb then fails after the others.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask predict photo.jpg --model runs/finetune-001
  cargo xtask predict photo.jpg --model microsoft/beit-base-patch16-224
  cargo xtask predict photos more/photo.png --model runs/finetune-001 --top-k 3 --json
  cargo xtask predict street.jpg --model runs/finetune-002 --out masks")]
pub(crate) struct Args {
    /// Images, or folders of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// What the model names; where not given, what it was trained for
    #[arg(long, value_enum)]
    task: Option<FinetuneTask>,
    /// Classes of each image
    #[arg(long, default_value_t = 5, value_name = "K")]
    top_k: usize,
    /// Where the pictures of a segmenter are written
    #[arg(long, default_value = "segmented", value_name = "DIR")]
    out: PathBuf,
    /// Replace pictures in it that were written here
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    views: ViewSettings,
    #[command(flatten)]
    batches: Batches,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

/// What the verb answers for each image.
#[derive(Serialize)]
struct Answer<'a> {
    file: String,
    /// The most likely first.
    predictions: Vec<Prediction<'a>>,
}

pub(crate) fn run(args: &Args, given: &Given) -> anyhow::Result<()> {
    if args.top_k == 0 {
        usage!("--top-k 0: expected at least 1 class");
    }
    let watch = args.output.watch();
    let device = device::open(&args.device, &watch)?;
    let model = FineTuned::open_with(&args.model.model, args.task, &args.model.open, &device, &watch)?;
    let source: Arc<dyn Source> = Arc::new(Files::find_as(&args.images, model.bands())?);
    watch.notes_of(source.as_ref());
    let bad = match model {
        FineTuned::Classifier(classifier) => {
            let of_segmenters = [&VIEWS[..], &["out", "overwrite"]].concat();
            given.refuse(&of_segmenters, "segmentation, and this is a classifier")?;
            args.classify(&classifier, &source, &watch)?
        }
        FineTuned::Segmenter(segmenter) => {
            given.refuse(&["top_k", "batch_size"], "classification, and this is a segmenter")?;
            args.segment(&segmenter, &source, &watch)?
        }
    };
    if bad > 0 {
        anyhow::bail!("{bad} of {} files cannot be decoded", source.len());
    }
    Ok(())
}

impl Args {
    /// Returns how many images cannot be decoded.
    fn classify(
        &self,
        classifier: &Classifier,
        source: &Arc<dyn Source>,
        watch: &Watch,
    ) -> anyhow::Result<usize> {
        classifier.classify_source(source, self.batches, watch, |index, found| {
            let answer = Answer { file: source.name(index), predictions: found.top(self.top_k) };
            self.output.answer(&answer, &table(&answer))
        })
    }

    /// Returns how many images cannot be decoded.
    fn segment(
        &self,
        segmenter: &Segmenter,
        source: &Arc<dyn Source>,
        watch: &Watch,
    ) -> anyhow::Result<usize> {
        let names = stems(source.as_ref());
        let places = |index: usize| {
            ["mask", "overlay"].map(|what| self.out.join(format!("{}-{what}.png", names[index])))
        };
        std::fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot create the folder {}", self.out.display()))?;
        for path in (0..source.len()).flat_map(places) {
            OutFile { path, overwrite: self.overwrite }.check(Contents::Picture)?;
        }
        segmenter.segment_source(source, &self.views, watch, |index, image: &Image, found| {
            let [mask, overlay] = places(index);
            found.write_mask(&mask)?;
            found.write_overlay(&overlay, image)?;
            let answer = Segmented::new(source.name(index), [&mask, &overlay], &found);
            self.output.answer(&answer, &answer.text())
        })
    }
}

/// What the verb answers for each image of a segmenter.
#[derive(Serialize)]
struct Segmented<'a> {
    file: String,
    mask: String,
    overlay: String,
    /// The largest first.
    shares: Vec<Share<'a>>,
}

impl<'a> Segmented<'a> {
    fn new(file: String, places: [&Path; 2], found: &'a Segmentation) -> Self {
        let [mask, overlay] = places.map(|path| path.display().to_string());
        Self { file, mask, overlay, shares: found.shares() }
    }

    fn text(&self) -> String {
        let mut text = format!("{}: {}, {}", line(&self.file), line(&self.mask), line(&self.overlay));
        for Share { label, share, .. } in &self.shares {
            let _ = write!(text, "\n  {share:.4}  {}", line(label));
        }
        text
    }
}

/// The names of images without their endings, with a number where several are alike.
fn stems(source: &dyn Source) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut free = |index: usize| {
        let name = source.name(index);
        let stem = Path::new(&name).file_stem().map_or_else(|| "image".into(), |stem| stem.to_string_lossy());
        let names = std::iter::once(stem.to_string()).chain((2..).map(|n| format!("{stem}-{n}")));
        names.into_iter().find(|name| taken.insert(name.clone())).unwrap_or_default()
    };
    (0..source.len()).map(&mut free).collect()
}

/// One line, whatever a name has in it.
fn line(name: &str) -> String {
    name.replace('\n', "\\n")
}

fn table(answer: &Answer<'_>) -> String {
    let mut text = line(&answer.file);
    for Prediction { label, probability, .. } in &answer.predictions {
        let _ = write!(text, "\n  {probability:.4}  {}", line(label));
    }
    text
}
