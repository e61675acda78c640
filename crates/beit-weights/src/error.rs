//! What can go wrong with a checkpoint.

use beit_ops::{DeviceError, Shape};
use std::fmt;
use std::path::{Path, PathBuf};

/// The result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no checkpoint.
    #[error("{} is no checkpoint; give a folder with config.json and model.safetensors, or a file of weights", .path.display())]
    NoCheckpoint {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A tokenizer that names visual tokens but cannot draw them.
    #[error("{} has no decoder (decoder.safetensors or decoder.pkl), which this needs; put it into the folder", .path.display())]
    NoDecoder {
        /// Which folder.
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {}; check that it is there and may be read", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}; make room, or choose a place that can be written", .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is cut short, damaged or of another format.
    #[error("{} is damaged or no safetensors file; fetch or save it again", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What was found.
        source: safetensors::SafeTensorError,
    },
    /// A file that is well-formed but cannot be what it should be.
    #[error("{}: {problem}", .path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A PyTorch file that is cut short, damaged, lies about itself or is of another kind.
    #[error("cannot read {} as a PyTorch file: {problem}", .path.display())]
    Torch {
        /// Which.
        path: PathBuf,
        /// What was found and what was expected.
        problem: String,
    },
    /// A PyTorch file that asks for a program to be run.
    #[error(
        "{} wants to call {callable}, which weights do not need; nothing of it was run: get the file from a source you trust",
        .path.display()
    )]
    Calls {
        /// Which.
        path: PathBuf,
        /// Module and name of what it wants to call.
        callable: String,
    },
    /// A JSON file with a syntax error or a value of the wrong type.
    #[error("{} is not what transformers writes; correct the named line", .path.display())]
    Json {
        /// Which.
        path: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
    /// A configuration of a model that this project does not have.
    #[error("{}: {problem}", .path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// Field, found, expected.
        problem: String,
    },
    /// Tensors and model differ.
    #[error("{} does not fit the model: {}; check that config.json belongs to this file", .path.display(), listed(.problems))]
    Tensors {
        /// Which file.
        path: PathBuf,
        /// All differences.
        problems: Vec<Problem>,
    },
    /// Parameters that are no numbers.
    #[error(
        "{} is no sound model: {}; it is damaged, or was trained until its numbers overflowed: fetch it again, or take an earlier checkpoint",
        .path.display(), listed(.problems)
    )]
    Unsound {
        /// Which file.
        path: PathBuf,
        /// All tensors with NaN, infinity or a negative variance.
        problems: Vec<Problem>,
    },
    /// What was to be saved is not made of numbers.
    #[error("{} not saved: {problem}; what was saved before stays as it was", unsaved(.file.as_deref()))]
    NotSaved {
        /// Which file, where that is known.
        file: Option<PathBuf>,
        /// The first tensor with NaN or infinity.
        problem: Problem,
    },
    /// A tensor that somebody asked for by name is absent or of another kind.
    #[error("{}: {problem}", .path.display())]
    Tensor {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A checkpoint of other sizes than the model that is to start from it.
    #[error("{} cannot start this model: {}; give the model the checkpoint's values", .path.display(), .fields.join(", "))]
    Start {
        /// Which folder.
        path: PathBuf,
        /// The fields that differ, each with found and expected.
        fields: Vec<String>,
    },
    /// The hub did not give a checkpoint.
    #[cfg(feature = "hub")]
    #[error("cannot fetch {id}: {problem}")]
    Hub {
        /// Which.
        id: String,
        /// Why, with its cause.
        problem: crate::HubProblem,
    },
    /// A text that is no name on the hub.
    #[cfg(feature = "hub")]
    #[error("`{text}` is no name of a model: {problem}; expected org/name or org/name@revision")]
    HubId {
        /// The text.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The device lost a tensor that was to be saved.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// One tensor that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The file lacks it.
    Missing {
        /// Name in the file's layout.
        name: String,
        /// What it should be, where that is known.
        expected: Option<Shape>,
    },
    /// The model has no such parameter.
    Unexpected {
        /// Name in the file.
        name: String,
        /// Its extents.
        found: Vec<usize>,
    },
    /// Other extents.
    Shape {
        /// Name in the file.
        name: String,
        /// Its extents.
        found: Vec<usize>,
        /// Those of the parameter.
        expected: Vec<usize>,
    },
    /// Elements that are NaN or infinite.
    NotFinite {
        /// Name in the file.
        name: String,
        /// The first of them.
        found: String,
        /// How many, and of how many.
        count: [usize; 2],
    },
    /// Elements below zero of what cannot be: variances.
    Negative {
        /// Name in the file.
        name: String,
        /// The first of them.
        found: String,
        /// How many, and of how many.
        count: [usize; 2],
    },
    /// Elements that are not numbers of the right kind.
    Type {
        /// Name in the file.
        name: String,
        /// The type in the file.
        found: String,
        /// The types that are read.
        expected: &'static str,
    },
}

impl Problem {
    /// What is wrong with values of which some are not finite.
    pub(crate) fn not_finite(name: &str, values: &[f32]) -> Self {
        let mut broken = values.iter().filter(|v| !v.is_finite());
        let found = broken.next().map_or_else(|| "NaN".to_owned(), f32::to_string);
        Self::NotFinite { name: name.to_owned(), found, count: [broken.count() + 1, values.len()] }
    }

    /// What is wrong with variances of which some are negative; nothing if none is.
    pub(crate) fn negative(name: &str, variances: &[f32]) -> Option<Self> {
        let mut broken = variances.iter().copied().filter(|&v| v < 0.0);
        let found = broken.next()?;
        Some(Self::Negative {
            name: name.to_owned(),
            found: found.to_string(),
            count: [broken.count() + 1, variances.len()],
        })
    }

    /// A missing tensor with the shape that it should have.
    pub(crate) fn expecting(self, shape: Shape) -> Self {
        match self {
            Self::Missing { name, .. } => Self::Missing { name, expected: Some(shape) },
            other => other,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name, expected: Some(shape) } => write!(f, "`{name}` {shape} is missing"),
            Self::Missing { name, expected: None } => write!(f, "there is no tensor `{name}`"),
            Self::Unexpected { name, found } => write!(f, "`{name}` {found:?} is no parameter of it"),
            Self::Shape { name, found, expected } => {
                write!(f, "`{name}` has shape {found:?}, expected {expected:?}")
            }
            Self::NotFinite { name, found, count: [count, of] } => {
                write!(f, "`{name}` holds {found} ({count} of {of} numbers), expected finite numbers")
            }
            Self::Negative { name, found, count: [count, of] } => {
                write!(
                    f,
                    "`{name}` holds {found} ({count} of {of} numbers), expected variances of at least 0"
                )
            }
            Self::Type { name, found, expected } => {
                let quantised = matches!(found.as_str(), "U8" | "I8" | "F8_E4M3" | "F8_E5M2" | "F4");
                let hint =
                    if quantised { " (quantised weights are not read: save them as floats)" } else { "" };
                write!(f, "`{name}` holds {found}{hint}, expected {expected}")
            }
        }
    }
}

