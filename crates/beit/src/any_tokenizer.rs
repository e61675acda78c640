//! Tokenizers of every kind in one type.

use crate::settings::TokenizerKind;
use beit_ops::{DeviceError, Ops};
use beit_tokenizer::{Codebook, Encoder, KMeans, Tokenizer, VisualTokens};

/// What names visual tokens, and draws them where it can.
pub(crate) enum AnyTokenizer<T> {
    Dvae(Box<Tokenizer<T>>),
    /// A discrete VAE whose decoder is not there.
    Encoder(Box<Encoder<T>>),
    KMeans(Box<KMeans<T>>),
}

impl<T> AnyTokenizer<T> {
    pub(crate) fn kind(&self) -> TokenizerKind {
        match self {
            Self::Dvae(_) | Self::Encoder(_) => TokenizerKind::Dvae,
            Self::KMeans(_) => TokenizerKind::KMeans,
        }
    }

    /// The width of its first layer at full resolution; 0 where there is no such layer.
    pub(crate) fn hidden(&self) -> usize {
        match self {
            Self::Dvae(tokenizer) => tokenizer.config().hidden,
            Self::Encoder(encoder) => encoder.config().hidden,
            Self::KMeans(_) => 0,
        }
    }

    /// One line for a person.
    pub(crate) fn describe(&self) -> String {
        let config = match self {
            Self::Dvae(tokenizer) => tokenizer.config(),
            Self::Encoder(encoder) => encoder.config(),
            Self::KMeans(kmeans) => {
                let config = kmeans.config();
                return format!(
                    "k-means, weight of the mean {}, {}",
                    config.mean_weight,
                    tokens(config.codebook())
                );
            }
        };
        let beit_tokenizer::Config { groups, blocks_per_group, hidden, .. } = config;
        format!("{groups} groups of {blocks_per_group} blocks, width {hidden}, {}", tokens(config.codebook()))
    }
}

fn tokens(Codebook { channels, vocab, sides: [height, width] }: Codebook) -> String {
    let of = if channels == 3 { String::new() } else { format!(" of {channels} channels") };
    format!("{vocab} visual tokens of {height}x{width} pixels{of}")
}

/// Does the same with whichever it is.
macro_rules! each {
    ($any:expr, $tokenizer:ident => $does:expr) => {
        match $any {
            AnyTokenizer::Dvae($tokenizer) => $does,
            AnyTokenizer::Encoder($tokenizer) => $does,
            AnyTokenizer::KMeans($tokenizer) => $does,
        }
    };
}

impl<O: Ops> VisualTokens<O> for AnyTokenizer<O::Tensor> {
    fn codebook(&self) -> Codebook {
        each!(self, tokenizer => VisualTokens::<O>::codebook(&**tokenizer))
    }
    fn logits(&self, ops: &O, pixels: &O::Tensor) -> O::Tensor {
        each!(self, tokenizer => VisualTokens::logits(&**tokenizer, ops, pixels))
    }
    fn codes_at(&self, ops: &O, pixels: &O::Tensor, positions: &O::Ids) -> O::Ids {
        each!(self, tokenizer => tokenizer.codes_at(ops, pixels, positions))
    }
    fn draws(&self) -> bool {
        each!(self, tokenizer => VisualTokens::<O>::draws(&**tokenizer))
    }
    fn pictures(&self, ops: &O, codes: &[u32], grid: [usize; 2]) -> Result<Option<Vec<f32>>, DeviceError> {
        each!(self, tokenizer => tokenizer.pictures(ops, codes, grid))
    }
}
