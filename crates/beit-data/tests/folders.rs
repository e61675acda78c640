//! Folders as people have them: splits by many names, files that are not read, folders that are no classes.

use std::path::Path;

use crate::pictures::{jpeg, write};
use beit_data::{Cached, Error, Folder, Part, Source, Split, labels, open, training_labels};
use tempfile::TempDir;

/// A folder with these files. What is in them is never read.
fn folder(files: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    files.iter().for_each(|file| write(&dir.path().join(file), b"never read"));
    dir
}

/// `TRAIN/a/1.png`, `TRAIN/b/1.png` and so on.
fn classes(split: &str, classes: &[&str]) -> Vec<String> {
    classes.iter().map(|class| format!("{split}/{class}/1.png")).collect()
}

fn with(parts: &[Vec<String>]) -> TempDir {
    folder(&parts.iter().flatten().map(String::as_str).collect::<Vec<_>>())
}

fn read(dir: &TempDir, split: Split) -> Folder {
    Folder::open(dir.path(), split).unwrap()
}

fn notes(dir: &TempDir, split: Split) -> String {
    read(dir, split).notes().join("\n")
}

#[test]
fn splits_are_found_by_many_names() {
    for (train, test) in [
        ("Train", "Val"),
        ("TRAIN", "TEST"),
        ("training", "testing"),
        ("train", "valid"),
        ("Training", "Validation"),
        ("trn", "val"),
        ("training_set", "test_set"),
    ] {
        let dir = with(&[classes(train, &["ant", "bee", "cat"]), classes(test, &["bee", "cat"])]);
        let source = read(&dir, Split::Train);
        assert_eq!((source.len(), source.class_names().len()), (3, 3), "{train}");
        let held_out = read(&dir, Split::Test);
        assert_eq!((held_out.len(), held_out.label(0)), (2, Some(1)), "{test}");
        assert!(held_out.name(0).contains(test), "{}", held_out.name(0));
        for source in [source, held_out] {
            let note = source.notes().join("\n");
            assert!(
                note.contains(&format!("training images from `{train}`, test images from `{test}`")),
                "{note}"
            );
        }
        // The folder of a split by its own name.
        let own = Folder::open(&dir.path().join(test), Split::Test).unwrap();
        assert_eq!((own.len(), own.class_names().len()), (2, 2));
    }
}

#[test]
fn what_is_left_is_named() {
    let names = ["ant", "bee"];
    let all = ["train", "test", "Valid", "holdout"].map(|split| classes(split, &names));
    let dir = with(&all);
    assert!(read(&dir, Split::Test).name(0).contains("Valid"), "validation images come first");
    let note = notes(&dir, Split::Train);
    assert!(
        note.contains("not read: `test`, `holdout`") && note.contains("splits are called train"),
        "{note}"
    );
    // What has no image is not worth a word, and no split.
    let dir = with(&[classes("train", &names), classes("test", &names), vec!["val/notes.txt".into()]]);
    assert!(
        read(&dir, Split::Test).name(0).contains("test") && !notes(&dir, Split::Train).contains("not read")
    );
}

#[test]
fn a_test_split_beside_folders_of_classes() {
    let beside = |files: &[&str]| {
        let all = ["ant/1.png", "bee/1.png", "cat/1.png"].iter().chain(files);
        folder(&all.copied().collect::<Vec<_>>())
    };
    for split in ["valid", "TEST"] {
        let dir = beside(&[&format!("{split}/bee/2.png"), &format!("{split}/cat/2.png")]);
        let source = read(&dir, Split::Train);
        assert_eq!((source.len(), source.class_names().join(" ")), (3, "ant bee cat".into()));
        assert_eq!(read(&dir, Split::Test).label(1), Some(2));
        let note = notes(&dir, Split::Train);
        assert!(note.contains(&format!("from `ant`, `bee`, `cat`, test images from `{split}`")), "{note}");
    }
    // A class that was never trained is a mistake.
    let dir = beside(&["val/bee/2.png", "val/dog/2.png"]);
    assert!(matches!(Folder::open(dir.path(), Split::Test), Err(Error::UnknownClass { .. })));
    // Images to be named have no classes, but they are no class either.
    let dir = beside(&["test/1.png", "test/2.png"]);
    assert_eq!((read(&dir, Split::Train).class_names().len(), read(&dir, Split::Test).len()), (3, 2));
    assert!(matches!(labels(&read(&dir, Split::Test)), Err(Error::NoLabel { .. })));
    // Other folders are no training images of it.
    let dir = beside(&["val/dog/1.png"]);
    assert!(matches!(Folder::open(dir.path(), Split::Train), Err(Error::NoSplit { .. })));
    assert_eq!(read(&dir, Split::Test).len(), 1);
}

