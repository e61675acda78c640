//! Recipes from the command line: which setting holds, what is said of it, and that a run can be repeated by its `run.toml`.

use crate::common::Place;
use std::fs;

/// A run of seconds.
const QUICK: &str = "--data folder:photos --tokenizer-kind kmeans --accept-tokenizer --tokenizer-steps 1 --steps 2 --batch-size 8";
/// What makes a run by a published recipe small enough to be seen.
const SMALL: &str = "--data folder:photos --tokenizer-kind kmeans --preset tiny --image-size 28 --num-mask-patches 19 --batch-size 8 --rate 100";

#[test]
fn flags_and_single_settings_come_before_a_recipe() {
    let place = Place::with_photos();
    let args = format!(
        "pretrain --recipe in1k-800-base {SMALL} --set mask.min_mask_patches_per_block=4 --set training.epochs=3 --set training.warmup_epochs=1 \
         --global-batch 16 --dry-run --json"
    );
    let run = place.good(&args);
    // 48 images in steps of 16, three times.
    assert_eq!(
        (run.answer()["steps"].as_u64(), run.answer()["images_per_step"].as_u64()),
        (Some(9), Some(16))
    );
    assert_eq!(run.answer()["data"]["images"], 48);
    for (setting, origin) in [
        ("training.lr = 0.0015", "recipe in1k-800-base"),
        ("training.epochs = 3", "--set"),
        ("training.global_batch = 16", "flag"),
        ("training.batch_size = 8", "flag"),
        ("model.layer_scale_init_value = 0.1", "recipe in1k-800-base"),
    ] {
        let line = run.stderr.lines().find(|line| line.trim_start().starts_with(setting));
        assert!(line.is_some_and(|line| line.ends_with(&format!("# {origin}"))), "{setting}: {run}");
    }
    // The tokenizer of the recipe gave way to the kind that was asked for.
    assert!(!run.stderr.contains("dalle"), "{run}");
    assert_eq!(place.names("."), ["photos"]);
}

#[test]
fn a_published_recipe_is_planned_without_its_checkpoints() {
    let place = Place::with_photos();
    let run = place
        .good("pretrain --recipe in1k-800-base --data folder:photos --rate 50 --ranks 16 --dry-run --json");
    let answer = run.answer();
    assert_eq!(answer["images_per_step"], 2048);
    assert_eq!(answer["parameters"].as_u64().map(|numbers| numbers / 1_000_000), Some(91));
    assert_eq!(answer["predicted"].as_array().map(Vec::len), Some(5));
    place.bad(
        2,
        "pretrain --recipe in1k-800-base --data folder:photos --rate 50 --ranks 32 --dry-run",
        &[
            "--global-batch 2048 over 32 processes is 64 images for each",
            "found 128; 1, 2, 4, 8, 16, 32, 64 do",
        ],
    );
}

#[test]
fn a_run_is_repeated_by_its_run_toml() {
    let place = Place::with_photos();
    place.good(&format!(
        "pretrain {QUICK} --seed 3 --mask-ratio 0.3 --drop-path 0.2 --device cpu --out first"
    ));
    let again = place.good("pretrain --recipe first/run.toml --out again");
    assert!(
        again.stderr.contains("mask.mask_ratio = 0.3") && again.stderr.contains("# recipe first/run.toml"),
        "{again}"
    );
    let weights = |run: &str| fs::read(place.path(run).join("last/model.safetensors")).unwrap();
    assert!(weights("first") == weights("again"), "other numbers");
    let settings = |run: &str| -> toml::Table {
        let mut table: toml::Table =
            toml::from_str(&fs::read_to_string(place.path(run).join("run.toml")).unwrap()).unwrap();
        table["run"].as_table_mut().unwrap().remove("out");
        table
    };
    assert_eq!(settings("first"), settings("again"));
    // A flag over it makes another run.
    place.good("pretrain --recipe first/run.toml --seed 4 --out other");
    assert!(weights("first") != weights("other"));

    // A run that goes on is held to what is asked for, by whichever way.
    place.good("pretrain --recipe first/run.toml --resume --out first");
    place.bad(
        1,
        "pretrain --recipe first/run.toml --set mask.mask_ratio=0.5 --resume --out first",
        &["--mask-ratio was 0.3, is 0.5"],
    );
    place.good("pretrain --recipe first/run.toml --resume auto --out fresh");
    assert!(weights("first") == weights("fresh"));

    place.good("finetune --init first --data folder:photos --steps 2 --batch-size 8 --out tuned");
    place.good("finetune --recipe tuned/run.toml --out tuned-again");
    assert!(weights("tuned") == weights("tuned-again"));
    place.good("finetune --recipe tuned/run.toml --from-scratch --out scratch");
    assert!(weights("tuned") != weights("scratch"));
    place.bad(
        1,
        "finetune --recipe first/run.toml --out new",
        &["first/run.toml: ", "no setting has this name"],
    );
}

