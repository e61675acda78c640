//! Names that fit a pattern of the table.

/// What stood for `{}` and `*` in a name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Captures<'a> {
    numbers: Vec<&'a str>,
    rest: &'a str,
}

/// Whether `name` fits `pattern`, and how.
pub(super) fn captures<'a>(pattern: &str, name: &'a str) -> Option<Captures<'a>> {
    let (body, open) = match pattern.strip_suffix('*') {
        Some(body) => (body, true),
        None => (pattern, false),
    };
    let mut parts = body.split("{}");
    let mut left = name.strip_prefix(parts.next()?)?;
    let mut numbers = Vec::new();
    for part in parts {
        let digits = left.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = left.split_at(digits);
        left = after.strip_prefix(part).filter(|_| digits > 0)?;
        numbers.push(number);
    }
    (open != left.is_empty()).then_some(Captures { numbers, rest: left })
}

/// The name that a pattern gives with these in place of `{}` and `*`.
pub(super) fn fill(pattern: &str, captures: &Captures<'_>) -> String {
    let mut numbers = captures.numbers.iter();
    let mut name = String::new();
    let body = pattern.strip_suffix('*').unwrap_or(pattern);
    for (i, part) in body.split("{}").enumerate() {
        if i > 0 {
            name += numbers.next().copied().unwrap_or_default();
        }
        name += part;
    }
    name + captures.rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_rests() {
        let rows = [
            ("head.*", "head.bias", Some((vec![], "bias"))),
            ("head.*", "head.", None),
            ("head", "head.bias", None),
            ("blocks.{}.norm1.*", "blocks.11.norm1.bias", Some((vec!["11"], "bias"))),
            ("blocks.{}.norm1.*", "blocks.x.norm1.bias", None),
            ("blocks.{}.norm1.*", "blocks..norm1.bias", None),
            ("g_{}.b_{}.w", "g_1.b_22.w", Some((vec!["1", "22"], ""))),
        ];
        for (pattern, name, expected) in rows {
            let expected = expected.map(|(numbers, rest)| Captures { numbers, rest });
            let found = captures(pattern, name);
            assert_eq!(found, expected, "{name} by {pattern}");
            if let Some(found) = found {
                assert_eq!(fill(pattern, &found), name);
            }
        }
    }
}
