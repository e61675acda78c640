use serde::{Deserialize, Serialize};

/// How a tokenizer names visual tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum TokenizerKind {
    /// A discrete VAE, as the paper has it: tokens of pictures that it learns to draw
    #[default]
    Dvae,
    /// The nearest of many typical patches, found by k-means in seconds
    #[cfg_attr(feature = "clap", value(name = "kmeans"))]
    KMeans,
    /// The nearest of random directions, which nothing is learnt for: a control for experiments
    Random,
}

/// As a flag has it.
impl std::fmt::Display for TokenizerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dvae => "dvae",
            Self::KMeans => "kmeans",
            Self::Random => "random",
        })
    }
}
