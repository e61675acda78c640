//! The official checkpoints as data: where they are, what is in them, which numbers they reach. BEiT's, and those of families that
//! share its block.

mod architecture;
mod entry;
mod model;
mod preparation;

pub use architecture::{Architecture, Positions, Size};
pub use entry::{Data, Entry, Family, Fixture, Hub, Kind, Score, Task};
pub use preparation::{Library, Preparation};

use beit_data::Preprocessing;
use serde::Deserialize;
use std::sync::LazyLock;

/// Every entry, the first version of BEiT first.
///
/// ```
/// assert!(beit_weights::catalogue().iter().any(|entry| entry.name == "beit_base_patch16_224_pt22k"));
/// ```
#[must_use]
pub fn catalogue() -> &'static [Entry] {
    static CATALOGUE: LazyLock<File> = LazyLock::new(|| {
        toml::from_str(include_str!("../assets/catalogue.toml"))
            .expect("the embedded catalogue fits its types")
    });
    &CATALOGUE.checkpoint
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    checkpoint: Vec<Entry>,
}

impl Entry {
    /// The entry with this name: that of the official file with or without its ending, the id on the Hub with or
    /// without `@revision`, or timm's with or without `timm/`; in whatever case.
    ///
    /// ```
    /// use beit_weights::Entry;
    /// let entry = Entry::find("microsoft/beit-base-patch16-224").unwrap();
    /// assert_eq!(entry.name, "beit_base_patch16_224_pt22k_ft22kto1k");
    /// assert_eq!(Entry::find("beit_base_patch16_224.in22k_ft_in22k_in1k"), Some(entry));
    /// ```
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        let name = name.split_once('@').map_or(name, |(name, _revision)| name);
        let same = |other: &str| other.eq_ignore_ascii_case(name);
        catalogue().iter().find(|entry| entry.names().into_iter().any(same))
    }

    /// Everything that [`find`](Self::find) knows it by.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let files = self.urls().flat_map(|url| {
            let file = url.rsplit('/').next().unwrap_or(url);
            [file, file.rsplit_once('.').map_or(file, |(stem, _ending)| stem)]
        });
        let ids = self.hub.iter().flat_map(|hub| [hub.id.as_str(), hub.id.trim_start_matches("timm/")]);
        let mut names: Vec<&str> = [self.name.as_str()].into_iter().chain(files).chain(ids).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Where its file is or was: the authors' address first. None where the Hub is the only place that has a name of its own for it.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.url.iter().chain(&self.mirrors).map(String::as_str)
    }

    /// How to get pictures to the model: the library's way, where it has one.
    #[must_use]
    pub fn preparation(&self, library: Library) -> Option<&Preparation> {
        self.preparations.iter().find(|preparation| preparation.library == library)
    }

    /// How the authors prepare pictures for this checkpoint, when the model sees `size [H, W]` pixels. At the checkpoint's own size
    /// the published numbers were measured so; at another size it is what the released code does there. Of a segmenter, whose windows
    /// are moved over pictures, it is the size of a window and the statistics.
    #[must_use]
    pub fn authors_preprocessing(&self, size: [usize; 2]) -> Option<Preprocessing> {
        self.preparations.first().map(|authors| authors.preprocessing.for_size(size))
    }
}
