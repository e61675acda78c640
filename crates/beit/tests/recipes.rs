//! The published recipes have the published numbers: these stand here once more, row by row, as the tables of the released code and the
//! paper have them.

use beit::recipe::Batch;
use beit::{FinetuneSettings, FinetuneTask, HeadKind, MaskKind, PretrainSettings, Recipe, Sides, Size};

const IN1K: usize = 1_281_167;
const IN22K: usize = 14_197_122;

fn recipe(name: &str) -> Recipe {
    Recipe::find(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// GPUs, images of one, and micro-batches of one in a step.
fn batch(recipe: &Recipe) -> [usize; 3] {
    let Batch { gpus, images, update_freq } = recipe.about.as_ref().expect("it is published").batch;
    [gpus, images, update_freq]
}

fn images(recipe: &Recipe) -> (usize, usize) {
    let on = &recipe.about.as_ref().expect("it is published").trained_on;
    (on.images, on.classes)
}

/// A row of pre-training.
struct Pretrain {
    name: &'static str,
    model: Size,
    images: usize,
    epochs: u64,
    warmup: (Option<f64>, Option<u64>),
    clip: f32,
    paper: bool,
    imagenet_statistics: bool,
    steps: u64,
}

#[test]
fn pretraining_has_the_published_numbers() {
    let row = Pretrain {
        name: "in1k-800-base",
        model: Size::Base,
        images: IN1K,
        epochs: 800,
        warmup: (Some(10.0), None),
        clip: 3.0,
        paper: false,
        imagenet_statistics: true,
        steps: 500_000,
    };
    let rows = [
        Pretrain { name: "in1k-300-base", epochs: 300, steps: 187_500, ..row },
        Pretrain { name: "in1k-300-base-paper", epochs: 300, steps: 187_500, paper: true, ..row },
        Pretrain { name: "in1k-800-base-paper", paper: true, ..row },
        Pretrain { name: "in1k-800-large-paper", paper: true, model: Size::Large, clip: 1.0, ..row },
        Pretrain {
            name: "in22k-150-base",
            images: IN22K,
            epochs: 150,
            warmup: (None, Some(10_000)),
            imagenet_statistics: false,
            steps: 150 * 6932,
            ..row
        },
        row,
    ];
    for row in rows {
        let recipe = recipe(row.name);
        let name = row.name;
        let PretrainSettings { model, mask, training, tokenizer, colour_jitter, .. } =
            recipe.settings().expect(name);
        assert_eq!(batch(&recipe), [16, 128, 1], "{name}");
        assert_eq!(images(&recipe).0, row.images, "{name}");
        assert_eq!((training.global_batch, training.batch_size()), (Some(2048), 128), "{name}");
        assert_eq!((training.epochs, training.steps), (Some(row.epochs), None), "{name}");
        assert_eq!((training.lr, training.min_lr), (Some(1.5e-3), Some(1e-5)), "{name}");
        assert_eq!((training.warmup_epochs, training.warmup_steps), row.warmup, "{name}");
        assert_eq!((training.clip_grad, training.weight_decay), (row.clip, 0.05), "{name}");
        assert_eq!((model.preset, model.paper), (row.model, row.paper), "{name}");
        assert_eq!((model.drop_path, colour_jitter), (Some(0.1), Some(0.4)), "{name}");
        assert_eq!(model.layer_scale_init_value, (!row.paper).then_some(0.1), "{name}");
        assert_eq!(model.imagenet_default_mean_and_std, row.imagenet_statistics, "{name}");
        assert_eq!((mask.mask, mask.num_mask_patches), (MaskKind::Block, Some(75)), "{name}");
        assert_eq!(mask.min_mask_patches_per_block, Some(16), "{name}");
        assert_eq!(tokenizer.as_deref(), Some("dalle".as_ref()), "{name}");
        let vit = model.config().expect(name);
        assert_eq!((vit.image, vit.patches()), ([224, 224], 196), "{name}");
        assert_eq!(recipe.work().expect(name).steps, row.steps, "{name}");
    }
}

/// Where a recipe starts.
const PT_BASE: Option<&str> = Some("microsoft/beit-base-patch16-224-pt22k");
const PT_LARGE: Option<&str> = Some("microsoft/beit-large-patch16-224-pt22k");
const FT_BASE: Option<&str> = Some("microsoft/beit-base-patch16-224-pt22k-ft22k");
const FT_LARGE: Option<&str> = Some("microsoft/beit-large-patch16-224-pt22k-ft22k");
/// What is mixed.
const MIXED: [f64; 2] = [0.8, 1.0];
const ALONE: [f64; 2] = [0.0, 0.0];

/// A row of fine-tuning for classes.
struct Classify {
    name: &'static str,
    init: Option<&'static str>,
    side: usize,
    batch: [usize; 3],
    lr: f64,
    warmup_and_epochs: [u64; 2],
    layer_decay: f64,
    drop_path: f32,
    weight_decay: f64,
    mixed: [f64; 2],
    clip: f32,
}

#[rustfmt::skip]
const RELEASED: [Classify; 9] = [
    Classify { name: "in22k-ft-base", init: PT_BASE, side: 224, batch: [16, 256, 1], lr: 3e-3, warmup_and_epochs: [5, 90], layer_decay: 0.65, drop_path: 0.2, weight_decay: 0.05, mixed: ALONE, clip: 3.0 },
    Classify { name: "in22k-ft-large", init: PT_LARGE, side: 224, batch: [16, 64, 2], lr: 2e-3, warmup_and_epochs: [5, 90], layer_decay: 0.75, drop_path: 0.2, weight_decay: 0.05, mixed: ALONE, clip: 1.0 },
    Classify { name: "in1k-ft-base-pt22k", init: PT_BASE, side: 224, batch: [8, 128, 1], lr: 4e-3, warmup_and_epochs: [20, 100], layer_decay: 0.65, drop_path: 0.1, weight_decay: 0.05, mixed: MIXED, clip: 0.0 },
    Classify { name: "in1k-ft-large-pt22k", init: PT_LARGE, side: 224, batch: [8, 64, 2], lr: 1e-3, warmup_and_epochs: [5, 50], layer_decay: 0.75, drop_path: 0.2, weight_decay: 0.05, mixed: MIXED, clip: 0.0 },
    Classify { name: "in1k-ft-base-ft22k", init: FT_BASE, side: 224, batch: [8, 64, 1], lr: 2e-5, warmup_and_epochs: [5, 30], layer_decay: 0.85, drop_path: 0.1, weight_decay: 1e-8, mixed: ALONE, clip: 0.0 },
    Classify { name: "in1k-ft-large-ft22k", init: FT_LARGE, side: 224, batch: [8, 32, 2], lr: 2e-5, warmup_and_epochs: [5, 30], layer_decay: 0.9, drop_path: 0.4, weight_decay: 1e-8, mixed: ALONE, clip: 0.0 },
    Classify { name: "in1k-ft-base-ft22k-384", init: FT_BASE, side: 384, batch: [8, 64, 1], lr: 2e-5, warmup_and_epochs: [5, 30], layer_decay: 0.85, drop_path: 0.1, weight_decay: 1e-8, mixed: ALONE, clip: 0.0 },
    Classify { name: "in1k-ft-large-ft22k-384", init: FT_LARGE, side: 384, batch: [8, 32, 2], lr: 2e-5, warmup_and_epochs: [5, 30], layer_decay: 0.9, drop_path: 0.4, weight_decay: 1e-8, mixed: ALONE, clip: 0.0 },
    Classify { name: "in1k-ft-large-ft22k-512", init: FT_LARGE, side: 512, batch: [8, 32, 2], lr: 2e-5, warmup_and_epochs: [5, 30], layer_decay: 0.9, drop_path: 0.4, weight_decay: 1e-8, mixed: ALONE, clip: 0.0 },
];

/// The paper's table 13; ten epochs more at 384 pixels, of which no rate is published.
#[rustfmt::skip]
const PAPER: [Classify; 5] = [
    Classify { name: "in1k-ft-base-paper", init: None, side: 224, batch: [8, 128, 1], lr: 4e-3, warmup_and_epochs: [20, 100], layer_decay: 0.65, drop_path: 0.1, weight_decay: 0.05, mixed: MIXED, clip: 0.0 },
    Classify { name: "in1k-ft-large-paper", init: None, side: 224, batch: [8, 64, 2], lr: 2e-3, warmup_and_epochs: [5, 50], layer_decay: 0.75, drop_path: 0.1, weight_decay: 0.05, mixed: MIXED, clip: 0.0 },
    Classify { name: "in1k-ft-base-paper-384", init: None, side: 384, batch: [8, 64, 1], lr: 2e-5, warmup_and_epochs: [1, 10], layer_decay: 0.65, drop_path: 0.1, weight_decay: 0.05, mixed: MIXED, clip: 0.0 },
    Classify { name: "in1k-ft-large-paper-384", init: None, side: 384, batch: [8, 32, 2], lr: 2e-5, warmup_and_epochs: [1, 10], layer_decay: 0.75, drop_path: 0.1, weight_decay: 0.05, mixed: MIXED, clip: 0.0 },
    Classify { name: "cifar100-ft-base-paper", init: None, side: 224, batch: [8, 64, 1], lr: 4e-3, warmup_and_epochs: [20, 150], layer_decay: 0.65, drop_path: 0.1, weight_decay: 0.3, mixed: MIXED, clip: 0.0 },
];

#[test]
fn classification_has_the_published_numbers() {
    for row in RELEASED.iter().chain(&PAPER) {
        let (name, recipe) = (row.name, recipe(row.name));
        let settings: FinetuneSettings = recipe.settings().expect(name);
        let (training, model) = (&settings.training, &settings.model);
        assert_eq!(batch(&recipe), row.batch, "{name}");
        let global = row.batch.iter().product::<usize>() as u64;
        assert_eq!((training.global_batch, training.batch_size()), (Some(global), row.batch[1]), "{name}");
        let [warmup, epochs] = row.warmup_and_epochs;
        assert_eq!((training.epochs, training.warmup_epochs), (Some(epochs), Some(warmup as f64)), "{name}");
        assert_eq!((training.steps, training.warmup_steps), (None, None), "{name}");
        assert_eq!((training.lr, training.min_lr), (Some(row.lr), Some(1e-6)), "{name}");
        assert_eq!((training.weight_decay, training.clip_grad), (row.weight_decay, row.clip), "{name}");
        assert_eq!((settings.layer_decay, settings.smoothing), (row.layer_decay, 0.1), "{name}");
        assert_eq!(
            (model.drop_path, model.image_size),
            (Some(row.drop_path), Some(Sides::from(row.side))),
            "{name}"
        );
        assert_eq!(model.preset, if name.contains("large") { Size::Large } else { Size::Base }, "{name}");
        assert_eq!([settings.mixing.mixup, settings.mixing.cutmix], row.mixed.map(Some), "{name}");
        let policy = settings.augment.auto_augment.map(|policy| policy.to_string());
        assert_eq!(policy.as_deref(), Some("rand-m9-mstd0.5-inc1"), "{name}");
        assert_eq!(settings.crop.min_crop_scale, Some(0.08), "{name}");
        assert_eq!(settings.init.as_deref().and_then(|init| init.to_str()), row.init, "{name}");
        assert_eq!((settings.task, settings.use_cls), (FinetuneTask::Classify, false), "{name}");
        assert!(!settings.average.model_ema, "{name}");
        // What differs between the paper's route and the released one.
        let cifar = name.starts_with("cifar");
        assert_eq!(settings.augment.reprob, Some(if cifar { 0.0 } else { 0.25 }), "{name}");
        let paper = row.init.is_none();
        assert_eq!((model.paper, model.imagenet_default_mean_and_std), (paper, paper), "{name}");
        let repeated = (paper && name.contains("base")).then_some(3);
        assert_eq!(settings.augment.repeated_aug, repeated, "{name}");
        let on = if cifar {
            (50_000, 100)
        } else if name.starts_with("in22k") {
            (IN22K, 21_841)
        } else {
            (IN1K, 1000)
        };
        assert_eq!(images(&recipe), on, "{name}");
    }
}

/// A row of segmentation.
struct Segment {
    name: &'static str,
    init: Option<&'static str>,
    head: HeadKind,
    crop: usize,
    batch: [usize; 3],
    lr: f64,
    layer_decay: f64,
    drop_path: f32,
}

#[test]
fn segmentation_has_the_published_numbers() {
    use HeadKind::{SetrPup, Upernet};
    #[rustfmt::skip]
    let rows = [
        Segment { name: "ade20k-base-paper", init: None, head: SetrPup, crop: 512, batch: [8, 2, 1], lr: 1e-3, layer_decay: 0.65, drop_path: 0.1 },
        Segment { name: "ade20k-base-pt22k", init: PT_BASE, head: Upernet, crop: 512, batch: [8, 2, 1], lr: 7e-4, layer_decay: 0.65, drop_path: 0.1 },
        Segment { name: "ade20k-base-512", init: FT_BASE, head: Upernet, crop: 512, batch: [8, 2, 1], lr: 3e-5, layer_decay: 0.9, drop_path: 0.1 },
        Segment { name: "ade20k-base-640", init: FT_BASE, head: Upernet, crop: 640, batch: [8, 2, 1], lr: 3e-5, layer_decay: 0.9, drop_path: 0.1 },
        Segment { name: "ade20k-large-512", init: FT_LARGE, head: Upernet, crop: 512, batch: [8, 2, 1], lr: 2e-5, layer_decay: 0.95, drop_path: 0.2 },
        Segment { name: "ade20k-large-640", init: FT_LARGE, head: Upernet, crop: 640, batch: [8, 1, 2], lr: 2e-5, layer_decay: 0.95, drop_path: 0.2 },
    ];
    for row in rows {
        let (name, recipe) = (row.name, recipe(row.name));
        let settings: FinetuneSettings = recipe.settings().expect(name);
        let (training, model) = (&settings.training, &settings.model);
        assert_eq!((batch(&recipe), images(&recipe)), (row.batch, (20_210, 150)), "{name}");
        // UPerNet needs two images for its batch norm.
        assert_eq!((training.global_batch, training.batch_size()), (Some(16), row.batch[1].max(2)), "{name}");
        assert_eq!(
            (training.steps, training.warmup_steps, training.epochs),
            (Some(160_000), Some(1500), None),
            "{name}"
        );
        assert_eq!((training.lr, training.min_lr), (Some(row.lr), Some(0.0)), "{name}");
        assert_eq!((training.weight_decay, training.clip_grad), (0.05, 0.0), "{name}");
        assert_eq!((settings.layer_decay, model.drop_path), (row.layer_decay, Some(row.drop_path)), "{name}");
        assert_eq!((settings.segmentation.head, settings.task), (row.head, FinetuneTask::Segment), "{name}");
        assert_eq!(model.image_size, Some(Sides::from(row.crop)), "{name}");
        assert_eq!(model.preset, if name.contains("large") { Size::Large } else { Size::Base }, "{name}");
        assert!(model.imagenet_default_mean_and_std, "{name}: the released code normalises so");
        assert_eq!(model.paper, row.init.is_none(), "{name}");
        assert_eq!(settings.init.as_deref().and_then(|init| init.to_str()), row.init, "{name}");
    }
}

#[test]
fn every_recipe_is_held_to_a_row_and_describes_a_run() {
    let rows = 6 + RELEASED.len() + PAPER.len() + 6;
    let all = Recipe::published();
    assert_eq!(all.len(), rows);
    for recipe in all {
        let about = recipe.about.clone().expect("it is published");
        let work = recipe.work().unwrap_or_else(|error| panic!("{}: {error}", recipe.name));
        assert_eq!(work.images_per_step, about.batch.global() as u64, "{}", about.name);
        let millions = work.parameters / 1_000_000;
        let usual = if about.name.contains("large") { 300..450 } else { 85..165 };
        assert!(usual.contains(&millions), "{}: {millions} M parameters", about.name);
        assert!(about.command.contains(&format!("--recipe {}", about.name)), "{}", about.command);
        assert!(about.command.starts_with(&format!("cargo xtask {}", about.verb)), "{}", about.command);
        // The command's own number of processes shares the step.
        let ranks = about
            .command
            .split("--ranks ")
            .nth(1)
            .and_then(|ranks| ranks.parse().ok())
            .expect("it says how many");
        let divided = match about.verb.as_str() {
            "pretrain" => recipe.settings().map(|settings: PretrainSettings| settings.training),
            _ => recipe.settings().map(|settings: FinetuneSettings| settings.training),
        };
        let mut training = divided.expect("its settings are ours");
        training.divide(ranks).unwrap_or_else(|error| panic!("{}: {error}", about.name));
        assert_eq!(training.step_size(), about.batch.global() as u64, "{}", about.name);
    }
}
