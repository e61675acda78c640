//! Shards and their indices, whatever bytes they are.
#![no_main]

use beit_data::{Indexing, Source, Split, Tar};

/// Pictures of which the bytes are read.
const LOOKED_AT: usize = 8;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The first byte says how many of the others are the shard; the rest are its index.
    let Some((&share, bytes)) = bytes.split_first() else { return };
    let (shard, index) = bytes.split_at(bytes.len() * usize::from(share) / 255);
    let path = beit_fuzz::file("shard.tar", shard);
    let spec = format!("{};{0}", path.display());
    let found = Tar::open(&spec, Split::Train, &Indexing::none());
    found.iter().for_each(look);
    let place = beit_fuzz::file("shard.tar.beit-index", &signed(index));
    let beside = Indexing { beside: true, ..Indexing::none() };
    let (first, again) = (Tar::open(&spec, Split::Train, &beside), Tar::open(&spec, Split::Test, &beside));
    first.iter().chain(&again).for_each(look);
    // A forged index may name other places in the shard; whatever was made or read holds the next time too.
    assert_eq!(first.is_ok(), again.is_ok());
    let _ = std::fs::remove_file(place);
});

/// An index whose checksum is right, so that what lies behind it is read.
fn signed(index: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(index);
    [index, &crc.sum().to_le_bytes()].concat()
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
