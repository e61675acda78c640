use super::*;

const RECIPE: &str = "tokenizer = \"dalle\"\n[training]\nepochs = 800\nlr = 1.5e-3\nbatch_size = 128\nglobal_batch = 2048\n\
                      [mask]\nnum_mask_patches = 75\n[model]\nimage_size = 384";

fn merged(
    recipe: &str,
    changes: &[&str],
    flags: &PretrainSettings,
    given: &[&str],
) -> Result<Merged<PretrainSettings>> {
    let recipe = Recipe::parse("own.toml", recipe)?;
    let changes: Vec<Change> = changes.iter().map(|change| change.parse().expect("a setting")).collect();
    let is_flag = |name: &str| given.contains(&name);
    let asked = Asked { recipe: Some(&recipe), changes: &changes, is_flag: &is_flag };
    merge(flags.clone(), &DeviceSettings::default(), asked)
}

fn flags(change: impl FnOnce(&mut PretrainSettings)) -> PretrainSettings {
    let mut flags = PretrainSettings::default();
    change(&mut flags);
    flags
}

#[test]
fn flags_win_over_single_settings_and_these_over_a_recipe() {
    let given = flags(|flags| (flags.training.lr, flags.training.seed) = (Some(3e-3), 9));
    let changes = ["training.lr=2e-3", "training.weight_decay=0.1"];
    let merged = merged(RECIPE, &changes, &given, &["lr"]).expect("settings");
    let training = &merged.settings.training;
    // The seed stands in the struct and was not given.
    assert_eq!((training.lr, training.weight_decay, training.seed), (Some(3e-3), 0.1, 0));
    assert_eq!((training.epochs, training.global_batch), (Some(800), Some(2048)));
    assert_eq!(merged.settings.model.image_size, Some(384.into()));
    let text = merged.describe().expect("text");
    for (line, origin) in [
        ("training.lr = 0.003", "flag"),
        ("training.weight_decay = 0.1", "--set"),
        ("mask.num_mask_patches = 75", "recipe own.toml"),
    ] {
        let found = text.lines().find(|found| found.trim_start().starts_with(line)).expect(line);
        assert!(found.ends_with(&format!("  # {origin}")), "{found}");
    }
    // The heading and eight settings.
    assert_eq!(text.lines().count(), 1 + 8, "{text}");
}

#[test]
fn what_says_the_same_in_another_way_takes_its_place() {
    let merged = |flags: &PretrainSettings, given: &[&str]| {
        merged(RECIPE, &[], flags, given).expect("settings").settings
    };
    let steps = merged(&flags(|flags| flags.training.steps = Some(5)), &["steps"]);
    assert_eq!((steps.training.steps, steps.training.epochs), (Some(5), None));
    let ratio = merged(&flags(|flags| flags.mask.mask_ratio = 0.6), &["mask_ratio"]);
    assert_eq!((ratio.mask.mask_ratio, ratio.mask.num_mask_patches), (0.6, None));
    assert_eq!(merged(&flags(|_| ()), &["tokenizer_kind"]).tokenizer, None);
    // A switch that was not switched on changes nothing else.
    assert_eq!(merged(&flags(|_| ()), &["paper"]).tokenizer, Some("dalle".into()));
}

#[test]
fn the_images_of_a_step_stay() {
    let of = |flags: &PretrainSettings, given: &[&str]| {
        let merged = merged(RECIPE, &["training.update_freq=16"], flags, given).expect("settings");
        let training = merged.settings.training;
        (training.global_batch, training.batches.batch_size, training.update_freq)
    };
    assert_eq!(of(&flags(|_| ()), &[]), (Some(2048), None, Some(16)));
    let batch = flags(|flags| flags.training.batches = 8.into());
    assert_eq!(of(&batch, &["batch_size"]), (Some(2048), Some(8), None));
    let both = flags(|flags| (flags.training.batches, flags.training.update_freq) = (8.into(), Some(2)));
    assert_eq!(of(&both, &["batch_size", "update_freq"]), (None, Some(8), Some(2)));
    let global = flags(|flags| flags.training.global_batch = Some(512));
    assert_eq!(of(&global, &["global_batch"]).0, Some(512));
}

#[test]
fn what_no_setting_has_is_named_with_the_nearest() {
    let refused = |recipe: &str, changes: &[&str]| {
        let error = merged(recipe, changes, &PretrainSettings::default(), &[]).expect_err("no setting");
        (error.to_string(), error.is_setting())
    };
    let (said, setting) = refused("[mask]\nmask_raito = 0.5", &[]);
    assert_eq!(
        said,
        "--recipe own.toml: mask.mask_raito = 0.5: no setting has this name; the nearest is mask.mask_ratio; in mask there are mask, \
         mask_ratio, max_mask_patches_per_block, min_mask_patches_per_block, num_mask_patches"
    );
    assert!(!setting, "a file may be mended");
    let (said, setting) = refused("", &["lr=1e-3"]);
    assert!(
        said.starts_with("--set lr=0.001: no setting has this name; the nearest is training.lr; in training"),
        "{said}"
    );
    assert!(setting, "the flags alone are wrong");
    let (said, _) = refused("layer_decay = 0.5", &[]);
    assert!(said.contains("layer_decay = 0.5: no setting has this name"), "{said}");
    let (said, _) = refused("[training]\nlr = \"fast\"", &[]);
    assert!(
        said.contains("training.lr = \"fast\": ") && said.contains("expected a value such as 0.001"),
        "{said}"
    );
    let (said, _) = refused("training = 3", &[]);
    assert!(said.contains("training = 3: "), "{said}");
    let (said, _) = refused("", &["model.preset=huge"]);
    assert!(
        said.contains("model.preset=\"huge\": ") && said.contains("expected a value such as \"tiny\""),
        "{said}"
    );
    let (said, _) = refused("", &["model.preset.x=1"]);
    assert!(said.contains("model.preset.x=1: no setting has this name"), "{said}");
}

#[test]
fn a_device_is_where_it_was_unless_another_is_given() {
    let text = "[device]\ndevice = \"cuda:0\"\nprecision = \"bf16\"";
    let device = merged(text, &[], &PretrainSettings::default(), &[]).expect("settings").device;
    assert_eq!((device.device.as_str(), device.precision), ("cuda", Precision::Bf16));
    let device = merged(text, &[], &PretrainSettings::default(), &["device"]).expect("settings").device;
    assert_eq!((device.device.as_str(), device.precision), ("auto", Precision::Bf16));
    let error =
        merged("[device]\ndevise = \"cpu\"", &[], &PretrainSettings::default(), &[]).expect_err("no device");
    assert!(error.to_string().contains("device.devise = \"cpu\": expected device.device"), "{error}");
}

#[test]
fn recipes_belong_to_a_verb() {
    let all = Recipe::published();
    let finetune =
        all.iter().find(|recipe| recipe.about.as_ref().is_some_and(|about| about.verb == "finetune"));
    let asked = Asked { recipe: finetune, changes: &[], is_flag: &|_| false };
    let error =
        merge(PretrainSettings::default(), &DeviceSettings::default(), asked).expect_err("of another verb");
    assert!(error.to_string().ends_with("it is one of finetune, expected one of pretrain"), "{error}");
}
