//! What became of the tensors of a file.

use crate::error::Problem;
use crate::resize::Resizing;
use std::collections::BTreeMap;
use std::fmt;

/// What became of a checkpoint's parameters, by our names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Taken from the file, some of them resized.
    pub taken: Vec<String>,
    /// Filled from the relative position table that all layers shared.
    pub copied: Vec<String>,
    /// Brought to another window of patches.
    pub resized: Vec<Resized>,
    /// Rows and columns of patches of the checkpoint, and of the model.
    pub windows: [[usize; 2]; 2],
    /// Stored in another type than F32, and in which.
    pub converted: Vec<(String, String)>,
    /// In the checkpoint, but not in the model.
    pub dropped: Vec<String>,
    /// In the model, but not (or of another shape) in the checkpoint: freshly drawn.
    pub new: Vec<String>,
    /// Differences that would have been an error if leniency had not been asked for.
    pub overlooked: Vec<Problem>,
    /// Indices of relative positions in the file, by its names, which are computed here, and counts of batch norms, which nothing reads.
    pub buffers: Vec<String>,
    /// Tensors of the file that lie outside the model, by its names.
    pub outside: Vec<String>,
}

/// A parameter that was brought to another window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resized {
    /// Which.
    pub name: String,
    /// How.
    pub resizing: Resizing,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensors taken", self.taken.len())?;
        if !self.copied.is_empty() {
            write!(f, "; the shared relative position table copied to {} layers", self.copied.len())?;
        }
        if let Some(first) = self.resized.first() {
            let [[h, w], [height, width]] = self.windows;
            let names = compact(self.resized.iter().map(|resized| resized.name.as_str()));
            let way = first.resizing.name();
            write!(f, "; resized from {h}x{w} to {height}x{width} patches ({way}'s way): {names}")?;
        }
        let mut types: BTreeMap<&str, usize> = BTreeMap::new();
        self.converted.iter().for_each(|(_, dtype)| *types.entry(dtype).or_default() += 1);
        for (dtype, count) in types {
            write!(f, "; {count} converted from {dtype}")?;
        }
        for (names, what) in
            [(&self.dropped, "dropped"), (&self.new, "new"), (&self.outside, "not of the model")]
        {
            if !names.is_empty() {
                write!(f, "; {what}: {}", compact(names.iter().map(String::as_str)))?;
            }
        }
        if !self.overlooked.is_empty() {
            let problems: Vec<_> = self.overlooked.iter().map(Problem::to_string).collect();
            write!(f, "; overlooked: {}", problems.join(", "))?;
        }
        Ok(())
    }
}

/// Names with those that differ in the number of a block only put together: `blocks.{0-11}.gamma_1`.
#[must_use]
pub fn compact<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut groups: Vec<((&str, &str), Vec<usize>)> = Vec::new();
    for name in names {
        let numbered = name.match_indices('.').find_map(|(dot, _)| {
            let digits = name[dot + 1..].bytes().take_while(u8::is_ascii_digit).count();
            let (begin, end) = (dot + 1, dot + 1 + digits);
            (digits > 0 && name[end..].starts_with('.')).then_some((begin, end))
        });
        let (key, number) = match numbered {
            Some((begin, end)) => ((&name[..begin], &name[end..]), name[begin..end].parse().ok()),
            None => ((name, ""), None),
        };
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, numbers)) => numbers.extend(number),
            None => groups.push((key, number.into_iter().collect())),
        }
    }
    let show = |((before, after), mut numbers): ((&str, &str), Vec<usize>)| {
        numbers.sort_unstable();
        match numbers[..] {
            [] => format!("{before}{after}"),
            [number] => format!("{before}{number}{after}"),
            [first, .., last] if last - first + 1 == numbers.len() => {
                format!("{before}{{{first}-{last}}}{after}")
            }
            _ => {
                let numbers: Vec<_> = numbers.iter().map(usize::to_string).collect();
                format!("{before}{{{}}}{after}", numbers.join(","))
            }
        }
    };
    groups.into_iter().map(show).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_put_together() {
        let names =
            ["blocks.1.gamma_1", "head.bias", "blocks.0.gamma_1", "blocks.2.gamma_1", "blocks.7.norm1.bias"];
        assert_eq!(compact(names.into_iter()), "blocks.{0-2}.gamma_1, head.bias, blocks.7.norm1.bias");
        assert_eq!(compact(["a.1.b", "a.3.b"].into_iter()), "a.{1,3}.b");
    }
}
