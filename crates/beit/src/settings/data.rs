use super::number::within;
use crate::error::{Error, Result, setting};
use beit_data::{Bands, Cached, Channels, Indexing, MAX_CHANNELS, Part, Source, Split, open_with, places};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Decoded images up to this many bytes stay in memory.
const CACHE_BYTES: usize = 1 << 30;

/// Where images come from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct DataSettings {
    /// Where images come from: fashion-mnist (embedded), folder:DIR, idx:DIR, tar:SHARDS, parquet:DIR, arrow:DIR; with masks scenes
    /// (embedded), ade:DIR,
    /// masks:IMAGES,MASKS or masks:IMAGES,MASKS,CLASSES
    ///
    /// DIR of a folder has DIR/train/CLASS/… and DIR/val/CLASS/…, or DIR/CLASS/… Splits may also be called training, valid, validation,
    /// test or testing, in any case; of several for a test the validation images are read. What is taken as what, and what is not read, is
    /// said on stderr. Classes are numbered in the order of their names (10 before 2).
    ///
    /// SHARDS are tar files as WebDataset has them: a file, a folder, a range such as shards/train-{000000..000146}.tar, several between
    /// commas, or @FILE with one a line. TRAIN;TEST says both splits, else folders or names with train and val in them do.
    ///
    /// parquet:DIR is a data set as the Hugging Face hub has it (data/train-00000-of-00005.parquet, data/validation-…), arrow:DIR one as
    /// save_to_disk of its library datasets writes it, or its cache; either may also be files, with commas between. Columns may be named:
    /// parquet:DIR,image=img,label=fine_label.
    ///
    /// Of masks:IMAGES,MASKS the two folders have files of the same names, in the same splits; masks are PNG files whose grey values or
    /// palette numbers are classes, 255 none. CLASSES is a text file with the name of a class in each line, in the order of their numbers,
    /// and for masks in colours NAME RED GREEN BLUE. ade:DIR is ADE20K as it is released.
    #[cfg_attr(feature = "clap", arg(long, alias = "data-path", default_value_t = Self::default().data, value_name = "SPEC"))]
    pub data: String,
    /// Read pictures as they are, with so many channels (1 to 16) of 8 or 16 bits, instead of as RGB: TIFF, PNG and arrays of NumPy (.npy),
    /// from folder:DIR, tar:SHARDS, parquet:DIR, arrow:DIR and masks:IMAGES,MASKS. Where a model is given, it says that itself
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub channels: Option<usize>,
    /// Share of the files that may be undecodable before the run stops
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().max_bad_share, value_name = "SHARE"))]
    pub max_bad_share: f64,
    /// In training, decode JPEG files at a half, a quarter or an eighth of their size where the random region has pixels to spare: less
    /// time, and other pixels
    #[cfg_attr(feature = "clap", arg(long))]
    pub fast_decode: bool,
    /// Look for images at every start, and keep no index of shards and of folders with many images for the next: needed where a file
    /// system does not change a folder's time when files come or go, as some network and cloud mounts do not
    #[cfg_attr(feature = "clap", arg(long))]
    pub no_index: bool,
    /// How training shuffles the images of an epoch
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub shuffle: Shuffle,
}

/// How training shuffles the images of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Shuffle {
    /// By groups of parquet: where there are several windows of them, which is said; else globally
    #[default]
    Auto,
    /// Any image may come after any other: the same order for the same images, wherever they come from
    Global,
    /// Groups of rows that lie together are shuffled, then the images within each window of some groups, so that little is read twice
    Groups,
}

impl fmt::Display for Shuffle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Global => "global",
            Self::Groups => "groups",
        })
    }
}

impl From<Shuffle> for beit_data::Shuffle {
    fn from(shuffle: Shuffle) -> Self {
        match shuffle {
            Shuffle::Auto => Self::Usual,
            Shuffle::Global => Self::Global,
            Shuffle::Groups => Self::Groups,
        }
    }
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            data: "fashion-mnist".to_owned(),
            channels: None,
            max_bad_share: 0.01,
            fast_decode: false,
            no_index: false,
            shuffle: Shuffle::Auto,
        }
    }
}

impl DataSettings {
    /// Images from `data`, as the command line names it.
    #[must_use]
    pub fn of_spec(data: impl Into<String>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }

    /// The same images, with so many channels that are read as they are; `None` for RGB.
    #[must_use]
    pub fn with_bands(self, bands: Option<Bands>) -> Self {
        Self { channels: bands.map(Bands::count), ..self }
    }

