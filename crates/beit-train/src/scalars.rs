//! What a line of `metrics.jsonl` says, as numbers with names.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The numbers of one line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalars {
    /// What the line is of: `pretrain`, `evaluate` and so on.
    pub phase: String,
    /// Steps done; none where it is of a model at its end.
    pub step: Option<u64>,
    /// By their keys in the line; what is measured of a checkpoint by the name of its metric. What is not finite is left out.
    pub values: BTreeMap<String, f64>,
}

/// Where a line stands, and not what was measured.
const PLACE: [&str; 2] = ["step", "total"];

impl Scalars {
    /// Reads a line; none where it has no phase.
    ///
    /// ```
    /// let line = serde_json::json!({ "phase": "evaluate", "split": "test", "accuracy": { "top1": 0.5, "images": 8 } });
    /// let scalars = beit_train::Scalars::of(&line).expect("it has a phase");
    /// assert_eq!((scalars.phase.as_str(), scalars.step, scalars.values["top1"]), ("evaluate", None, 0.5));
    /// ```
    #[must_use]
    pub fn of(line: &Value) -> Option<Self> {
        let line = line.as_object()?;
        let phase = line.get("phase")?.as_str()?.to_owned();
        let mut values = BTreeMap::new();
        collect(line, &mut values);
        if let Some(metric) = line.get("metric").and_then(Value::as_str)
            && let Some(value) = values.remove("value")
        {
            values.insert(metric.to_owned(), value);
        }
        Some(Self { phase, step: line.get("step").and_then(Value::as_u64), values })
    }
}

/// Lists are no scalars. Of an object within the line the keys alone are names: what it is of, the phase says.
fn collect(object: &Map<String, Value>, values: &mut BTreeMap<String, f64>) {
    for (name, value) in object.iter().filter(|(name, _)| !PLACE.contains(&name.as_str())) {
        match value {
            Value::Object(inner) => collect(inner, values),
            // A number of many digits may be read as infinite.
            value => {
                values.extend(value.as_f64().filter(|value| value.is_finite()).map(|v| (name.clone(), v)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Record, Spike, StepReport};

    fn of(record: &Record<'_>) -> (String, Option<u64>, Vec<(String, f64)>) {
        let line = serde_json::to_value(record).expect("records are JSON");
        let Scalars { phase, step, values } = Scalars::of(&line).expect("it has a phase");
        (phase, step, values.into_iter().collect())
    }

    fn named(values: &[(&str, f64)]) -> Vec<(String, f64)> {
        values.iter().map(|&(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn numbers_by_their_names() {
        let report = StepReport {
            phase: "finetune",
            step: 3,
            total: 9,
            extra: [("kl", 0.5)].into(),
            ..Default::default()
        };
        let want = [
            ("data_wait", 0.0),
            ("epoch", 0.0),
            ("images_per_second", 0.0),
            ("kl", 0.5),
            ("loss", 0.0),
            ("lr", 0.0),
        ];
        assert_eq!(of(&Record::Step(&report)), ("finetune".to_owned(), Some(3), named(&want)));
        let best = Record::Checkpoint {
            of: "finetune",
            step: 3,
            split: "validation",
            metric: "miou",
            value: 0.25,
            best: 2,
        };
        assert_eq!(of(&best), ("checkpoint".to_owned(), Some(3), named(&[("best", 2.0), ("miou", 0.25)])));
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let spike = Spike {
            phase: "pretrain",
            step: 6,
            epoch: 1,
            lr: 0.5,
            loss: f64::NAN,
            grad_norm: f64::INFINITY,
            mean_grad_norm: 2.0,
            limit: f64::INFINITY,
            left_out: 0,
            tensor: None,
        };
        let (phase, step, values) = of(&Record::Spike(&spike));
        assert_eq!((phase.as_str(), step), ("spike", Some(7)));
        assert_eq!(values, named(&[("epoch", 1.0), ("left_out", 0.0), ("lr", 0.5), ("mean_grad_norm", 2.0)]));
        assert_eq!(Scalars::of(&serde_json::json!({ "step": 1 })), None);
        assert_eq!(Scalars::of(&serde_json::json!([1])), None);
    }
}
