//! What is asked of the doctor, and what it says of the settings of a run.

use super::Finding;
use super::intended::{Intended, Sizes};
use crate::error::{Error, chain};
use crate::memory::readable;
use crate::recipe::Change;
use crate::settings::{OptimisationSettings, Size};
use std::path::PathBuf;

const PART: &str = "settings";
/// Models of this kind learn little in fewer steps.
const FEW_STEPS: u64 = 800;

/// Which run is meant.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct DoctorSettings {
    /// The recipe of the run: a published one, a file, or run.toml of a run; pre-training as usual where not given
    #[cfg_attr(feature = "clap", arg(long, value_name = "NAME|FILE"))]
    pub recipe: Option<String>,
    /// A setting of the run by its name in run.toml; may be given several times
    #[cfg_attr(feature = "clap", arg(long = "set", value_name = "NAME=VALUE"))]
    pub changes: Vec<Change>,
    /// Images of the run, as pretrain takes them
    #[cfg_attr(feature = "clap", arg(long, value_name = "SPEC"))]
    pub data: Option<String>,
    /// Channels of these, where they are read as they are
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub channels: Option<usize>,
    /// Size of the model
    #[cfg_attr(feature = "clap", arg(long, alias = "model", value_enum))]
    pub preset: Option<Size>,
    /// Images that a device sees at once
    #[cfg_attr(feature = "clap", arg(long))]
    pub batch_size: Option<usize>,
    /// Folder of the run
    #[cfg_attr(feature = "clap", arg(long, value_name = "DIR"))]
    pub out: Option<PathBuf>,
    /// Checkpoints to keep
    #[cfg_attr(feature = "clap", arg(long))]
    pub keep: Option<usize>,
    /// Images that are decoded, at even distances
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", default_value_t = Self::default().sample))]
    pub sample: usize,
}

impl Default for DoctorSettings {
    fn default() -> Self {
        Self {
            recipe: None,
            changes: Vec::new(),
            data: None,
            channels: None,
            preset: None,
            batch_size: None,
            out: None,
            keep: None,
            sample: 200,
        }
    }
}

/// Settings that describe no run.
pub(super) fn refused(error: &Error) -> Finding {
    Finding::problem(PART, chain(error), "change what it names")
}

/// A step against the memory that is free.
pub(super) fn memory(sizes: &Sizes, free: Option<u64>) -> Finding {
    let needed = format!("a step of {} images needs {}", sizes.batch, readable(sizes.step));
    match free {
        None => {
            Finding::note(PART, needed, "compare it with the memory of the device, which is not known here")
        }
        Some(free) if sizes.step <= u128::from(free) => {
            Finding::ok(PART, format!("{needed} of {} that are free", readable(free.into())))
        }
        Some(free) => Finding::problem(
            PART,
            format!("{needed}, and {} are free", readable(free.into())),
            match sizes.fitting {
                Some(images) => format!(
                    "lower --batch-size, to {images} it fits (with --global-batch steps stay as they are), or take --recompute"
                ),
                None => "take a smaller --preset or --image-size, or --recompute".to_owned(),
            },
        ),
    }
}

/// Learning rate, steps and warm-up; `images` is how many there are to learn from.
pub(super) fn findings(intended: &Intended, images: Option<usize>) -> Vec<Finding> {
    // What cannot be divided was found before.
    let Ok(training) = intended.divided() else { return Vec::new() };
    let mut findings = Vec::new();
    let usual = intended.published.map_or(1e-3, |(_, rate)| rate);
    if let Some(published) = intended.published {
        findings.push(rate(&training, published));
    }
    if let Some(images) = images {
        findings.extend(length(&training, images, usual));
    }
    findings
}

/// The authors take half the rate for a quarter of the images (unilm issue 383): the square root of the share.
fn rate(training: &OptimisationSettings, (published_images, published_rate): (u64, f64)) -> Finding {
    let images = training.step_size();
    let rate = training.lr.unwrap_or(published_rate);
    let fitting = published_rate * (images as f64 / published_images as f64).sqrt();
    let found = format!(
        "a learning rate of {rate} for steps of {images} images; published is {published_rate} for {published_images}"
    );
    match (0.67..=1.5).contains(&(rate / fitting)) {
        true => Finding::ok(PART, found),
        false => Finding::note(
            PART,
            found,
            format!("--lr {fitting:.1e} fits these steps, or --global-batch {published_images} that rate"),
        ),
    }
}

fn length(training: &OptimisationSettings, images: usize, usual_rate: f64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let step = training.step_size();
    if step > images as u64 {
        findings.push(Finding::note(
            PART,
            format!("a step has {step} images, and there are {images}: each is seen several times in a step"),
            "lower --batch-size or --global-batch",
        ));
    }
    match training.hyper(training.batches_of(images), usual_rate, beit_train::Decay::Cosine) {
        Err(error) => findings.push(refused(&error)),
        Ok(hyper) => {
            let (total, warmup) = (hyper.schedule.total, hyper.schedule.warmup);
            let found = format!("{total} steps, {warmup} of them warm-up");
            findings.push(match (total < FEW_STEPS, 2 * warmup > total) {
                (true, _) => Finding::note(
                    PART,
                    format!("{found}: few"),
                    format!(
                        "--steps {FEW_STEPS} or more, or a smaller batch; few images are soon seen often"
                    ),
                ),
                (false, true) => {
                    Finding::note(PART, found, "shorten the warm-up (--warmup-epochs, --warmup-steps)")
                }
                (false, false) => Finding::ok(PART, found),
            });
        }
    }
    findings
}
