//! Which model of a file is meant, where it has several.

use super::landmark::Candidate;
use super::table::WRAPPERS;
use std::collections::BTreeSet;
use std::fmt;

/// Which parameters are meant where a file has those of the last step and an average of those of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parameters {
    /// Of the last step.
    Raw,
    /// An average (EMA). What is taken where nothing is said, as timm does.
    Average,
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Average => "ema",
        })
    }
}

/// The model that is meant, and where there are several, a sentence that says which.
pub(super) fn choose(
    mut found: Vec<Candidate>,
    names: &[&str],
    asked: Option<Parameters>,
) -> Option<(Candidate, Option<String>)> {
    found.sort_by_cached_key(|candidate| rank(&candidate.wrapper));
    let mut averages = found.clone();
    averages.retain(|candidate| is_average(&candidate.wrapper) && has_raw(candidate, &found, names));
    let raw = |candidate: &&Candidate| !averages.contains(candidate);
    let chosen = match asked {
        Some(Parameters::Raw) => found.iter().find(raw),
        _ => averages.first(),
    };
    let chosen = chosen.or(found.first())?.clone();
    let others: Vec<_> = found.iter().filter(|other| **other != chosen).collect();
    if others.is_empty() {
        return Some((chosen, None));
    }
    let taken = &chosen.wrapper;
    let beside = others.iter().map(|other| format!("`{}`", other.wrapper)).collect::<Vec<_>>().join(", ");
    let choice = if averages.is_empty() {
        format!("it has several models: took `{taken}` and left {beside}")
    } else {
        let (what, other) = match averages.contains(&chosen) {
            true => ("the average (EMA)", Parameters::Raw),
            false => ("the parameters of the last step", Parameters::Average),
        };
        format!("took {what} at `{taken}` and left {beside}; --weights {other} takes the other")
    };
    Some((chosen, Some(choice)))
}

/// Which of several is more likely meant: what the tools' own loaders look for first, then what lies less deep.
fn rank(wrapper: &str) -> (usize, usize, String) {
    let known = WRAPPERS.iter().position(|known| wrapper.starts_with(known)).unwrap_or(WRAPPERS.len());
    let known = if wrapper.is_empty() { 0 } else { known + 1 };
    (known, wrapper.matches('.').count(), wrapper.to_owned())
}

/// Whether a wrapper's name says that it holds an average: `state_dict_ema`, `model_ema`, `ema_model`, or the teacher of
/// self-distillation.
fn is_average(wrapper: &str) -> bool {
    let is =
        |part: &str| part == "teacher" || part.split('_').any(|word| word == "ema" || word == "averaged");
    wrapper.to_lowercase().split('.').any(is)
}

/// Whether there is another model with the same names: the teacher of a distillation may be another architecture.
fn has_raw(average: &Candidate, found: &[Candidate], names: &[&str]) -> bool {
    let own = inside(&average.wrapper, names);
    let others = found.iter().filter(|other| *other != average && !is_average(&other.wrapper));
    others.into_iter().any(|other| inside(&other.wrapper, names) == own)
}

fn inside<'a>(wrapper: &str, names: &[&'a str]) -> BTreeSet<&'a str> {
    names.iter().filter_map(|name| name.strip_prefix(wrapper)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::landmark::candidates;
    use super::*;

    fn chosen(wrappers: &[&str], asked: Option<Parameters>) -> (String, Option<String>) {
        let of = |wrapper: &&str| {
            ["patch_embed.proj.weight", "blocks.0.norm1.bias"].map(|name| format!("{wrapper}{name}"))
        };
        let names: Vec<String> = wrappers.iter().flat_map(of).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (candidate, choice) = choose(candidates(&names), &names, asked).unwrap();
        (candidate.wrapper, choice)
    }

    #[test]
    fn any_prefix_is_taken_off() {
        let prefixes = ["", "module.", "state_dict_ema.module.", "a.b.c.d."];
        for prefix in prefixes {
            for asked in [None, Some(Parameters::Raw), Some(Parameters::Average)] {
                assert_eq!(chosen(&[prefix], asked), (prefix.to_owned(), None));
            }
        }
    }

    #[test]
    fn an_average_is_taken_unless_the_other_is_asked_for() {
        for [raw, average] in [
            ["state_dict.", "state_dict_ema."],
            ["model.", "model_ema."],
            ["model.module.", "ema.module."],
            ["student.", "teacher."],
        ] {
            let (wrapper, choice) = chosen(&[raw, average], None);
            assert_eq!(wrapper, average);
            assert!(choice.unwrap().contains("--weights raw"));
            let (wrapper, choice) = chosen(&[average, raw], Some(Parameters::Raw));
            assert_eq!(wrapper, raw);
            assert!(choice.unwrap().contains("--weights ema"));
        }
    }

    #[test]
    fn what_the_tools_look_for_first_is_taken_of_several() {
        for (several, expected) in [
            (["a.", "model."], "model."),
            (["module.", "model."], "model."),
            (["b.", "a."], "a."),
            (["x.y.", ""], ""),
        ] {
            let (wrapper, choice) = chosen(&several, None);
            assert_eq!(wrapper, expected);
            assert!(choice.unwrap().starts_with("it has several models"));
        }
    }

    /// In a CLIP the tower of texts has blocks as well.
    #[test]
    fn a_tower_that_sees_no_patches_is_no_candidate() {
        let names =
            ["text.blocks.0.norm1.bias", "visual.blocks.0.norm1.bias", "visual.patch_embed.proj.weight"];
        let (candidate, choice) = choose(candidates(&names), &names, None).unwrap();
        assert_eq!((candidate.wrapper.as_str(), choice), ("visual.", None));
    }
}
