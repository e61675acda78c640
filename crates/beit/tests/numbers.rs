//! What is no number is refused: in a setting before anything is done, in an answer before anyone sees it.

use beit::settings::{
    Batches, CropSettings, DataSettings, HeldOutSettings, MaskSettings, ModelSettings, OpenSettings,
    OptimisationSettings, TokenizerKind,
};
use beit::tensors::{Inputs, TensorModel};
use beit::{
    Classifier, Device, Embedder, Error, FinetuneSettings, Finetuning, Image, PretrainSettings, Pretraining,
    Tokenizer, TokenizerSettings, TokenizerTraining, Watch,
};
use beit_heads::{ClassifierConfig, Pooling};
use beit_ops::Host;
use beit_vit::{Config, Preset, RelativePositions};
use beit_weights::{no_more_files, save_classifier, save_tokenizer};
use std::path::PathBuf;
use tempfile::{TempDir, tempdir};

/// What the settings of a run are refused for.
fn refused(settings: Result<(), Error>, says: &[&str]) {
    let error = settings.expect_err(says[0]);
    assert!(error.is_setting(), "{error}");
    let text = match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    says.iter().for_each(|part| assert!(text.contains(part), "{part} in {text}"));
}

fn pretrain(settings: PretrainSettings) -> Result<(), Error> {
    Pretraining::new(settings, &Watch::silent()).map(drop)
}

fn finetune(settings: FinetuneSettings) -> Result<(), Error> {
    Finetuning::new(FinetuneSettings { from_scratch: true, ..settings }, &Watch::silent()).map(drop)
}

const NONE: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

#[test]
fn numbers_of_the_optimiser() {
    let usual = OptimisationSettings { steps: Some(2), ..OptimisationSettings::default() };
    let of = |training| pretrain(PretrainSettings { training, ..PretrainSettings::default() });
    let also = |training| finetune(FinetuneSettings { training, ..FinetuneSettings::default() });
    for bad in NONE.into_iter().chain([-1.0, 1e38, 1e300]) {
        for run in [&of as &dyn Fn(_) -> _, &also] {
            let text = if bad.abs() > 1e7 && bad.is_finite() {
                format!(" {bad:e}: expected a")
            } else {
                format!(" {bad}: expected a")
            };
            refused(run(OptimisationSettings { lr: Some(bad), ..usual.clone() }), &["--lr", &text]);
            refused(run(OptimisationSettings { min_lr: Some(bad), ..usual.clone() }), &["--min-lr", &text]);
            refused(
                run(OptimisationSettings { weight_decay: bad, ..usual.clone() }),
                &["--weight-decay", &text],
            );
        }
    }
    for bad in NONE.into_iter().chain([-1.0]) {
        let warmup_epochs = Some(bad);
        refused(of(OptimisationSettings { warmup_epochs, ..usual.clone() }), &["--warmup-epochs"]);
        refused(of(OptimisationSettings { clip_grad: bad as f32, ..usual.clone() }), &["--clip-grad"]);
    }
}

#[test]
fn a_least_rate_above_the_peak() {
    let of = |lr, min_lr| {
        let training = OptimisationSettings { steps: Some(2), lr, min_lr, ..OptimisationSettings::default() };
        pretrain(PretrainSettings { training, ..PretrainSettings::default() })
    };
    refused(of(Some(1e-4), Some(1e-2)), &["--min-lr 0.01", "--lr 0.0001"]);
    refused(of(None, Some(0.5)), &["--min-lr 0.5", "peak"]);
    assert!(of(Some(1e-4), Some(1e-4)).is_ok());
    // What nobody gave does not stand in the way of a low peak.
    assert!(of(Some(1e-7), None).is_ok());
}

#[test]
fn other_numbers_of_runs() {
    let usual = PretrainSettings::default;
    for bad in NONE {
        let (mask_ratio, share) = (bad, Some(bad));
        let mask = MaskSettings { mask_ratio, ..MaskSettings::default() };
        refused(pretrain(PretrainSettings { mask, ..usual() }), &["--mask-ratio"]);
        let crop = CropSettings { min_crop_scale: share };
        refused(pretrain(PretrainSettings { crop, ..usual() }), &["--min-crop-scale"]);
        refused(pretrain(PretrainSettings { colour_jitter: share, ..usual() }), &["--colour-jitter"]);
        let data = DataSettings { max_bad_share: bad, ..DataSettings::default() };
        refused(pretrain(PretrainSettings { data, ..usual() }), &["--max-bad-share"]);
        let model = ModelSettings { drop_path: Some(bad as f32), ..ModelSettings::default() };
        refused(
            pretrain(PretrainSettings { model: model.clone(), ..usual() }),
            &["--drop-path", "drop path rate"],
        );
        refused(finetune(FinetuneSettings { model, ..FinetuneSettings::default() }), &["--drop-path"]);
        let model = ModelSettings { layer_scale_init_value: Some(bad as f32), ..ModelSettings::default() };
        refused(pretrain(PretrainSettings { model, ..usual() }), &["--layer-scale-init-value"]);
        let finetuning = FinetuneSettings::default;
        refused(finetune(FinetuneSettings { layer_decay: bad, ..finetuning() }), &["--layer-decay"]);
        refused(finetune(FinetuneSettings { smoothing: bad as f32, ..finetuning() }), &["--smoothing"]);
        let held_out = HeldOutSettings { validation: share };
        refused(finetune(FinetuneSettings { held_out, ..finetuning() }), &["--validation"]);
    }
}

