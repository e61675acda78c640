//! Brace ranges in the names of shards, as the Python library `braceexpand` reads them, which WebDataset uses.

use crate::error::{Error, Result};

/// Most names that one text may stand for.
const MOST: usize = 1 << 20;

/// All names that a text stands for, in order: `{a,b}` is one after the other, `{000..146}` and `{0..10..2}` are numbers, padded
/// where a bound is, `{a..e}` letters. Braces may lie in braces and stand beside each other; those that hold neither are as they
/// are written.
pub(super) fn expand(text: &str) -> Result<Vec<String>> {
    let mut all = vec![String::new()];
    let mut rest = text;
    while let Some((before, inside, after)) = next_group(rest) {
        let choices = match parts(inside)? {
            Some(choices) => choices,
            None => expand(inside)?.into_iter().map(|text| format!("{{{text}}}")).collect(),
        };
        all = product(&all, before, &choices, text)?;
        rest = after;
    }
    all.iter_mut().for_each(|name| name.push_str(rest));
    Ok(all)
}

/// Each of the names so far, the text behind it, and each choice.
fn product(all: &[String], before: &str, choices: &[String], text: &str) -> Result<Vec<String>> {
    if all.len().saturating_mul(choices.len()) > MOST {
        return Err(too_many(text));
    }
    let with = |start: &String| {
        choices.iter().map(move |choice| format!("{start}{before}{choice}")).collect::<Vec<_>>()
    };
    Ok(all.iter().flat_map(with).collect())
}

/// What is before, in and behind the first pair of braces.
fn next_group(text: &str) -> Option<(&str, &str, &str)> {
    text.match_indices('{').find_map(|(open, _)| {
        let mut depth = 0;
        let close = text[open..].char_indices().find_map(|(at, letter)| {
            depth += i32::from(letter == '{') - i32::from(letter == '}');
            (depth == 0).then_some(open + at)
        })?;
        Some((&text[..open], &text[open + 1..close], &text[close + 1..]))
    })
}

/// What a pair of braces stands for. None where it has neither a comma nor a range in it.
fn parts(inside: &str) -> Result<Option<Vec<String>>> {
    let parts = split(inside, ',');
    if parts.len() == 1 {
        return range(inside);
    }
    let mut all = Vec::new();
    for part in parts {
        all.extend(expand(part)?);
    }
    Ok(Some(all))
}

/// The parts of a text between separators that lie in no braces.
pub(super) fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ if letter == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + letter.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// `FROM..TO` or `FROM..TO..STEP`, of numbers or of letters. The sign of the step does not count.
fn range(inside: &str) -> Result<Option<Vec<String>>> {
    let bounds: Vec<&str> = inside.split("..").collect();
    let (from, to, step) = match bounds[..] {
        [from, to] => (from, to, Some(1)),
        [from, to, step] => (from, to, step.parse::<i64>().ok().map(i64::unsigned_abs)),
        _ => return Ok(None),
    };
    let Some(step) = step.map(|step| step.max(1)) else { return Ok(None) };
    if let (Ok(first), Ok(last)) = (from.parse::<i64>(), to.parse::<i64>()) {
        let padded = [from, to].iter().any(|bound| {
            bound.trim_start_matches('-').len() > 1 && bound.trim_start_matches('-').starts_with('0')
        });
        let width = if padded { from.len().max(to.len()) } else { 0 };
        return steps(first, last, step, inside)
            .map(|numbers| Some(numbers.map(|n| format!("{n:0width$}")).collect()));
    }
    let letter = |bound: &str| {
        bound.parse::<char>().ok().filter(char::is_ascii_alphabetic).map(|c| i64::from(u32::from(c)))
    };
    let (Some(first), Some(last)) = (letter(from), letter(to)) else { return Ok(None) };
    let letters = steps(first, last, step, inside)?.map(|n| char::from(n as u8).to_string());
    Ok(Some(letters.collect()))
}

/// The numbers from one to another, both among them where a step leads there, up or down.
fn steps(first: i64, last: i64, step: u64, text: &str) -> Result<impl Iterator<Item = i64>> {
    let count = first.abs_diff(last) / step + 1;
    if count > MOST as u64 {
        return Err(too_many(text));
    }
    let way = if last < first { -1 } else { 1 };
    Ok((0..count as i64).map(move |i| first + way * i * step as i64))
}

fn too_many(text: &str) -> Error {
    Error::Shards(format!("`{text}` stands for more than {MOST} shards: expected fewer"))
}
