//! The names of settings, for who mistook one.

use super::{leaves, table};
use crate::error::Result;
use serde::Serialize;

/// The name that is most like another; where the last part of one is right, it wins.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |other: &str| match last(other) == last(name) {
        true => 2.0,
        false => strsim::jaro_winkler(name, other).max(strsim::jaro_winkler(&last(name), &last(other))),
    };
    known.map(|known| (likeness(known), known)).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

/// A sentence about a name that no setting has. `every` has all that can be given.
pub(super) fn unknown(path: &str, every: &impl Serialize) -> Result<String> {
    let known = leaves(table(every)?);
    let near = nearest(path, known.keys().map(String::as_str)).unwrap_or_default();
    let part = near.rsplit_once('.').map_or("", |(part, _)| part);
    let beside = known.keys().filter(|name| name.rsplit_once('.').map_or("", |(part, _)| part) == part);
    let beside: Vec<&str> = beside.map(|name| name.rsplit('.').next().unwrap_or(name)).collect();
    let place = if part.is_empty() { "outside all parts".to_owned() } else { format!("in {part}") };
    Ok(format!("no setting has this name; the nearest is {near}; {place} there are {}", beside.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_understood() {
        let known = ["mask.mask_ratio", "mask.mask", "training.lr", "training.min_lr", "layer_decay"];
        for (name, near) in [
            ("mask.mask_raito", "mask.mask_ratio"),
            ("lr", "training.lr"),
            ("training.layer_decay", "layer_decay"),
            ("training.learning_rate", "training.lr"),
            ("mask_ratios", "mask.mask_ratio"),
        ] {
            assert_eq!(nearest(name, known.into_iter()), Some(near), "{name}");
        }
        assert_eq!(nearest("a", std::iter::empty()), None);
    }
}
