//! Shards in every layout, and their index.

use std::fs::{self, File};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::archives::{Index, Place, load, names, numbered, opened, said, shard};
use crate::pictures::{self, jpeg};
use beit_data::{Indexing, Item, Loader, LoaderConfig, SampleRng, Source, Split, Tar};

#[test]
fn splits_are_said_by_semicolons_folders_and_names() {
    let place = Place::new();
    for name in [
        "a/x-train-0.tar",
        "a/x-train-1.tar",
        "a/x-val-0.tar",
        "b/train/0.tar",
        "b/validation/0.tar",
        "c/0.tar",
        "c/1.tar",
    ] {
        numbered(&place.path(name), &[&name.replace(['/', '.'], "-")]);
    }
    fs::write(place.path("list.txt"), "# both\n\nc/{0..1}.tar\n").unwrap();
    let (train, test) = (Split::Train, Split::Test);
    let both_folders = || format!("{},{}", place.text("b/train"), place.text("b/validation"));
    let rows: &[(String, Split, &[&str])] = &[
        (place.text("a"), train, &["a-x-train-0-tar.jpg", "a-x-train-1-tar.jpg"]),
        (place.text("a"), test, &["a-x-val-0-tar.jpg"]),
        (place.text("a/x-{train-{0,1},val-0}.tar"), train, &["a-x-train-0-tar.jpg", "a-x-train-1-tar.jpg"]),
        (place.text("a/x-{train-{0,1},val-0}.tar"), test, &["a-x-val-0-tar.jpg"]),
        (place.text("a/x-val-0.tar"), train, &["a-x-val-0-tar.jpg"]),
        (place.text("a/x-val-0.tar"), test, &["a-x-val-0-tar.jpg"]),
        (place.text("b"), train, &["b-train-0-tar.jpg"]),
        (place.text("b"), test, &["b-validation-0-tar.jpg"]),
        (place.text("b/train"), test, &["b-train-0-tar.jpg"]),
        (place.text("b/train/0.tar"), test, &["b-train-0-tar.jpg"]),
        (both_folders(), train, &["b-train-0-tar.jpg"]),
        (both_folders(), test, &["b-validation-0-tar.jpg"]),
        (place.text("b/{train,validation}/0.tar"), train, &["b-train-0-tar.jpg"]),
        (place.text("b/{train,validation}/0.tar"), test, &["b-validation-0-tar.jpg"]),
        (place.text("c"), train, &["c-0-tar.jpg", "c-1-tar.jpg"]),
        (
            format!("{},{}", place.text("c/1.tar"), place.text("c/0.tar")),
            train,
            &["c-1-tar.jpg", "c-0-tar.jpg"],
        ),
        (format!("@{}", place.text("list.txt")), train, &["c-0-tar.jpg", "c-1-tar.jpg"]),
        (format!("{};{}", place.text("c/0.tar"), place.text("c/1.tar")), test, &["c-1-tar.jpg"]),
        (format!(";{}", place.text("c")), test, &["c-0-tar.jpg", "c-1-tar.jpg"]),
    ];
    for (spec, split, wanted) in rows {
        assert_eq!(names(&opened(spec, *split).unwrap()), *wanted, "{spec} {split}");
    }
    assert!(
        said(&place.text("c"), test).contains("no test split among the shards"),
        "{}",
        said(&place.text("c"), test)
    );
    assert!(said(&format!(";{}", place.text("c")), train).contains("no train split"));
    assert!(said("a;b;c", train).contains("several semicolons"));
    assert!(said(",", train).contains("names no shard"));
    assert!(said(&place.text("c/{0..9}.tar"), train).contains("c/2.tar"));
    assert!(said(&place.text("x{0..99999999}"), train).contains("expected fewer"));
    fs::create_dir(place.path("d")).unwrap();
    fs::write(place.path("d/0.tar.gz"), "").unwrap();
    let text = said(&place.text("d"), train);
    assert!(text.contains("no shards in") && text.contains("d/0.tar.gz"), "{text}");
}

