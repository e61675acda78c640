//! The classes of the rows of a table.

use std::collections::HashMap;

use super::Said;
use super::features::MAX_CLASSES;
use crate::error::{Error, Result};

/// A row without a class, among [`Labels::numbers`].
const NONE: u32 = u32::MAX;

/// The labels of some files as they stand there, row by row.
#[derive(Default)]
pub(super) struct Gathered {
    /// `[rows]`: a label, or the number of a text; negative where there is none.
    values: Vec<i64>,
    texts: HashMap<String, i64>,
    /// Names of the classes, the same in all files that say them.
    names: Option<Vec<String>>,
}

/// The classes of all rows.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Labels {
    numbers: Vec<u32>,
    pub(super) class_names: Vec<String>,
}

impl Gathered {
    pub(super) fn number(&mut self, label: Option<i64>) {
        self.values.push(label.unwrap_or(-1));
    }

    pub(super) fn text(&mut self, label: Option<&str>) {
        let next = self.texts.len() as i64;
        let value = label.map_or(-1, |text| match self.texts.get(text) {
            Some(&number) => number,
            None => *self.texts.entry(text.to_owned()).or_insert(next),
        });
        self.values.push(value);
    }

    /// Takes what a file says the names of the classes are.
    pub(super) fn name(&mut self, names: Option<Vec<String>>) -> Said<()> {
        match (&self.names, names) {
            (Some(known), Some(names)) if *known != names => {
                Err("its classes have other names than those of the files before it".to_owned())
            }
            (None, names) => {
                self.names = names;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Rows without a label.
    pub(super) fn none(&mut self, rows: usize) {
        self.values.resize(self.values.len() + rows, -1);
    }

    /// The classes of these rows, numbered as those of the training split where they are of another. `row` names a row.
    pub(super) fn finish(self, training: Option<Self>, row: impl Fn(usize) -> String) -> Result<Labels> {
        if self.values.iter().all(|&value| value < 0) {
            // Test splits of the hub have -1 everywhere, or nothing.
            return Ok(Labels::default());
        }
        let training = training.unwrap_or_default();
        match (&self.names, &training.names) {
            _ if !self.texts.is_empty() => self.named(&training, row),
            (Some(own), Some(names)) if own != names => self.renumbered(own, names, row),
            _ => self.numbered(&training, row),
        }
    }

    /// Numbers of classes that the training split has under other numbers.
    fn renumbered(&self, own: &[String], names: &[String], row: impl Fn(usize) -> String) -> Result<Labels> {
        let mut numbers = Vec::with_capacity(self.values.len());
        for (index, &value) in self.values.iter().enumerate() {
            let Ok(value) = usize::try_from(value) else {
                numbers.push(NONE);
                continue;
            };
            let label = value as u32;
            let name = own.get(value).ok_or_else(|| Error::LabelOutOfRange {
                name: row(index),
                label,
                classes: own.len(),
            })?;
            let class = names.iter().position(|known| known == name);
            numbers
                .push(class.ok_or_else(|| Error::UnknownLabel { name: row(index), label: name.clone() })?
                    as u32);
        }
        Ok(Labels { numbers, class_names: names.to_vec() })
    }

    fn numbered(self, training: &Self, row: impl Fn(usize) -> String) -> Result<Labels> {
        let names = training.names.as_ref().or(self.names.as_ref());
        let greatest = self.values.iter().chain(&training.values).max().copied().unwrap_or(0);
        let classes = names.map_or(greatest.saturating_add(1) as usize, Vec::len);
        let limit = classes.min(MAX_CLASSES);
        if let Some(index) = self.values.iter().position(|&value| value >= limit as i64) {
            let label = u32::try_from(self.values[index]).unwrap_or(u32::MAX);
            return Err(Error::LabelOutOfRange { name: row(index), label, classes: limit });
        }
        let class_names = match names {
            Some(names) => names.clone(),
            None => (0..classes).map(|class| class.to_string()).collect(),
        };
        let numbers = self.values.iter().map(|&value| u32::try_from(value).unwrap_or(NONE)).collect();
        Ok(Labels { numbers, class_names })
    }

    fn named(self, training: &Self, row: impl Fn(usize) -> String) -> Result<Labels> {
        let known = if training.texts.is_empty() { &self.texts } else { &training.texts };
        let mut class_names: Vec<String> = known.keys().cloned().collect();
        class_names.sort_unstable();
        let mut numbers = vec![NONE; self.texts.len()];
        for (text, &place) in &self.texts {
            let Ok(class) = class_names.binary_search(text) else {
                let first = self.values.iter().position(|&value| value == place).unwrap_or(0);
                return Err(Error::UnknownLabel { name: row(first), label: text.clone() });
            };
            numbers[place as usize] = class as u32;
        }
        let class = |&value: &i64| usize::try_from(value).map_or(NONE, |value| numbers[value]);
        Ok(Labels { numbers: self.values.iter().map(class).collect(), class_names })
    }
}

impl Labels {
    pub(super) fn get(&self, index: usize) -> Option<u32> {
        self.numbers.get(index).copied().filter(|&class| class != NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: &[i64], names: Option<&[&str]>) -> Gathered {
        let names = names.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        Gathered { values: values.to_vec(), names, ..Gathered::default() }
    }

    fn texts(all: &[&str]) -> Gathered {
        let mut gathered = Gathered::default();
        all.iter().for_each(|text| gathered.text((!text.is_empty()).then_some(text)));
        gathered
    }

    fn finished(
        own: Gathered,
        training: Option<Gathered>,
    ) -> std::result::Result<(Vec<Option<u32>>, Vec<String>), String> {
        let rows = own.values.len();
        let labels = own.finish(training, |row| format!("f#{row}")).map_err(|error| error.to_string())?;
        Ok(((0..rows).map(|row| labels.get(row)).collect(), labels.class_names))
    }

    #[test]
    fn numbers_are_classes() {
        let (labels, names) = finished(numbers(&[1, 0, -1], Some(&["a", "b"])), None).unwrap();
        assert_eq!((labels, names), (vec![Some(1), Some(0), None], vec!["a".to_owned(), "b".to_owned()]));
        let (_, names) = finished(numbers(&[1], None), Some(numbers(&[2], None))).unwrap();
        assert_eq!(names, ["0", "1", "2"]);
        assert_eq!(finished(numbers(&[-1, -1], Some(&["a"])), None).unwrap(), (vec![None, None], Vec::new()));
        let error = finished(numbers(&[0, 2], Some(&["a", "b"])), None).unwrap_err();
        assert_eq!(error, "expected a label below 2, found 2 for f#1");
        for huge in [i64::MAX, 1 << 33, MAX_CLASSES as i64] {
            assert!(finished(numbers(&[huge], None), None).unwrap_err().contains("below 1048576"));
        }
    }

    #[test]
    fn names_decide_over_numbers() {
        let training = || Some(numbers(&[0, 1], Some(&["b", "a"])));
        let (labels, names) = finished(numbers(&[0, 1, -1], Some(&["a", "b"])), training()).unwrap();
        assert_eq!((labels, names), (vec![Some(1), Some(0), None], vec!["b".to_owned(), "a".to_owned()]));
        let error = finished(numbers(&[0], Some(&["c"])), training()).unwrap_err();
        assert_eq!(error, "label `c` of f#0 is none of the training split's");
        let error = finished(numbers(&[1], Some(&["a"])), training()).unwrap_err();
        assert_eq!(error, "expected a label below 1, found 1 for f#0");
        let mut gathered = numbers(&[], Some(&["a"]));
        assert!(gathered.name(None).is_ok() && gathered.name(Some(vec!["a".into()])).is_ok());
        assert!(gathered.name(Some(vec!["b".into()])).is_err());
    }

    #[test]
    fn texts_are_numbered_by_name() {
        let (labels, names) = finished(texts(&["dog", "cat", "", "dog"]), None).unwrap();
        assert_eq!(
            (labels, names),
            (vec![Some(1), Some(0), None, Some(1)], vec!["cat".to_owned(), "dog".to_owned()])
        );
        let (labels, names) = finished(texts(&["dog"]), Some(texts(&["ant", "dog"]))).unwrap();
        assert_eq!((labels, names.len()), (vec![Some(1)], 2));
        let error = finished(texts(&["ant", "eel"]), Some(texts(&["ant", "dog"]))).unwrap_err();
        assert_eq!(error, "label `eel` of f#1 is none of the training split's");
    }
}
