//! Shards and their indices, whatever bytes they are.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use beit_data::{Indexing, Source, Split, Tar};

/// Pictures of which the bytes are read.
const LOOKED_AT: usize = 8;

pub(crate) fn run(bytes: &[u8]) {
    // The first byte says how many of the others are the shard; the rest are its index.
    let Some((&share, bytes)) = bytes.split_first() else { return };
    let (shard, index) = bytes.split_at(bytes.len() * usize::from(share) / 255);
    let path = crate::file("shard.tar", shard);
    let spec = format!("{};{0}", path.display());
    let found = Tar::open(&spec, Split::Train, &Indexing::none());
    found.iter().for_each(look);
    let place = crate::file("shard.tar.beit-index", &forged(index, &path));
    let beside = Indexing { beside: true, ..Indexing::none() };
    let (first, again) = (Tar::open(&spec, Split::Train, &beside), Tar::open(&spec, Split::Test, &beside));
    first.iter().chain(&again).for_each(look);
    // A forged index may name other places in the shard; whatever was made or read holds the next time too.
    assert_eq!(first.is_ok(), again.is_ok());
    let _ = fs::remove_file(place);
}

/// An index that is of this shard as it is and whose checksum is right, so that all behind its head is read.
fn forged(behind: &[u8], shard: &Path) -> Vec<u8> {
    let data = fs::metadata(shard).expect("it was written");
    let modified =
        data.modified().expect("files have a time").duration_since(UNIX_EPOCH).expect("it is later");
    let name = b"shard.tar";
    let mut index = b"BEITIDX\n".to_vec();
    index.extend([1_u32, 1].into_iter().flat_map(u32::to_le_bytes));
    index.extend((name.len() as u64).to_le_bytes());
    index.extend(name);
    index.extend(data.len().to_le_bytes());
    index.extend(modified.as_secs().to_le_bytes());
    index.extend(modified.subsec_nanos().to_le_bytes());
    index.extend(behind);
    let mut crc = flate2::Crc::new();
    crc.update(&index);
    index.extend(crc.sum().to_le_bytes());
    index
}

/// Every sample lies in the shard and its class has a name.
fn look(source: &Tar) {
    assert!(source.len() > 0, "a source that is open is not empty");
    for index in 0..source.len() {
        let classes = source.class_names().len();
        assert!(source.label(index).is_none_or(|label| (label as usize) < classes));
        assert!(!source.name(index).is_empty());
        if index < LOOKED_AT {
            let _ = source.image(index);
        }
    }
}