#[test]
fn classes_may_be_called_as_splits() {
    for files in
        [["bus/1.png", "Train/1.png"], ["invalid/1.png", "valid/1.png"], ["exam/1.heic", "test/1.png"]]
    {
        let dir = folder(&files);
        assert_eq!(read(&dir, Split::Train).class_names().len(), 2, "{files:?}");
        assert!(notes(&dir, Split::Train).contains("taken as a class"), "{}", notes(&dir, Split::Train));
        assert!(matches!(Folder::open(dir.path(), Split::Test), Err(Error::NoSplit { .. })));
    }
    // A folder without images does not make one.
    let dir = folder(&["train/1.png", "train/2.png", "annotations/1.xml"]);
    assert_eq!((read(&dir, Split::Train).len(), read(&dir, Split::Train).class_names().len()), (2, 0));
}

#[test]
fn folders_that_look_like_splits_are_doubted() {
    let dir = with(&[classes("fold-1", &["ant", "bee"]), classes("fold-2", &["ant", "bee", "cat"])]);
    let note = notes(&dir, Split::Train);
    assert!(note.contains("`fold-1`, `fold-2` have the same folders in them"), "{note}");
    let dir = with(&[classes("photos/train", &["ant"]), classes("photos/val", &["ant"])]);
    let note = notes(&dir, Split::Train);
    assert!(note.contains("`photos` has splits in it"), "{note}");
    for plain in [&["ant/1/1.png", "bee/2/1.png"][..], &["ant/1.png", "bee/1.png"], &["1.png"]] {
        assert_eq!(notes(&folder(plain), Split::Train), "", "{plain:?}");
    }
}

#[test]
fn a_folder_without_an_image_is_no_class() {
    let dir = folder(&[
        "ant/1.png",
        "bee/1.png",
        "__MACOSX/ant/._1.png",
        "__MACOSX/._ant",
        ".git/objects/1.png",
        ".ipynb_checkpoints/1.png",
        "@eaDir/1.png/thumb.jpg",
        "a-notes/readme.txt",
        "bee/__MACOSX/2.png",
        "bee/._1.png",
    ]);
    std::fs::create_dir(dir.path().join("thumbs")).unwrap();
    for source in [read(&dir, Split::Train), Folder::open_exact(dir.path()).unwrap()] {
        assert_eq!((source.len(), source.class_names().join(" ")), (2, "ant bee".into()));
        assert_eq!([source.label(0), source.label(1)], [Some(0), Some(1)]);
        assert_eq!(training_labels(&source).unwrap(), [0, 1]);
        let note = source.notes().join("\n");
        assert!(note.ends_with("folders without an image are left out: `a-notes`, `thumbs`"), "{note}");
    }
    // In splits, too, and where the class is unknown to the training split.
    let dir = folder(&[
        "Train/ant/1.png",
        "Train/bee/1.png",
        "Train/cow/x.txt",
        "Test/bee/1.png",
        "Test/cow/x.txt",
    ]);
    assert_eq!(read(&dir, Split::Train).class_names(), ["ant", "bee"]);
    assert_eq!((read(&dir, Split::Test).len(), read(&dir, Split::Test).label(0)), (1, Some(1)));
}

