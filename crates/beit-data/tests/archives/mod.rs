//! Shards for tests, and what is read from them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use beit_data::{Error, Indexing, Item, Loader, LoaderConfig, Sample, SampleRng, Source, Split, Tar};
use tempfile::TempDir;

use super::pictures::jpeg;

/// Writes a shard of these files.
pub(crate) fn shard(path: &Path, files: &[(&str, &[u8])]) {
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
pub(crate) fn numbered(path: &Path, names: &[&str]) {
    let pictures: Vec<_> =
        names.iter().enumerate().map(|(i, name)| (format!("{name}.jpg"), jpeg(i as u8))).collect();
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for (i, (name, picture)) in pictures.into_iter().enumerate() {
        files.push((name.replace(".jpg", ".cls"), i.to_string().into_bytes()));
        files.push((name, picture));
    }
    shard(path, &files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect::<Vec<_>>());
}

pub(crate) fn opened(spec: &str, split: Split) -> Result<Tar, Error> {
    Tar::open(spec, split, &Indexing::none())
}

pub(crate) fn names(source: &Tar) -> Vec<String> {
    (0..source.len()).map(|index| source.name(index).rsplit(['/', ' ']).next().unwrap().to_owned()).collect()
}

pub(crate) fn said(spec: &str, split: Split) -> String {
    opened(spec, split).err().map(|error| error.to_string()).unwrap_or_default()
}

/// A folder, and paths in it as text.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
    pub(crate) fn cached(&self) -> Indexing {
        Indexing { beside: true, cache: Some(self.path("cache")), least_files: usize::MAX }
    }
}

/// The number of a picture's sample: what a loader keeps of it.
pub(crate) struct Index(pub(crate) usize);
impl Sample for Index {
    type Batch = Vec<usize>;
    fn collate(samples: Vec<Self>) -> Vec<usize> {
        samples.into_iter().map(|index| index.0).collect()
    }
}

pub(crate) fn load(source: Tar, max_bad_share: f64) -> Result<(Vec<usize>, Vec<String>), Error> {
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
