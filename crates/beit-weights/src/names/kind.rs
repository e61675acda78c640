//! What a set of names belongs to.

/// What kind of model the names belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Masked image modelling.
    Mim,
    /// Classification.
    Classifier,
    /// Semantic segmentation with UPerNet.
    Segmenter,
    /// A transformer without a head.
    Encoder,
    /// A tokenizer, or the encoder or the decoder of one.
    Tokenizer,
}