#[test]
fn images_have_many_endings() {
    let files =
        ["a.jpg", "b.JPEG", "c.jpe", "d.JFIF", "e.png", "f.WebP", "g.bmp", "h.TIF", "i.tiff", "j.GIF"];
    let dir = folder(&files);
    let source = read(&dir, Split::Train);
    assert_eq!(source.len(), files.len());
    assert!(source.notes().join("\n").ends_with("of 1 gif files the first picture is read"));
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("photo.jfif"), &jpeg(3));
    assert_eq!(read(&dir, Split::Train).image(0).unwrap().height(), 24);
}

#[test]
fn files_that_are_not_read_are_counted() {
    let dir = folder(&[
        "ant/1.png",
        "ant/2.HEIC",
        "ant/deep/3.heic",
        "ant/notes.txt",
        "bee/1.png",
        "bee/4.avif",
        "map.svg",
        "bee/._5.psd",
        "bee/6.npy",
    ]);
    let source: std::sync::Arc<dyn Source> = std::sync::Arc::new(read(&dir, Split::Train));
    let expected = "5 files that look like images are not read: 1 avif, 2 heic, 1 npy, 1 svg";
    assert!(source.notes()[0].ends_with(expected), "{:?}", source.notes());
    // Whatever the source is wrapped in.
    assert_eq!(Part::new(source.clone(), vec![1]).notes(), source.notes());
    assert_eq!(Cached::new(source.clone(), 0).notes(), source.notes());
    assert_eq!(source.unread(1).unwrap().to_string(), "1 avif, 1 npy");

    for ending in ["heic", "jp2", "PSD", "dng"] {
        let dir = folder(&["ant/1.png", &format!("bee/1.{ending}"), &format!("bee/2.{ending}")]);
        let text = training_labels(&read(&dir, Split::Train)).unwrap_err().to_string();
        let found = format!("found 2 {}, which cannot be read", ending.to_lowercase());
        assert!(
            text.starts_with("class bee has no training image: expected files ending in jpg, "),
            "{text}"
        );
        assert!(text.contains(&found), "{text}");
        let alone = open(&format!("folder:{}/bee", dir.path().display()), Split::Train).err().unwrap();
        assert!(
            alone.to_string().contains(&found) && alone.to_string().starts_with("no images in "),
            "{alone}"
        );
    }
}

#[test]
fn names_are_the_same_however_they_are_spelt() {
    // An accent of its own, and a letter that has it.
    let (apart, together) = ("cafe\u{301}", "caf\u{e9}");
    let dir = with(&[classes("train", &[apart, "the\u{301}", "zoo"]), classes("val", &[together, "zoo"])]);
    assert_eq!(read(&dir, Split::Train).class_names(), [together, "th\u{e9}", "zoo"]);
    let held_out = read(&dir, Split::Test);
    assert_eq!([held_out.label(0), held_out.label(1)], [Some(0), Some(2)]);
    for (one, other) in
        [("\u{212b}ngstr\u{f6}m", "A\u{30a}ngstro\u{308}m"), ("\u{1112}\u{1161}\u{11ab}", "\u{d55c}")]
    {
        let dir = with(&[classes("train", &[one, "x"]), classes("test", &[other, "x"])]);
        assert_eq!(read(&dir, Split::Test).class_names(), read(&dir, Split::Train).class_names());
    }
    // The number of a class does not depend on how its name is spelt: `e` comes before `z` and both before the letter.
    let order =
        |name: &str| read(&with(&[classes(".", &[name, "cafz"])]), Split::Train).class_names().to_vec();
    assert_eq!(order(apart), order(together));
    // Both in one folder are one class.
    let dir = with(&[classes(".", &[apart, together, "zoo"])]);
    let source = read(&dir, Split::Train);
    if Path::new(&source.name(1)).parent() != Path::new(&source.name(0)).parent() {
        assert_eq!((source.class_names().len(), source.label(1)), (2, Some(0)));
        assert!(source.notes()[0].contains("several folders are one class"), "{:?}", source.notes());
    }
}
