//! Opening sources: folders, IDX files, the embedded set, and what is wrong with those that cannot be opened.

use std::io::Write;
use std::path::Path;

use crate::pictures::{self, jpeg, write};
use beit_data::{Cached, Error, Folder, Idx, Source, Split, open, training_labels};

fn class_folders(root: &Path, classes: &[&str]) {
    for (number, class) in (0_u8..).zip(classes) {
        for file in ["b.jpg", "a.JPEG", "deeper/c.jpg"] {
            write(&root.join(class).join(file), &jpeg(number));
        }
        write(&root.join(class).join(".hidden.jpg"), b"no image");
        write(&root.join(class).join("notes.txt"), b"no image");
    }
}

fn message(spec: &str, split: Split) -> String {
    open(spec, split).err().expect("the source cannot be opened").to_string()
}

#[test]
fn a_folder_per_class() {
    let dir = tempfile::tempdir().unwrap();
    class_folders(dir.path(), &["shoe", "hat"]);
    write(&dir.path().join(".cache/x.jpg"), &jpeg(0));
    let source = open(&format!("folder:{}", dir.path().display()), Split::Train).unwrap();
    assert_eq!(source.class_names(), ["hat", "shoe"]);
    assert_eq!(source.len(), 6);
    assert_eq!((0..6).map(|i| source.label(i).unwrap()).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
    assert!(source.name(0).ends_with("hat/a.JPEG"));
    assert_eq!(source.image(5).unwrap().height(), 24);
    assert_eq!(training_labels(&*source).unwrap().len(), 6);
}

#[test]
fn splits_of_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    class_folders(&dir.path().join("train"), &["a", "b", "c"]);
    class_folders(&dir.path().join("validation"), &["c", "a"]);
    assert_eq!(Folder::open(dir.path(), Split::Train).unwrap().len(), 9);
    // Classes are numbered as in training even where one is missing.
    let test = Folder::open(dir.path(), Split::Test).unwrap();
    assert_eq!((test.len(), test.label(0), test.label(5)), (6, Some(0), Some(2)));
    // A folder with the name of a split is that split.
    assert_eq!(Folder::open(&dir.path().join("validation"), Split::Test).unwrap().len(), 6);

    class_folders(&dir.path().join("validation"), &["d"]);
    assert!(matches!(Folder::open(dir.path(), Split::Test), Err(Error::UnknownClass { .. })));
}

#[test]
fn no_split_is_invented() {
    let dir = tempfile::tempdir().unwrap();
    class_folders(dir.path(), &["a", "b"]);
    let text = message(&format!("folder:{}", dir.path().display()), Split::Test);
    assert!(text.contains("no test split in") && text.contains("val or validation or test"), "{text}");
}

#[test]
fn a_class_may_be_called_train() {
    let dir = tempfile::tempdir().unwrap();
    class_folders(dir.path(), &["bus", "train"]);
    let source = Folder::open(dir.path(), Split::Train).unwrap();
    assert_eq!((source.len(), source.class_names()), (6, ["bus".to_owned(), "train".to_owned()].as_slice()));
    assert!(matches!(Folder::open(dir.path(), Split::Test), Err(Error::NoSplit { .. })));
}

#[test]
fn images_without_classes() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("1.jpg"), &jpeg(1));
    write(&dir.path().join("more/2.png"), &jpeg(2));
    let source = Folder::open(dir.path(), Split::Train).unwrap();
    assert_eq!((source.len(), source.label(0), source.class_names().len()), (2, None, 0));
    // The name says PNG, the bytes say JPEG: the bytes count.
    assert!(source.image(1).is_ok());
    let text = training_labels(&source).unwrap_err().to_string();
    assert!(
        text.starts_with("expected a label for every image, found none for ") && text.contains("1.jpg"),
        "{text}"
    );
}

