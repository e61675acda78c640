//! Files made here: what the writer writes, and what no writer should.

use super::*;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A zip archive with these entries in the folder `archive`.
pub(super) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    compressed_archive(entries, CompressionMethod::Stored)
}

pub(super) fn compressed_archive(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = SimpleFileOptions::DEFAULT.compression_method(method);
        zip.start_file(format!("archive/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A legacy stream with this pickle and these storages, in which numbers of elements precede the elements.
pub(super) fn legacy(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file =
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}U\rlittle_endian\x88s.".to_vec();
    file.extend(pickle);
    file.extend(b"\x80\x02](");
    for (key, _) in storages {
        file.extend([&[b'U', key.len() as u8], key.as_bytes()].concat());
    }
    file.extend(b"e.");
    storages.iter().for_each(|(_, bytes)| file.extend(*bytes));
    file
}

const WEIGHTS: [(&str, Dtype, &[usize], &[u8]); 5] = [
    ("cls_token", Dtype::F32, &[1, 1, 2], &[0, 0, 128, 63, 0, 0, 0, 192]),
    ("scalar", Dtype::F64, &[], &[0, 0, 0, 0, 0, 0, 248, 63]),
    ("blocks.0.index", Dtype::I64, &[2], &[1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]),
    ("empty", Dtype::BF16, &[0, 3], &[]),
    ("mask", Dtype::BOOL, &[3, 1], &[1, 0, 1]),
];

fn write(path: &Path, wrapper: Option<&str>) {
    let wrapper = wrapper.map(|key| Wrapper { key, class_names: &[] });
    let tensors = WEIGHTS.map(|(name, dtype, shape, bytes)| (name, dtype, shape.to_vec(), Ok(bytes)));
    write_torch(path, wrapper, tensors).unwrap();
}

#[test]
fn what_is_written_is_read() {
    let folder = TempDir::new().unwrap();
    for (wrapper, prefix) in [(None, ""), (Some("model"), "model.")] {
        let path = folder.path().join("weights.pth");
        write(&path, wrapper);
        let file = TorchFile::open(&path).unwrap();
        let expected = WEIGHTS.map(|(name, dtype, shape, _)| Entry {
            name: format!("{prefix}{name}"),
            dtype,
            shape: shape.to_vec(),
        });
        assert_eq!(file.entries(), expected);
        for (name, _, _, bytes) in WEIGHTS {
            assert_eq!(file.bytes(&format!("{prefix}{name}")).unwrap(), bytes, "{name}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

/// `python torch_goldens.py --check written.pth` loads this file with `weights_only=True`.
#[test]
fn the_written_file_is_the_one_that_torch_was_seen_to_load() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("weights.pth");
    write(&path, Some("model"));
    if fs::read(&path).unwrap() != fs::read(golden("written.pth")).unwrap_or_default() {
        panic!("the file differs from tests/goldens/torch/written.pth: {}", folder.keep().display());
    }
}

#[test]
fn names_of_classes_stand_beside_the_tensors() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("weights.pth");
    let write = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let wrapper = Wrapper { key: "model", class_names: &names };
        let tensors = WEIGHTS.map(|(name, dtype, shape, bytes)| (name, dtype, shape.to_vec(), Ok(bytes)));
        write_torch(&path, Some(wrapper), tensors).unwrap();
        TorchFile::open(&path).unwrap()
    };
    let named = write(&["0", "10", "caf\u{e9}"]);
    assert_eq!(named.class_names().unwrap(), ["0", "10", "caf\u{e9}"]);
    assert_eq!(named.entries(), write(&[]).entries());
    assert_eq!(write(&[]).class_names(), None);
    // Nobody has names as long as this.
    assert_eq!(write(&["a", &"b".repeat(513)]).class_names(), None);
}

/// A dict `{"class_names": VALUE}`.
#[test]
fn other_lists_are_no_names() {
    let dict = |value: &[u8]| [b"\x80\x02}X\x0b\0\0\0class_names", value, b"s."].concat();
    let names = |value: &[u8]| {
        let pickle = dict(value);
        let file = open(&archive(&[("data.pkl", &pickle)])).unwrap();
        file.class_names().map(<[String]>::to_vec)
    };
    assert_eq!(names(b"](X\x01\0\0\0aX\x01\0\0\0be"), Some(vec!["a".to_owned(), "b".to_owned()]));
    // A number, a list with a number, a text.
    for value in [&b"K\x01"[..], b"](X\x01\0\0\0aK\x01e", b"X\x01\0\0\0a"] {
        assert_eq!(names(value), None, "{value:?}");
    }
    // One text in as many places as a hostile pickle likes.
    let many = [&b"](X\x01\0\0\0aq\0"[..], &b"h\0".repeat(1 << 17), b"e"].concat();
    assert_eq!(names(&many), None);
}

#[test]
fn storages_are_aligned() {
    let file = fs::read(golden("written.pth")).unwrap();
    let mut zip = zip::ZipArchive::new(Cursor::new(file)).unwrap();
    for index in 0..zip.len() {
        let entry = zip.by_index(index).unwrap();
        assert_eq!(entry.data_start().unwrap() % 64, 0, "{}", entry.name().unwrap());
    }
}

#[test]
fn a_type_without_storage_is_not_written() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("weights.pth");
    let error = write_torch(&path, None, [("x", Dtype::U32, vec![1], Ok([0; 4]))]).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
