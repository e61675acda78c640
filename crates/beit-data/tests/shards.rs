//! Shards that WebDataset and Python wrote, against what WebDataset reads of them (`tests/peers/shard_golden.py`).

use std::fs;
use std::path::{Path, PathBuf};

use beit_data::{Indexing, Source, Split, Tar, places};

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/shards")
}

fn open(spec: &str) -> Tar {
    Tar::open(spec, Split::Train, &Indexing::none()).unwrap()
}

#[test]
fn samples_are_those_that_webdataset_reads() {
    let rows = fs::read_to_string(goldens().join("samples.csv")).unwrap();
    for shard in ["gnu", "pax", "ustar", "peer-000000", "peer-000001"] {
        let path = goldens().join(format!("{shard}.tar"));
        let source = open(path.to_str().unwrap());
        let rows: Vec<Vec<&str>> = rows
            .lines()
            .map(|row| row.split(',').collect())
            .filter(|row: &Vec<_>| row[0] == format!("{shard}.tar"))
            .collect();
        assert_eq!(source.len(), rows.len(), "{shard}");
        for (index, row) in rows.iter().enumerate() {
            assert_eq!(source.name(index), format!("{}: {}", path.display(), row[1]));
            assert_eq!(
                source.label(index).map(|label| label.to_string()).unwrap_or_default(),
                row[2],
                "{shard} {index}"
            );
            let bytes: u64 = row[3].parse().unwrap();
            assert_eq!(source.version(index).unwrap().0, bytes);
            assert_eq!(source.size(index).unwrap(), [6, 8]);
            assert_eq!(source.image(index).unwrap().pixels().len(), 6 * 8 * 3);
            // The bytes of the shard at the place of the picture are those that the peer had.
            let whole = fs::read(&path).unwrap();
            let crc = |part: &[u8]| {
                let mut crc = flate2::Crc::new();
                crc.update(part);
                crc.sum()
            };
            let wanted: u32 = row[4].parse().unwrap();
            let found = whole.chunks(512).scan(0, |at, block| {
                *at += block.len();
                Some(*at - block.len())
            });
            let is_there =
                |at: usize| whole.get(at..at + bytes as usize).is_some_and(|part| crc(part) == wanted);
            assert!(found.into_iter().any(is_there), "{shard} {index}");
        }
    }
    let shards = format!("{}/peer-{{000000..000001}}.tar", goldens().display());
    let both = open(&shards);
    assert_eq!((both.len(), both.class_names()), (5, &["0", "1", "2"].map(String::from)[..]));
    assert!(both.notes().is_empty(), "{:?}", both.notes());
}

#[test]
fn ranges_are_those_of_braceexpand() {
    for row in fs::read_to_string(goldens().join("braces.csv")).unwrap().lines() {
        let fields: Vec<String> = fields(row);
        let (text, wanted) = fields.split_first().unwrap();
        if text.contains(',') && wanted[0] == "!" {
            continue;
        }
        // What has no pair of braces is a name as it stands; the peer refuses it.
        let wanted = if wanted[0] == "!" { std::slice::from_ref(text) } else { wanted };
        let found: Vec<String> =
            places(&format!("tar:{text}")).iter().map(|path| path.display().to_string()).collect();
        assert_eq!(found, wanted, "{text}");
    }
}

/// The fields of a row, of which some stand in quotes.
fn fields(row: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for letter in row.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields.last_mut().unwrap().push(letter),
        }
    }
    fields
}
