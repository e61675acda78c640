//! Shards in every layout, their index, and what happens to those that are damaged.

mod pictures;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use beit_data::{Error, Indexing, Item, Loader, LoaderConfig, Sample, SampleRng, Source, Split, Tar};
use pictures::jpeg;
use tempfile::TempDir;

/// Writes a shard of these files.
fn shard(path: &Path, files: &[(&str, &[u8])]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut archive = tar::Builder::new(File::create(path).unwrap());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.finish().unwrap();
}

/// Samples `names`, each a picture and a class by its number.
fn numbered(path: &Path, names: &[&str]) {
    let pictures: Vec<_> =
        names.iter().enumerate().map(|(i, name)| (format!("{name}.jpg"), jpeg(i as u8))).collect();
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for (i, (name, picture)) in pictures.into_iter().enumerate() {
        files.push((name.replace(".jpg", ".cls"), i.to_string().into_bytes()));
        files.push((name, picture));
    }
    shard(path, &files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect::<Vec<_>>());
}

fn opened(spec: &str, split: Split) -> Result<Tar, Error> {
    Tar::open(spec, split, &Indexing::none())
}

fn names(source: &Tar) -> Vec<String> {
    (0..source.len()).map(|index| source.name(index).rsplit(['/', ' ']).next().unwrap().to_owned()).collect()
}

fn said(spec: &str, split: Split) -> String {
    opened(spec, split).err().map(|error| error.to_string()).unwrap_or_default()
}

/// A folder, and paths in it as text.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
    fn cached(&self) -> Indexing {
        Indexing { beside: true, cache: Some(self.path("cache")), least_files: usize::MAX }
    }
}

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

/// An index of a shard as it is, with a right checksum, of one sample.
fn forged(shard: &Path, name: &[u8], [block, size, class]: [u32; 3]) -> Vec<u8> {
    let data = fs::metadata(shard).unwrap();
    let modified = data.modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut index = b"BEITIDX\n".to_vec();
    index.extend([1_u32, 1].into_iter().flat_map(u32::to_le_bytes));
    let text = |index: &mut Vec<u8>, bytes: &[u8]| {
        index.extend((bytes.len() as u64).to_le_bytes());
        index.extend(bytes);
    };
    text(&mut index, shard.file_name().unwrap().as_encoded_bytes());
    index.extend(data.len().to_le_bytes());
    index.extend(modified.as_secs().to_le_bytes());
    index.extend(modified.subsec_nanos().to_le_bytes());
    text(&mut index, name);
    index.extend([1, name.len() as u64].into_iter().flat_map(u64::to_le_bytes));
    for number in [block, size, class] {
        index.extend(1_u64.to_le_bytes());
        index.extend(number.to_le_bytes());
    }
    // One name of a class, and no remark.
    index.extend(1_u64.to_le_bytes());
    text(&mut index, b"ant");
    index.extend(0_u64.to_le_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&index);
    index.extend(crc.sum().to_le_bytes());
    index
}