#[test]
fn classes_are_numbers_names_or_folders() {
    let (place, picture) = (Place::new(), jpeg(1));
    let path = place.path("s.tar");
    let open = |files: &[(&str, &[u8])]| {
        shard(&path, files);
        opened(&place.text("s.tar"), Split::Train)
    };
    let labels = |source: &Tar| (0..source.len()).map(|index| source.label(index)).collect::<Vec<_>>();
    let p = picture.as_slice();

    let by_number =
        open(&[("a.jpg", p), ("a.cls", b" 2\n"), ("b.jpg", p), ("b.json", b"{\"label\": 1}"), ("c.jpg", p)])
            .unwrap();
    assert_eq!((labels(&by_number), by_number.class_names().len()), (vec![Some(2), Some(1), None], 3));
    let by_name = open(&[
        ("a.jpg", p),
        ("a.json", br#"{"class": "bee"}"#),
        ("b.jpg", p),
        ("b.json", br#"{"class": "ant"}"#),
    ])
    .unwrap();
    assert_eq!(
        (labels(&by_name), by_name.class_names()),
        (vec![Some(1), Some(0)], &["ant", "bee"].map(String::from)[..])
    );
    let by_folder = open(&[("x/bee/1.jpg", p), ("x/ant/1.jpg", p), ("x/bee/2.jpg", p)]).unwrap();
    assert_eq!(
        (labels(&by_folder), by_folder.class_names()),
        (vec![Some(1), Some(0), Some(1)], &["ant", "bee"].map(String::from)[..])
    );
    let by_nothing = open(&[("1.jpg", p), ("ant/2.jpg", p)]).unwrap();
    assert_eq!((labels(&by_nothing), by_nothing.class_names().len()), (vec![None, None], 0));
    let Err(error) = open(&[("a.jpg", p), ("a.cls", b"1"), ("b.jpg", p), ("b.json", br#"{"class": "ant"}"#)])
    else {
        panic!()
    };
    assert!(
        error.to_string().contains("found both: a number in") && error.to_string().contains("b.jpg"),
        "{error}"
    );
    let odd = open(&[("a.jpg", p), ("a.cls", b"cat"), ("b.jpg", p), ("b.json", b"[1]")]).unwrap();
    assert!(odd.notes()[0].contains("2 labels cannot be understood, first `a.cls`"), "{:?}", odd.notes());

    fs::write(place.path("classes.txt"), "one\ntwo\nthree\n").unwrap();
    let named = open(&[("a.jpg", p), ("a.cls", b"1")]).unwrap();
    assert_eq!(named.class_names(), ["one", "two", "three"]);
    let Err(error) = open(&[("a.jpg", p), ("a.cls", b"3")]) else { panic!() };
    assert!(error.to_string().contains("a.jpg is of class 3, expected one of the 3 in"), "{error}");
    fs::write(place.path("classes.txt"), "one\none\n").unwrap();
    let Err(error) = open(&[("a.jpg", p), ("a.cls", b"0")]) else { panic!() };
    assert!(error.to_string().contains("lines 1 and 2 are both `one`"), "{error}");
}

#[test]
fn a_test_split_has_the_numbers_of_the_training_split() {
    let (place, picture) = (Place::new(), jpeg(1));
    shard(&place.path("train.tar"), &[("bee/1.jpg", &picture), ("ant/1.jpg", &picture)]);
    shard(&place.path("test.tar"), &[("bee/9.jpg", &picture)]);
    shard(&place.path("other.tar"), &[("cat/9.jpg", &picture)]);
    let spec = |test: &str| format!("{};{}", place.text("train.tar"), place.text(test));
    let test = opened(&spec("test.tar"), Split::Test).unwrap();
    assert_eq!((test.label(0), test.class_names().len()), (Some(1), 2));
    assert!(
        said(&spec("other.tar"), Split::Test)
            .contains("cat/9.jpg is of class cat, expected one of the 2 of the training split")
    );
    // Numbers say nothing of the folders of the training split, unless a file does.
    numbered(&place.path("numbers.tar"), &["9"]);
    let text = said(&spec("numbers.tar"), Split::Test);
    assert!(
        text.contains("by folders") && text.contains("by numbers from") && text.contains("numbers.tar"),
        "{text}"
    );
    fs::write(place.path("classes.txt"), "bee\nant\n").unwrap();
    let test = opened(&spec("numbers.tar"), Split::Test).unwrap();
    assert_eq!((test.label(0), test.class_names()), (Some(0), &["bee", "ant"].map(String::from)[..]));
}

#[test]
fn an_index_is_kept_checked_and_made_again() {
    let place = Place::new();
    let (path, index) = (place.path("s.tar"), place.path("s.tar.beit-index"));
    numbered(&path, &["a", "b", "c"]);
    let open = || Tar::open(&place.text("s.tar"), Split::Train, &place.cached()).unwrap();
    let first = open();
    assert!(first.notes().is_empty() && index.is_file() && !place.path("cache").exists());
    let kept = fs::read(&index).unwrap();
    let again = open();
    assert_eq!((names(&again), again.notes().len(), again.label(2)), (names(&first), 0, Some(2)));
    assert_eq!(fs::read(&index).unwrap(), kept);

    // Whatever byte is another, and wherever it is cut, the index is made again, and that is said.
    for at in (0..kept.len()).step_by(7) {
        let mut bytes = kept.clone();
        bytes[at] ^= 0x10;
        for bytes in [&bytes[..], &kept[..at]] {
            fs::write(&index, bytes).unwrap();
            let source = open();
            assert_eq!(names(&source), names(&first), "byte {at}");
            assert!(source.notes()[0].contains("is made again"), "byte {at}: {:?}", source.notes());
            assert_eq!(fs::read(&index).unwrap(), kept);
        }
    }

    numbered(&path, &["a", "b", "c", "d"]);
    let other = open();
    assert_eq!((other.len(), other.notes().len()), (4, 1));
    assert!(other.notes()[0].contains("the shard has changed since"), "{:?}", other.notes());
    // The same length, another time.
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(SystemTime::now() - Duration::from_secs(999))
        .unwrap();
    assert!(open().notes()[0].contains("the shard has changed since"));
    assert!(open().notes().is_empty());
}

#[test]
fn an_index_lies_in_the_cache_where_it_cannot_lie_beside() {
    let place = Place::new();
    numbered(&place.path("s.tar"), &["a"]);
    fs::create_dir(place.path("s.tar.beit-index")).unwrap();
    let open = |indexing: &Indexing| Tar::open(&place.text("s.tar"), Split::Train, indexing).unwrap();
    open(&place.cached());
    let kept: Vec<_> =
        fs::read_dir(place.path("cache")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 1);
    let before = fs::metadata(&kept[0]).unwrap().modified().unwrap();
    assert!(open(&place.cached()).notes().is_empty());
    assert_eq!(fs::metadata(&kept[0]).unwrap().modified().unwrap(), before, "it was read, not made");
    let nowhere = open(&Indexing { cache: None, ..place.cached() });
    assert!(
        nowhere.notes().iter().any(|note| note.contains("its index cannot be kept at")),
        "{:?}",
        nowhere.notes()
    );
    assert_eq!(open(&Indexing::none()).notes().len(), 0);
}

#[test]
fn the_order_of_an_epoch_is_that_of_a_folder() {
    let place = Place::new();
    let all: Vec<String> = (0..24).map(|i| format!("{i:02}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    numbered(&place.path("0.tar"), &all[..10]);
    numbered(&place.path("1.tar"), &all[10..]);
    for name in &all {
        pictures::write(&place.path(&format!("folder/{name}.jpg")), &jpeg(0));
    }
    let (tar, _) = load(opened(&place.text("{0..1}.tar"), Split::Train).unwrap(), 0.0).unwrap();
    let folder: Arc<dyn Source> = Arc::new(beit_data::Folder::open_exact(&place.path("folder")).unwrap());
    let config = LoaderConfig { workers: 2, ..LoaderConfig::training(2, 7) };
    let loader =
        Loader::new(folder, (0..24).collect(), config, |item: Item, _: &mut SampleRng| Index(item.index))
            .unwrap();
    let folder: Vec<usize> = loader.epoch(0).unwrap().flat_map(|batch| batch.unwrap().data).collect();
    assert_eq!(tar, folder);
}

/// Twenty thousand samples: opened by their index, in below 100 bytes each.
#[test]
fn many_samples_open_at_once() {
    let (place, picture) = (Place::new(), jpeg(1));
    let shards = 10;
    for number in 0..shards {
        let path = place.path(&format!("train-{number:06}.tar"));
        let mut archive = tar::Builder::new(std::io::BufWriter::new(File::create(path).unwrap()));
        for sample in 0..2_000 {
            for (ending, bytes) in
                [("cls", (sample % 1000).to_string().as_bytes()), ("jpg", picture.as_slice())]
            {
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes.len() as u64);
                let name = format!("n{:08}/n{:08}_{sample:06}.{ending}", sample % 1000, sample % 1000);
                archive.append_data(&mut header, name, bytes).unwrap();
            }
        }
        archive.finish().unwrap();
    }
    let open = || Tar::open(&place.text("."), Split::Train, &place.cached()).unwrap();
    open();
    let source = open();
    assert_eq!((source.len(), source.class_names().len()), (20_000, 1000));
    assert!(source.memory() < 100 * source.len(), "{} bytes", source.memory());
    assert!(
        !source.notes().iter().any(|note| note.contains("index")),
        "the index was read: {:?}",
        source.notes()
    );
    assert!(source.name(19_999).ends_with("n00000999/n00000999_001999.jpg"));
    assert_eq!(source.image(12_345).unwrap(), beit_data::Image::decode(&picture, "").unwrap());
}