/// Problems that a message shows; a foreign file may have hundreds.
const LISTED: usize = 6;

fn listed(problems: &[Problem]) -> String {
    let mut all: Vec<String> = problems.iter().take(LISTED).map(Problem::to_string).collect();
    if problems.len() > LISTED {
        all.push(format!("and {} more", problems.len() - LISTED));
    }
    all.join(", ")
}

fn unsaved(file: Option<&Path>) -> String {
    file.and_then(Path::file_name)
        .map_or_else(|| "parameters are".into(), |name| format!("{} is", name.display()))
}

impl Error {
    /// Says which file was not saved.
    pub(crate) fn of_file(self, path: &Path) -> Self {
        match self {
            Self::NotSaved { problem, .. } => Self::NotSaved { file: Some(path.to_owned()), problem },
            other => other,
        }
    }

    /// For `map_err` after reading `path`.
    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::Read { path: path.to_owned(), source }
    }

    /// For `map_err` after writing `path`.
    pub(crate) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::Write { path: path.to_owned(), source }
    }

    pub(crate) fn malformed(path: &Path, problem: impl fmt::Display) -> Self {
        Self::Malformed { path: path.to_owned(), problem: problem.to_string() }
    }

    pub(crate) fn config(path: &Path, problem: impl fmt::Display) -> Self {
        Self::Config { path: path.to_owned(), problem: problem.to_string() }
    }
}
