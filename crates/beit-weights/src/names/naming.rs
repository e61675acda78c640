//! How the tensors of one file are named.

use super::kind::Kind;
use super::landmark::{Candidate, candidates};
use super::layout::Layout;
use super::table::{HEADS, INNER, PYRAMID};
use super::within::without_wrappers;
use super::wrapper::{Parameters, choose};

/// A layout, and what stands before its names in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Naming {
    /// Whose names these are.
    pub(crate) layout: Layout,
    /// What they belong to.
    pub(crate) kind: Kind,
    /// What stands before the names, `model.` for instance. Names without it lie outside the model, but for the heads beside a backbone.
    wrapper: String,
    /// What the file has for transformers' `beit.`: the name of another family, or nothing, as a bare `BeitModel` does.
    inner: &'static str,
}

impl Naming {
    /// Recognises how tensors are named; none when these are no names of a model that we know. Where a file has several models, or the
    /// average of one beside it, the sentence says which was taken.
    pub(crate) fn recognise(names: &[String], asked: Option<Parameters>) -> Option<(Self, Option<String>)> {
        let names: Vec<_> = names.iter().map(|name| without_wrappers(name)).collect();
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let (Candidate { wrapper, layout, inner }, choice) = choose(candidates(&names), &names, asked)?;
        let inside = names.iter().filter_map(|name| name.strip_prefix(wrapper.as_str()));
        let heads = names.iter().filter_map(|name| head(name, &wrapper));
        let kind = kind(layout, inside.chain(heads));
        Some((Self { layout, kind, wrapper, inner }, choice))
    }

    /// The names in the file of the parameter that we call `name`.
    pub(crate) fn stored(&self, name: &str) -> Vec<String> {
        let around = |name: String| {
            let name = match name.strip_prefix(INNER[0]) {
                Some(rest) => format!("{}{rest}", self.inner),
                None => name,
            };
            let beside = is_head(&name).then(|| self.wrapper.strip_suffix("backbone.")).flatten();
            format!("{}{name}", beside.unwrap_or(&self.wrapper))
        };
        self.layout.stored(name, self.kind).into_iter().map(around).collect()
    }

    /// What we call a tensor of the file, and which third of it that is; none where it lies outside the model.
    pub(crate) fn ours(&self, name: &str) -> Option<(String, Option<usize>)> {
        let name = without_wrappers(name);
        let name = match name.strip_prefix(&self.wrapper) {
            Some(name) => name,
            None => head(&name, &self.wrapper)?,
        };
        let theirs = self.of_transformers().then(|| name.strip_prefix(self.inner)).flatten();
        let renamed = theirs.map(|rest| format!("{}{rest}", INNER[0]));
        Some(self.layout.ours(renamed.as_deref().unwrap_or(name), self.kind))
    }

    fn of_transformers(&self) -> bool {
        matches!(self.layout, Layout::Transformers | Layout::Transformers5)
    }
}

/// Whether a tensor belongs to a head that mmsegmentation keeps beside the transformer.
pub(crate) fn is_head(name: &str) -> bool {
    HEADS.iter().any(|head| name.starts_with(head))
}

/// Whether a parameter, by our name, belongs to a segmentation head.
pub(crate) fn is_of_segmentation(name: &str) -> bool {
    is_head(name) || PYRAMID.iter().any(|part| name.starts_with(part))
}

/// The name of a head's tensor that stands beside the backbone inside `wrapper`.
fn head<'a>(name: &'a str, wrapper: &str) -> Option<&'a str> {
    name.strip_prefix(wrapper.strip_suffix("backbone.")?).filter(|name| is_head(name))
}

