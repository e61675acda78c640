//! Sizes of a model by the shapes of its tensors.

use crate::error::{Error, Problem, Result};
use crate::weights::Weights;

/// Whether the file has a parameter.
pub(super) fn has(weights: &Weights, name: &str) -> bool {
    weights.shape(name).is_some()
}

/// The greatest number after `prefix` in a name.
pub(super) fn number(weights: &Weights, prefix: &str) -> Result<usize> {
    let numbered = |name: &str| name.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok();
    let greatest = weights.names().filter_map(numbered).max();
    let count = weights.names().count();
    // Every number has a tensor of its own, so a greater one is an attempt to make us reserve memory.
    greatest.filter(|&greatest| greatest <= count).ok_or_else(|| {
        let found = greatest.map_or("none".to_owned(), |n| n.to_string());
        let problem =
            format!("the greatest N in `{prefix}N` is {found}, expected at most {count} (the tensors)");
        Error::malformed(weights.path(), problem)
    })
}

/// The first extent of a tensor that must be there.
pub(super) fn rows(weights: &Weights, name: &str) -> Result<usize> {
    Ok(shape(weights, name)?.first().copied().unwrap_or(0))
}

/// The extents of a tensor that must be there.
pub(super) fn extents<const N: usize>(weights: &Weights, name: &str) -> Result<[usize; N]> {
    let shape = shape(weights, name)?;
    shape.try_into().map_err(|found: Vec<usize>| {
        let problem = format!("`{name}` has shape {found:?}, expected {N} extents");
        Error::malformed(weights.path(), problem)
    })
}

fn shape(weights: &Weights, name: &str) -> Result<Vec<usize>> {
    weights.shape(name).ok_or_else(|| {
        let problem = Problem::Missing { name: weights.stored(name).join("`, `"), expected: None };
        Error::Tensor { path: weights.path().to_owned(), problem }
    })
}