#[test]
fn classes_must_differ_and_have_images() {
    let dir = tempfile::tempdir().unwrap();
    class_folders(dir.path(), &["only"]);
    let text = training_labels(&Folder::open(dir.path(), Split::Train).unwrap()).unwrap_err().to_string();
    assert_eq!(text, "expected at least 2 classes to tell apart, found 1");
    // A folder without an image is no class.
    std::fs::create_dir(dir.path().join("void")).unwrap();
    let text = training_labels(&Folder::open(dir.path(), Split::Train).unwrap()).unwrap_err().to_string();
    assert_eq!(text, "expected at least 2 classes to tell apart, found 1");
}

#[test]
fn sources_that_are_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display();
    assert!(message(&format!("folder:{path}/absent"), Split::Train).starts_with("no folder at "));
    assert!(message(&format!("folder:{path}/absent"), Split::Test).starts_with("no folder at "));
    assert!(message(&format!("folder:{path}"), Split::Train).starts_with("no images in "));
    assert!(message(&format!("idx:{path}"), Split::Train).starts_with("no train-images-idx3-ubyte (or "));
    let text = message("imagenet", Split::Train);
    assert!(
        text.starts_with("unknown data source `imagenet`: expected ")
            && text.contains("idx:DIR, folder:DIR, tar:SHARDS, ade:DIR, masks:IMAGES,MASKS[,CLASSES]"),
        "{text}"
    );
}

#[cfg(unix)]
#[test]
fn a_link_to_a_parent_ends() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a/1.jpg"), &jpeg(1));
    std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).unwrap();
    let text = message(&format!("folder:{}", dir.path().display()), Split::Train);
    assert!(
        text.contains("a/loop is a link to ") && text.ends_with("a folder that it lies in itself"),
        "{text}"
    );
    assert!(matches!(Folder::open(dir.path(), Split::Train), Err(Error::Loop { .. })));
}

#[test]
fn folders_end_somewhere() {
    let dir = tempfile::tempdir().unwrap();
    let nested = |depth: usize| dir.path().join("d/".repeat(depth)).join("1.jpg");
    // The folder of the class is one of the 32.
    write(&nested(32), &jpeg(1));
    assert_eq!(Folder::open(dir.path(), Split::Train).unwrap().len(), 1);
    write(&nested(33), &jpeg(1));
    let text = message(&format!("folder:{}", dir.path().display()), Split::Train);
    assert!(text.ends_with("is nested more than 32 folders deep"), "{text}");
}

/// Names that sort differently when paths are compared as text, or without case, or with folders among the files.
const MIXED: &[&str] = &[
    "b.jpg",
    "B.jpg",
    "a.jpg",
    "a/z.png",
    "a/Z.png",
    "a-b/1.jpg",
    "a.b/1.jpg",
    "a b/1.jpg",
    "ab/1.jpg",
    "A/1.jpg",
    "10.jpg",
    "9.jpg",
    "é.webp",
    "x.jpg/inside.jpg",
    "x.jpg/deep/er.jpeg",
    "x.jpg/deep.jpg",
    "x.png",
    "~.jpg",
    "a/b/c/d.jpg",
    "a/b/c.jpg",
    "a/b.jpg",
    "notes.txt",
    ".hidden.jpg",
    ".hidden/1.jpg",
    "a/.x/1.jpg",
    "jpg",
    "noext/jpeg",
    "caps.JPG",
    "two.dots.png",
];

/// The order that decides which random numbers an image gets, written as plainly as can be.
fn order_by_hand(folder: &Path, images: &mut Vec<String>) {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let shown = entries.filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'));
    let (mut folders, mut files): (Vec<_>, Vec<_>) = shown.partition(|path| path.is_dir());
    folders.sort();
    files.sort();
    let is_image = |path: &Path| {
        let extension = path.extension().map(|text| text.to_string_lossy().to_lowercase());
        extension.is_some_and(|text| ["jpg", "jpeg", "png", "webp"].contains(&text.as_str()))
    };
    images.extend(files.iter().filter(|path| is_image(path)).map(|path| path.display().to_string()));
    folders.iter().for_each(|inner| order_by_hand(inner, images));
}

