//! Folders as people have them, in every verb: splits by many names, folders that are no classes, files that are not read, and the
//! names and numbers of classes.

use crate::common::{Outcome, Place, read_json, read_tensor, without_metadata};
use std::fs;

const TINY: &str = "--from-scratch --preset tiny --steps 2 --batch-size 4";

/// A place with a set of folders, each a copy of the test images of a class of `photos`.
fn place_with(classes: u32, folders: &[(&str, u32)]) -> Place {
    let place = Place::new();
    place.photos("photos", classes);
    for (folder, class) in folders {
        let path = format!("set/{folder}");
        fs::create_dir_all(place.path(&path).parent().unwrap()).unwrap();
        place.copy(&format!("photos/test/class-{class}"), &path);
    }
    place
}

fn says(outcome: &Outcome, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(outcome.stderr.contains(part), "expected `{part}`\n{outcome}"));
}

#[test]
fn splits_of_any_name_in_every_verb() {
    let names = [("Train/ant", 0), ("Train/bee", 1), ("Train/cat", 2), ("VALID/ant", 0), ("VALID/cat", 2)];
    let place = place_with(3, &names);
    let taken = "set: training images from `Train`, test images from `VALID`";
    let tuned = place.good(&format!("finetune {TINY} --data folder:set --out tuned --json"));
    says(&tuned, &[taken, "24 labelled images from folder:set in 3 classes"]);
    assert_eq!((&tuned.answer()["split"], &tuned.answer()["images"]), (&"test".into(), &16.into()));
    assert_eq!(tuned.stderr.matches(taken).count(), 1, "{tuned}");

    let evaluated = place.good("evaluate --model tuned --data folder:set --json");
    says(&evaluated, &[taken]);
    assert_eq!((evaluated.json().len(), &evaluated.answer()["top1"]), (1, &tuned.answer()["top1"]));
    says(&place.good("embed --model tuned --data folder:set --out f.safetensors --json"), &[taken]);
    assert_eq!(read_tensor(&place.path("f.safetensors"), "labels").0, [16]);
    says(&place.good("probe knn --data folder:set --image-size 28"), &[taken]);
    let pretrain = "pretrain --tokenizer-kind kmeans --accept-tokenizer --tokenizer-steps 2 --steps 2 --batch-size 8 --data folder:set";
    let trained = place.good(&format!("{pretrain} --out pretrained"));
    says(&trained, &[taken]);
    assert_eq!(trained.stderr.matches(taken).count(), 1, "{trained}");
}

#[test]
fn splits_that_are_not_read_are_named() {
    let place = place_with(2, &[("train/ant", 0), ("train/bee", 1), ("Test/ant", 0), ("later/bee", 1)]);
    let tuned = place.good(&format!("finetune {TINY} --data folder:set --out tuned"));
    says(&tuned, &["test images from `Test`; not read: `later`", "16 labelled images"]);

    let place = place_with(2, &[("ant", 0), ("bee", 1), ("validation/bee", 1)]);
    let tuned = place.good(&format!("finetune {TINY} --data folder:set --out tuned"));
    says(&tuned, &["training images from `ant`, `bee`, test images from `validation`", "in 2 classes"]);
    assert!(tuned.stdout.contains("test accuracy on 8 images"), "{tuned}");

    let place = place_with(2, &[("one/ant", 0), ("one/bee", 1), ("two/ant", 0), ("two/bee", 1)]);
    let tuned = place.good(&format!("finetune {TINY} --data folder:set --out tuned"));
    says(&tuned, &["`one`, `two` have the same folders in them and are taken as classes"]);

    // Test images without classes cannot judge.
    let place = place_with(2, &[("Training/ant", 0), ("Training/bee", 1), ("Testing", 1)]);
    place.bad(
        1,
        &format!("finetune {TINY} --data folder:set"),
        &["found none for set/Testing/", "--validation 0.2"],
    );
    place.good(&format!("finetune {TINY} --data folder:set --validation 0.2 --out tuned"));
    place.good("embed --model tuned --data folder:set --out f.safetensors");
}

#[test]
fn a_folder_without_an_image_is_no_class() {
    let place = place_with(2, &[("ant", 0), ("bee", 1)]);
    for file in ["__MACOSX/ant/._00.png", ".git/x.png", "ant/._00.png", "0-thumbs/Thumbs.db", "zoo/notes.txt"]
    {
        place.write(&format!("set/{file}"), "no image");
    }
    let tuned = place.good(&format!("finetune {TINY} --data folder:set --out tuned"));
    says(&tuned, &["16 labelled images from folder:set in 2 classes", "left out: `0-thumbs`, `zoo`"]);
    place.good("evaluate --model tuned --data folder:set --train-split");
    place.good("embed --model tuned --data folder:set --train-split --out f.safetensors");
    let (_, labels) = read_tensor(&place.path("f.safetensors"), "labels");
    assert_eq!((labels[0], labels[15 * 8]), (0, 1));
    says(&place.good("predict set/bee --model tuned --top-k 1"), &[]);
    place.good("probe knn --data folder:set --image-size 28 --validation 0.2 --k 3");
}