fn kind<'a>(layout: Layout, names: impl Iterator<Item = &'a str>) -> Kind {
    if matches!(layout, Layout::Flava | Layout::Dalle | Layout::KMeans) {
        return Kind::Tokenizer;
    }
    // The last layer of each head; `classifier.` is a head of its own only at the beginning of a name.
    let heads = [
        ("decode_head.", Kind::Segmenter),
        ("lm_head.", Kind::Mim),
        ("head.", Kind::Classifier),
        ("classifier.", Kind::Classifier),
    ];
    let of = |name: &str| heads.iter().position(|(prefix, _)| name.starts_with(prefix));
    names.filter_map(of).min().map_or(Kind::Encoder, |head| heads[head].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(names: &[&str]) -> Option<Naming> {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Naming::recognise(&names, None).map(|(naming, _)| naming)
    }

    #[test]
    fn layouts_are_recognised_by_names() {
        let rows: [(&[&str], Layout, Kind, &str); 12] = [
            (&["cls_token", "blocks.0.gamma_1", "head.bias"], Layout::Timm, Kind::Classifier, ""),
            (
                &["model.blocks.0.gamma_1", "model.blocks.0.attn.relative_position_index", "epoch"],
                Layout::Unilm,
                Kind::Encoder,
                "model.",
            ),
            (&["module.lm_head.bias", "module.blocks.0.gamma_1"], Layout::Timm, Kind::Mim, "module."),
            (
                &["state_dict.backbone.blocks.0.gamma_1", "state_dict.decode_head.conv_seg.bias"],
                Layout::Timm,
                Kind::Segmenter,
                "state_dict.backbone.",
            ),
            (&["beit.encoder.layer.0.lambda_1", "lm_head.bias"], Layout::Transformers, Kind::Mim, ""),
            (&["beit.layers.0.lambda_1", "classifier.bias"], Layout::Transformers5, Kind::Classifier, ""),
            (&["embeddings.cls_token", "encoder.layer.0.lambda_1"], Layout::Transformers, Kind::Encoder, ""),
            (
                &["a.data2vec_vision.encoder.layer.0.lambda_1", "a.classifier.bias"],
                Layout::Transformers,
                Kind::Classifier,
                "a.",
            ),
            (&["blocks.input.w"], Layout::Dalle, Kind::Tokenizer, ""),
            (&["pictures", "scores.bias", "scores.weight"], Layout::KMeans, Kind::Tokenizer, ""),
            (&["x.pictures", "x.scores.bias", "x.scores.weight"], Layout::KMeans, Kind::Tokenizer, "x."),
            (&["image_codebook.blocks.input.weight"], Layout::Flava, Kind::Tokenizer, "image_codebook."),
        ];
        for (names, layout, kind, wrapper) in rows {
            let found = naming(names).unwrap_or_else(|| panic!("{names:?} are not recognised"));
            assert_eq!(
                (found.layout, found.kind, found.wrapper.as_str()),
                (layout, kind, wrapper),
                "{names:?}"
            );
        }
        assert_eq!(naming(&["conv1.weight", "fc.bias"]), None);
        assert_eq!(naming(&["myblocks.0.weight"]), None);
        assert_eq!(naming(&[]), None);
    }

    #[test]
    fn names_there_and_back() {
        let ade = naming(&["state_dict.backbone.blocks.0.gamma_1", "state_dict.decode_head.conv_seg.bias"]);
        let bare = naming(&["embeddings.cls_token", "encoder.layer.0.lambda_1"]);
        let data2vec = naming(&["data2vec_vision.encoder.layer.0.lambda_1", "classifier.bias"]);
        let rows = [
            (ade.as_ref().unwrap(), "blocks.3.gamma_2", "state_dict.backbone.blocks.3.gamma_2"),
            (ade.as_ref().unwrap(), "decode_head.conv_seg.weight", "state_dict.decode_head.conv_seg.weight"),
            (bare.as_ref().unwrap(), "norm.weight", "layernorm.weight"),
            (bare.as_ref().unwrap(), "fc_norm.bias", "pooler.layernorm.bias"),
            (data2vec.as_ref().unwrap(), "fc_norm.bias", "data2vec_vision.pooler.layernorm.bias"),
            (data2vec.as_ref().unwrap(), "head.bias", "classifier.bias"),
        ];
        for (naming, ours, theirs) in rows {
            assert_eq!(naming.stored(ours), [theirs]);
            assert_eq!(naming.ours(theirs), Some((ours.to_owned(), None)));
        }
        assert_eq!(ade.unwrap().ours("meta.epoch"), None);
    }
}
