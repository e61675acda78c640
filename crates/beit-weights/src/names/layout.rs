//! A layout's names, and ours for them.

use super::kind::Kind;
use super::pattern::{captures, fill};
use super::table;
use std::fmt;

/// Whose names a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// The released code's, microsoft/unilm, with an index beside each relative position table.
    Unilm,
    /// timm's: the same names without the indices.
    Timm,
    /// transformers' on disk.
    Transformers,
    /// transformers' in memory since version 5.
    Transformers5,
    /// `FlavaImageCodebook` of transformers: ours for tokenizers.
    Flava,
    /// The tokenizer of openai/DALL-E.
    Dalle,
    /// Ours for tokenizers by k-means.
    KMeans,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unilm => "unilm",
            Self::Timm => "timm",
            Self::Transformers => "transformers",
            Self::Transformers5 => "transformers 5, in memory",
            Self::Flava => "transformers (FlavaImageCodebook)",
            Self::Dalle => "openai/DALL-E",
            Self::KMeans => "this project (k-means)",
        })
    }
}

/// An index that the released code stores as if it were a parameter; we compute it.
pub(crate) const INDEX: &str = "relative_position_index";

/// How many batches a batch norm has seen: PyTorch stores it as if it were a parameter, and nothing here reads it.
pub(crate) const COUNTER: &str = "num_batches_tracked";

/// The running variance of a batch norm.
pub(crate) const VARIANCE: &str = "running_var";

/// Its running mean.
const MEAN: &str = "running_mean";

/// Whether a tensor, by any layout's name, is the running variance of a batch norm.
pub(crate) fn is_variance(name: &str) -> bool {
    name.ends_with(VARIANCE)
}

/// Whether a tensor, by any layout's name, is what a batch norm has seen, and so no parameter.
pub(crate) fn is_statistic(name: &str) -> bool {
    [MEAN, VARIANCE, COUNTER].iter().any(|statistic| name.ends_with(statistic))
}

/// Whether a tensor, by any layout's name, is the count of a batch norm.
pub(crate) fn is_counter(name: &str) -> bool {
    name.ends_with(COUNTER)
}

/// Whether a tensor, by any layout's name, is an index of relative positions.
pub(crate) fn is_index(name: &str) -> bool {
    name.ends_with(INDEX)
}

impl Layout {
    /// Where a layout has the parameter that we call `name`: one name, or three for a matrix that it stores as three of a third of the
    /// rows each.
    ///
    /// ```
    /// use beit_weights::{Kind, Layout};
    /// let stored = Layout::Transformers.stored("blocks.3.gamma_1", Kind::Mim);
    /// assert_eq!(stored, ["beit.encoder.layer.3.lambda_1"]);
    /// ```
    #[must_use]
    pub fn stored(self, name: &str, kind: Kind) -> Vec<String> {
        let found = self.rows(kind).find_map(|(ours, theirs)| {
            let captures = captures(ours, name)?;
            Some(theirs.split('|').map(|theirs| fill(theirs, &captures)).collect())
        });
        found.unwrap_or_else(|| vec![name.to_owned()])
    }

    /// What we call the parameter that a layout has under `name`, and which third of it that is where there are three.
    ///
    /// ```
    /// use beit_weights::{Kind, Layout};
    /// let name = "beit.encoder.layer.0.attention.attention.key.weight";
    /// let (ours, third) = Layout::Transformers.ours(name, Kind::Mim);
    /// assert_eq!((ours.as_str(), third), ("blocks.0.attn.qkv.weight", Some(1)));
    /// ```
    #[must_use]
    pub fn ours(self, name: &str, kind: Kind) -> (String, Option<usize>) {
        let found = self.rows(kind).find_map(|(ours, theirs)| {
            let several = theirs.contains('|');
            theirs.split('|').enumerate().find_map(|(third, theirs)| {
                Some((fill(ours, &captures(theirs, name)?), several.then_some(third)))
            })
        });
        found.unwrap_or_else(|| (name.to_owned(), None))
    }

    /// Pairs of patterns, ours and this layout's.
    fn rows(self, kind: Kind) -> Box<dyn Iterator<Item = (&'static str, &'static str)>> {
        let beit = move |theirs: fn(&table::Row) -> &'static str| {
            let rows = table::BEIT.iter().filter(move |row| row.only.is_none_or(|only| only(kind)));
            Box::new(rows.map(move |row| (row.ours, theirs(row))))
        };
        match self {
            Self::Unilm | Self::Timm | Self::Flava | Self::KMeans => Box::new(std::iter::empty()),
            Self::Transformers => beit(|row| row.transformers),
            Self::Transformers5 => beit(|row| row.transformers5),
            Self::Dalle => Box::new(table::TOKENIZER.iter().copied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_transformers() {
        let rows = [
            ("blocks.11.mlp.fc2.bias", "beit.encoder.layer.11.output.dense.bias"),
            ("blocks.0.attn.proj.weight", "beit.encoder.layer.0.attention.output.dense.weight"),
            ("norm.weight", "layernorm.weight"),
            ("head.bias", "classifier.bias"),
            ("pos_embed", "beit.embeddings.position_embeddings"),
        ];
        for (ours, theirs) in rows {
            assert_eq!(Layout::Transformers.stored(ours, Kind::Mim), [theirs], "{ours}");
            assert_eq!(Layout::Transformers.ours(theirs, Kind::Mim), (ours.to_owned(), None), "{theirs}");
        }
        assert_eq!(Layout::Transformers.stored("norm.bias", Kind::Classifier), ["beit.layernorm.bias"]);
        let stored = Layout::Transformers5.stored("blocks.2.attn.qkv.weight", Kind::Mim);
        assert_eq!(stored[1], "beit.layers.2.attention.k_proj.weight");
    }

    #[test]
    fn names_of_dalle() {
        let ours = "blocks.group_2.group.block_1.res_path.path.conv_3.weight";
        let theirs = "blocks.group_2.block_1.res_path.conv_3.w";
        assert_eq!(Layout::Dalle.stored(ours, Kind::Tokenizer), [theirs]);
        assert_eq!(Layout::Dalle.ours(theirs, Kind::Tokenizer), (ours.to_owned(), None));
    }

    /// Every row, there and back, in every column.
    #[test]
    fn the_table_is_the_same_in_both_directions() {
        for kind in [Kind::Mim, Kind::Classifier, Kind::Segmenter] {
            for layout in [Layout::Transformers, Layout::Transformers5, Layout::Dalle] {
                for (ours, _) in layout.rows(kind) {
                    let ours = ours.replace("{}", "7").replace('*', "weight");
                    let stored = layout.stored(&ours, kind);
                    for (i, theirs) in stored.iter().enumerate() {
                        let third = (stored.len() > 1).then_some(i);
                        assert_eq!(layout.ours(theirs, kind), (ours.clone(), third), "{theirs} in {layout}");
                    }
                }
            }
        }
    }
}