    /// The folders and files that images come from.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        places(&self.data)
    }

    /// Refuses numbers that no data can have.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(channels) = self.channels.filter(|&channels| Bands::new(channels).is_none()) {
            setting!("--channels {channels}: expected 1 to {MAX_CHANNELS}");
        }
        if let Some(channels) = self.channels.filter(|_| self.fast_decode) {
            setting!(
                "--fast-decode: expected JPEG pictures in RGB; pictures of {channels} channels are read as they are (--channels), and whole: \
                 leave it out"
            );
        }
        within("--max-bad-share", "a share of undecodable files", self.max_bad_share, 0.0..=1.0)
    }

    /// With how many channels pictures are read as they are; `None` where they are read as RGB.
    #[must_use]
    pub fn bands(&self) -> Option<Bands> {
        self.channels.and_then(Bands::new)
    }

    /// The same images, read as a model sees them; `model` is what it is called.
    pub(crate) fn seen_by(&self, model: &str, channels: Channels) -> Result<Self> {
        let of_model = channels.bands().map(Bands::count);
        match self.channels {
            Some(asked) if Some(asked) != of_model => {
                let sees = match of_model {
                    Some(count) => format!("{count} channels as they are"),
                    None => "pictures in RGB of 8 bits".to_owned(),
                };
                setting!("--channels {asked}: {model} sees {sees}; leave the flag out, or take another model")
            }
            _ => Ok(Self { channels: of_model, ..self.clone() }),
        }
    }

    /// Opens a split.
    ///
    /// # Errors
    ///
    /// A source that is not there.
    pub fn open(&self, split: Split) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(Cached::new(self.open_once(split)?, CACHE_BYTES)))
    }

    /// Opens a split to look at every image once: nothing decoded is kept.
    ///
    /// # Errors
    ///
    /// A source that is not there.
    pub fn open_once(&self, split: Split) -> Result<Arc<dyn Source>> {
        self.check()?;
        let indexing = if self.no_index { Indexing::none() } else { Indexing::standard() };
        let source = open_with(&self.data, split, self.bands(), &indexing)?;
        if self.shuffle == Shuffle::Groups && source.groups().is_none() {
            setting!("--shuffle groups: expected data in groups, parquet:DIR, found {}", self.data);
        }
        Ok(source)
    }

    /// The test split where there is one, else the training split, and which it is.
    ///
    /// # Errors
    ///
    /// A source that is not there.
    pub fn held_out(&self) -> Result<(Arc<dyn Source>, Split)> {
        use beit_data::Error::{NoIdx, NoShards, NoSplit};
        match self.open(Split::Test) {
            Ok(source) => Ok((source, Split::Test)),
            Err(Error::Data(NoSplit { .. } | NoIdx { .. } | NoShards { .. })) => {
                Ok((self.open(Split::Train)?, Split::Train))
            }
            Err(error) => Err(error),
        }
    }
}

/// Which images judge what was learnt.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct HeldOutSettings {
    /// Judge by this share of the training images instead of the test images, to choose a recipe without these: a part of each class,
    /// the same in every run, which is not learnt from
    #[cfg_attr(feature = "clap", arg(long, value_name = "SHARE"))]
    pub validation: Option<f64>,
}

impl HeldOutSettings {
    /// By so large a share of the training images.
    #[must_use]
    pub fn validation(share: f64) -> Self {
        Self { validation: Some(share) }
    }
}

/// How many images tell how good tokens are and how well they are named.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct MeasureSettings {
    /// Measure tokens on so many of the images that were held out at most; of more, so many are taken at even distances
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().measure_images, value_name = "N", value_parser = at_least_one()))]
    pub measure_images: usize,
}

impl Default for MeasureSettings {
    fn default() -> Self {
        Self { measure_images: 5000 }
    }
}

impl MeasureSettings {
    /// The images that are measured, and of which split they are.
    pub(crate) fn held_out(self, data: &DataSettings) -> Result<(Arc<dyn Source>, Split)> {
        let (source, split) = data.held_out()?;
        let (all, some) = (source.len(), self.measure_images.max(1));
        if all <= some {
            return Ok((source, split));
        }
        let indices = (0..some).map(|i| (i as u128 * all as u128 / some as u128) as usize).collect();
        Ok((Arc::new(Part::new(source, indices)), split))
    }
}

#[cfg(feature = "clap")]
fn at_least_one() -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser;
    clap::value_parser!(u32).range(1..).map(|images| images as usize)
}

/// How many images a device sees at once.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct Batches {
    /// Images of a batch; where not given, 64 in fine-tuning and evaluation (16 or 8 in segmentation), the preset's or the recipe's in other training, 16 elsewhere
    #[cfg_attr(feature = "clap", arg(long))]
    pub batch_size: Option<usize>,
}

impl Batches {
    /// For training and evaluation.
    pub(crate) const LARGE: usize = 64;
    /// For looking at a few images.
    pub(crate) const SMALL: usize = 16;

    /// So many, or what is usual.
    pub(crate) fn or(self, usual: usize) -> usize {
        self.batch_size.unwrap_or(usual)
    }
}

impl From<usize> for Batches {
    fn from(images: usize) -> Self {
        Self { batch_size: Some(images) }
    }
}

#[cfg(all(test, feature = "fashion-mnist"))]
mod tests {
    use super::*;

    #[test]
    fn columns_are_no_paths() {
        let paths = |spec: &str| DataSettings::of_spec(spec).paths();
        assert_eq!(paths("parquet:a,b/c.parquet,image=img,label=y"), ["a", "b/c.parquet"].map(PathBuf::from));
        assert_eq!(paths("folder:a,image=b"), [PathBuf::from("a,image=b")]);
        assert_eq!(paths("masks:a,b"), ["a", "b"].map(PathBuf::from));
    }

    #[test]
    fn groups_are_asked_of_tables_alone() {
        let data = DataSettings { shuffle: Shuffle::Groups, ..DataSettings::default() };
        let error = data.open(Split::Train).err().expect("no groups").to_string();
        assert!(error.contains("--shuffle groups: expected data in groups"), "{error}");
    }

    #[test]
    fn as_many_images_are_measured_as_asked_for() {
        let data = DataSettings::default();
        let (all, split) = MeasureSettings::default().held_out(&data).expect("embedded");
        assert_eq!((all.len(), split), (4000, Split::Test));
        let (some, _) = MeasureSettings { measure_images: 7 }.held_out(&data).expect("embedded");
        let names: Vec<_> = (0..7).map(|index| some.name(index)).collect();
        let even: Vec<_> = (0..7).map(|i| all.name(i * 4000 / 7)).collect();
        assert_eq!((some.len(), names), (7, even));
    }
}
