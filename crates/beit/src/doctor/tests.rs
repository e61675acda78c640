use super::*;
use crate::settings::DataSettings;
use crate::survey::Survey;
use beit_data::Split;
use intended::Sizes;
use machine::Machine;

fn machine() -> Machine {
    Machine {
        cores: 8,
        instructions: vec!["AVX2"],
        kernels: ["Avx2", "Avx2"],
        free: Some(20 << 30),
        memory: 32 << 30,
        container: None,
    }
}

fn levels(findings: &[Finding]) -> Vec<Level> {
    findings.iter().map(|finding| finding.level).collect()
}

/// What a person is told to do of everything that is not as it should be.
fn advised(findings: &[Finding]) {
    for finding in findings {
        assert_eq!(finding.level == Level::Ok, finding.advice.is_none(), "{finding}");
    }
}

#[test]
fn a_container_that_has_little_left_is_a_problem() {
    let good = machine::findings(&machine());
    assert_eq!(levels(&good), [Level::Ok; 3], "{good:?}");
    let tight = Machine { free: Some(512 << 20), container: Some(2 << 30), ..machine() };
    let found = machine::findings(&tight);
    assert_eq!(levels(&found), [Level::Ok, Level::Ok, Level::Problem]);
    assert_eq!(
        found[2].to_string(),
        "problem  machine: 512.0 MiB of memory are free, of 2.0 GiB that the container may use (the machine has 32.0 GiB): end other \
         programs, or raise the limit of the container"
    );
    let old = Machine { cores: 1, instructions: Vec::new(), free: None, ..machine() };
    assert_eq!(levels(&machine::findings(&old)), [Level::Note; 3]);
    advised(&found);
    advised(&machine::findings(&old));
}

#[test]
fn what_this_build_lacks_for_a_gpu_that_is_there_is_said() {
    let driver = Some("NVRM version: 550.1");
    assert_eq!(machine::built(false, false, None).level, Level::Ok);
    assert_eq!(
        machine::built(true, false, driver).to_string(),
        "ok       device: this build has cpu, cuda; NVRM version: 550.1"
    );
    let lacks = machine::built(false, true, driver).to_string();
    assert!(
        lacks.starts_with("note ") && lacks.contains("cpu, wgpu") && lacks.contains("cargo xtask-cuda"),
        "{lacks}"
    );
}

#[test]
fn a_disk_without_room_is_a_problem() {
    let sizes = Sizes { batch: 8, step: 1, fitting: Some(8), checkpoint: 1 << 30, keep: 2 };
    let disk = |free, writable| disk::Disk { path: "runs".into(), free, writable };
    assert_eq!(disk::finding(&disk(Some(3 << 30), true), &sizes).level, Level::Ok);
    let full = disk::finding(&disk(Some((3 << 30) - 1), true), &sizes);
    assert_eq!(full.level, Level::Problem);
    assert!(
        full.found.starts_with("3 checkpoints of 1.0 GiB need 3.0 GiB, and 3.0 GiB are free at runs"),
        "{full}"
    );
    assert_eq!(disk::finding(&disk(Some(u64::MAX), false), &sizes).level, Level::Problem);
    assert_eq!(disk::finding(&disk(None, true), &sizes).level, Level::Note);
    // The nearest folder that is there is asked.
    let dir = tempfile::tempdir().expect("a folder");
    let here = disk::Disk::at(&dir.path().join("runs/a/b"));
    assert_eq!((here.path.as_path(), here.writable), (dir.path(), true));
    assert!(here.free.is_some());
}

#[test]
fn memory_that_is_not_there_is_a_problem_with_a_way_out() {
    let sizes = Sizes { batch: 128, step: 20 << 30, fitting: Some(32), checkpoint: 0, keep: 2 };
    assert_eq!(settings::memory(&sizes, Some(20 << 30)).level, Level::Ok);
    let finding = settings::memory(&sizes, Some(8 << 30));
    assert!(finding.level == Level::Problem && finding.to_string().contains("to 32 it fits"), "{finding}");
    let none = settings::memory(&Sizes { fitting: None, ..sizes }, Some(1));
    assert!(none.to_string().contains("smaller --preset"), "{none}");
    assert_eq!(settings::memory(&sizes, None).level, Level::Note);
}

fn intended(recipe: Option<&str>, changes: &[&str]) -> Intended {
    let changes = changes.iter().map(|change| change.parse().expect("a setting")).collect();
    let settings = DoctorSettings { recipe: recipe.map(str::to_owned), changes, ..Default::default() };
    Intended::of(&settings, &DeviceSettings::default()).expect("a run").0
}

#[test]
fn batches_fit_into_the_memory_that_there_is() {
    let base = intended(Some("in1k-800-base"), &[]);
    let cpu = Device::cpu();
    let all = base.sizes(&cpu, 1000, None).expect("a run");
    assert_eq!((all.batch, all.fitting, all.keep), (128, Some(128), 2));
    // 92 M numbers and two moments of each.
    assert!((1_090_000_000..1_120_000_000).contains(&all.checkpoint), "{all:?}");
    let few = base.sizes(&cpu, 1000, Some(8 << 30)).expect("a run");
    assert!(few.fitting.is_some_and(|images| (16..128).contains(&images)), "{few:?}");
    assert_eq!(base.sizes(&cpu, 1000, Some(1 << 20)).expect("a run").fitting, None);
    let with_average = intended(Some("in1k-ft-large-ft22k-384"), &["model_ema=true"]);
    let sizes = with_average.sizes(&cpu, 1000, None).expect("a run");
    assert_eq!(sizes.batch, 32);
    assert!((4_800_000_000..4_950_000_000).contains(&sizes.checkpoint), "{sizes:?}");
}

