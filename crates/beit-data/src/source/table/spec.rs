//! What a string names: files, and columns in them.

use std::path::{Path, PathBuf};

/// Files and folders, and which of their columns are read.
#[derive(Debug, PartialEq)]
pub(super) struct Spec {
    /// At least one.
    pub(super) places: Vec<PathBuf>,
    /// The column of the pictures.
    pub(super) image: Option<String>,
    pub(super) label: LabelColumn,
}

/// Where labels come from.
#[derive(Debug, PartialEq)]
pub(super) enum LabelColumn {
    /// From the column that looks like it.
    Usual,
    Named(String),
    /// From none.
    Unread,
}

impl Spec {
    /// `PLACE[,PLACE…][,image=COLUMN][,label=COLUMN]`; a label without a name is none. A path with commas in it is one place.
    pub(super) fn parse(text: &str) -> Self {
        let mut spec = Self { places: Vec::new(), image: None, label: LabelColumn::Usual };
        if Path::new(text).exists() {
            spec.places.push(text.into());
            return spec;
        }
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("image", name)) => spec.image = Some(name.to_owned()),
                Some(("label", "")) => spec.label = LabelColumn::Unread,
                Some(("label", name)) => spec.label = LabelColumn::Named(name.to_owned()),
                _ => spec.places.push(part.into()),
            }
        }
        if spec.places.is_empty() {
            spec.places.push(PathBuf::new());
        }
        spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_beside_places() {
        let spec = Spec::parse("a/b,c.parquet,image=img,label=fine_label");
        let label = LabelColumn::Named("fine_label".into());
        let places = vec!["a/b".into(), "c.parquet".into()];
        assert_eq!(spec, Spec { places, image: Some("img".into()), label });
        assert_eq!(Spec::parse("x=1/b").places, [PathBuf::from("x=1/b")]);
        assert_eq!(Spec::parse("a,label=").label, LabelColumn::Unread);
        assert_eq!(Spec::parse("").places, [PathBuf::new()]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a,image=b");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(Spec::parse(path.to_str().unwrap()).places, [path]);
    }
}