#[test]
fn an_index_is_believed_only_where_all_of_it_is_in_the_shard() {
    const TEXT: u32 = 1 << 31;
    let place = Place::new();
    let path = place.path("s.tar");
    numbered(&path, &["a", "b"]);
    let last = (fs::metadata(&path).unwrap().len() / 512) as u32;
    let rows: [(&[u8], [u32; 3], bool); 7] = [
        (b"x.jpg", [3, 9, TEXT], true),
        (b"x.jpg", [last, 0, u32::MAX], true),
        (b"x.jpg", [last, 1, 0], false),
        (b"x.jpg", [0, u32::MAX, 0], false),
        (b"x.jpg", [u32::MAX, 0, 0], false),
        (b"x.jpg", [3, 9, TEXT | 1], false),
        (b"\xff.jpg", [3, 9, TEXT], false),
    ];
    for (name, numbers, believed) in rows {
        fs::write(place.path("s.tar.beit-index"), forged(&path, name, numbers)).unwrap();
        let source = Tar::open(&place.text("s.tar"), Split::Train, &place.cached()).unwrap();
        let damaged = source.notes().iter().any(|note| note.contains("is made again: it is damaged"));
        assert_eq!(
            (source.len(), damaged),
            if believed { (1, false) } else { (2, true) },
            "{numbers:?}: {:?}",
            source.notes()
        );
    }
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
fn of_a_shard_that_is_cut_whole_samples_are_read() {
    let place = Place::new();
    let path = place.path("s.tar");
    numbered(&path, &["a", "b", "c"]);
    let whole = fs::read(&path).unwrap();
    let full = opened(&place.text("s.tar"), Split::Train).unwrap();
    let padded = jpeg(0).len().next_multiple_of(512);
    // A sample is two headers, a block of its class, and its picture.
    let sample = 512 * 3 + padded;
    for cut in (1..whole.len()).step_by(97).chain([512, 1024, 2560, sample, sample + 512, 3 * sample]) {
        fs::write(&path, &whole[..cut]).unwrap();
        match opened(&place.text("s.tar"), Split::Train) {
            Ok(source) => {
                let kept = source.len();
                assert!((1..=3).contains(&kept), "cut at {cut}");
                assert_eq!(names(&source), names(&full)[..kept], "cut at {cut}");
                for index in 0..kept {
                    assert_eq!(
                        (source.label(index), source.image(index).unwrap()),
                        (full.label(index), full_image(index))
                    );
                }
                let ends = cut >= 3 * sample + 512;
                assert_eq!(source.notes().is_empty(), ends, "cut at {cut}: {:?}", source.notes());
                let said = format!("{kept} samples before that are read");
                assert!(ends || source.notes()[0].contains(&said), "cut at {cut}: {:?}", source.notes());
            }
            Err(error) => {
                assert!(cut < sample + 512 && error.to_string().contains("s.tar"), "cut at {cut}: {error}");
            }
        }
    }
}

fn full_image(index: usize) -> beit_data::Image {
    beit_data::Image::decode(&jpeg(index as u8), "").unwrap()
}

#[test]
fn what_is_no_shard_is_called_so() {
    let place = Place::new();
    let rows: [(&str, &[u8], &str); 5] = [
        ("gz.tar", &[0x1f, 0x8b, 8, 0, 0, 0], "compressed by gzip"),
        ("zst.tar", &[0x28, 0xb5, 0x2f, 0xfd, 0, 0], "unzstd"),
        ("text.tar", &[b'a'; 2000], "there is no header at byte 0"),
        ("short.tar", b"abc", "before its first sample is whole"),
        ("empty.tar", b"", "no picture in the shards"),
    ];
    for (name, bytes, says) in rows {
        fs::write(place.path(name), bytes).unwrap();
        let text = said(&place.text(name), Split::Train);
        assert!(text.contains(says) && text.contains(name), "{name}: {text}");
    }
    // Archives behind each other, as `cat` makes them, and rubbish behind an archive.
    numbered(&place.path("a.tar"), &["a"]);
    let one = fs::read(place.path("a.tar")).unwrap();
    numbered(&place.path("b.tar"), &["b"]);
    let two = fs::read(place.path("b.tar")).unwrap();
    fs::write(place.path("both.tar"), [one.clone(), two].concat()).unwrap();
    assert_eq!(names(&opened(&place.text("both.tar"), Split::Train).unwrap()), ["a.jpg", "b.jpg"]);
    fs::write(place.path("more.tar"), [one, vec![7; 999]].concat()).unwrap();
    let more = opened(&place.text("more.tar"), Split::Train).unwrap();
    assert!(
        more.len() == 1 && more.notes()[0].contains("1 samples before that are read"),
        "{:?}",
        more.notes()
    );
}

/// What a header claims is not allocated: 8 EiB and more.
#[test]
fn sizes_beyond_the_shard_are_cut() {
    let place = Place::new();
    let path = place.path("s.tar");
    for kind in [
        tar::EntryType::Regular,
        tar::EntryType::GNULongName,
        tar::EntryType::XHeader,
        tar::EntryType::GNUSparse,
    ] {
        for size in [1 << 20, 1 << 40, u64::MAX >> 1, u64::MAX] {
            numbered(&path, &["a", "b"]);
            let mut bytes = fs::read(&path).unwrap();
            bytes.truncate(bytes.len() - 1024);
            let mut header = tar::Header::new_gnu();
            header.set_path("c.jpg").unwrap();
            header.set_entry_type(kind);
            header.set_size(size);
            header.set_cksum();
            bytes.extend(header.as_bytes());
            bytes.extend([0; 4096]);
            fs::write(&path, bytes).unwrap();
            let source = opened(&place.text("s.tar"), Split::Train).unwrap();
            // Of what is no file nobody knows whether it belongs to the sample before.
            let kept: &[&str] =
                if kind == tar::EntryType::Regular { &["a.jpg", "b.jpg"] } else { &["a.jpg"] };
            assert_eq!(names(&source), kept, "{kind:?} {size}");
            assert!(source.notes()[0].contains("s.tar: "), "{:?}", source.notes());
        }
    }
}

/// The number of a picture's sample: what a loader keeps of it.
struct Index(usize);
impl Sample for Index {
    type Batch = Vec<usize>;
    fn collate(samples: Vec<Self>) -> Vec<usize> {
        samples.into_iter().map(|index| index.0).collect()
    }
}

fn load(source: Tar, max_bad_share: f64) -> Result<(Vec<usize>, Vec<String>), Error> {
    let config = LoaderConfig { workers: 2, max_bad_share, ..LoaderConfig::training(2, 7) };
    let source: Arc<dyn Source> = Arc::new(source);
    let loader = Loader::new(
        Arc::clone(&source),
        (0..source.len()).collect(),
        config,
        |item: Item, _: &mut SampleRng| Index(item.index),
    )?;
    let mut seen = Vec::new();
    for batch in loader.epoch(0)? {
        seen.extend(batch?.data);
    }
    Ok((seen, loader.bad_files().into_iter().map(|file| format!("{}: {}", file.name, file.reason)).collect()))
}

#[test]
fn shards_that_go_or_change_end_loading_and_those_that_are_cut_have_bad_files() {
    let place = Place::new();
    let two = || {
        numbered(&place.path("0.tar"), &["a", "b", "c", "d"]);
        numbered(&place.path("1.tar"), &["e", "f"]);
        opened(&place.text("{0..1}.tar"), Split::Train).unwrap()
    };
    assert_eq!(load(two(), 0.0).unwrap().1.len(), 0);

    let source = two();
    fs::remove_file(place.path("1.tar")).unwrap();
    let Err(error) = load(source, 1.0) else { panic!("a shard is gone") };
    assert!(matches!(error, Error::ShardGone { .. }) && error.to_string().contains("1.tar"), "{error}");

    let source = two();
    numbered(&place.path("1.tar"), &["e", "f", "g", "h", "i", "j", "k", "l"]);
    let Err(error) = load(source, 1.0) else { panic!("a shard has changed") };
    assert!(matches!(error, Error::ShardChanged { .. }) && error.to_string().contains("1.tar"), "{error}");

    let source = two();
    let file = File::options().write(true).open(place.path("1.tar")).unwrap();
    file.set_len(2000).unwrap();
    let (seen, bad) = load(source, 0.5).unwrap();
    assert!(seen.len() == 4 && bad.len() == 2, "{seen:?} {bad:?}");
    assert!(bad[0].contains("1.tar: e.jpg: the shard was cut short: it has 2000 bytes"), "{bad:?}");
    let source = two();
    file.set_len(2000).unwrap();
    assert!(matches!(load(source, 0.1), Err(Error::TooManyBad { .. })));
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

/// A hundred thousand samples: opened by their index, in below 100 bytes each.
#[test]
#[allow(clippy::print_stderr)] // How long it took is told, and no test.
fn many_samples_open_at_once() {
    let (place, picture) = (Place::new(), jpeg(1));
    let shards = 10;
    for number in 0..shards {
        let path = place.path(&format!("train-{number:06}.tar"));
        let mut archive = tar::Builder::new(std::io::BufWriter::new(File::create(path).unwrap()));
        for sample in 0..10_000 {
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
    let start = Instant::now();
    let source = open();
    let took = start.elapsed();
    eprintln!("100,000 samples of {shards} shards opened in {took:?}");
    assert_eq!((source.len(), source.class_names().len()), (100_000, 1000));
    assert!(source.memory() < 100 * source.len(), "{} bytes", source.memory());
    assert!(
        !source.notes().iter().any(|note| note.contains("index")),
        "the index was read: {:?}",
        source.notes()
    );
    assert!(source.name(99_999).ends_with("n00000999/n00000999_009999.jpg"));
    assert_eq!(source.image(54_321).unwrap(), beit_data::Image::decode(&picture, "").unwrap());
}
