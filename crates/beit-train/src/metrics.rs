//! `metrics.jsonl`: one JSON object a line.

use crate::error::{Error, Result};
use crate::features::FEATURES;
use crate::record::Record;
use crate::sink::Sink;
use beit_weights::write_file;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Appends lines to a file, each flushed, so that a run that is killed keeps what it measured.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Metrics {
    /// Opens `path` for appending.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn append(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|source| Error::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Opens `path` for appending what comes after `step` steps of `phase`: what a run that was stopped measured beyond these is
    /// taken out, and so is a last line that was cut off. A file that is not there is made.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] or [`Error::Write`].
    pub fn resume(path: &Path, phase: &str, step: u64) -> Result<Self> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::append(path),
            Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
        };
        let kept = kept(&text, phase, step);
        if kept < text.len() {
            write_file(path, &text[..kept])
                .map_err(|source| Error::Write { path: path.to_owned(), source })?;
        }
        Self::append(path)
    }
}

/// How many bytes of a metrics file belong to a run that has done `step` steps of `phase`.
fn kept(text: &[u8], phase: &str, step: u64) -> usize {
    let whole = |line: &[u8]| serde_json::from_slice::<Value>(line.strip_suffix(b"\n")?).ok();
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    lines
        .take_while(|line| whole(line).is_some_and(|record| !beyond(&record, phase, step)))
        .map(<[u8]>::len)
        .sum()
}

/// Whether a record was made after these steps: of a later one, or of the model at the end. Before its first checkpoint a run
/// measures its tokenizer again, and the features of the model that it begins with.
fn beyond(record: &Value, phase: &str, step: u64) -> bool {
    let of = record["phase"].as_str().unwrap_or_default();
    of.starts_with("evaluate")
        || (["tokenizer_quality", FEATURES].contains(&of) && step == 0)
        || (is_of_a_step(of, phase) && record["step"].as_u64().is_none_or(|of| of > step))
}

/// Whether records `of` this name are of the steps of `phase`, as those of the phase itself, so that a run that goes on makes the later
/// ones again.
pub(crate) fn is_of_a_step(of: &str, phase: &str) -> bool {
    ["spike", "checkpoint", FEATURES, phase].contains(&of)
}

/// Writes one line; the error is [`Error::Write`].
impl Sink for Metrics {
    fn record(&mut self, record: &Record<'_>) -> Result<()> {
        let write = |file: &mut BufWriter<File>| {
            serde_json::to_writer(&mut *file, record)?;
            file.write_all(b"\n")?;
            file.flush()
        };
        write(&mut self.file).map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

/// What stands in a metrics file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The lines that are whole.
    pub records: Vec<Value>,
    /// The numbers, counted from 1, of those that are not: cut off by a full disk or by a kill, or damaged.
    pub broken: Vec<usize>,
}

/// Reads a metrics file.
///
/// # Errors
///
/// [`Error::Read`].
pub fn read_metrics(path: &Path) -> Result<Measured> {
    let text = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let mut measured = Measured::default();
    for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
        match serde_json::from_slice(line) {
            Ok(Value::Object(record)) => measured.records.push(Value::Object(record)),
            _ => measured.broken.push(index + 1),
        }
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Accuracy, FeatureReport, PixelQuality, StepReport, TokenAccuracy, TokenizerQuality};
    use beit_tokenizer::Usage;

