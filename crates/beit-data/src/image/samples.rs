//! The numbers of a picture.

/// The values of a picture, channel by channel of a pixel after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Samples {
    /// Of 8 bits.
    Bytes(Vec<u8>),
    /// Of 16 bits.
    Words(Vec<u16>),
}

/// Does the same with samples of either size.
macro_rules! each {
    ($samples:expr, $values:ident => $does:expr) => {
        match $samples {
            $crate::image::Samples::Bytes($values) => $does,
            $crate::image::Samples::Words($values) => $does,
        }
    };
}
pub(crate) use each;

impl Samples {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The greatest value that a sample can have.
    #[must_use]
    pub fn greatest(&self) -> f32 {
        match self {
            Self::Bytes(_) => f32::from(u8::MAX),
            Self::Words(_) => f32::from(u16::MAX),
        }
    }

    /// Bits of a sample.
    #[must_use]
    pub fn bits(&self) -> usize {
        match self {
            Self::Bytes(_) => 8,
            Self::Words(_) => 16,
        }
    }

    /// Bytes that they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.len() * self.bits() / 8
    }

    /// Sample `index` as a share of the greatest value.
    #[must_use]
    pub fn share(&self, index: usize) -> f32 {
        let value = match self {
            Self::Bytes(values) => f32::from(values[index]),
            Self::Words(values) => f32::from(values[index]),
        };
        value / self.greatest()
    }

    /// `count` times the sample of each of these shares, which are cut to 0 to 1, of as many bits as these have.
    pub(crate) fn repeated(&self, shares: &[f32], count: usize) -> Self {
        // The conversion of a float to an integer saturates.
        let level = |share: &f32| (share * self.greatest()).round_ties_even();
        match self {
            Self::Bytes(_) => {
                Self::Bytes(shares.iter().map(|x| level(x) as u8).collect::<Vec<_>>().repeat(count))
            }
            Self::Words(_) => {
                Self::Words(shares.iter().map(|x| level(x) as u16).collect::<Vec<_>>().repeat(count))
            }
        }
    }
}

impl From<Vec<u8>> for Samples {
    fn from(values: Vec<u8>) -> Self {
        Self::Bytes(values)
    }
}

impl From<Vec<u16>> for Samples {
    fn from(values: Vec<u16>) -> Self {
        Self::Words(values)
    }
}
