//! Where in a file the names of a model begin.

use super::layout::Layout;
use super::table::INNER;
use std::collections::{BTreeMap, BTreeSet};

/// A model that the names of a file tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// What stands before all its names.
    pub(super) wrapper: String,
    /// Whose names follow.
    pub(super) layout: Layout,
    /// What stands for transformers' `beit.`.
    pub(super) inner: &'static str,
}

/// Beginnings of names that every model of a layout has, each with another name that a bare model must have beside it, since other
/// models have such names too.
const LANDMARKS: [(&str, Layout, Option<&str>); 6] = [
    ("blocks.0.", Layout::Timm, None),
    ("encoder.layer.0.", Layout::Transformers, Some("embeddings.cls_token")),
    ("layers.0.", Layout::Transformers5, Some("embeddings.cls_token")),
    ("blocks.input.w", Layout::Dalle, None),
    ("blocks.input.weight", Layout::Flava, None),
    ("scores.weight", Layout::KMeans, Some("pictures")),
];

/// What every image transformer has beside its blocks.
const PATCHES: &str = "patch_embed.proj.weight";

/// No file has more models, and one that claims so shall not cost a search for each.
const MOST: usize = 64;

/// Every model among the names of a file, by what stands before it. Towers that see no patches of pictures are left out where there is
/// one that does.
pub(super) fn candidates(names: &[&str]) -> Vec<Candidate> {
    let mut places = BTreeSet::new();
    for name in names {
        let found =
            LANDMARKS.iter().enumerate().filter_map(|(i, (landmark, ..))| Some((before(name, landmark)?, i)));
        places.extend(found);
        if places.len() >= MOST {
            break;
        }
    }
    let mut found = BTreeMap::new();
    for (before, i) in places {
        let (_, layout, beside) = LANDMARKS[i];
        if let Some(candidate) = candidate(names, before, layout, beside) {
            found.entry(candidate.wrapper.clone()).or_insert(candidate);
        }
    }
    let sees = |wrapper: &str| names.contains(&format!("{wrapper}{PATCHES}").as_str());
    let of_patches = |candidate: &Candidate| candidate.layout != Layout::Timm || sees(&candidate.wrapper);
    let any = found.values().any(of_patches);
    found.into_values().filter(|candidate| !any || of_patches(candidate)).collect()
}

/// What stands before a landmark, if it begins where a part of a name does. A landmark without a point at its end is a whole name.
fn before<'a>(name: &'a str, landmark: &str) -> Option<&'a str> {
    let whole = !landmark.ends_with('.');
    let starts = |at: &usize| {
        (*at == 0 || name.as_bytes()[at - 1] == b'.') && (!whole || at + landmark.len() == name.len())
    };
    let at = name.match_indices(landmark).map(|(at, _)| at).find(starts)?;
    Some(&name[..at])
}

fn candidate(names: &[&str], before: &str, layout: Layout, beside: Option<&str>) -> Option<Candidate> {
    let has = |name: &str| names.contains(&format!("{before}{name}").as_str());
    if layout == Layout::Timm {
        let mut inside = names.iter().filter(|name| name.starts_with(before));
        let layout = if inside.any(|name| super::is_index(name)) { Layout::Unilm } else { layout };
        return Some(Candidate { wrapper: before.to_owned(), layout, inner: "" });
    }
    if matches!(layout, Layout::Transformers | Layout::Transformers5)
        && let Some((inner, wrapper)) =
            INNER.iter().find_map(|inner| Some((*inner, before.strip_suffix(inner)?)))
    {
        return Some(Candidate { wrapper: wrapper.to_owned(), layout, inner });
    }
    beside.is_none_or(has).then(|| Candidate { wrapper: before.to_owned(), layout, inner: "" })
}
