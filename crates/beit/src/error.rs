//! What can go wrong.

use beit_ops::host::all_finite;
use std::fmt::Display;
use std::path::PathBuf;

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be opened, trained or answered. Settings are named as the flags of the command line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Settings that cannot be followed, whatever the data: see [`Error::is_setting`].
    #[error("{0}")]
    Setting(String),
    /// What is there is not what was expected.
    #[error("{0}")]
    Unfit(String),
    /// The data.
    #[error(transparent)]
    Data(#[from] beit_data::Error),
    /// The masks.
    #[error(transparent)]
    Mask(#[from] beit_mask::Error),
    /// A transformer that cannot be.
    #[error(transparent)]
    Model(#[from] beit_vit::Error),
    /// A tokenizer that cannot be.
    #[error(transparent)]
    Tokenizer(#[from] beit_tokenizer::Error),
    /// A checkpoint.
    #[error(transparent)]
    Weights(#[from] beit_weights::Error),
    /// Training.
    #[error(transparent)]
    Train(#[from] beit_train::Error),
    /// An answer that is no number.
    #[error(
        "{model}: the {what} of {image} are not finite: the model is damaged, or was trained until its numbers overflowed"
    )]
    NotFinite {
        /// The model, by the name that it was opened by.
        model: String,
        /// The image, by its name or its number.
        image: String,
        /// Logits, features or attention maps.
        what: &'static str,
    },
    /// The device.
    #[error(transparent)]
    Device(#[from] beit_ops::DeviceError),
    /// A device that failed or could not be opened: which, why, and what may help.
    #[error("--device {device}: {problem}")]
    OnDevice {
        /// As settings name it.
        device: String,
        /// What it reported.
        problem: String,
    },
    /// Whoever watches wanted it to stop; see [`Progress::stops`](crate::Progress::stops). What is saved and how to go on.
    #[error("stopped: {0}")]
    Stopped(String),
    /// A file or a folder.
    #[error("cannot {doing} {}{}", .path.display(), advice(doing))]
    File {
        /// `read`, `write`, `create` or `delete`.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Where it happened, and what did.
    #[error("{place}")]
    At {
        /// The file, the data set or the flag.
        place: String,
        /// What happened there.
        source: Box<Error>,
    },
}

impl Error {
    /// Whether the settings alone make it impossible, so that no other file or machine would help.
    #[must_use]
    pub fn is_setting(&self) -> bool {
        match self {
            Self::Setting(_) | Self::Mask(_) | Self::Model(_) | Self::Tokenizer(_) => true,
            Self::Data(error) => {
                matches!(error, beit_data::Error::UnknownSource { .. } | beit_data::Error::Config(_))
            }
            Self::Train(error) => matches!(
                error,
                beit_train::Error::Model(_)
                    | beit_train::Error::Mask(_)
                    | beit_train::Error::Tokenizer(_)
                    | beit_train::Error::Recipe(_)
            ),
            Self::At { source, .. } => source.is_setting(),
            _ => false,
        }
    }

    /// Refuses rows of which one is not finite; `image` names that of a row.
    pub(crate) fn unless_finite(
        model: &str,
        what: &'static str,
        values: &[f32],
        width: usize,
        image: impl Fn(usize) -> String,
    ) -> Result<()> {
        if all_finite(values) {
            return Ok(());
        }
        let row = values.iter().position(|v| !v.is_finite()).unwrap_or(0) / width.max(1);
        Err(Self::NotFinite { model: model.to_owned(), image: image(row), what })
    }

    /// Whether the disk did not take something.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        match self {
            Self::File { doing, .. } => *doing != "read",
            Self::Weights(error) | Self::Train(beit_train::Error::Weights(error)) => {
                matches!(error, beit_weights::Error::Write { .. })
            }
            Self::Train(error) => matches!(error, beit_train::Error::Write { .. }),
            Self::At { source, .. } => source.is_of_the_disk(),
            _ => false,
        }
    }

    /// What the device reported, if it was the device.
    pub(crate) fn device_error(&self) -> Option<&beit_ops::DeviceError> {
        match self {
            Self::Device(error)
            | Self::Train(beit_train::Error::Device(error))
            | Self::Train(beit_train::Error::Weights(beit_weights::Error::Device(error)))
            | Self::Weights(beit_weights::Error::Device(error)) => Some(error),
            Self::At { source, .. } => source.device_error(),
            _ => None,
        }
    }

    /// For `map_err` of the file system.
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}

/// What may help where a file cannot be written.
fn advice(doing: &str) -> &'static str {
    if doing == "write" { "; make room, or choose a place that can be written" } else { "" }
}

/// An error and its causes, as one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Says where an error happened.
pub(crate) trait Place<T> {
    /// The same result, whose error names the place.
    fn at<P: Display>(self, place: impl FnOnce() -> P) -> Result<T>;
}

impl<T, E: Into<Error>> Place<T> for Result<T, E> {
    fn at<P: Display>(self, place: impl FnOnce() -> P) -> Result<T> {
        self.map_err(|error| Error::At { place: place().to_string(), source: Box::new(error.into()) })
    }
}

/// Ends a function with [`Error::Setting`].
macro_rules! setting {
    ($($message:tt)*) => { return Err($crate::Error::Setting(format!($($message)*))) };
}

/// Ends a function with [`Error::Unfit`].
macro_rules! unfit {
    ($($message:tt)*) => { return Err($crate::Error::Unfit(format!($($message)*))) };
}

pub(crate) use {setting, unfit};
