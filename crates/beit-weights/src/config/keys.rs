//! The keys of a JSON file, as their many writers write them.

use crate::error::{Error, Result};
use crate::json::read_json;
use beit_data::{MAX_CHANNELS, PerChannel};
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};
use std::path::{Path, PathBuf};

/// An object of a JSON file. `null` counts as absent, numbers and flags may be texts, and nobody minds keys that are not asked for.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    path: PathBuf,
    /// The keys of the objects around this one, each with a point.
    around: String,
    map: Map<String, Value>,
}

impl Keys {
    /// The object that a file is.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::of_value(path, read_json(path)?)
    }

    /// The object that a text in a file is.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self> {
        let value = serde_json::from_str(text);
        Self::of_value(path, value.map_err(|source| Error::Json { path: path.to_owned(), source })?)
    }

    fn of_value(path: &Path, value: Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self::new(path.to_owned(), String::new(), map)),
            other => {
                Err(Error::config(path, format_args!("it is {}, expected an object of keys", kind(&other))))
            }
        }
    }

    fn new(path: PathBuf, around: String, mut map: Map<String, Value>) -> Self {
        map.retain(|_, value| !value.is_null());
        Self { path, around, map }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a key has a value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The value as it is.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }

    /// Gives a key a value where it has none.
    pub(crate) fn fill(&mut self, key: &str, value: Value) {
        if !value.is_null() {
            self.map.entry(key).or_insert(value);
        }
    }

    /// The object at a key.
    pub(crate) fn inside(&self, key: &str) -> Option<Self> {
        let map = self.map.get(key)?.as_object()?.clone();
        Some(Self::new(self.path.clone(), format!("{}{key}.", self.around), map))
    }

    /// The value at a key, if there is one.
    pub(crate) fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.map.get(key).map(|value| self.read_as(key, value)).transpose()
    }

    /// The value at a key, or what an absent one means.
    pub(crate) fn or<T: DeserializeOwned>(&self, key: &str, absent: T) -> Result<T> {
        Ok(self.get(key)?.unwrap_or(absent))
    }

    /// The value at a key that must be there.
    pub(crate) fn must<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        self.get(key)?.ok_or_else(|| self.wrong(key, "is absent"))
    }

    /// Height and width: one number, two in a list, or an object of `height` and `width`.
    pub(crate) fn sides(&self, key: &str) -> Result<Option<[usize; 2]>> {
        if let Some(inner) = self.inside(key) {
            return Ok(Some([inner.must("height")?, inner.must("width")?]));
        }
        Ok(match self.map.get(key) {
            Some(Value::Array(values)) if values.len() == 1 => Some([self.read_as(key, &values[0])?; 2]),
            Some(list @ Value::Array(_)) => Some(self.numbers::<2>(key, list)?),
            Some(value) => Some([self.read_as(key, value)?; 2]),
            None => None,
        })
    }

    /// So many numbers in a list, or one that stands for all.
    pub(crate) fn list<const N: usize, T: DeserializeOwned + Copy>(
        &self,
        key: &str,
    ) -> Result<Option<[T; N]>> {
        Ok(match self.map.get(key) {
            Some(Value::Array(values)) if values.len() == 1 => Some([self.read_as(key, &values[0])?; N]),
            Some(list @ Value::Array(_)) => Some(self.elements(key, list)?),
            Some(value) => Some([self.read_as(key, value)?; N]),
            None => None,
        })
    }

    /// Means or deviations of so many channels, a number for each or one for all. A model of one channel has three of the same.
    pub(crate) fn statistics(&self, key: &str, channels: usize) -> Result<Option<PerChannel>> {
        match self.map.get(key) {
            Some(Value::Array(values)) if values.len() == channels && !values.is_empty() => {
                let mut read =
                    values.iter().map(|value| self.read_as(key, value)).collect::<Result<Vec<f32>>>()?;
                if channels == 1 {
                    read = vec![read[0]; 3];
                }
                // A model of more channels than pictures have is refused where it meets them, which says more.
                Ok(PerChannel::new(&read[..read.len().min(MAX_CHANNELS)]))
            }
            Some(Value::Array(values)) if values.len() > 1 => {
                Ok(self.list::<3, f32>(key)?.map(PerChannel::rgb))
            }
            _ => Ok(self.list::<1, f32>(key)?.map(|[one]| PerChannel::repeated(one, channels))),
        }
    }

    /// How long a list is; 0 where there is none.
    pub(crate) fn count(&self, key: &str) -> usize {
        self.map.get(key).and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// Names in their order: a list, or an object whose keys are numbers. A name that is a number is read as text.
    pub(crate) fn names(&self, key: &str) -> Result<Option<Vec<String>>> {
        let name = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let Some(Value::Object(map)) = self.map.get(key) else {
            return match self.map.get(key) {
                Some(Value::Array(values)) => Ok(Some(values.iter().map(name).collect())),
                Some(other) => Err(self.wrong(key, format_args!("is {}, expected names", kind(other)))),
                None => Ok(None),
            };
        };
        let mut numbered = Vec::with_capacity(map.len());
        for (number, value) in map {
            let number: usize = number.trim().parse().map_err(|_| {
                self.wrong(key, format_args!("has the key \"{number}\", expected the number of a class"))
            })?;
            numbered.push((number, name(value)));
        }
        // Some published files leave numbers out; the classes are numbered in the order of those that are there.
        numbered.sort();
        Ok(Some(numbered.into_iter().map(|(_, name)| name).collect()))
    }

    /// An error about a key.
    pub(crate) fn wrong(&self, key: &str, what: impl std::fmt::Display) -> Error {
        Error::config(&self.path, format_args!("`{}{key}` {what}", self.around))
    }

    fn numbers<const N: usize>(&self, key: &str, list: &Value) -> Result<[usize; N]> {
        self.elements(key, list)
    }

    fn elements<const N: usize, T: DeserializeOwned>(&self, key: &str, list: &Value) -> Result<[T; N]> {
        let values = list.as_array().map(Vec::as_slice).unwrap_or_default();
        let read = values.iter().map(|value| self.read_as(key, value)).collect::<Result<Vec<T>>>()?;
        let found = read.len();
        read.try_into().map_err(|_| self.wrong(key, format_args!("has {found} numbers, expected {N}")))
    }

    fn read_as<T: DeserializeOwned>(&self, key: &str, value: &Value) -> Result<T> {
        let as_it_is = serde_json::from_value(value.clone());
        as_it_is.or_else(|error| {
            let meant = meant(value).into_iter().find_map(|value| serde_json::from_value(value).ok());
            meant.ok_or_else(|| self.wrong(key, format_args!("is {}: {error}", shown(value))))
        })
    }
}

