use core::fmt;

/// Why a tokenizer cannot be made from its configuration, or cannot take an input.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A count that must be positive is zero.
    Zero(&'static str),
    /// A count is absurd.
    TooLarge {
        /// Which.
        what: &'static str,
        /// What it is.
        value: usize,
        /// What it may be.
        most: usize,
    },
    /// There are more groups than a machine word has halvings.
    Groups(usize),
    /// The width is not a multiple of four, so the residual path has no whole width.
    Hidden(usize),
    /// The weight of the mean is negative or no number.
    MeanWeight(f32),
    /// A side of the image is zero or no whole number of tokens.
    Side {
        /// Pixels.
        side: usize,
        /// What it must be a multiple of.
        multiple: usize,
    },
    /// The number of codes is not a multiple of the number of positions of an image.
    Codes {
        /// Codes given.
        codes: usize,
        /// Positions of one image.
        positions: usize,
    },
    /// A code outside the vocabulary.
    Code {
        /// The code.
        code: u32,
        /// Number of visual tokens V.
        vocab: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLarge { what, value, most } => {
                write!(f, "the {what} is {value}, expected at most {most}")
            }
            Self::Zero(field) => write!(f, "expected a positive {field}, found 0"),
            Self::Groups(groups) => write!(f, "expected at most 16 groups, found {groups}"),
            Self::Hidden(hidden) => write!(f, "expected a hidden width divisible by 4, found {hidden}"),
            Self::MeanWeight(weight) => {
                write!(f, "expected a weight of the mean of at least 0, found {weight}")
            }
            Self::Side { side, multiple } => {
                write!(f, "expected an image side divisible by {multiple}, found {side}")
            }
            Self::Codes { codes, positions } => {
                write!(
                    f,
                    "expected a multiple of {positions} codes (the positions of an image), found {codes}"
                )
            }
            Self::Code { code, vocab } => write!(f, "expected codes below {vocab}, found {code}"),
        }
    }
}

impl core::error::Error for Error {}