    #[test]
    fn what_comes_after_the_checkpoint_is_taken_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.jsonl");
        let line = |phase: &str, step: u64| format!("{{\"phase\":\"{phase}\",\"step\":{step}}}\n");
        let before = [
            ("tokenizer", 9),
            ("features", 0),
            ("checkpoint", 2),
            ("pretrain", 4),
            ("features", 4),
            ("checkpoint", 4),
        ]
        .map(|(phase, step)| line(phase, step))
        .concat();
        let after = [
            line("checkpoint", 6),
            line("pretrain", 6),
            line("features", 6),
            line("evaluate_tokens", 0),
            "{\"phase\":\"pre".to_owned(),
        ]
        .concat();
        std::fs::write(&path, before.clone() + &after).expect("a file");
        Metrics::resume(&path, "pretrain", 4).expect("it can be written");
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), before);
        // Cut off by a full disk: the next line must not be joined to it.
        std::fs::write(&path, before.clone() + "{\"phase\":\"pre").expect("a file");
        let mut metrics = Metrics::resume(&path, "pretrain", 4).expect("it can be written");
        let report = StepReport { phase: "pretrain", step: 6, ..Default::default() };
        metrics.record(&Record::Step(&report)).expect("the disk has room");
        let measured = read_metrics(&path).expect("it is there");
        assert_eq!((measured.records.len(), measured.broken), (7, vec![]));
        Metrics::resume(&path, "pretrain", 0).expect("it can be written");
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), line("tokenizer", 9));
    }

    /// Programs read these lines: names, and where they stand.
    #[test]
    fn lines_of_every_record() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.jsonl");
        let report =
            StepReport { phase: "finetune", step: 3, extra: [("kl", 0.5)].into(), ..Default::default() };
        let pixels =
            PixelQuality { mean_absolute_error: 0.25, explained_variance: 0.75, explained_by_position: 0.5 };
        let quality = TokenizerQuality {
            images: 2,
            usage: Usage::counted(&[0, 0, 2, 2], 3),
            position_majority: 0.5,
            repeated: 0.25,
            pixels: Some(pixels),
        };
        let features = FeatureReport {
            of: "pretrain",
            step: 3,
            images: [8, 4],
            pixels: Some(0.25),
            blocks: vec![0.5, 0.75, 0.5],
            average: Some(vec![0.25]),
            seconds: 2.0,
        };
        let records = [
            Record::Step(&report),
            Record::Features(&features),
            Record::Tokens { split: "test", tokens: &TokenAccuracy::default() },
            Record::Checkpoint {
                of: "finetune",
                step: 3,
                split: "validation",
                metric: "loss",
                value: 0.5,
                best: 2,
            },
            Record::Tokenizer { split: "test", quality: &quality },
            Record::Classes { split: "test", accuracy: &Accuracy { images: 4, ..Accuracy::default() } },
        ];
        let mut metrics = Metrics::append(&path).expect("the folder is there");
        records.iter().try_for_each(|record| metrics.record(record)).expect("the disk has room");
        let want = [
            r#"{"phase":"finetune","step":3,"total":0,"epoch":0,"loss":0.0,"lr":0.0,"images_per_second":0.0,"data_wait":0.0,"kl":0.5}"#,
            r#"{"average_best_block":1,"average_best_layer":0.25,"average_blocks":{"average_block_1":0.25},"average_last_layer":0.25,"best_block":2,"best_layer":0.75,"blocks":{"block_1":0.5,"block_2":0.75,"block_3":0.5},"images":[8,4],"last_layer":0.5,"of":"pretrain","phase":"features","pixels":0.25,"seconds":2.0,"step":3}"#,
            r#"{"phase":"evaluate_tokens","split":"test","tokens":{"accuracy":0.0,"content_accuracy":0.0,"content_majority":0.0,"content_patches":0,"loss":0.0,"majority":0.0,"nearest_visible":0.0,"patches":0,"position_majority":0.0}}"#,
            r#"{"best":2,"metric":"loss","of":"finetune","phase":"checkpoint","split":"validation","step":3,"value":0.5}"#,
            r#"{"phase":"tokenizer_quality","quality":{"counts":[2,0,2],"explained_by_position":0.5,"explained_variance":0.75,"images":2,"majority":0.5,"mean_absolute_error":0.25,"perplexity":2.0,"position_majority":0.5,"repeated":0.25,"used":2,"vocab":3},"split":"test"}"#,
            r#"{"accuracy":{"images":4,"loss":0.0,"top1":0.0,"top5":0.0},"phase":"evaluate","split":"test"}"#,
        ];
        let found = std::fs::read_to_string(&path).expect("it was written");
        assert_eq!(found.lines().collect::<Vec<_>>(), want);
        assert_eq!(read_metrics(&path).expect("it was written").records.len(), 6);
    }

    #[test]
    fn broken_lines_are_numbered() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, b"{\"step\":1}\n\xff\n[3]\n\n{\"step\":5}\n{\"st").expect("a file");
        let measured = read_metrics(&path).expect("it is there");
        assert_eq!(measured.records, [serde_json::json!({ "step": 1 }), serde_json::json!({ "step": 5 })]);
        assert_eq!(measured.broken, [2, 3, 4, 6]);
    }
}
