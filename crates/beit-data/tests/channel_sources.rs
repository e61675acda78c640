//! Pictures that are read as they are, from every source that holds files: folders with an index, shards, tables.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beit_data::{
    Bands, Cached, Folder, Image, Indexing, Item, Loader, LoaderConfig, Part, SampleRng, Source, Split, Tar,
};
use tempfile::TempDir;

/// A file of `tests/goldens`.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn five() -> Option<Bands> {
    Bands::new(5)
}

/// What five channels of 16 bits are in every format.
fn picture() -> Image {
    Image::open_as(golden("channels/five-16.tif"), five()).unwrap()
}

/// Five channels twice, by two formats, and a picture of three.
const FILES: [(&str, &str); 3] =
    [("0.npy", "channels/last-16.npy"), ("1.tif", "channels/five-16.tif"), ("2.png", "channels/RGB-8.png")];

/// One shard of these files.
fn shard() -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.tar");
    let mut archive = tar::Builder::new(File::create(&path).unwrap());
    for (name, from) in FILES {
        archive.append_path_with_name(golden(from), name).unwrap();
    }
    archive.finish().unwrap();
    (dir, path.display().to_string())
}

/// One folder of these files that has not changed for a while.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, from) in FILES {
        fs::copy(golden(from), dir.path().join(name)).unwrap();
    }
    File::open(dir.path()).unwrap().set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    dir
}

fn said(source: &dyn Source) -> Vec<String> {
    (0..source.len()).map(|index| source.name(index).rsplit(['/', ' ']).next().unwrap().to_owned()).collect()
}

/// What a source of these files must be, whatever lies around them.
fn is_right(source: &dyn Source) {
    assert_eq!(said(source), ["0.npy", "1.tif", "2.png"]);
    for index in 0..2 {
        assert_eq!(source.image(index).unwrap(), picture(), "{index}");
        assert_eq!(source.size(index).unwrap(), [9, 13], "{index}");
    }
    let error = source.image(2).unwrap_err().to_string();
    assert!(error.ends_with("2.png: it has 3 channels, expected 5"), "{error}");
    // Nobody else may decode such a file, since only the source knows of the channels.
    assert!((0..3).all(|index| source.encoded(index).unwrap().is_none()));
}

#[test]
fn shards_have_an_index_for_each_way_to_read_them() {
    let (dir, spec) = shard();
    let beside = Indexing { beside: true, ..Indexing::none() };
    let plain = || Tar::open(&spec, Split::Train, &beside).unwrap();
    let banded = || Tar::open_as(&spec, Split::Train, five(), &beside).unwrap();
    for _ in 0..2 {
        assert_eq!(said(&plain()), ["1.tif", "2.png"]);
        assert!(plain().encoded(0).unwrap().is_some() && plain().image(1).unwrap().is_colour());
        is_right(&banded());
        assert!(banded().notes().is_empty(), "{:?}", banded().notes());
    }
    for name in ["s.tar.beit-index", "s.tar.channels.beit-index"] {
        assert!(dir.path().join(name).is_file(), "{name}");
    }
    // The same where indices lie in a folder of caches.
    let cache = tempfile::tempdir().unwrap();
    let cached = Indexing { cache: Some(cache.path().to_owned()), ..Indexing::none() };
    for _ in 0..2 {
        assert_eq!(Tar::open(&spec, Split::Train, &cached).unwrap().len(), 2);
        is_right(&Tar::open_as(&spec, Split::Train, five(), &cached).unwrap());
    }
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 2);
}

#[test]
fn folders_have_an_index_for_each_way_to_read_them() {
    let (dir, cache) = (folder(), tempfile::tempdir().unwrap());
    let indexing = Indexing { cache: Some(cache.path().to_owned()), ..Indexing::none() };
    let indexing = Indexing { least_files: 0, ..indexing };
    let open = |bands| Folder::open_indexed(dir.path(), Split::Train, bands, &indexing).unwrap();
    for kept in [1, 2, 2, 2] {
        if kept == 1 {
            assert_eq!(said(&open(None)), ["1.tif", "2.png"]);
        } else {
            assert!(open(None).encoded(0).unwrap().is_some());
            is_right(&open(five()));
        }
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), kept);
    }
    // Which files are pictures is the same for any number; the number is that which is asked for.
    let error = open(Bands::new(4)).image(0).unwrap_err().to_string();
    assert!(error.contains("expected [H, W, 4]"), "{error}");
}

#[test]
fn sources_of_sources_pass_them_on() {
    let dir = folder();
    let source: Arc<dyn Source> = Arc::new(Folder::open_as(dir.path(), Split::Train, five()).unwrap());
    let bytes = picture().samples().bytes();
    // There is room for one of them.
    let cached = Cached::new(Arc::clone(&source), bytes);
    (0..2).for_each(|_| is_right(&cached));
    is_right(&Part::new(source, vec![0, 1, 2]));
}

/// A loader that may decode smaller has nothing to decode: the whole picture comes, with all of its channels.
#[test]
fn nothing_is_decoded_smaller() {
    let dir = folder();
    let source: Arc<dyn Source> = Arc::new(Folder::open_as(dir.path(), Split::Train, five()).unwrap());
    let config = LoaderConfig { workers: 1, ..LoaderConfig::evaluation(2) };
    let make = |item: Item, _: &mut SampleRng| {
        assert_eq!((item.size, &item.image), ([9, 13], &picture()));
        vec![item.index as f32]
    };
    let loader = Loader::new(source, vec![0, 1], config, make).unwrap().reducing(|_, _| 8);
    assert_eq!(loader.epoch(0).unwrap().next().unwrap().unwrap().data, [0.0, 1.0]);
}

#[cfg(all(feature = "parquet", feature = "arrow"))]
#[test]
fn rows_of_tables_are_read_as_they_are() {
    use beit_data::open_as;
    for set in ["parquet:hub", "arrow:saved"] {
        let (scheme, place) = set.split_once(':').unwrap();
        let spec = format!("{scheme}:{}", golden("tables").join(place).display());
        let [rgb, three, four] =
            [None, Some(3), Some(4)].map(|n| open_as(&spec, Split::Train, n.and_then(Bands::new)).unwrap());
        let colours = (0..rgb.len()).filter(|&index| three.image(index).is_ok()).collect::<Vec<_>>();
        assert!(!colours.is_empty(), "{set}");
        for index in colours {
            assert_eq!(three.image(index).unwrap(), rgb.image(index).unwrap(), "{set} {index}");
            assert_eq!(three.size(index).unwrap(), rgb.size(index).unwrap(), "{set} {index}");
            let error = four.image(index).unwrap_err().to_string();
            assert!(error.ends_with("it has 3 channels, expected 4"), "{error}");
            assert!(error.contains(&rgb.name(index)), "{error}");
        }
        assert!(rgb.encoded(0).unwrap().is_some() && three.encoded(0).unwrap().is_none());
    }
}
