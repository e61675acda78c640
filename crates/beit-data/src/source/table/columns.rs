//! Which columns of a table hold pictures and labels.

use super::features::Features;
use super::spec::{LabelColumn, Spec};

/// A column, by what it may be read as. `At` says where it lies in a file of its format.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column<At> {
    pub(super) name: String,
    pub(super) kind: Kind<At>,
}

/// What is in a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<At> {
    /// A picture of `datasets`: a struct of `bytes` and `path`.
    Picture(At),
    /// Bytes that may be a picture.
    Bytes(At),
    Integer(At),
    Text(At),
    /// Of this type, which holds neither pictures nor labels.
    Other(String),
}

/// The columns to read.
#[derive(Debug, PartialEq)]
pub(super) struct Chosen<At> {
    pub(super) image: At,
    pub(super) label: Option<Label<At>>,
    pub(super) note: Option<String>,
}

/// A column of labels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Label<At> {
    pub(super) name: String,
    pub(super) at: At,
    /// Whether they are names rather than numbers.
    pub(super) text: bool,
}

impl<At: Clone> Chosen<At> {
    /// Those that are asked for, or the only picture and `label`, `labels` or the only column with named classes.
    pub(super) fn choose(columns: &[Column<At>], features: &Features, spec: &Spec) -> Result<Self, String> {
        let image = image(columns, spec.image.as_deref())?;
        let usual = || {
            let named = |name: &str| columns.iter().find(|column| column.name == name);
            let mut classes = columns.iter().filter(|column| features.has_classes(&column.name));
            let only = classes.next().filter(|_| classes.next().is_none());
            named("label").or_else(|| named("labels")).or(only)
        };
        let (column, asked) = match &spec.label {
            LabelColumn::Unread => (None, false),
            LabelColumn::Usual => (usual(), false),
            LabelColumn::Named(name) => (Some(find(columns, name, "label")?), true),
        };
        let Some(column) = column else { return Ok(Self { image, label: None, note: None }) };
        match (label(column), asked) {
            (Ok(label), _) => Ok(Self { image, label: Some(label), note: None }),
            (Err(problem), true) => Err(problem),
            (Err(problem), false) => Ok(Self {
                image,
                label: None,
                note: Some(format!("{problem}; images are read without labels")),
            }),
        }
    }
}

fn image<At: Clone>(columns: &[Column<At>], asked: Option<&str>) -> Result<At, String> {
    if let Some(name) = asked {
        let column = find(columns, name, "image")?;
        return match &column.kind {
            Kind::Picture(at) | Kind::Bytes(at) => Ok(at.clone()),
            kind => Err(format!(
                "expected pictures in column `{name}`, a struct with `bytes` or bytes, found {}",
                kind.told()
            )),
        };
    }
    let pictures: Vec<_> = columns.iter().filter(|column| matches!(column.kind, Kind::Picture(_))).collect();
    match pictures[..] {
        [Column { kind: Kind::Picture(at), .. }] => Ok(at.clone()),
        [] => Err(format!(
            "expected a column of pictures, a struct with `bytes` and `path`, found columns {}: name another that holds them with ,image=COLUMN",
            told(columns)
        )),
        _ => {
            let names: Vec<_> = pictures.iter().map(|column| column.name.as_str()).collect();
            Err(format!(
                "expected one column of pictures, found {}: say which with ,image=COLUMN",
                names.join(", ")
            ))
        }
    }
}

fn label<At: Clone>(column: &Column<At>) -> Result<Label<At>, String> {
    let of = |at: &At, text| Ok(Label { name: column.name.clone(), at: at.clone(), text });
    match &column.kind {
        Kind::Integer(at) => of(at, false),
        Kind::Text(at) => of(at, true),
        kind => Err(format!(
            "expected integers or texts in column `{}`, one label an image, found {}",
            column.name,
            kind.told()
        )),
    }
}

fn find<'a, At>(columns: &'a [Column<At>], name: &str, what: &str) -> Result<&'a Column<At>, String> {
    let column = columns.iter().find(|column| column.name == name);
    column.ok_or_else(|| format!("expected a column `{name}` ({what}=), found columns {}", told(columns)))
}

impl<At> Kind<At> {
    fn told(&self) -> &str {
        match self {
            Self::Picture(_) => "pictures",
            Self::Bytes(_) => "bytes",
            Self::Integer(_) => "integers",
            Self::Text(_) => "text",
            Self::Other(kind) => kind,
        }
    }
}

/// Names and types, not all of many.
fn told<At>(columns: &[Column<At>]) -> String {
    /// Columns that a sentence lists.
    const LISTED: usize = 12;
    let some =
        columns.iter().take(LISTED).map(|column| format!("`{}` ({})", column.name, column.kind.told()));
    let some: Vec<_> = some.collect();
    match columns.len() {
        0 => "none".to_owned(),
        all if all > LISTED => format!("{}, … ({all} in all)", some.join(", ")),
        _ => some.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: Kind<u8>) -> Column<u8> {
        Column { name: name.into(), kind }
    }

    #[test]
    fn columns_are_named_or_found() {
        let columns = [
            column("id", Kind::Integer(0)),
            column("img", Kind::Picture(1)),
            column("raw", Kind::Bytes(2)),
            column("fine_label", Kind::Integer(3)),
            column("label", Kind::Other("list".into())),
            column("name", Kind::Text(4)),
        ];
        let json = r#"{"features": {"fine_label": {"_type": "ClassLabel", "names": ["a"]}}}"#;
        let features = Features::parse(json).unwrap();
        let choose = |spec: &str, columns: &[Column<u8>]| {
            Chosen::choose(columns, &features, &Spec::parse(spec))
                .map(|chosen| (chosen.image, chosen.label.map(|label| label.at), chosen.note.is_some()))
        };
        assert_eq!(choose("a", &columns), Ok((1, None, true)));
        assert_eq!(choose("a", &columns[..4]), Ok((1, Some(3), false)));
        assert_eq!(choose("a,image=raw,label=name", &columns), Ok((2, Some(4), false)));
        assert_eq!(choose("a,label=", &columns[..4]), Ok((1, None, false)));
        for (spec, some, problem) in [
            ("a", &columns[2..], "found columns `raw` (bytes), `fine_label` (integers)"),
            ("a,image=x", &columns, "expected a column `x` (image=), found columns `id` (integers)"),
            ("a,image=name", &columns, "found text"),
            ("a,label=img", &columns, "expected integers or texts in column `img`"),
        ] {
            let error = choose(spec, some).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
        let two = [column("a", Kind::Picture(0)), column("b", Kind::Picture(1))];
        assert!(choose("x", &two).unwrap_err().contains("found a, b: say which"));
    }
}