#[test]
fn rates_and_lengths_that_do_not_suit_are_noted() {
    let of = |recipe: &str, changes: &[&str], images| {
        settings::findings(&intended(Some(recipe), changes), Some(images))
    };
    let whole = of("in1k-800-base", &[], 1_281_167);
    assert_eq!(levels(&whole), [Level::Ok, Level::Ok], "{whole:?}");
    assert!(whole[1].found.starts_with("500000 steps, 6250 of them warm-up"), "{}", whole[1]);
    let small = of("in1k-800-base", &["training.global_batch=512"], 1_281_167);
    assert_eq!(small[0].level, Level::Note);
    assert!(small[0].to_string().contains("--lr 7.5e-4 fits"), "{}", small[0]);
    let halved = of("in1k-800-base", &["training.global_batch=512", "training.lr=7.5e-4"], 1_281_167);
    assert_eq!(halved[0].level, Level::Ok);
    let few = of("in1k-800-base", &["training.epochs=400"], 1000);
    assert_eq!(levels(&few), [Level::Ok, Level::Note, Level::Note], "{few:?}");
    let long = of("in1k-800-base", &["training.warmup_epochs=900"], 1_281_167);
    assert_eq!(long[1].level, Level::Problem, "{long:?}");
    let mostly = of("in1k-800-base", &["training.warmup_epochs=500"], 1_281_167);
    assert_eq!(mostly[1].level, Level::Note, "{mostly:?}");
    for findings in [&whole, &small, &few, &long, &mostly] {
        advised(findings);
    }
    // Small models have rates of their own.
    assert!(intended(None, &[]).published.is_none());
    assert_eq!(intended(None, &["model.preset=base"]).published, Some((2048, 1.5e-3)));
}

#[test]
fn a_broken_picture_is_found_by_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join("train").join(name);
    for class in ["a", "b"] {
        std::fs::create_dir_all(path(class)).expect("made");
        for shade in 0..4_u8 {
            let picture = image::RgbImage::from_fn(32, 32, |x, y| {
                image::Rgb([shade * 50, x as u8, y as u8 + class.as_bytes()[0]])
            });
            picture.save(path(&format!("{class}/{shade}.png"))).expect("written");
        }
    }
    let data = DataSettings::of_spec(format!("folder:{}", dir.path().display()));
    let look = || data::look(&data, 200, &Watch::silent()).expect("a set");
    let whole = data::findings(&look(), &data, true);
    // Nothing is held out.
    assert_eq!(levels(&whole), [Level::Ok, Level::Ok, Level::Note], "{whole:?}");
    std::fs::write(path("b/broken.png"), b"\x89PNG\r\n\x1a\nand no more").expect("written");
    let broken = data::findings(&look(), &data, true);
    let problem =
        broken.iter().find(|finding| finding.level == Level::Problem).expect("one of nine is too many");
    assert!(
        problem.found.starts_with("1 of 9 pictures cannot be decoded (11.1 %)")
            && problem.found.contains("broken.png"),
        "{problem}"
    );
    let patient = DataSettings { max_bad_share: 0.5, ..data.clone() };
    let noted = data::findings(&look(), &patient, true);
    assert!(noted.iter().all(|finding| finding.level < Level::Problem), "{noted:?}");
    advised(&broken);
    // One class cannot be told apart; pre-training does not mind.
    let one = Survey { classes: 1, ..look() };
    assert_eq!(data::findings(&one, &patient, true)[1].level, Level::Problem);
    assert_eq!(data::findings(&one, &patient, false)[1].level, Level::Ok);
    assert!(patient.open_once(Split::Test).is_err());
}

#[cfg(feature = "hub")]
#[test]
fn a_token_is_said_to_be_there_and_not_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = |token: Option<&str>, offline| beit_weights::HubConfig {
        cache: dir.path().to_owned(),
        endpoint: "http://127.0.0.1:9".to_owned(),
        token: token.map(str::to_owned),
        offline,
        retries: 0,
        pause: std::time::Duration::ZERO,
    };
    let base = intended(Some("in1k-ft-base-ft22k"), &[]);
    let found = hub::of(&config(Some("hf_secret"), true), &base);
    let text = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(text.contains("there is a token") && !text.contains("hf_secret"), "{text}");
    assert_eq!(levels(&found), [Level::Ok, Level::Problem], "{text}");
    assert_eq!(levels(&hub::of(&config(None, false), &base)), [Level::Ok, Level::Note]);
    let folder = dir.path().join("models--microsoft--beit-base-patch16-224-pt22k-ft22k/snapshots");
    std::fs::create_dir_all(&folder).expect("made");
    assert_eq!(levels(&hub::of(&config(None, true), &base)), [Level::Ok, Level::Ok]);
    let nowhere = intended(Some("in1k-ft-base-ft22k"), &["init=nowhere"]);
    assert_eq!(levels(&hub::of(&config(None, false), &nowhere)), [Level::Ok, Level::Problem]);
    let here = intended(Some("in1k-ft-base-ft22k"), &[&format!("init={}", dir.path().display())]);
    assert_eq!(levels(&hub::of(&config(None, true), &here)), [Level::Ok, Level::Ok]);
}