#[test]
fn files_that_are_not_read_are_counted() {
    let place = place_with(2, &[("ant", 0), ("bee", 1)]);
    for file in ["ant/a.HEIC", "ant/b.heic", "bee/c.psd", "bee/notes.txt", "d.avif"] {
        place.write(&format!("set/{file}"), "not read");
    }
    let expected = "set: 4 files that look like images are not read: 1 avif, 2 heic, 1 psd";
    let tuned = place.good(&format!("finetune {TINY} --data folder:set --out tuned --json"));
    says(&tuned, &[expected]);
    assert_eq!(tuned.answer()["images"], 16);
    says(&place.good("evaluate --model tuned --data folder:set --train-split"), &[expected]);
    says(&place.good("predict set/ant --model tuned"), &["set/ant: 2 files that look like images"]);

    place.write("set/cat/1.jp2", "not read");
    place.write("set/cat/2.JP2", "not read");
    let refused =
        ["class cat has no training image", "found 2 jp2", "expected files ending in jpg, jpeg, jpe, jfif"];
    place.bad(1, &format!("finetune {TINY} --data folder:set"), &refused);
    place.bad(1, "predict set/cat --model tuned", &["no images in set/cat", "found 2 jp2"]);
}

#[test]
fn numbers_are_the_same_classes_after_every_export() {
    let folders: Vec<(String, u32)> = (0..12).map(|class| (class.to_string(), class)).collect();
    let folders: Vec<_> = folders.iter().map(|(name, class)| (name.as_str(), *class)).collect();
    let place = place_with(12, &folders);
    place
        .good("finetune --from-scratch --preset tiny --steps 12 --batch-size 24 --data folder:set --out run");
    let evaluate = |model: &str, data: &str| {
        place.good(&format!("evaluate --model {model} --data folder:{data} --train-split --json"))
    };
    let before = evaluate("run", "set").answer();
    for (layout, out) in [("unilm", "a.pth"), ("unilm", "b.safetensors"), ("timm", "timm"), ("hf", "hf")] {
        place.good(&format!("weights convert run {out} --layout {layout}"));
        // Other layouts may say less of the preprocessing.
        let after = evaluate(out, "set");
        assert!((after.answer()["top1"] == before["top1"]) && !after.stderr.contains("no names"), "{after}");
    }
    without_metadata(&place.path("b.safetensors"), &place.path("nameless.safetensors"));
    let after = evaluate("nameless.safetensors", "set");
    assert_eq!(after.answer()["top1"], before["top1"], "{after}");
    says(&after, &["the model's classes have no names", "`0` is class 0, `1` is class 1, `10` is class 2"]);

    // Some of the classes only.
    fs::create_dir(place.path("some")).unwrap();
    ["2", "10"].iter().for_each(|class| place.copy(&format!("set/{class}"), &format!("some/{class}")));
    let [named, nameless] = ["run", "nameless.safetensors"].map(|model| evaluate(model, "some").answer());
    assert_eq!((&named["top1"], &named["images"]), (&nameless["top1"], &nameless["images"]));
    // Other names cannot be guessed.
    place.copy("set/3", "some/cow");
    let args = "evaluate --model nameless.safetensors --data folder:some --train-split";
    place.bad(1, args, &["class `10` has no counterpart in the model, which has 12 classes"]);
}

#[test]
fn names_of_classes_are_the_same_however_they_are_spelt() {
    // As macOS writes them, and as Linux does.
    let place = place_with(3, &[("train/cafe\u{301}", 0), ("train/the\u{301}", 1), ("val/caf\u{e9}", 0)]);
    let tuned = place.good(&format!("finetune {TINY} --data folder:set --out tuned --json"));
    assert_eq!(tuned.answer()["images"], 8, "{tuned}");
    let labels = &read_json(&place.path("tuned/last/config.json"))["id2label"];
    assert_eq!((&labels["0"], &labels["1"]), (&"caf\u{e9}".into(), &"th\u{e9}".into()));
    let evaluate = "evaluate --model tuned --data folder:set --train-split --json";
    assert_eq!(place.good(evaluate).answer()["images"], 16);

    // A model whose names are spelt as macOS does.
    let config = place.path("tuned/last/config.json");
    let text = fs::read_to_string(&config).unwrap().replace('\u{e9}', "e\u{301}");
    assert!(text.contains("cafe\u{301}"));
    fs::write(&config, text).unwrap();
    assert_eq!(place.good("evaluate --model tuned --data folder:set --json").answer()["images"], 8);
    fs::create_dir(place.path("other")).unwrap();
    place.copy("photos/test/class-2", "other/cafe");
    let says = ["class `cafe` has no counterpart"];
    place.bad(1, "evaluate --model tuned --data folder:other --train-split", &says);
}