/// What a value may stand for: a number or a flag in a text, a whole number with a point, a flag as a number, a number as a name.
fn meant(value: &Value) -> Vec<Value> {
    let whole = |number: f64| {
        let whole = number.fract() == 0.0 && number.abs() < 9e15;
        whole.then(|| Value::Number(Number::from(number as i64)))
    };
    match value {
        Value::String(text) => {
            let text = text.trim();
            let flag = match text.to_ascii_lowercase().as_str() {
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                _ => None,
            };
            let number = text.parse::<Number>().ok();
            let rounded = number.as_ref().and_then(Number::as_f64).and_then(whole);
            flag.into_iter().chain(number.map(Value::Number)).chain(rounded).collect()
        }
        Value::Number(number) => {
            let flag = match number.as_f64() {
                Some(0.0) => Some(Value::Bool(false)),
                Some(1.0) => Some(Value::Bool(true)),
                _ => None,
            };
            let text = Value::String(number.to_string());
            number.as_f64().and_then(whole).into_iter().chain(flag).chain([text]).collect()
        }
        Value::Bool(flag) => vec![Value::Number(u64::from(*flag).into())],
        _ => Vec::new(),
    }
}

/// What a value is, for a message.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a flag",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A value in a message, cut where it is long.
fn shown(value: &Value) -> String {
    /// Characters of a value that are shown.
    const SHOWN: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Keys {
        let Value::Object(map) = serde_json::from_str(text).unwrap() else { panic!("an object") };
        Keys::new("config.json".into(), String::new(), map)
    }

    #[test]
    fn values_are_read_as_they_are_meant() {
        let keys = keys(
            r#"{"a": "64", "b": 64.0, "c": " 6.4e1 ", "d": "True", "e": 0, "f": null, "g": "1e-12", "h": true, "i": 7}"#,
        );
        for key in ["a", "b", "c"] {
            assert_eq!(keys.must::<usize>(key).unwrap(), 64, "{key}");
        }
        assert!(keys.must::<bool>("d").unwrap() && !keys.must::<bool>("e").unwrap());
        assert_eq!(keys.get::<usize>("f").unwrap(), None);
        assert_eq!(keys.must::<f64>("g").unwrap(), 1e-12);
        assert_eq!(keys.must::<usize>("h").unwrap(), 1);
        assert_eq!(keys.must::<String>("i").unwrap(), "7");
    }

    #[test]
    fn sides_and_lists() {
        let keys = keys(
            r#"{"a": 3, "b": [3, "4"], "c": {"height": "3", "width": 4.0}, "d": [5], "m": 0.5, "n": [0.1, 0.2, 0.3]}"#,
        );
        let sides = |key| keys.sides(key).unwrap();
        assert_eq!(
            [sides("a"), sides("b"), sides("c"), sides("d"), sides("none")],
            [Some([3, 3]), Some([3, 4]), Some([3, 4]), Some([5, 5]), None]
        );
        assert_eq!(keys.list::<3, f32>("m").unwrap(), Some([0.5; 3]));
        assert_eq!(keys.list::<3, f32>("n").unwrap(), Some([0.1, 0.2, 0.3]));
        let text = keys.list::<2, f32>("n").unwrap_err().to_string();
        assert_eq!(text, "config.json: `n` has 3 numbers, expected 2");
    }

    #[test]
    fn names_by_number_or_in_a_list() {
        let keys = keys(r#"{"a": ["x", 3], "b": {"10": "c", "9": "b", " 0": 7}, "c": {"x": "y"}}"#);
        assert_eq!(keys.names("a").unwrap().unwrap(), ["x", "3"]);
        assert_eq!(keys.names("b").unwrap().unwrap(), ["7", "b", "c"]);
        assert!(keys.names("c").unwrap_err().to_string().contains("`c` has the key \"x\""));
    }

    #[test]
    fn errors_name_the_key_and_what_was_found() {
        let keys = keys(r#"{"outer": {"size": "big"}}"#);
        let text = keys.inside("outer").unwrap().get::<usize>("size").unwrap_err().to_string();
        assert!(text.starts_with("config.json: `outer.size` is \"big\": invalid type"), "{text}");
    }
}
