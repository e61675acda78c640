//! Brace ranges in the names of shards, as the Python library `braceexpand` reads them, which WebDataset uses.

use crate::error::{Error, Result};

/// Most names that one text may stand for.
const MOST: usize = 1 << 20;
/// Most bytes of all these names.
const MOST_BYTES: usize = 1 << 28;
/// Longest text, in bytes: looking for pairs of braces takes time by its square.
const MOST_LETTERS: usize = 1 << 16;
/// Braces that may lie in each other.
const MOST_DEPTH: usize = 64;

/// All names that a text stands for, in order: `{a,b}` is one after the other, `{000..146}` and `{0..10..2}` are numbers, padded
/// where a bound is, `{a..e}` letters. Braces may lie in braces and stand beside each other; those that hold neither are as they
/// are written.
pub(super) fn expand(text: &str) -> Result<Vec<String>> {
    match text.len() > MOST_LETTERS {
        true => Err(Error::Shards(format!(
            "expected at most {MOST_LETTERS} bytes of names between two commas, found {}: write them into a file, a line each, and name it @FILE",
            text.len()
        ))),
        false => inside_of(text, MOST_DEPTH),
    }
}

/// [`expand`] where braces may lie in each other so deep.
fn inside_of(text: &str, depth: usize) -> Result<Vec<String>> {
    let mut all = vec![String::new()];
    let mut rest = text;
    while let Some((before, inside, after)) = next_group(rest) {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Error::Shards(format!("expected braces in at most {MOST_DEPTH} others, found more")));
        };
        let choices = match parts(inside, depth)? {
            Some(choices) => choices,
            None => inside_of(inside, depth)?.into_iter().map(|text| format!("{{{text}}}")).collect(),
        };
        all = product(&all, before, &choices, text)?;
        rest = after;
    }
    all.iter_mut().for_each(|name| name.push_str(rest));
    Ok(all)
}

/// Each of the names so far, the text behind it, and each choice.
fn product(all: &[String], before: &str, choices: &[String], text: &str) -> Result<Vec<String>> {
    let bytes = |names: &[String]| names.iter().map(String::len).sum::<usize>();
    let longer = choices.len().saturating_mul(before.len()).saturating_add(bytes(choices));
    let sum = bytes(all).saturating_mul(choices.len()).saturating_add(longer.saturating_mul(all.len()));
    if all.len().saturating_mul(choices.len()) > MOST || sum > MOST_BYTES {
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
fn parts(inside: &str, depth: usize) -> Result<Option<Vec<String>>> {
    let parts = split(inside, ',');
    if parts.len() == 1 {
        return range(inside);
    }
    let mut all = Vec::new();
    for part in parts {
        all.extend(inside_of(part, depth)?);
        if all.len() > MOST {
            return Err(too_many(inside));
        }
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
    // Each lies between two numbers of 64 bits, what is added need not.
    Ok((0..i128::from(count)).map(move |i| (i128::from(first) + way * i * i128::from(step)) as i64))
}

fn too_many(text: &str) -> Error {
    /// Letters of a text that a sentence has.
    const TOLD: usize = 80;
    let told: String = text.chars().take(TOLD).collect();
    let more = if told.len() < text.len() { "…" } else { "" };
    Error::Shards(format!(
        "`{told}{more}` stands for more than {MOST} shards, or {MOST_BYTES} bytes of names: expected fewer"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_too_much_is_refused() {
        let said = |text: &str| expand(text).unwrap_err().to_string();
        let half = format!("{{0..{}}}", MOST / 2);
        assert_eq!(expand(&half).unwrap().len(), MOST / 2 + 1);
        // A sum and a product of choices.
        assert!(said(&format!("{{{half},{half}}}")).contains("expected fewer"));
        assert!(said(&format!("{half}{half}")).contains("expected fewer"));
        assert!(said(&format!("{}{half}", "x".repeat(1000))).contains("bytes of names"));
        assert!(
            said(&format!("{}a,b{}", "{".repeat(MOST_DEPTH + 1), "}".repeat(MOST_DEPTH + 1)))
                .contains("braces in at most")
        );
        assert!(expand(&format!("{}a,b{}", "{".repeat(MOST_DEPTH), "}".repeat(MOST_DEPTH))).is_ok());
        assert!(said(&"{".repeat(MOST_LETTERS + 1)).contains("name it @FILE"));
    }

    #[test]
    fn steps_as_large_as_numbers_are() {
        let (least, most) = (i64::MIN, i64::MAX);
        assert_eq!(
            expand(&format!("{{{least}..{most}..{least}}}")).unwrap(),
            [least.to_string(), "0".to_owned()]
        );
        assert_eq!(
            expand(&format!("{{{most}..{least}..{most}}}")).unwrap(),
            [most.to_string(), "0".to_owned(), (-most).to_string()]
        );
    }
}
