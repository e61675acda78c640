//! The file that names the classes of masks.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::Mask;
use crate::error::{Error, Result};
use crate::files::read_regular;

/// Longest file of classes, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Names of what is no class, in small letters.
const IGNORED: [&str; 5] = ["void", "ignore", "ignored", "unlabeled", "unlabelled"];

/// What the values of masks mean.
#[derive(Debug, Default)]
pub(crate) struct ClassTable {
    pub(crate) names: Vec<String>,
    /// A colour a class, or none of all.
    pub(crate) palette: Option<Vec<[u8; 3]>>,
    /// The class of each value: the number of its line.
    pub(crate) classes: Vec<u8>,
    pub(crate) colours: HashMap<[u8; 3], u8>,
}

/// A line that names a class.
struct Line {
    /// In the file, counted from 1.
    number: usize,
    name: String,
    colour: Option<[u8; 3]>,
}

impl ClassTable {
    /// Reads a file with a line for each class: `NAME`, or `NAME R G B`. Empty lines, and those that begin with `#`, are passed over.
    /// The first line is value 0 of a mask. Pixels of a line called `void`, `ignore`, `ignored`, `unlabeled` or `unlabelled`, in any
    /// case, are ignored; the others are the classes, in their order.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] and [`Error::MaskClasses`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let bytes =
            read_regular(path, MAX_BYTES).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let text =
            String::from_utf8(bytes).map_err(|_| "expected a text in UTF-8, found other bytes".to_owned());
        let table = text.and_then(|text| Self::parse(&text));
        table.map_err(|problem| Error::MaskClasses { path: path.to_owned(), problem })
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let text = text.trim_start_matches('\u{feff}');
        let lines = (1..).zip(text.lines().map(str::trim));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let lines: Vec<Line> =
            lines.map(|(number, line)| Line::parse(number, line)).collect::<Parsed<_>>()?;
        check_colours(&lines)?;
        let mut table = Self::default();
        for line in &lines {
            table.add(line)?;
        }
        match table.names.len() {
            ..2 => Err(format!("expected at least 2 classes to tell apart, found {}", table.names.len())),
            _ => Ok(table),
        }
    }

    fn add(&mut self, line: &Line) -> Parsed<()> {
        let Line { number, name, colour } = line;
        let class = match IGNORED.contains(&name.to_lowercase().as_str()) {
            true => Mask::IGNORED,
            false if self.names.len() == usize::from(Mask::IGNORED) => {
                return Err(format!("line {number}: expected at most 255 classes, found more"));
            }
            false if self.names.contains(name) => {
                return Err(format!("line {number}: class {name} is named twice: rename or remove one"));
            }
            false => {
                self.names.push(name.clone());
                let palette = colour.map(|colour| (self.palette.get_or_insert_default(), colour));
                palette.into_iter().for_each(|(palette, colour)| palette.push(colour));
                self.names.len() as u8 - 1
            }
        };
        self.classes.push(class);
        self.colours.extend(colour.map(|colour| (colour, class)));
        Ok(())
    }
}

/// What is wrong with a line, for people.
type Parsed<T> = std::result::Result<T, String>;

impl Line {
    fn parse(number: usize, line: &str) -> Parsed<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((name, [red, green, blue])) = words.split_last_chunk::<3>().filter(|(name, colour)| {
            !name.is_empty() && colour.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
        }) else {
            return Ok(Self { number, name: words.join(" "), colour: None });
        };
        let value = |word: &str| {
            word.parse::<u8>()
                .map_err(|_| format!("line {number}: expected red, green and blue of 0 to 255, found {word}"))
        };
        let colour = Some([value(red)?, value(green)?, value(blue)?]);
        Ok(Self { number, name: name.join(" "), colour })
    }
}

/// Either all lines have colours, each its own, or none.
fn check_colours(lines: &[Line]) -> Parsed<()> {
    let mut seen = HashSet::new();
    let with = lines.iter().filter(|line| line.colour.is_some()).count();
    for Line { number, name, colour } in lines {
        match colour {
            None if with > 0 => {
                return Err(format!(
                    "line {number}: {name} has no colour, but other classes have: write `{name} R G B`"
                ));
            }
            Some(colour) if !seen.insert(colour) => {
                return Err(format!("line {number}: {name} has the colour {colour:?} of another class"));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_class() {
        let table =
            ClassTable::parse("# of streets\n\nVoid 0 0 0\r\ntraffic light 250 170 30\nroad 128 64 128\n")
                .unwrap();
        assert_eq!(table.names, ["traffic light", "road"]);
        assert_eq!(table.classes, [255, 0, 1]);
        assert_eq!(table.palette.unwrap(), [[250, 170, 30], [128, 64, 128]]);
        assert_eq!((table.colours[&[0, 0, 0]], table.colours[&[128, 64, 128]]), (255, 1));
        let table = ClassTable::parse("background\nroute 66\n").unwrap();
        assert_eq!((table.names.join(","), table.palette), ("background,route 66".to_owned(), None));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let many: String = (0..256).map(|class| format!("class-{class}\n")).collect();
        let rows = [
            ("", "expected at least 2 classes to tell apart, found 0"),
            ("road\nvoid", "expected at least 2 classes to tell apart, found 1"),
            ("a\nb\na", "line 3: class a is named twice"),
            ("a 1 2 3\n\nb", "line 3: b has no colour, but other classes have: write `b R G B`"),
            ("a 1 2 3\nb 1 2 3", "line 2: b has the colour [1, 2, 3] of another class"),
            ("a 1 2 3\nb 1 2 300", "line 2: expected red, green and blue of 0 to 255, found 300"),
            (&many, "line 256: expected at most 255 classes"),
        ];
        for (text, expected) in rows {
            let problem = ClassTable::parse(text).unwrap_err();
            assert!(problem.starts_with(expected), "{problem}, expected {expected}");
        }
    }
}