#[test]
fn images_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    MIXED.iter().for_each(|name| write(&dir.path().join(name), b"never read"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        for (target, link) in [
            ("nowhere", "m.jpg"),
            ("nowhere", "a/.m.jpg"),
            ("a.b", "l"),
            ("b.jpg", "n.png"),
            ("l", "k.jpg"),
            (".", ".all"),
        ] {
            symlink(target, dir.path().join(link)).unwrap();
        }
    }
    let source = Folder::open_exact(dir.path()).unwrap();
    let mut expected = Vec::new();
    order_by_hand(dir.path(), &mut expected);
    let found: Vec<_> = (0..source.len()).map(|index| source.name(index)).collect();
    assert_eq!(found, expected);
    assert!(found.len() >= 20);
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_a_file_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("1.jpg"), &jpeg(1));
    std::os::unix::fs::symlink("nowhere", dir.path().join("2.jpg")).unwrap();
    let source = Folder::open(dir.path(), Split::Train).unwrap();
    assert_eq!(source.len(), 2);
    assert!(matches!(source.image(1), Err(Error::Read { .. })));
}

fn idx(sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let header =
        [0, 0, 8, sizes.len() as u8].into_iter().chain(sizes.iter().flat_map(|size| size.to_be_bytes()));
    header.chain(data.iter().copied()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn idx_files_plain_and_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let images: Vec<u8> = (0..3 * 2 * 4).collect();
    write(&dir.path().join("train-images-idx3-ubyte"), &idx(&[3, 2, 4], &images));
    write(&dir.path().join("train-labels-idx1-ubyte.gz"), &gzip(&idx(&[3], &[0, 4, 1])));
    write(&dir.path().join("t10k-images-idx3-ubyte.gz"), &gzip(&idx(&[1, 2, 4], &images[..8])));
    write(&dir.path().join("t10k-labels-idx1-ubyte"), &idx(&[1], &[2]));
    let train = Idx::open(dir.path(), Split::Train).unwrap();
    assert_eq!((train.len(), train.label(1), train.class_names().len()), (3, Some(4), 5));
    assert_eq!(train.image(2).unwrap().pixels()[..6], [16, 16, 16, 17, 17, 17]);
    // The test split knows the classes that it has no image of.
    let test = Idx::open(dir.path(), Split::Test).unwrap();
    assert_eq!((test.len(), test.label(0), test.class_names().len()), (1, Some(2), 5));
}

#[test]
fn hostile_idx_files_are_refused() {
    let huge = idx(&[u32::MAX, u32::MAX, u32::MAX], &[0; 100]);
    let rows = [
        (vec![], "it ends within its header"),
        (idx(&[3, 28, 28], &[])[..9].to_vec(), "it ends within its header"),
        (b"\x1f\x8bnonsense".to_vec(), "is not a valid IDX file"),
        (b"GIF89a not an idx file".to_vec(), "expected the first bytes [0, 0, 8, 3], found [71, 73, 70, 56]"),
        (idx(&[4], &[1, 2, 3, 4]), "expected the first bytes"),
        (huge.clone(), "expected at most 1 GiB"),
        (gzip(&huge), "expected at most 1 GiB"),
        (gzip(&idx(&[60_000, 200, 200], &[0; 100])), "expected at most 1 GiB, found sizes [60000, 200, 200]"),
        (idx(&[6000, 200, 200], &[0; 100]), "for [6000, 200, 200], found a file that has at most 100"),
        (
            gzip(&idx(&[6000, 200, 200], &[0; 100])),
            "expected 240000000 bytes for [6000, 200, 200], found a file",
        ),
        (gzip(&idx(&[6, 20, 20], &[0; 100])), "expected 2400 bytes for [6, 20, 20], found 100"),
        // What is behind is not even decompressed.
        (gzip(&idx(&[2, 2, 2], &[0; 1 << 24])), "expected 8 bytes for [2, 2, 2], found more"),
        (idx(&[2, 2, 2], &[0; 9]), "expected 8 bytes for [2, 2, 2], found more"),
        (idx(&[0, 28, 28], &[]), "expected images with pixels, found 0 of 28 x 28"),
        (idx(&[3, 0, 28], &[]), "expected images with pixels"),
        (idx(&[2, 1, 1], &[5, 6]), "expected as many images as labels, found 2 images and 3 labels"),
    ];
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("train-labels-idx1-ubyte"), &idx(&[3], &[0, 1, 0]));
    for (bytes, expected) in rows {
        write(&dir.path().join("train-images-idx3-ubyte"), &bytes);
        let text = message(&format!("idx:{}", dir.path().display()), Split::Train);
        assert!(
            text.contains(expected) && text.contains("train-images-idx3-ubyte"),
            "{text}, not: {expected}"
        );
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (images, labels) =
        (dir.path().join("train-images-idx3-ubyte.gz"), dir.path().join("train-labels-idx1-ubyte"));
    for (path, kind) in [(images, "a named pipe"), (labels, "a device")] {
        match kind {
            "a device" => std::os::unix::fs::symlink("/dev/zero", &path).unwrap(),
            _ => pictures::pipe(&path),
        }
        let error = open(&format!("idx:{}", dir.path().display()), Split::Train).err().unwrap();
        let Error::Read { path: named, source } = error else { panic!("{error}") };
        assert_eq!((named, source.to_string()), (path, format!("it is {kind}, expected a regular file")));
    }
}

#[test]
fn a_cache_returns_the_same_and_keeps_to_its_budget() {
    let dir = tempfile::tempdir().unwrap();
    class_folders(dir.path(), &["a", "b"]);
    let source = open(&format!("folder:{}", dir.path().display()), Split::Train).unwrap();
    let cached = Cached::new(source.clone(), 2 * 32 * 24 * 3);
    let first: Vec<_> = (0..6).map(|index| cached.image(index).unwrap()).collect();
    std::fs::remove_dir_all(dir.path().join("a")).unwrap();
    assert!((0..2).all(|index| cached.image(index).unwrap() == first[index]));
    assert!(cached.image(2).is_err() && source.image(0).is_err());
    assert_eq!((cached.len(), cached.label(5), cached.class_names().len()), (6, Some(1), 2));
}

#[cfg(feature = "fashion-mnist")]
mod embedded {
    use super::*;

    /// CRC-32 of the RGB bytes and the label (little-endian) of each image, computed in Python from the official files.
    const TRAIN: u32 = 0xe12d_e300;
    const TEST: u32 = 0x41dd_36ca;

    fn checksum(source: &dyn Source) -> u32 {
        let mut sum = flate2::Crc::new();
        for index in 0..source.len() {
            sum.update(source.image(index).unwrap().pixels());
            sum.update(&source.label(index).unwrap().to_le_bytes());
        }
        sum.sum()
    }

    #[test]
    fn has_the_documented_counts_and_checksums() {
        for (split, per_class, expected) in [(Split::Train, 1600, TRAIN), (Split::Test, 400, TEST)] {
            let source = open("fashion-mnist", split).unwrap();
            let labels = training_labels(&*source).unwrap();
            assert_eq!(source.class_names().len(), 10);
            assert_eq!((&*source.class_names()[0], &*source.class_names()[9]), ("T-shirt/top", "Ankle boot"));
            for class in 0..10 {
                assert_eq!(labels.iter().filter(|&&label| label == class).count(), per_class);
            }
            assert_eq!(checksum(&*source), expected, "{split}");
        }
    }

    #[test]
    fn no_test_image_is_a_training_image() {
        let pictures = |split| {
            let source = open("fashion-mnist", split).unwrap();
            (0..source.len()).map(move |index| source.image(index).unwrap().pixels().to_vec())
        };
        let train: std::collections::HashSet<_> = pictures(Split::Train).collect();
        assert_eq!(train.len(), 16_000);
        assert!(pictures(Split::Test).all(|picture| !train.contains(&picture)));
    }
}