#[test]
fn numbers_of_a_tokenizer() {
    let of = |settings| TokenizerTraining::new(settings).map(drop);
    for bad in NONE.into_iter().chain([-1.0, 1e38]) {
        let (dvae, kmeans) = (TokenizerKind::Dvae, TokenizerKind::KMeans);
        let usual = |kind| TokenizerSettings { kind, ..TokenizerSettings::default() };
        refused(of(TokenizerSettings { lr: Some(bad), ..usual(dvae) }), &["--lr"]);
        refused(of(TokenizerSettings { usage_weight: Some(bad), ..usual(dvae) }), &["--usage-weight"]);
        refused(of(TokenizerSettings { mean_weight: Some(bad as f32), ..usual(kmeans) }), &["--mean-weight"]);
    }
}

/// A classifier whose weights are numbers, and whose answers are none: its head overflows.
fn overflowing() -> (TempDir, PathBuf) {
    let (ops, place) = (Host::<f32>::new(), tempdir().unwrap());
    let sizes = Config::new(Preset::Tiny);
    let vit = Config { width: 8, depth: 1, heads: 2, hidden: 16, ..sizes };
    let vit = Config { relative_positions: RelativePositions::PerLayer, ..vit };
    let mut model = beit_heads::Classifier::init(&ops, &ClassifierConfig::on(vit, 2, Pooling::Mean), 0);
    model.vit.patch_embed.weight.fill(3e38);
    model.head.weight.fill(3e38);
    let (folder, labels) = (place.path().join("huge"), ["a", "b"].map(str::to_owned));
    save_classifier(&ops, &folder, &model, &labels, no_more_files).unwrap();
    (place, folder)
}

fn picture() -> Image {
    Image::new(28, 28, (0..28 * 28 * 3).map(|i| (i % 251) as u8).collect())
}

#[test]
fn answers_that_are_no_numbers() {
    let (_place, folder) = overflowing();
    let (device, name) = (Device::cpu(), folder.to_str().unwrap());
    let unsound = |result: Result<(), Error>, what: &str, image: &str| {
        let error = result.expect_err("no answer");
        assert!(matches!(error, Error::NotFinite { .. }), "{error}");
        let text = error.to_string();
        [name, what, image].iter().for_each(|part| assert!(text.contains(part), "{part} in {text}"));
    };
    let classifier = Classifier::open(name, &device).unwrap();
    unsound(classifier.classify(&picture()).map(drop), "logits", "image 1 of 1");
    let embedder = Embedder::open(name, &device).unwrap();
    unsound(embedder.embed(&picture()).map(drop), "features", "the image");
    let model = TensorModel::open_with(name, &OpenSettings::default(), &device, &Watch::silent()).unwrap();
    let inputs =
        Inputs { path: "pixels".into(), pixels: vec![0.5; 3 * 28 * 28], shape: [1, 3, 28, 28], mask: None };
    unsound(model.run(&inputs, Batches::default()).map(drop), "logits", "image 1 of pixels");
}

#[test]
fn visual_tokens_of_what_is_no_number() {
    let (ops, place) = (Host::<f32>::new(), tempdir().unwrap());
    let mut params = beit_tokenizer::init(&ops, &beit_tokenizer::Config::small(), 0);
    params.encoder.input.weight.fill(3e38);
    let folder = place.path().join("huge");
    save_tokenizer(&ops, &folder, &params, no_more_files).unwrap();
    let tokenizer = Tokenizer::open(&folder, Device::cpu()).unwrap();
    let error = tokenizer.encode(&picture(), 28).expect_err("no tokens");
    assert!(error.to_string().starts_with(folder.to_str().unwrap()), "{error}");
    let data = DataSettings::default();
    let inspected = tokenizer.inspect(&data, 28, None, &Device::cpu(), &Watch::silent());
    let error = inspected.map(drop).expect_err("no tokens");
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
}
