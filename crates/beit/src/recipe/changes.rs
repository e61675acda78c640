//! Single settings by their paths: `training.lr=1e-3`.

use std::str::FromStr;
use toml::{Table, Value};

/// A setting that is given by its path in `run.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Names with dots: `training.lr`.
    pub path: String,
    pub(crate) value: Value,
}

/// `PATH=VALUE`. What is no value of TOML is a text, so that folders need no quotes.
impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage =
            || format!("expected NAME=VALUE with the names of run.toml, as training.lr=1e-3, found {text}");
        let (path, value) = text.split_once('=').ok_or_else(usage)?;
        let (path, value) = (path.trim().replace('-', "_"), value.trim());
        if path.is_empty() || path.split('.').any(str::is_empty) || value.is_empty() {
            return Err(usage());
        }
        let parsed = toml::from_str::<Table>(&format!("value = {value}")).ok();
        let parsed = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
        Ok(Self { path, value: parsed.unwrap_or_else(|| Value::String(value.to_owned())) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_toml_or_texts() {
        for (text, path, value) in [
            ("training.lr=1e-3", "training.lr", Value::Float(1e-3)),
            ("training.epochs = 800", "training.epochs", Value::Integer(800)),
            ("mask.num-mask-patches=75", "mask.num_mask_patches", Value::Integer(75)),
            ("use_cls=true", "use_cls", Value::Boolean(true)),
            ("data.data=folder:a=b", "data.data", Value::String("folder:a=b".to_owned())),
            ("tokenizer=\"dalle\"", "tokenizer", Value::String("dalle".to_owned())),
            ("model.image_size=[224, 224]", "model.image_size", Value::Array(vec![224.into(), 224.into()])),
            // One setting, not two.
            ("use_cls=true\nlabels=3", "use_cls", Value::String("true\nlabels=3".to_owned())),
        ] {
            let change: Change = text.parse().expect("a setting");
            assert_eq!((change.path.as_str(), &change.value), (path, &value), "{text}");
        }
        for text in ["training.lr", "=3", "training.=3", ".lr=3", "training.lr="] {
            let error = text.parse::<Change>().expect_err(text);
            assert!(
                error.starts_with("expected NAME=VALUE") && error.ends_with(&format!("found {text}")),
                "{error}"
            );
        }
    }
}
