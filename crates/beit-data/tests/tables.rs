//! Tables in Parquet and Arrow files: what `datasets` and pyarrow wrote, and what is wrong with files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use beit_data::{
    Error, Item, LabelledSample, Loader, LoaderConfig, SampleRng, Shuffle, Source, Split, Table, open,
    shuffled,
};
use proptest::prelude::*;

/// Written by `tests/peers/make_tables.py`.
fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/tables")
}

/// A set of the goldens, or of another folder.
fn table_in(folder: &Path, spec: &str, split: Split) -> Result<Table, String> {
    let (scheme, place) = spec.split_once(':').expect("a scheme");
    let place = format!("{}/{place}", folder.display());
    let table = match scheme {
        "parquet" => Table::parquet(&place, split),
        _ => Table::arrow(&place, split),
    };
    table.map_err(|error| error.to_string())
}

/// A row that a golden set should have.
struct Row {
    picture: Option<Vec<u8>>,
    label: Option<String>,
}

/// For each set and split the rows.
fn expected() -> Vec<((String, String), Vec<Row>)> {
    let hex = |line: &str| -> Vec<u8> {
        (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect()
    };
    let pictures = fs::read_to_string(goldens().join("pictures.txt")).unwrap();
    let pictures: Vec<Vec<u8>> = pictures.lines().map(hex).collect();
    let mut sets: Vec<((String, String), Vec<Row>)> = Vec::new();
    for line in fs::read_to_string(goldens().join("rows.csv")).unwrap().lines().skip(1) {
        // A set with options has commas in it, and so is quoted.
        let (spec, rest) = match line.strip_prefix('"') {
            Some(quoted) => quoted.split_once("\",").unwrap(),
            None => line.split_once(',').unwrap(),
        };
        let [split, row, picture, label] = rest.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        if row == "0" {
            sets.push(((spec.to_owned(), split.to_owned()), Vec::new()));
        }
        let there = |text: &str| (text != "-").then(|| text.to_owned());
        let picture = there(picture).map(|number| pictures[number.parse::<usize>().unwrap()].clone());
        sets.last_mut().unwrap().1.push(Row { picture, label: there(label) });
    }
    sets
}

#[test]
fn sets_of_the_peers_are_read_to_the_byte() {
    let sets = expected();
    assert!(sets.len() >= 14, "{}", sets.len());
    for ((spec, split), rows) in &sets {
        let split = if split == "test" { Split::Test } else { Split::Train };
        let table = table_in(&goldens(), spec, split).unwrap_or_else(|error| panic!("{spec}: {error}"));
        assert_eq!(table.len(), rows.len(), "{spec}");
        for (index, row) in rows.iter().enumerate() {
            let name = format!("{spec} {split} {index}");
            assert_eq!(table.file(index).ok(), row.picture, "{name}");
            let label = table.label(index).map(|class| table.class_names()[class as usize].clone());
            assert_eq!(label, row.label, "{name}");
            assert_eq!(table.image(index).is_ok(), row.picture.is_some(), "{name}");
            match &row.picture {
                Some(_) => assert_eq!(table.size(index).unwrap(), [3, 3], "{name}"),
                None => assert!(
                    table.image(index).unwrap_err().to_string().contains("its image is null"),
                    "{name}"
                ),
            }
        }
    }
}

/// Rows in any order are the same.
#[test]
fn what_is_kept_changes_nothing() {
    for spec in ["parquet:hub", "parquet:other/zstd.parquet,label=name", "arrow:saved/one"] {
        let read = |index: usize| table_in(&goldens(), spec, Split::Train).unwrap().file(index).ok();
        let kept = table_in(&goldens(), spec, Split::Train).unwrap();
        for index in (0..kept.len()).rev().chain(0..kept.len()) {
            assert_eq!(kept.file(index).ok(), read(index), "{spec} {index}");
        }
    }
}

#[test]
fn a_set_says_how_it_is_divided() {
    let classes = ["cat", "dog", "eel"];
    let hub = table_in(&goldens(), "parquet:hub", Split::Test).unwrap();
    assert_eq!(hub.class_names(), classes);
    let note = &hub.notes()[0];
    assert!(
        note.contains("train-00000-of-00002.parquet to train-00001-of-00002.parquet (2 files)"),
        "{note}"
    );
    assert!(note.contains("test images from validation-00000-of-00001.parquet; not read: 1 more"), "{note}");
    assert!(hub.name(1).ends_with("validation-00000-of-00001.parquet#1"), "{}", hub.name(1));
    assert!(hub.version(0).is_some_and(|(bytes, _)| bytes > 1000));
    // Three classes in the training split, two in its own.
    let saved = table_in(&goldens(), "arrow:saved/dict", Split::Test).unwrap();
    assert_eq!(saved.class_names(), classes);
    let unlabelled =
        table_in(&goldens(), "parquet:hub/data/test-00000-of-00001.parquet", Split::Train).unwrap();
    assert!(unlabelled.class_names().is_empty());
    let groups = table_in(&goldens(), "parquet:hub", Split::Train).unwrap().groups().unwrap();
    assert_eq!((0..7).map(|index| groups.of(index)).max(), Some(groups.count() - 1));
}

#[test]
fn what_is_wrong_is_said() {
    let hub = "hub/data/train-00000-of-00002.parquet";
    for (spec, problem) in [
        (
            "parquet:other/brotli.parquet",
            "is compressed with brotli, which is not read: write it with snappy",
        ),
        ("arrow:other/packed.arrow", "its batches are compressed, which is not read"),
        ("parquet:other/snappy.parquet,image=name", "expected pictures in column `name`"),
        ("parquet:other/snappy.parquet,label=boxes", "found a list"),
        (
            "parquet:other/snappy.parquet,image=picture",
            "found columns `boxes` (a list), `img` (pictures), `name` (text), `raw` (bytes), `small` (integers)",
        ),
        ("arrow:other/stream.arrow,label=kind", "found a dictionary"),
        ("arrow:other/stream.arrow,image=picture", "`view` (Utf8View)"),
        ("arrow:cache/cache-00c0ffee.arrow", "expected a folder or a file ending in .arrow"),
        ("parquet:cache", "no files ending in .parquet"),
        ("parquet:pictures.txt", "a file ending in .parquet"),
        ("parquet:none.parquet", "cannot read"),
        (
            &format!("parquet:{hub},label=image"),
            "expected integers or texts in column `image`, one label an image, found pictures",
        ),
    ] {
        let error = table_in(&goldens(), spec, Split::Train).err().unwrap_or_else(|| panic!("{spec} opens"));
        assert!(error.contains(problem) && !error.contains('\n'), "{spec}: {error}");
    }
    let error = table_in(&goldens(), "arrow:saved/one", Split::Test).err().unwrap();
    assert!(error.contains("no test split"), "{error}");
    let error = open("lance:a", Split::Train).err().unwrap().to_string();
    assert!(error.contains("parquet:PLACE") && error.contains("arrow:PLACE"), "{error}");
}

/// A copy of a golden file in a folder of its own.
fn copied(file: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(Path::new(file).file_name().unwrap());
    fs::copy(goldens().join(file), &path).unwrap();
    (folder, path)
}

const FILES: [(&str, &str); 2] =
    [("parquet", "hub/data/train-00000-of-00002.parquet"), ("arrow", "saved/one/data-00000-of-00002.arrow")];

#[test]
fn a_file_that_is_cut_short_is_named() {
    for (scheme, file) in FILES {
        let (folder, path) = copied(file);
        let whole = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        for length in [0, 3, 100, whole.len() / 2, whole.len() - 20] {
            fs::write(&path, &whole[..length]).unwrap();
            let error = table_in(folder.path(), &format!("{scheme}:{name}"), Split::Train).err();
            let error = error.unwrap_or_else(|| panic!("{length} bytes of {file} open"));
            assert!(error.contains(name) && !error.contains('\n'), "{error}");
        }
        fs::write(&path, b"\x89PNG\r\n\x1a\n and so on and on and on").unwrap();
        assert!(table_in(folder.path(), &format!("{scheme}:{name}"), Split::Train).is_err());
    }
}

/// A file that is gone, or another, when a picture of it is wanted.
#[test]
fn a_file_that_vanishes_is_a_bad_file_for_each_row() {
    for (scheme, file) in FILES {
        let (folder, path) = copied(file);
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let table: Arc<dyn Source> =
            Arc::new(table_in(folder.path(), &format!("{scheme}:{name}"), Split::Train).unwrap());
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let error = table.image(0).unwrap_err().to_string();
        assert!(error.contains("#0") && error.contains("has changed"), "{error}");
        fs::remove_file(&path).unwrap();
        let all = (0..table.len()).collect();
        let make = |item: Item, _: &mut SampleRng| LabelledSample {
            pixels: Vec::new(),
            label: item.label.unwrap_or(0),
        };
        let loader = Loader::new(table, all, LoaderConfig::evaluation(2), make).unwrap();
        let error = loader.epoch(0).unwrap().next().unwrap().err().unwrap();
        assert!(
            matches!(&error, Error::TooManyBad { bad, .. } if bad[0].name.ends_with(&format!("{name}#0"))),
            "{error}"
        );
    }
}

/// Rows without a picture are counted as bad files, by name; the others are read.
#[test]
fn nulls_are_bad_files() {
    let table: Arc<dyn Source> =
        Arc::new(table_in(&goldens(), "arrow:other/stream.arrow", Split::Train).unwrap());
    let make = |item: Item, _: &mut SampleRng| LabelledSample { pixels: vec![item.index as f32], label: 0 };
    let all = (0..table.len()).collect();
    let config = LoaderConfig { max_bad_share: 0.3, ..LoaderConfig::evaluation(4) };
    let loader = Loader::new(Arc::clone(&table), all, config, make).unwrap();
    let indices: Vec<usize> = loader.epoch(0).unwrap().flat_map(|batch| batch.unwrap().indices).collect();
    assert_eq!(indices, [0, 2, 3, 4, 5, 8, 9]);
    let bad: Vec<String> =
        loader.bad_files().iter().map(|file| format!("{}: {}", file.name, file.reason)).collect();
    assert_eq!(bad.len(), 3);
    assert!(bad[0].ends_with("stream.arrow#1: it has no bytes: its image is null"), "{}", bad[0]);
}

/// What `datasets` keeps of pictures in files: their paths.
#[test]
fn a_path_stands_for_its_file() {
    use arrow_array::{ArrayRef, BinaryArray, RecordBatch, StringArray, StructArray};
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.png");
    fs::write(&picture, expected()[0].1[0].picture.as_ref().unwrap()).unwrap();
    let paths = [picture.to_str().unwrap(), "a.png", "/nowhere/b.png"];
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![None, None, None]));
    let cells = StructArray::try_from(vec![
        ("bytes", bytes),
        ("path", Arc::new(StringArray::from(paths.to_vec())) as ArrayRef),
    ])
    .unwrap();
    let batch = RecordBatch::try_from_iter([("image", Arc::new(cells) as ArrayRef)]).unwrap();
    let file = fs::File::create(folder.path().join("x-train.arrow")).unwrap();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(file, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let table = table_in(folder.path(), "arrow:", Split::Train).unwrap();
    assert_eq!(table.file(0).unwrap(), fs::read(&picture).unwrap());
    for (row, problem) in [(1, "no whole path"), (2, "its image is the file /nowhere/b.png: No such file")] {
        let error = table.file(row).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

/// A set of so many row groups of two rows, all of one picture.
fn many_groups(path: &Path, groups: usize) {
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::writer::SerializedFileWriter;
    let schema = "message schema { optional group image { optional binary bytes; } }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let mut writer =
        SerializedFileWriter::new(fs::File::create(path).unwrap(), schema, Arc::default()).unwrap();
    let picture: ByteArray = expected()[0].1[0].picture.clone().unwrap().into();
    for _ in 0..groups {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&[picture.clone(), picture.clone()], Some(&[2; 2]), None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

/// Row groups of a window come before those of the next; globally the order is that of any other source.
#[test]
fn row_groups_are_shuffled_and_rows_within_windows() {
    /// The most that a window has.
    const WINDOW: usize = 256;
    let folder = tempfile::tempdir().unwrap();
    many_groups(&folder.path().join("train.parquet"), 2 * WINDOW + 10);
    let order = |shuffle, epoch| -> Vec<usize> {
        let source = Arc::new(table_in(folder.path(), "parquet:", Split::Train).unwrap());
        let make = |item: Item, _: &mut SampleRng| vec![item.index as f32];
        let config = LoaderConfig { shuffle, ..LoaderConfig::training(2, 5) };
        let all = (0..source.len()).collect();
        let loader: Loader<Vec<f32>> = Loader::new(source, all, config, make).unwrap();
        loader.epoch(epoch).unwrap().flat_map(|batch| batch.unwrap().indices).collect()
    };
    let [usual, groups] = [Shuffle::Usual, Shuffle::Groups].map(|shuffle| order(shuffle, 0));
    assert_eq!(usual, groups);
    assert_ne!(usual, order(Shuffle::Usual, 1));
    let windows: Vec<BTreeSet<usize>> =
        usual.chunks(2 * WINDOW).map(|window| window.iter().map(|index| index / 2).collect()).collect();
    assert_eq!(windows.iter().map(BTreeSet::len).collect::<Vec<_>>(), [WINDOW, WINDOW, 10]);
    assert!(windows[0].is_disjoint(&windows[1]));
    assert_eq!(order(Shuffle::Global, 0), shuffled(usual.len(), 5, 0));
    // A smaller set is one window: there is one order for all sources.
    many_groups(&folder.path().join("train.parquet"), WINDOW);
    assert_eq!(order(Shuffle::Usual, 3), shuffled(2 * WINDOW, 5, 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is wrong with a file, there is an error and no panic.
    #[test]
    fn damaged_files_are_errors(file in 0..5_usize, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let files = ["hub/data/train-00000-of-00002.parquet", "other/snappy.parquet", "other/zstd.parquet", "saved/one/data-00000-of-00002.arrow", "other/stream.arrow"];
        let (folder, path) = copied(files[file]);
        let mut bytes = fs::read(&path).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        fs::write(&path, bytes).unwrap();
        let scheme = path.extension().unwrap().to_str().unwrap();
        if let Ok(table) = table_in(folder.path(), &format!("{scheme}:"), Split::Train) {
            for index in 0..table.len().min(8) {
                let _ = (table.image(index), table.label(index).map(|class| &table.class_names()[class as usize]), table.size(index));
            }
        }
    }
}
