//! What `datasets` says of the columns of a table.

use std::collections::HashMap;

use serde_json::Value;

/// Where a file says it.
pub(super) const KEY: &str = "huggingface";
/// Most classes of a column.
pub(super) const MAX_CLASSES: usize = 1 << 20;

/// The names of the classes of each column that has any.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Features(HashMap<String, Vec<String>>);

impl Features {
    /// From the value of the [key](KEY) of a file, or from `dataset_info.json`.
    pub(super) fn parse(json: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(json)
            .map_err(|error| format!("expected JSON about its features: {error}"))?;
        let features = value.get("info").unwrap_or(&value).get("features");
        let mut all = HashMap::new();
        for (column, feature) in features.and_then(Value::as_object).into_iter().flatten() {
            if let Some(names) = class_names(feature) {
                all.insert(column.clone(), names.map_err(|problem| format!("column `{column}`: {problem}"))?);
            }
        }
        Ok(Self(all))
    }

    /// Takes the names of the classes of a column.
    pub(super) fn take(&mut self, column: &str) -> Option<Vec<String>> {
        self.0.remove(column)
    }

    pub(super) fn has_classes(&self, column: &str) -> bool {
        self.0.contains_key(column)
    }
}

/// The names of a `ClassLabel`; none of a feature of another kind.
fn class_names(feature: &Value) -> Option<Result<Vec<String>, String>> {
    if feature.get("_type")?.as_str()? != "ClassLabel" {
        return None;
    }
    let names = feature.get("names")?.as_array()?;
    if names.is_empty() || names.len() > MAX_CLASSES {
        return Some(Err(format!("expected 1 to {MAX_CLASSES} classes, found {}", names.len())));
    }
    let text = |name: &Value| {
        name.as_str().map(str::to_owned).ok_or_else(|| format!("expected names of classes, found {name}"))
    };
    Some(names.iter().map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_classes_have_names() {
        let features = r#"{"image": {"_type": "Image"}, "label": {"names": ["a", "b"], "_type": "ClassLabel"}, "n": {"dtype": "int64", "_type": "Value"},
            "boxes": [{"_type": "Value"}]}"#;
        for json in [
            format!(r#"{{"info": {{"features": {features}}}}}"#),
            format!(r#"{{"features": {features}, "license": ""}}"#),
        ] {
            let mut found = Features::parse(&json).unwrap();
            assert!(!found.has_classes("n") && !found.has_classes("image") && found.has_classes("label"));
            assert_eq!(found.take("label").unwrap(), ["a", "b"]);
        }
        for json in
            ["{}", "[]", "3", r#"{"features": null}"#, r#"{"features": {"label": {"_type": "ClassLabel"}}}"#]
        {
            assert_eq!(Features::parse(json).unwrap(), Features::default(), "{json}");
        }
        for (json, problem) in [
            ("{", "expected JSON"),
            (r#"{"features": {"l": {"_type": "ClassLabel", "names": []}}}"#, "found 0"),
            (r#"{"features": {"l": {"_type": "ClassLabel", "names": [1]}}}"#, "found 1"),
        ] {
            let error = Features::parse(json).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
