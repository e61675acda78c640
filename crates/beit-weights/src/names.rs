//! The names of parameters in files. Ours are those of the official checkpoints, which timm shares.

/// Names in transformers' files outside the blocks: ours, theirs. What ends in a dot is the beginning of names.
const MODEL: &[(&str, &str)] = &[
    ("cls_token", "beit.embeddings.cls_token"),
    ("mask_token", "beit.embeddings.mask_token"),
    ("pos_embed", "beit.embeddings.position_embeddings"),
    ("patch_embed.proj.", "beit.embeddings.patch_embeddings.projection."),
    (
        "rel_pos_bias.relative_position_bias_table",
        "beit.encoder.relative_position_bias.relative_position_bias_table",
    ),
    ("lm_head.", "lm_head."),
    ("fc_norm.", "beit.pooler.layernorm."),
    ("head.", "classifier."),
];

/// The final norm, which in transformers belongs to the head of masked image modelling, else to the transformer.
const NORM: (&str, [&str; 2]) = ("norm.", ["layernorm.", "beit.layernorm."]);

/// What stands before the number of a block: ours, theirs.
const BLOCKS: (&str, &str) = ("blocks.", "beit.encoder.layer.");

/// Names after the number of a block: ours, theirs.
const BLOCK: &[(&str, &str)] = &[
    ("norm1.", "layernorm_before."),
    ("attn.q_bias", "attention.attention.query.bias"),
    ("attn.v_bias", "attention.attention.value.bias"),
    (
        "attn.relative_position_bias_table",
        "attention.attention.relative_position_bias.relative_position_bias_table",
    ),
    ("attn.proj.", "attention.output.dense."),
    ("gamma_1", "lambda_1"),
    ("gamma_2", "lambda_2"),
    ("norm2.", "layernorm_after."),
    ("mlp.fc1.", "intermediate.dense."),
    ("mlp.fc2.", "output.dense."),
];

/// One matrix of ours is three of theirs, one below the other.
const QKV: (&str, [&str; 3]) = (
    "attn.qkv.weight",
    [
        "attention.attention.query.weight",
        "attention.attention.key.weight",
        "attention.attention.value.weight",
    ],
);

/// What differs between our names of a tokenizer, which are transformers', and those of openai/DALL-E.
const DALLE: [(&str, &str); 4] =
    [(".group.block_", ".block_"), (".res_path.path.", ".res_path."), (".weight", ".w"), (".bias", ".b")];

/// What tools put before every name when they save a model inside another one.
const WRAPPERS: [&str; 3] = ["module.", "model.", "backbone."];

/// An index that the released code stores as if it were a parameter; we compute it.
const INDEX: &str = "relative_position_index";

/// Whose names a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// Ours: unilm's and timm's, and for tokenizers those of transformers.
    Native,
    /// `BeitForMaskedImageModeling` of transformers.
    TransformersMim,
    /// `BeitForImageClassification` of transformers.
    TransformersClassifier,
    /// The tokenizer of openai/DALL-E.
    Dalle,
}

/// Where a parameter is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Under this name.
    Whole(String),
    /// In three tensors of a third of the rows each.
    Thirds([String; 3]),
}

impl Layout {
    /// Recognises the layout by the names that are present.
    ///
    /// ```
    /// use beit_weights::Layout;
    /// let names = ["beit.embeddings.cls_token".to_owned(), "lm_head.bias".to_owned()];
    /// assert_eq!(Layout::of(&names), Layout::TransformersMim);
    /// ```
    #[must_use]
    pub fn of(names: &[String]) -> Self {
        let any = |found: &dyn Fn(&String) -> bool| names.iter().any(found);
        if any(&|name| name.starts_with("beit.")) {
            let mim = any(&|name| name.starts_with("lm_head."));
            if mim { Self::TransformersMim } else { Self::TransformersClassifier }
        } else if any(&|name| name.ends_with(".w")) {
            Self::Dalle
        } else {
            Self::Native
        }
    }

    /// Where the parameter that we call `name` is in this layout.
    ///
    /// ```
    /// use beit_weights::{Layout, Stored};
    /// let stored = Layout::TransformersMim.stored("blocks.3.gamma_1");
    /// assert_eq!(stored, Stored::Whole("beit.encoder.layer.3.lambda_1".to_owned()));
    /// ```
    #[must_use]
    pub fn stored(self, name: &str) -> Stored {
        match self {
            Self::Native => Stored::Whole(name.to_owned()),
            Self::Dalle => {
                let renamed =
                    DALLE.iter().fold(name.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs));
                Stored::Whole(renamed)
            }
            Self::TransformersMim => transformers(name, NORM.1[0]),
            Self::TransformersClassifier => transformers(name, NORM.1[1]),
        }
    }
}

fn transformers(name: &str, norm: &str) -> Stored {
    let numbered = name.strip_prefix(BLOCKS.0).and_then(|rest| rest.split_once('.'));
    let Some((number, rest)) = numbered else {
        return Stored::Whole(
            renamed(&[(NORM.0, norm)], name).or_else(|| renamed(MODEL, name)).unwrap_or(name.into()),
        );
    };
    let in_block = |rest: &str| format!("{}{number}.{rest}", BLOCKS.1);
    if rest == QKV.0 {
        return Stored::Thirds(QKV.1.map(in_block));
    }
    Stored::Whole(in_block(&renamed(BLOCK, rest).unwrap_or(rest.into())))
}

fn renamed(table: &[(&str, &str)], name: &str) -> Option<String> {
    table.iter().find_map(|(ours, theirs)| {
        let rest = name.strip_prefix(ours)?;
        (rest.is_empty() || ours.ends_with('.')).then(|| format!("{theirs}{rest}"))
    })
}

/// What stands before every one of these names for no reason of the model's.
pub(crate) fn wrapper(names: &[String]) -> &'static str {
    let wraps = |prefix: &&&str| !names.is_empty() && names.iter().all(|name| name.starts_with(**prefix));
    WRAPPERS.iter().find(wraps).copied().unwrap_or("")
}

/// Whether a tensor in a file is no parameter.
pub(crate) fn is_buffer(name: &str) -> bool {
    name.ends_with(INDEX)
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
            assert_eq!(Layout::TransformersMim.stored(ours), Stored::Whole(theirs.to_owned()), "{ours}");
        }
        let norm = Layout::TransformersClassifier.stored("norm.bias");
        assert_eq!(norm, Stored::Whole("beit.layernorm.bias".to_owned()));
        let Stored::Thirds([_, key, _]) = Layout::TransformersMim.stored("blocks.2.attn.qkv.weight") else {
            panic!("three tensors")
        };
        assert_eq!(key, "beit.encoder.layer.2.attention.attention.key.weight");
    }

    #[test]
    fn names_of_dalle() {
        let ours = "blocks.group_2.group.block_1.res_path.path.conv_3.weight";
        let theirs = "blocks.group_2.block_1.res_path.conv_3.w";
        assert_eq!(Layout::Dalle.stored(ours), Stored::Whole(theirs.to_owned()));
        assert_eq!(Layout::of(&[theirs.to_owned()]), Layout::Dalle);
    }

    #[test]
    fn wrappers_stand_before_every_name() {
        let names = |names: [&str; 2]| names.map(str::to_owned);
        assert_eq!(wrapper(&names(["model.norm.bias", "model.cls_token"])), "model.");
        assert_eq!(wrapper(&names(["model.norm.bias", "cls_token"])), "");
        assert_eq!(wrapper(&[]), "");
    }
}
