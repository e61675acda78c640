//! What a run and an evaluation go on from: `training/state.json`, `run.toml`, `metrics.jsonl`, and the counts of `progress.json`.

use std::path::Path;
use std::sync::OnceLock;

use beit::{DeviceSettings, FinetuneSettings, PretrainSettings, TokenizerSettings};
use beit_heads::{Classifier, ClassifierConfig, Pooling};
use beit_ops::Host;
use beit_train::{Classification, Decay, Evaluation, Hyper, Metrics, Recipe, Schedule, TRAINING, Trainer};
use beit_vit::{Config, Preset};
use tempfile::TempDir;

const OPS: Host<f32> = Host::new();
/// Steps of the run that goes on.
const STEPS: u64 = 6;
/// Classes of the evaluation that goes on.
const CLASSES: usize = 5;

pub(crate) fn run(bytes: &[u8]) {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("room for a temporary folder");
        trainer().save_state(folder.path()).expect("room for its state");
        folder
    });
    state(folder.path(), bytes);
    settings(folder.path(), bytes);
    metrics(folder.path(), bytes);
    counts(bytes);
}

/// A classifier that is small enough to be made again for each input.
fn trainer() -> Trainer<'static, Host<f32>, Classification> {
    let vit = Config {
        image: [4, 4],
        patch: [4, 4],
        width: 4,
        depth: 1,
        heads: 1,
        hidden: 4,
        ..Config::new(Preset::Tiny)
    };
    let params = Classifier::init(&OPS, &ClassifierConfig::on(vit, 2, Pooling::Mean), 3);
    let schedule = Schedule { peak: 0.1, min: 0.0, warmup: 0, total: STEPS, decay: Decay::Cosine };
    let recipe = Recipe {
        accumulate: 1,
        hyper: Hyper::new(schedule),
        report_every: 1,
        read_every: 1,
        seed: 3,
        ema: None,
        spikes: None,
    };
    Trainer::new(&OPS, Classification { smoothing: 0.1, mixing: None, recompute: false }, recipe, params)
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("room for a temporary file");
}

/// A run goes on from a step of its schedule, or not at all.
fn state(folder: &Path, bytes: &[u8]) {
    write(&folder.join(TRAINING).join("state.json"), bytes);
    let mut trainer = trainer();
    let taken = trainer.load_state(folder).is_ok();
    assert!(if taken { trainer.optimiser.steps() <= STEPS } else { trainer.optimiser.steps() == 0 });
    // There is no model beside it.
    assert!(beit_train::checkpoint_step(folder).is_err());
}

/// The settings of a run, whatever of them is given anew.
fn settings(folder: &Path, bytes: &[u8]) {
    write(&folder.join("run.toml"), bytes);
    let device = DeviceSettings::default();
    for given in [false, true] {
        let _ = beit::settings_of_run(&PretrainSettings::default(), &device, folder, |_| given);
        let _ = beit::settings_of_run(&FinetuneSettings::default(), &device, folder, |_| given);
        let _ = beit::settings_of_run(&TokenizerSettings::default(), &device, folder, |_| given);
    }
    let _ = beit::tokenizer_of(folder);
}

/// What comes after the checkpoint is taken out once.
fn metrics(folder: &Path, bytes: &[u8]) {
    let path = folder.join("metrics.jsonl");
    write(&path, bytes);
    let _ = beit_train::read_metrics(&path);
    if Metrics::resume(&path, "pretrain", 4).is_ok() {
        let once = std::fs::read(&path).expect("it is there");
        Metrics::resume(&path, "pretrain", 4).expect("it was read before");
        assert_eq!(std::fs::read(&path).expect("it is there"), once);
    }
}

/// Counts that were found to be possible give shares, and are written as they were read.
fn counts(bytes: &[u8]) {
    let Ok(found) = serde_json::from_slice::<Evaluation>(bytes) else { return };
    for before in [0, 1, 8, 100] {
        if found.check(CLASSES, before).is_ok() {
            let accuracy = found.accuracy();
            assert!(
                (0.0..=1.0).contains(&accuracy.top1) && (0.0..=1.0).contains(&accuracy.top5),
                "{accuracy:?}"
            );
            assert!(accuracy.images + found.left_out == before);
            assert!(
                found
                    .per_class()
                    .iter()
                    .all(|class| class.right <= class.images && class.right_in_5 <= class.images)
            );
            let text = serde_json::to_vec(&found).expect("counts are JSON");
            assert_eq!(serde_json::from_slice::<Evaluation>(&text).expect("our own text"), found);
        }
    }
}