#[test]
fn what_is_no_recipe_is_refused_by_name() {
    let place = Place::with_photos();
    place.write("slip.toml", "[mask]\nmask_raito = 0.5\n");
    place.write("kind.toml", "[training]\nlr = \"fast\"\n");
    place.write("both.toml", "[model]\npaper = true\nlayer_scale_init_value = 0.1\n");
    let pretrain = "pretrain --data folder:photos --out new";
    for (code, args, says) in [
        (
            1,
            "--recipe slip.toml",
            &["slip.toml: mask.mask_raito = 0.5: no setting has this name", "mask.mask_ratio"][..],
        ),
        (1, "--recipe kind.toml", &["kind.toml: training.lr = \"fast\"", "expected a value such as 0.001"]),
        (2, "--recipe both.toml", &["paper and layer_scale_init_value"]),
        (1, "--recipe in1k-80-base", &["no such file and no published recipe", "in1k-800-base"]),
        (1, "--recipe ade20k-base-512", &["it is one of finetune, expected one of pretrain"]),
        (2, "--set lr=1e-3", &["--set lr=0.001: no setting has this name; the nearest is training.lr"]),
        (2, "--set training.lr=5", &["--lr 5: expected a learning rate"]),
    ] {
        place.bad(code, &format!("{pretrain} {args}"), says);
    }
    place.run(&format!("{pretrain} --set training.lr")).is_refused(&["expected NAME=VALUE"]);
    place.bad(
        2,
        "finetune --recipe ade20k-base-paper --data scenes --out new",
        &["--init or --from-scratch"],
    );
    assert!(!place.path("new").exists());
}

#[test]
fn recipes_are_listed_and_printed() {
    let place = Place::with_photos();
    let all = place.good("recipes --json").json();
    let table = place.good("recipes");
    assert!(all.len() > 20 && all.iter().all(|recipe| recipe["work"]["steps"].as_u64() > Some(0)));
    for recipe in &all {
        assert!(table.stdout.contains(recipe["name"].as_str().unwrap()), "{table}");
    }
    let one = place.good("recipes in1k-800-base");
    assert!(one.stdout.contains("global_batch = 2048"), "{one}");
    place.write("own.toml", &one.stdout);
    let copied = place.good(&format!("pretrain --recipe own.toml {SMALL} --set mask.min_mask_patches_per_block=4 --global-batch 8 --set training.epochs=40 --dry-run --json"));
    assert_eq!(copied.answer()["steps"], 40 * 6);
    place.bad(1, "recipes in1k-80", &["no published recipe"]);
}

/// `docs/recipes.md` has the table that the files make. `BEIT_WRITE_DOCS=1` writes it again.
#[test]
fn the_page_has_the_table() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recipes.md");
    let text = fs::read_to_string(page).unwrap();
    let (begin, end) = ("<!-- made by xtask/tests/recipes.rs -->\n", "<!-- end -->");
    let (before, rest) = text.split_once(begin).expect("a place for the table");
    let (_, after) = rest.split_once(end).expect("its end");
    let whole = format!("{before}{begin}{}{end}{after}", tables());
    if std::env::var_os("BEIT_WRITE_DOCS").is_some() {
        return fs::write(page, &whole).unwrap();
    }
    assert!(
        text == whole,
        "docs/recipes.md is out of date: BEIT_WRITE_DOCS=1 cargo test -p xtask --test recipes writes it"
    );
}

/// Floating-point operations a second that the durations are for.
const STATED: f64 = 100e12;

fn tables() -> String {
    use beit::Recipe;
    let mut text = String::new();
    let all = Recipe::published();
    for verb in ["pretrain", "finetune"] {
        text += &format!(
            "\n### `{verb}`\n\n| recipe | what | batch | steps | M parameters | GFLOP an image | hours at 100 TFLOP/s | published |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        );
        for recipe in &all {
            let about = recipe.about.as_ref().unwrap();
            if about.verb != verb {
                continue;
            }
            let (work, batch) = (recipe.work().unwrap(), about.batch);
            let expected = match about.expected.as_slice() {
                [] => "nothing".to_owned(),
                all => all
                    .iter()
                    .map(|one| format!("{} ({})", one.result, one.source))
                    .collect::<Vec<_>>()
                    .join("; "),
            };
            text += &format!(
                "| `{}` | {} | {} x {} x {} = {} | {} | {:.0} | {:.1} | {:.1} | {expected} |\n",
                about.name,
                about.title,
                batch.gpus,
                batch.images,
                batch.update_freq,
                batch.global(),
                work.steps,
                work.parameters as f64 / 1e6,
                work.flops_per_image as f64 / 1e9,
                work.hours(STATED),
            );
        }
    }
    text += "\n### What differs, and what is not known\n\n";
    for recipe in &all {
        let about = recipe.about.as_ref().unwrap();
        text += &format!("- `{}`: {}\n", about.name, about.notes.join(" "));
    }
    text + "\n"
}
